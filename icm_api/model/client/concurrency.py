"""How many requests are under way at once: grows while all is well, backs off when the server has too many.

It does: additive increase, multiplicative decrease (Chiu and Jain 1989), from what this process sees alone.
It does not: know rates per minute, retry, or wait for anything but a free slot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

_DECREASE = 0.7


class Slots:
    """A bounded number of slots whose bound adapts; first come, first served.

    The bound grows by 1 for as many successes as there are slots, while all slots are taken, and shrinks to 0.7
    of itself when a request was refused that began after it last shrank: refusals of one wave count once.

    Args:
        start: slots in the beginning.
        most: the most slots.
        clock: seconds, from any beginning.
    """

    def __init__(self, start: int, most: int, clock: Callable[[], float]) -> None:
        self._limit = float(min(start, most))
        self._most = most
        self._clock = clock
        self._shrunk = float("-inf")
        self._round = 0
        self._refused = 0
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Slots there are now; 1 or more."""
        return int(self._limit)

    @property
    def busy(self) -> int:
        """Slots taken now."""
        return self._busy

    @property
    def all_refused(self) -> bool:
        """As many requests as there are slots were refused in a row."""
        return self._refused >= self.limit

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

    def succeeded(self) -> None:
        """A request that holds a slot was answered."""
        self._refused = 0
        # Where slots are left over, one more would say nothing of what the server can take.
        if self._busy >= self.limit:
            self._round += 1
        if self._round >= self.limit:
            self._round = 0
            self._limit = min(self._most, self._limit + 1)

    def refused(self, began: float) -> None:
        """A request was refused because there are too many; `began`: when it was sent, by the clock."""
        self._refused += 1
        if began >= self._shrunk:
            self._shrunk = self._clock()
            self._round = 0
            self._limit = max(1.0, self._limit * _DECREASE)
