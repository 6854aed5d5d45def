"""Temperature schedules: functions from a step, counted from 1, to a temperature in units of U."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

from icm_api.errors import ConfigError

Schedule = Callable[[int], float]


def logarithmic(initial: float, minimum: float, cooling: float) -> Schedule:
    """T(n) = max(minimum, initial / (1 + cooling * ln n)) (paper, Algorithm 1).

    Args:
        initial: T_0, > 0.
        minimum: T_min, > 0.
        cooling: beta, >= 0.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> schedule = logarithmic(10.0, 0.01, 0.99)
        >>> schedule(1), round(schedule(100), 4)
        (10.0, 1.7988)
    """
    if initial <= 0 or minimum <= 0 or cooling < 0:
        raise ConfigError(
            f"temperatures must be above 0 and cooling at least 0, got initial {initial}, minimum {minimum}, "
            f"cooling {cooling}"
        )

    def temperature(step: int) -> float:
        return max(minimum, initial / (1.0 + cooling * log(max(step, 1))))

    return temperature


def acceptance_probability(change: float, temperature: float) -> float:
    """min(1, exp(dU / T)), which cannot overflow (paper, Algorithm 1).

    Args:
        change: dU of a proposal.
        temperature: T, > 0.

    Example:
        >>> acceptance_probability(1e6, 0.01), acceptance_probability(-1e6, 0.01)
        (1.0, 0.0)
    """
    return 1.0 if change >= 0 else exp(change / temperature)
