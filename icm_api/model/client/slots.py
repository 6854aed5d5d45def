"""Slots for requests under way, taken first come, first served; how many there are is learned (`crowding`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from icm_api.model.client.crowding import Crowding


class Slots:
    """A bounded number of slots whose bound adapts; first come, first served.

    Args:
        start: slots in the beginning.
        most: the most slots.
        clock: seconds, from any beginning.
    """

    def __init__(self, start: int, most: int, clock: Callable[[], float]) -> None:
        self._crowding = Crowding(start, most, clock)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Slots there are now; 1 or more."""
        return self._crowding.limit

    @property
    def busy(self) -> int:
        """Slots taken now."""
        return self._busy

    @property
    def all_refused(self) -> bool:
        """As many requests as there are slots were refused in a row, and that not by chance."""
        return self._crowding.all_refused

    @property
    def chance(self) -> float:
        """The share of requests that is refused by chance, as far as is known; below 1."""
        return self._crowding.chance

    @property
    def tries(self) -> int:
        """Requests under way, or in a short pause after a refusal, that keep all slots in use; no fewer than slots."""
        return int(self.limit / (1 - self.chance))

    async def acquire(self) -> None:
        """Take a slot, as soon as one is free and all who came before have theirs."""
        if self._busy < self.limit and not self._waiting:
            self._busy += 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back."""
        self._busy -= 1
        while self._waiting and self._busy < self.limit:
            next_one = self._waiting.popleft()
            if not next_one.done():
                self._busy += 1
                next_one.set_result(None)

    def succeeded(self, began: float) -> None:
        """A request that holds a slot was answered; `began`: when it was sent, by the clock."""
        self._crowding.answered(began, full=self._busy >= self.limit)

    def refused(self, began: float) -> None:
        """A request was refused because there are too many; `began`: when it was sent, by the clock."""
        self._crowding.refused(began)
