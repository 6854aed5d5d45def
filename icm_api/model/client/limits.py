"""How fast requests may go out: so many requests and tokens in any 60 seconds.

It does: wait, first come first served, until the minute has room.
It does not: send, retry, or guess a limit a minute that neither the configuration nor the server states.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

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


class Limiting(Protocol):
    """What a client needs of limits: of its own, or of those that several processes share."""

    async def wait(self, tokens: int) -> None:
        """As `Limits.wait`."""
        ...

    def learn(self, stated: Mapping[str, float] | None) -> None:
        """As `Limits.learn`."""
        ...

    def pause(self, seconds: float) -> None:
        """As `Limits.pause`."""
        ...

    def enter_loop(self) -> None:
        """As `Limits.enter_loop`."""
        ...


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
