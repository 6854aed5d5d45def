"""Strengths from comparisons, against brute force and what is known of them in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import log
from random import Random

import numpy as np
import pytest

from icm_api.reward.bradley_terry import SMALLEST, bradley_terry, first_meetings, next_meetings


def brute_force(wins: dict[tuple[int, int], float]) -> list[float]:
    """The best strengths of three, with mean 0, of all on a grid that is made finer around the best."""
    center, width = np.zeros(2), 8.0
    for _ in range(12):
        axis = np.linspace(-width, width, 41)
        one, other = np.meshgrid(center[0] + axis, center[1] + axis, indexing="ij")
        strengths = np.stack([one, other, -one - other])
        fit = sum(
            -p * np.logaddexp(0, strengths[j] - strengths[i]) - (1 - p) * np.logaddexp(0, strengths[i] - strengths[j])
            for (i, j), p in wins.items()
        )
        at = np.unravel_index(int(np.argmax(fit)), one.shape)
        center, width = np.array([one[at], other[at]]), width / 8
    return [float(center[0]), float(center[1]), float(-center.sum())]


@pytest.mark.parametrize("seed", range(6))
def test_strengths_are_those_of_maximum_likelihood(seed: int) -> None:
    rng = Random(seed)
    wins = {pair: rng.uniform(0.02, 0.98) for pair in combinations(range(3), 2)}
    if seed % 2:
        # A chain has no third comparison to settle it.
        del wins[0, 2]
    assert bradley_terry(3, wins) == pytest.approx(brute_force(wins), abs=1e-6)


def test_two_have_the_log_odds_between_them() -> None:
    assert bradley_terry(2, {(1, 0): 0.9}) == pytest.approx((-log(9) / 2, log(9) / 2))


def test_certain_wins_have_finite_strengths() -> None:
    strengths = bradley_terry(3, {(0, 1): 1.0, (1, 2): 1.0})
    assert strengths[0] - strengths[1] == pytest.approx(log((1 - SMALLEST) / SMALLEST))
    assert strengths[0] > strengths[1] > strengths[2]


@pytest.mark.parametrize("seed", range(5))
def test_if_all_meet_all_the_order_is_that_of_the_wins(seed: int) -> None:
    rng = Random(seed)
    wins = {pair: rng.random() for pair in combinations(range(6), 2)}
    won = [0.0] * 6
    for (i, j), p in wins.items():
        won[i] += p
        won[j] += 1 - p
    strengths = bradley_terry(6, wins)
    assert sorted(range(6), key=strengths.__getitem__) == sorted(range(6), key=won.__getitem__)


def played(strengths: Sequence[float]) -> tuple[tuple[float, ...], int]:
    """What comparisons say of planted strengths, and how many it took."""
    wins: dict[tuple[int, int], float] = {}
    due = first_meetings(len(strengths))
    found: tuple[float, ...] = ()
    while due:
        wins |= {(i, j): float(1 / (1 + np.exp(strengths[j] - strengths[i]))) for i, j in due}
        found = bradley_terry(len(strengths), wins)
        due = next_meetings(found, wins)
    assert len({frozenset(pair) for pair in wins}) == len(wins)
    return found, len(wins)


@pytest.mark.parametrize("count", [3, 5, 12, 40])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_some_comparisons_give_the_order_that_all_would(count: int, scale: float) -> None:
    """Also if a comparison is all but certain, and its probability says no more than who won."""
    rng = Random(count)
    planted = [rng.gauss(0, scale) for _ in range(count)]
    found, comparisons = played(planted)
    assert comparisons <= max(count * (count - 1) / 2 if count < 5 else 4.5 * count, 3)
    assert sorted(range(count), key=found.__getitem__) == sorted(range(count), key=planted.__getitem__)
    if scale == 1:
        mean = sum(planted) / count
        assert found == pytest.approx([each - mean for each in planted], abs=1e-5)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="separate parts"):
        bradley_terry(4, {(0, 1): 0.6, (2, 3): 0.6})
    with pytest.raises(ValueError, match="outside"):
        bradley_terry(2, {(0, 1): 1.2})


@pytest.mark.parametrize("count", [0, 1])
def test_one_alone_has_no_strength(count: int) -> None:
    assert bradley_terry(count, {}) == (0.0,) * count
