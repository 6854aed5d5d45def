"""Whether a server fails altogether or some requests by chance, and how long its answers take: the pace of retries.

It does: count failures in a row, of whatever kind, against how many are usual between two answers.
It does not: wait (`retry` does), or tell refusals by chance from those for want of room (`crowding` does).
"""

from __future__ import annotations

from math import log

from icm_api.model.client.retry import Pace

# So many times the usual number of failures between two answers are rare by chance.
_RARE = 6
# Failures of one request, of which more are no chance: those that are less likely than this, within bounds.
_UNLIKELY, _FEWEST, _MANY = 1e-4, 5, 10
# Of means over the last ones; what counts at most, so that one outage isn't taken for what is usual.
_SHARE, _MOST = 0.1, 16
# Seconds.
_SHORTEST, _LONGEST = 0.01, 0.1


class Failures:
    """What all requests to one server learn together from failures and answers."""

    def __init__(self) -> None:
        self._in_a_row = self._other = 0
        self._usual = 0.0
        self._took: float | None = None

    def failed(self, *, refused: bool) -> None:
        """Count a failure; `refused`: because there are too many requests."""
        self._in_a_row += 1
        self._other += not refused

    def answered(self, took: float) -> None:
        """Count an answer, after so many seconds."""
        self._usual += _SHARE * (min(self._other, _MOST) - self._usual)
        self._in_a_row = self._other = 0
        self._took = took if self._took is None else self._took + _SHARE * (took - self._took)

    def pace(self, own: int, side_by_side: int, chance: float) -> Pace:
        """How to wait before another try.

        Args:
            own: failures of the request.
            side_by_side: requests that can be under way at once, of which some fail in a row by chance.
            chance: the share of requests that is refused by chance, below 1.

        Returns:
            A pause about as long as an answer takes, as long as the server answers others; then one that grows with
            each time that all can have failed, and with each failure of a request that had too many for chance.
        """
        wave = max(1, side_by_side)
        usual = self._usual + chance / (1 - chance)
        all_failed = 1 + int((self._in_a_row - max(wave, _RARE * usual)) // wave)
        likely = log(_UNLIKELY) / log(usual / (1 + usual)) if usual > 0 else 0.0
        unlucky = own - int(min(max(likely, _FEWEST), _MANY))
        first = _LONGEST if self._took is None else min(max(self._took / 2, _SHORTEST), _LONGEST)
        return Pace(max(1, min(own, all_failed), unlucky), first)
