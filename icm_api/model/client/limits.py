"""How fast requests may go out: so many under way at once, and so many requests and tokens in any 60 seconds.

It does: let concurrency grow while all is well and shrink when the server has too many (additive increase,
multiplicative decrease, Chiu and Jain 1989); wait, first come first served, until the minute has room.
It does not: send, retry, or guess a limit a minute that neither the configuration nor the server states.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

_MINUTE = 60.0

# Sums of times are rounded: a wait shorter than this is over.
_CLOSE = 1e-6

_REASON = "what may go out in a minute has gone out, or the server asked everybody to pause"

_KINDS = ("requests_per_minute", "tokens_per_minute")


class _Window:
    """What was taken in the last minute, against a limit."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._taken: deque[tuple[float, float]] = deque()
        self._total = 0.0

    def delay(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; one above the limit waits until it is alone."""
        while self._taken and self._taken[0][0] <= now - _MINUTE:
            self._total -= self._taken.popleft()[1]
        if not self._taken:
            self._total = 0.0
            return 0.0
        excess = self._total + amount - self.limit
        if excess <= 0:
            return 0.0
        for at, taken in self._taken:
            excess -= taken
            leaves = at + _MINUTE - now
            if excess <= 0:
                break
        return leaves

    def take(self, amount: float, now: float) -> None:
        self._taken.append((now, amount))
        self._total += amount


class Limits:
    """Both limits, and a pause that a server asked everybody for.

    Args:
        requests_per_minute: at most so many; None until the server states a limit.
        tokens_per_minute: likewise. A request with more tokens than that goes alone.
        clock: seconds, from any beginning.
        sleep: waits so many seconds.
        tell: called before each wait with its reason and its seconds.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        tell: Callable[[str, float], None] = lambda reason, seconds: None,
    ) -> None:
        given = dict(zip(_KINDS, (requests_per_minute, tokens_per_minute), strict=True))
        self._windows = {kind: _Window(limit) for kind, limit in given.items() if limit is not None}
        self._given = frozenset(self._windows)
        self._clock = clock
        self._sleep = sleep
        self._tell = tell
        self._resume = float("-inf")
        self._turn = asyncio.Lock()

    async def wait(self, tokens: int) -> None:
        """Wait until one request with so many tokens may go out, and count it."""
        if not self._windows and self._clock() >= self._resume:
            return
        amounts = dict(zip(_KINDS, (1, tokens), strict=True))
        async with self._turn:
            while (delay := self._delay(amounts)) > _CLOSE:
                self._tell(_REASON, delay)
                await self._sleep(delay)
            now = self._clock()
            for kind, window in self._windows.items():
                window.take(amounts[kind], now)

    def _delay(self, amounts: Mapping[str, float]) -> float:
        now = self._clock()
        delays = [window.delay(amounts[kind], now) for kind, window in self._windows.items()]
        return max([self._resume - now, *delays])

    def learn(self, stated: Mapping[str, float] | None) -> None:
        """Take over what a server's headers state; what the configuration gave stays."""
        for kind, limit in (stated or {}).items():
            if kind not in _KINDS or kind in self._given or not limit > 0:
                continue
            if kind in self._windows:
                self._windows[kind].limit = limit
            else:
                self._windows[kind] = _Window(limit)

    def enter_loop(self) -> None:
        """Whoever waits from now on does so in another event loop."""
        self._turn = asyncio.Lock()

    def pause(self, seconds: float) -> None:
        """Let nothing out for so long from now."""
        self._resume = max(self._resume, self._clock() + seconds)


_DECREASE = 0.7


class Slots:
    """A bounded number of slots whose bound adapts; first come, first served.

    The bound grows by 1 for as many successes as there are slots, while all slots are taken, and shrinks to 0.7
    of itself when a request was refused that began after it last shrank: refusals of one wave count once. Below half
    of the first bound it only shrinks if all are refused: some refusals among answers are no sign of too many slots.

    Args:
        start: slots in the beginning.
        most: the most slots.
        clock: seconds, from any beginning.
    """

    def __init__(self, start: int, most: int, clock: Callable[[], float]) -> None:
        self._limit = float(min(start, most))
        self._half = self._limit / 2
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
        if began >= self._shrunk and (self._limit > self._half or self.all_refused):
            self._shrunk = self._clock()
            self._round = 0
            self._limit = max(1.0, self._limit * _DECREASE)
