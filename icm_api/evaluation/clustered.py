"""95% limits of shares of examples that form groups, from few groups too.

Limits of shares of independent trials are exact (Clopper and Pearson, 1934). Examples of one group rise and fall
together: then the Wilson score interval is taken of as many independent trials as would vary as much (Kish's effective
sample size), with the t quantile of the number of groups (Korn and Graubard, 1998, Survey Methodology 24). How often
such limits hold the truth: `python -m tests.benchmarks coverage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, pi, sqrt, tan
from statistics import fmean, variance

import numpy as np

from icm_api.evaluation.intervals import LEVEL, Interval, exact_lower_limit, score_limits

ROUNDING = 1e-18
"""A variance below this is no variation."""
_STEPS = 20_000
_MANY = 10_000
"""Degrees of freedom from which the quantile of t no longer changes what is printed."""


def exact_interval(successes: int, n: int) -> Interval:
    """A proportion of independent trials with its exact 95% limits: they hold the truth at least so often.

    Args:
        successes: in 0..n.
        n: trials, at least 1.

    Raises:
        ValueError: n is below 1, or successes are not in 0..n.

    Example:
        >>> found = exact_interval(9, 10)
        >>> f"{found.value:.2f}, {found.low:.4f} to {found.high:.4f}"
        '0.90, 0.5550 to 0.9975'
    """
    outside = (1 + LEVEL) / 2
    low, high = exact_lower_limit(successes, n, outside), 1 - exact_lower_limit(n - successes, n, outside)
    return Interval(successes / n, low, high)


def clustered_interval(share: float, variance: float, freedom: int, most: float) -> Interval:
    """A share with its 95% limits, from how much it varies between groups.

    Args:
        share: above 0 and below 1.
        variance: of the share, above 0.
        freedom: degrees of freedom of the variance, one less than the groups; at least 1.
        most: independent trials that it counts as at most, such as the number of examples.

    Returns:
        The Wilson score interval of share * (1 - share) / variance trials.

    Example:
        >>> found = clustered_interval(0.8, 0.8 * 0.2 / 50, freedom=9, most=100)
        >>> f"{found.low:.3f} to {found.high:.3f}"
        '0.647 to 0.897'
    """
    trials = min(share * (1 - share) / variance, most)
    return Interval(share, *score_limits(share, trials, student(freedom)))


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean of independent values with its 95% limits.

    Args:
        values: each in [0, 1], at least one; if all are 0 or 1, the limits are exact.

    Example:
        >>> found = mean_interval([0.9, 0.7, 0.8, 0.6])
        >>> f"{found.value:.2f}, {found.low:.2f} to {found.high:.2f}"
        '0.75, 0.51 to 0.90'
    """
    mean, count = fmean(values), len(values)
    if set(values) <= {0.0, 1.0}:
        return exact_interval(round(mean * count), count)
    spread = variance(values) / count if count > 1 else 0.0
    if spread < ROUNDING:
        return Interval(mean, None, None, "no interval: one value" if count == 1 else "no interval: all are alike")
    return clustered_interval(mean, spread, count - 1, inf)


def student(freedom: int) -> float:
    """The quantile of Student's t that its middle 95% end at.

    With t = sqrt(freedom) * tan(a), the density of the angle a is cos(a) to the power freedom - 1.

    Args:
        freedom: degrees of freedom, at least 1.

    Example:
        >>> [round(student(freedom), 3) for freedom in (1, 9, 10**6)]
        [12.706, 2.262, 1.96]
    """
    freedom = min(freedom, _MANY)
    angles = np.linspace(0, pi / 2, _STEPS + 1)
    density = np.cos(angles) ** (freedom - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(LEVEL * below[-1], below, angles))
    return sqrt(freedom) * tan(angle)
