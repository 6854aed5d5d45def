"""Bradley-Terry: from comparisons of two at a time to one strength each, by maximum likelihood.

Source: Bradley and Terry 1952, Biometrika 39. A comparison counts by its probability, not only by who won. Nothing here
knows of texts or models.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-6
"""A probability nearer to 0 or 1 counts as this near: else no strength would be large enough for it."""
MOST_WHOLE = 4
"""Up to so many are all compared with all. Of more, about 3n comparisons are enough: see `next_meetings`."""
_STEPS = 200
_EXACT = 1e-10

_Floats = NDArray[np.float64]


def bradley_terry(count: int, wins: Mapping[tuple[int, int], float]) -> tuple[float, ...]:
    """The strengths s under which p(i beats j) = 1 / (1 + exp(s_j - s_i)) fits best.

    If all are compared with all, the order is that of the mean probabilities to win.

    Args:
        count: how many there are, numbered from 0.
        wins: (i, j) -> probability that i beats j, in [0, 1]; each pair at most once, in either order.

    Returns:
        A strength each, in nats, with mean 0.

    Raises:
        ValueError: some cannot be compared with others even through third ones, or a probability is outside [0, 1].

    Example:
        >>> [round(strength, 3) for strength in bradley_terry(2, {(0, 1): 0.75})]
        [0.549, -0.549]
    """
    if any(not 0 <= p <= 1 for p in wins.values()):
        raise ValueError(f"a probability to win is outside [0, 1]: {dict(wins)}")
    if count < 2:
        return (0.0,) * count
    pairs = np.array(list(wins), dtype=np.int64).reshape(-1, 2)
    shares = np.clip(np.array(list(wins.values())), SMALLEST, 1 - SMALLEST)
    if _parts(count, pairs) > 1:
        raise ValueError(f"{count} cannot be ranked by the comparisons {list(wins)}: they fall into separate parts")
    ends: _Floats = np.zeros((len(pairs), count))
    rows = np.arange(len(pairs))
    ends[rows, pairs[:, 0]] += 1
    ends[rows, pairs[:, 1]] -= 1
    strengths: _Floats = np.zeros(count)
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-(ends @ strengths)))
        # The strengths are known up to a constant: the ones fix it, so that the system has one solution.
        curvature = ends.T @ (ends * (likely * (1 - likely))[:, None]) + 1 / count
        step = np.linalg.solve(curvature, ends.T @ (shares - likely))
        scale = 1.0
        before = _log_likelihood(ends @ strengths, shares)
        while scale > _EXACT and _log_likelihood(ends @ (strengths + scale * step), shares) < before:
            scale /= 2
        strengths = strengths + scale * step
        if np.abs(step).max() < _EXACT:
            break
    return tuple(float(value) for value in strengths - strengths.mean())


def first_meetings(count: int) -> tuple[tuple[int, int], ...]:
    """Who is compared first: all with all if they are few, else each with the two beside it on a ring.

    Args:
        count: how many there are.

    Example:
        >>> first_meetings(3), first_meetings(5)
        (((0, 1), (0, 2), (1, 2)), ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0)))
    """
    if count <= MOST_WHOLE:
        return tuple(combinations(range(count), 2))
    return tuple((at, (at + 1) % count) for at in range(count))


def next_meetings(strengths: Sequence[float], met: Collection[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Who is compared next: those that follow one another by strength and have not met.

    If a comparison is all but certain, strengths tell little of two that met others only; neighbours have to meet.

    Args:
        strengths: by the comparisons so far.
        met: pairs that were compared, each in either order.

    Example:
        >>> next_meetings((0.1, 2.0, -1.0, 0.7), [(0, 1), (3, 0), (2, 1)])
        ((1, 3), (0, 2))
    """
    order = sorted(range(len(strengths)), key=lambda at: -strengths[at])
    known = {*met, *((other, one) for one, other in met)}
    return tuple(pair for pair in pairwise(order) if pair not in known)


def most_meetings(count: int) -> int:
    """About how many comparisons it takes to rank so many: all with all if they are few, else some three each.

    Args:
        count: how many there are.

    Example:
        >>> most_meetings(4), most_meetings(8)
        (6, 24)
    """
    return count * (count - 1) // 2 if count <= MOST_WHOLE else min(3 * count, count * (count - 1) // 2)


def _log_likelihood(differences: _Floats, shares: _Floats) -> float:
    """Of shares won, given the differences in strength; nats."""
    return float(-(shares * np.logaddexp(0, -differences) + (1 - shares) * np.logaddexp(0, differences)).sum())


def _parts(count: int, pairs: NDArray[np.int64]) -> int:
    """How many sets there are that no comparison links."""
    part = list(range(count))
    for one, other in pairs.tolist():
        old, new = part[one], part[other]
        part = [new if each == old else each for each in part]
    return len(set(part))
