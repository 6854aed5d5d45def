"""A number with its 95% limits, or the reason why there is none; and summaries of plain proportions and of seeds.

Pure arithmetic: nothing here knows of results or gold labels, and nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, lgamma, log, log1p, sqrt
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple, TypeAlias

LEVEL = 0.95
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured number and its 95% confidence limits.

    Attributes:
        value: the number measured.
        low: lower limit, or None if there is none.
        high: upper limit, or None if there is none.
        note: why there are no limits; empty if there are.
    """

    value: float
    low: float | None
    high: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Undefined:
    """A number that the data do not define: reads as an `Interval` without value or limits.

    Attributes:
        note: why it is undefined.
    """

    note: str

    @property
    def value(self) -> None:
        """There is none."""
        return

    @property
    def low(self) -> None:
        """There is none."""
        return

    @property
    def high(self) -> None:
        """There is none."""
        return


Measure: TypeAlias = Interval | Undefined


def wilson_interval(successes: int, n: int) -> Interval:
    """A proportion of independent trials with its 95% Wilson score interval.

    The limits are the two p that solve |successes / n - p| = z * sqrt(p * (1 - p) / n) with z = 1.96 (Wilson,
    1927, Journal of the American Statistical Association 22). It is sound at 0 and n successes too. Trials
    that form groups are not independent: `evaluate` resamples groups instead.

    Args:
        successes: in 0..n.
        n: trials, at least 1.

    Raises:
        ValueError: n is below 1, or successes are not in 0..n.

    Example:
        >>> found = wilson_interval(9, 10)
        >>> f"{found.value:.2f}, {found.low:.4f} to {found.high:.4f}"
        '0.90, 0.5958 to 0.9821'
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}: n must be at least 1, and successes in 0..n")
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share = successes / n
    low, high = score_limits(share, n, z)
    # At the ends the formula gives 0 and 1 but for rounding.
    return Interval(share, low if successes else 0.0, high if successes < n else 1.0)


def score_limits(share: float, trials: float, quantile: float) -> tuple[float, float]:
    """The two p that solve |share - p| = quantile * sqrt(p * (1 - p) / trials) (Wilson, 1927).

    Args:
        share: of successes, in [0, 1].
        trials: above 0; may be a fraction, of trials that count as so many independent ones.
        quantile: of the normal distribution, or of Student's t.

    Example:
        >>> [round(limit, 4) for limit in score_limits(0.9, 10, 1.96)]
        [0.5958, 0.9821]
    """
    spread = quantile * quantile / trials
    center = (share + spread / 2) / (1 + spread)
    half = quantile * sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return center - half, center + half


def exact_lower_limit(successes: int, n: int, level: float = LEVEL) -> float:
    """The exact one-sided lower limit of a proportion (Clopper and Pearson, 1934).

    Args:
        successes: in 0..n.
        n: trials, at least 1.
        level: of confidence, above 0 and below 1.

    Returns:
        The p with which `successes` or more of n trials happen with probability 1 - level: if the true proportion is
        smaller, so many are rarer than that. 0 if there is no success.

    Raises:
        ValueError: n is below 1, successes are not in 0..n, or the level is not above 0 and below 1.

    Example:
        >>> round(exact_lower_limit(16, 20), 4), round(exact_lower_limit(20, 20), 4), exact_lower_limit(0, 20)
        (0.599, 0.8609, 0.0)
    """
    if n < 1 or not 0 <= successes <= n or not 0 < level < 1:
        raise ValueError(
            f"{successes} of {n} at level {level}: n at least 1, successes in 0..n, a level above 0, below 1"
        )
    if not successes:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_least(successes, n, middle) < 1 - level else (low, middle)
    return low


def _at_least(successes: int, n: int, p: float) -> float:
    """Probability of so many successes or more; p above 0 and below 1."""
    ways = lgamma(n + 1)
    return fsum(
        exp(ways - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))
        for k in range(successes, n + 1)
    )


def gap_recovered(found: float, zero_shot: float, golden: float, lead: float | None = None) -> float | None:
    """Share of the way from zero-shot to golden few-shot accuracy that the labels found go.

    Args:
        found: accuracy with the labels found as demonstrations, in [0, 1].
        zero_shot: accuracy without demonstrations.
        golden: accuracy with golden labels as demonstrations.
        lead: lower limit of golden - zero_shot, by whatever interval the caller has; None if it has none.

    Returns:
        (found - zero_shot) / (golden - zero_shot), below 0 or above 1 if the labels found are outside the gap. None if
        golden labels are not ahead, or `lead` is not above 0: then there is no gap to recover.

    Example:
        >>> round(gap_recovered(0.88, 0.6, 0.9), 3)
        0.933
        >>> gap_recovered(0.88, 0.6, 0.9, lead=-0.01)
    """
    gap = golden - zero_shot
    return None if gap <= 0 or (lead is not None and lead <= 0) else (found - zero_shot) / gap


class Spread(NamedTuple):
    """How a number varies over seeds: mean, sample standard deviation, smallest and largest."""

    mean: float
    standard_deviation: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation (n - 1), smallest and largest of one number per seed.

    To compare two methods, give it the differences of seeds that both ran, and not each method's own values.

    Args:
        values: at least two.

    Raises:
        ValueError: fewer than two values, which have no standard deviation.

    Example:
        >>> spread([0.25, 0.5, 0.75])
        Spread(mean=0.5, standard_deviation=0.25, low=0.25, high=0.75)
    """
    if len(values) < 2:
        raise ValueError(f"a spread needs at least two values, got {len(values)}; run more seeds")
    return Spread(fmean(values), stdev(values), min(values), max(values))
