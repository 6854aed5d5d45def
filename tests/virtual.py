"""Time that passes only when nobody has anything else to do, so that hours of waiting are tested in no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush


class VirtualTime:
    """A clock in seconds, and the `sleep` that belongs to it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.pass_by(seconds)

    async def pass_by(self, seconds: float) -> None:
        """Like `sleep`, unnoted: for what takes time elsewhere."""
        future = asyncio.get_running_loop().create_future()
        self._count += 1
        heappush(self._sleepers, (self.now + seconds, self._count, future))
        await future

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Inside, time jumps to the next sleeper whenever everybody waits."""
        driver = asyncio.create_task(self._drive())
        try:
            yield
        finally:
            driver.cancel()

    async def _drive(self) -> None:
        # Of an event loop's own: what is left to do before everybody waits.
        ready = getattr(asyncio.get_running_loop(), "_ready")  # noqa: B009
        while True:
            await asyncio.sleep(0)
            while ready:  # noqa: ASYNC110
                await asyncio.sleep(0)
            if self._sleepers:
                at, _, future = heappop(self._sleepers)
                self.now = max(self.now, at)
                if not future.done():
                    future.set_result(None)
