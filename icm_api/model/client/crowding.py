"""How many requests may be under way at once, learned from which ones a server refuses.

It does: grow while all is well (additive increase, Chiu and Jain 1989); when more are refused than usual, try with
fewer. If fewer then are refused in their turn, there were too many. If not, refusals are this server's usual chance:
back to as many as before, since fewer would only take longer.
It does not: hold requests back (`slots` does), or send.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

# Answers and refusals after which a bound is judged, at least; for a larger bound as many as it has.
_ROUND = 32
# More refusals than usual are no sign of anything up to this share and three standard errors.
_TOLERATED = 0.05
# A trial goes down to no less and no more of the bound than this.
_FEWEST, _MOST = 0.25, 0.8
# What the bound shrinks to when as many as there are slots were refused with no answer between.
_DECREASE = 0.7
# A streak of refusals less likely by the usual share than this is no chance; and it says little if it is short.
_UNLIKELY, _STREAK = 1e-3, 8
# A trial is one if no more requests a second are sent than this share of those before.
_SLOWER = 0.9
_INSTANT = 1e-6
# A server that refuses more than this is asked less, chance or not.
_HOPELESS = 0.8
# Rounds after which the usual share is put to the test again.
_STALE = 16


class _Trial(NamedTuple):
    """What is compared with fewer requests under way: the bound before, and what was seen with it.

    Attributes:
        bound: on requests under way.
        share: of requests that was refused.
        chance: the share refused by chance, as far as was known.
        pace: requests a second.
    """

    bound: float
    share: float
    chance: float
    pace: float


class Crowding:
    """The bound on requests under way.

    Args:
        start: the bound in the beginning.
        most: the highest bound.
        clock: seconds, from any beginning.
    """

    def __init__(self, start: int, most: int, clock: Callable[[], float]) -> None:
        self._bound = float(min(start, most))
        self._most = most
        self._clock = clock
        self._chance = 0.0
        self._streak = self._grown = 0
        self._trial: _Trial | None = None
        self._calm = 0
        self._begin_round(self._bound)

    @property
    def limit(self) -> int:
        """The bound; 1 or more."""
        return int(self._bound)

    @property
    def chance(self) -> float:
        """The share of requests that is refused however few are under way, as far as is known; below 1."""
        return self._chance

    @property
    def all_refused(self) -> bool:
        """As many requests as the bound were refused in a row, and that not by chance."""
        return self._streak >= self.limit and self._chance**self._streak < _UNLIKELY

    def answered(self, began: float, *, full: bool) -> None:
        """Count a request that was answered.

        Args:
            began: when it was sent, by the clock.
            full: whether as many were under way as the bound allows; one more would say nothing otherwise.
        """
        self._streak = 0
        self._grown += full
        if self._grown >= self.limit and self._trial is None and not self._too_many:
            self._grown = 0
            self._bound = min(self._most, self._bound + 1)
        self._count(began, refused=False)

    def refused(self, began: float) -> None:
        """Count a request that was refused because there are too many; `began`: when it was sent, by the clock."""
        self._streak += 1
        if self.all_refused and self._streak >= _STREAK and began >= self._since:
            self._trial = None
            self._begin_round(self._bound * _DECREASE)
        else:
            self._count(began, refused=True)

    @property
    def _share(self) -> float:
        return self._refused / max(1, self._counted)

    @property
    def _too_many(self) -> bool:
        """More were refused in this round than usual."""
        error = sqrt(self._chance * (1 - self._chance) / max(1, self._counted))
        return self._share > self._chance + _TOLERATED + 3 * error

    def _begin_round(self, bound: float) -> None:
        self._bound = max(1.0, bound)
        # Who was sent before was one of as many as there were then.
        self._since = self._clock()
        self._counted = self._refused = self._grown = 0

    def _count(self, began: float, *, refused: bool) -> None:
        if began < self._since:
            return
        self._counted += 1
        self._refused += refused
        if self._counted >= max(_ROUND, self.limit):
            self._judge()

    def _judge(self) -> None:
        """At the end of a round: go back after a trial, begin one, or let it be."""
        share, trial, bound = self._share, self._trial, self._bound
        pace = self._counted / max(_INSTANT, self._clock() - self._since)
        self._trial = None
        if trial is not None:
            # What would be refused now if there is room for as many as were answered before.
            expected = max(trial.chance, 1 - (1 - trial.share) * trial.bound / bound)
            # Where pauses alone decide how many are sent, fewer under way say nothing.
            fewer = pace < _SLOWER * trial.pace
            by_chance = fewer and (trial.share + expected) / 2 <= share < _HOPELESS
            self._chance = (share + trial.share) / 2 if by_chance else trial.chance
            bound = trial.bound if by_chance else bound
        elif self._too_many or self._calm >= _STALE:
            chance = self._chance if self._too_many else 0.0
            bound = max(1.0, bound * min(max((1 - share) / (1 - chance), _FEWEST), _MOST))
            self._calm = -1
            if int(bound) < self.limit and share > _TOLERATED:
                self._trial = _Trial(self._bound, share, chance, pace)
            else:
                bound = self._bound
        else:
            self._chance = min(self._chance, (self._chance + share) / 2)
        self._calm += 1
        self._begin_round(bound)
