"""One retry layer: what is worth another try, how long to wait for it, and when to give up.

It does: wait as long as the server asks (up to a cap) and a little longer by chance, else a random time that grows
exponentially, and never try again without any pause; give up at once if trying again can't help.
It does not: classify errors (providers do), or hold anything while it waits.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import isfinite
from random import uniform
from typing import NamedTuple, NoReturn, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from icm_api.config import ClientSettings
from icm_api.errors import GaveUpError, RequestError

logger = logging.getLogger(__name__)

LONGEST_WAIT = 300.0
"""Seconds; a server that asks for more is asked again after this."""

_JITTER = 0.1
_SMALLEST_JITTER = 0.05

_FIRST, _LONGEST = 0.1, 30.0
# Of the waits that a server asks for, which may be none at all, again and again.
_LEAST = 0.05

_T = TypeVar("_T")


class Pace(NamedTuple):
    """What the wait before another try grows with.

    Attributes:
        failures: so many that say something of the server; 1 for a failure among answers.
        first: seconds after the first.
    """

    failures: int
    first: float = _FIRST


async def with_retries(
    attempt: Callable[[], Awaitable[_T]],
    settings: ClientSettings,
    *,
    began: float | None = None,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    tell: Callable[[str, float], None] = lambda reason, seconds: None,
    pace: Callable[[int], Pace] = Pace,
) -> _T:
    """Make attempts until one succeeds.

    Args:
        attempt: does it once; raises RequestError, which says whether another try is worth it.
        settings: the most attempts and the most seconds, all waits included.
        began: when it was first tried, by the clock, as part of something else perhaps; now, if None.
        clock: seconds, from any beginning.
        sleep: waits so many seconds.
        tell: called before each wait with its reason and its seconds.
        pace: after so many failures of this request; by default all of them count.

    Raises:
        RequestError: at once if it is not worth another try.
        GaveUpError: the last one, with what was tried.
    """
    tries = _Tries(settings, clock, tell, pace, clock() if began is None else began)
    first: RequestError | None
    try:
        # Most requests succeed at once, and need none of what follows.
        return await attempt()
    except RequestError as error:
        if not error.retryable:
            raise
        first = error

    async def next_attempt() -> _T:
        nonlocal first
        if first is not None:
            error, first = first, None
            raise error
        return await attempt()

    retrying = AsyncRetrying(
        sleep=sleep,
        stop=tries.enough,
        wait=tries.wait,
        retry=retry_if_exception(lambda error: isinstance(error, RequestError) and error.retryable),
        before_sleep=tries.note,
        retry_error_callback=tries.give_up,
        reraise=True,
    )
    return await retrying(next_attempt)


@dataclass(frozen=True, slots=True)
class _Tries:
    """What is decided after each failure of one request."""

    settings: ClientSettings
    clock: Callable[[], float]
    tell: Callable[[str, float], None]
    pace: Callable[[int], Pace]
    began: float

    @property
    def seconds(self) -> float:
        return self.clock() - self.began

    def enough(self, state: RetryCallState) -> bool:
        late = self.seconds + state.upcoming_sleep > self.settings.retry_seconds
        return state.attempt_number >= self.settings.attempts or late

    def wait(self, state: RetryCallState) -> float:
        return _pause(_error(state), self.pace(state.attempt_number))

    def note(self, state: RetryCallState) -> None:
        logger.info("%s; trying again in %.1f s", _error(state), state.upcoming_sleep)
        self.tell(str(_error(state)), state.upcoming_sleep)

    def give_up(self, state: RetryCallState) -> NoReturn:
        error = _error(state)
        raise _gave_up(error, state.attempt_number, self.seconds) from error


def _gave_up(error: RequestError, attempts: int, seconds: float) -> GaveUpError:
    """The last error, with what was tried and how to go on."""
    tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return GaveUpError(
        f"{error}; gave up after {tried} in {seconds:.0f} s; what was answered is kept: resume or run again later to "
        "go on, or raise client.attempts or client.retry_seconds",
        kind=error.kind,
        status=error.status,
        retry_after=error.retry_after,
    )


def bounded(retry_after: float | None) -> float | None:
    """The seconds to wait that a server asked for, up to the cap; None if it asked for nothing usable."""
    if retry_after is None or not isfinite(retry_after) or retry_after < 0:
        return None
    return min(retry_after, LONGEST_WAIT)


def _pause(error: RequestError, pace: Pace) -> float:
    """Seconds before another try."""
    asked, failures = bounded(error.retry_after), pace.failures
    # All who were refused together must not come back together, and nobody at once.
    if asked is None:
        growing = min(_FIRST * 2.0 ** (failures - 1), _LONGEST) if failures > 1 else pace.first
        return growing + uniform(0, growing)
    return max(asked, min(_LEAST * 2.0 ** (failures - 1), _LONGEST)) + uniform(0, _SMALLEST_JITTER + _JITTER * asked)


def _error(state: RetryCallState) -> RequestError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, RequestError)
    return error
