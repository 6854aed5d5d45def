"""Strengths from comparisons, against brute force and what is known of them in closed form."""

from __future__ import annotations

from itertools import combinations
from math import log
from random import Random

import numpy as np
import pytest

from icm_api.reward.bradley_terry import SMALLEST, bradley_terry, meetings


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


@pytest.mark.parametrize("count", [6, 7, 12, 40])
def test_some_comparisons_give_the_strengths_that_all_would(count: int) -> None:
    rng = Random(count)
    planted = np.array([rng.gauss(0, 1) for _ in range(count)])
    planted -= planted.mean()
    met = meetings(count)
    assert len(met) == len({frozenset(pair) for pair in met}) == 2 * count
    assert {sum(at in pair for pair in met) for at in range(count)} == {4}
    wins = {(i, j): float(1 / (1 + np.exp(planted[j] - planted[i]))) for i, j in met}
    assert bradley_terry(count, wins) == pytest.approx(planted.tolist(), abs=1e-6)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="separate parts"):
        bradley_terry(4, {(0, 1): 0.6, (2, 3): 0.6})
    with pytest.raises(ValueError, match="outside"):
        bradley_terry(2, {(0, 1): 1.2})


@pytest.mark.parametrize("count", [0, 1])
def test_one_alone_has_no_strength(count: int) -> None:
    assert bradley_terry(count, {}) == (0.0,) * count
