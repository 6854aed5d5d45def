"""Means over seeds: against repeating examples by hand, against evaluation's own intervals, and in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from icm_api.compare.crossed import METRICS, Block, OverSeeds, block, difference, over_seeds, recovered
from icm_api.compare.measuring import Answer
from icm_api.data import Gold
from icm_api.evaluation import Interval, Undefined, expected_calibration_error, wilson_interval
from icm_api.evaluation.resampling import Metric, accuracies, aurocs, balanced_accuracies, measure

LABELS = ("True", "False")


def made(seed: int, groups: int = 12, size: int = 3, skill: float = 0.8) -> tuple[list[Answer], Gold]:
    """Answers in groups, right with a probability that varies by group, and their gold."""
    rng, rows, gold = Random(seed), list[Answer](), dict[str, str]()
    for group in range(groups):
        easy = min(1.0, max(0.0, skill + rng.uniform(-0.3, 0.3)))
        for at in range(size):
            key, truth = f"{group}-{at}", rng.choice(LABELS)
            label = truth if rng.random() < easy else LABELS[1 - LABELS.index(truth)]
            p = round(rng.uniform(0.5, 1.0), 2)
            other = LABELS[1 - LABELS.index(label)]
            rows.append(Answer(key, str(group), label, {label: p, other: 1 - p}))
            gold[key] = truth
    return rows, Gold(gold)


def made_block(seed: int, **settings: float) -> Block:
    rows, gold = made(seed, **settings)  # type: ignore[arg-type]
    return block(rows, gold, LABELS)


def repeated(one: Block, weights: Sequence[int]) -> tuple[list[float], list[bool]]:
    """Confidence and correctness with every example as often as its group."""
    times = [weights[group] for group in one.matched.groups]
    places = [at for at, count in enumerate(times) for _ in range(count)]
    return [float(one.confidence[at]) for at in places], [bool(one.matched.correct[at]) for at in places]


@pytest.mark.parametrize("seed", range(20))
def test_calibration_error_of_multiplicities_is_that_of_repeated_examples(seed: int) -> None:
    one, rng = made_block(seed, groups=5), Random(seed)
    weights = [[rng.randrange(4) for _ in range(5)] for _ in range(10)]
    found = METRICS["calibration_error"](one, np.array(weights, dtype=float))
    for row, value in zip(weights, found, strict=True):
        if sum(row):
            assert value == pytest.approx(expected_calibration_error(*repeated(one, row)), abs=1e-12)
        else:
            assert np.isnan(value)


@pytest.mark.parametrize(
    ("name", "metric"),
    [("accuracy", accuracies), ("balanced_accuracy", balanced_accuracies), ("auroc", aurocs)],
)
def test_one_seed_has_the_value_that_evaluation_gives_it(name: str, metric: Metric) -> None:
    one = made_block(3)
    found = over_seeds(name, [one]).measure()
    assert found.value == pytest.approx(measure(metric, one.matched).value)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_a_mean_over_seeds_is_the_mean_of_its_seeds() -> None:
    blocks = [made_block(seed) for seed in range(4)]
    found = over_seeds("accuracy", blocks)
    by_hand = [float(np.mean(one.matched.correct)) for one in blocks]
    assert found.seeds == pytest.approx(by_hand)
    assert found.mean == pytest.approx(sum(by_hand) / 4)


def test_the_same_answers_under_three_seeds_are_no_more_evidence_than_under_one() -> None:
    one = made_block(0)
    alone, thrice = over_seeds("accuracy", [one]).measure(), over_seeds("accuracy", [one] * 3).measure()
    assert isinstance(alone, Interval)
    assert isinstance(thrice, Interval)
    assert alone.low is not None
    assert alone.high is not None
    assert thrice.low == pytest.approx(alone.low)
    assert thrice.high == pytest.approx(alone.high)


def test_seeds_that_differ_widen_the_interval() -> None:
    good, bad = made_block(1, skill=1.3), made_block(1, skill=0.2)
    apart = over_seeds("accuracy", [good, bad]).measure()
    assert isinstance(apart, Interval)
    assert apart.low is not None
    assert apart.high is not None
    assert apart.low <= over_seeds("accuracy", [bad]).mean + 0.1
    assert apart.high >= over_seeds("accuracy", [good]).mean - 0.1


def test_draws_of_seeds_and_groups_are_what_counting_by_hand_gives() -> None:
    rows, gold = made(5, groups=4)
    # Two seeds that share the groups "1" and "2".
    first = block([row for row in rows if row.group in ("0", "1", "2")], gold, LABELS)
    second = block([row for row in rows if row.group in ("1", "2", "3")], gold, LABELS)
    found = over_seeds("accuracy", [first, second])
    seeds = np.random.default_rng([0, 2]).integers(0, 2, (2000, 2))
    groups = np.random.default_rng(0).integers(0, 4, (2000, 4))
    for at in range(0, 2000, 97):
        total = 0.0
        for seed in seeds[at]:
            names = ("0", "1", "2") if seed == 0 else ("1", "2", "3")
            hits = [row.label == gold[row.id] for one in groups[at] for row in rows if row.group == str(one) in names]
            total += sum(hits) / len(hits) if hits else float("nan")
        assert found.draws[at] == pytest.approx(total / 2, nan_ok=True)


def test_all_right_has_the_interval_of_as_many_trials_as_groups() -> None:
    rows, _ = made(0, groups=9)
    right = block(rows, Gold({row.id: row.label for row in rows}), LABELS)
    assert over_seeds("accuracy", [right, right]).measure() == wilson_interval(9, 9)


def test_what_one_seed_does_not_define_is_undefined() -> None:
    rows, _ = made(0)
    same = block(rows, Gold({row.id: "True" for row in rows}), LABELS)
    assert isinstance(over_seeds("auroc", [same, made_block(1)]).measure(), Undefined)


def test_a_difference_is_paired() -> None:
    blocks = [made_block(seed) for seed in range(3)]
    one = over_seeds("accuracy", blocks)
    nothing = difference(one, over_seeds("accuracy", blocks))
    assert (nothing.value, nothing.low) == (0.0, None)
    # One method is exactly 0.1 better in every draw: no spread is left, although each alone varies.
    better = OverSeeds(tuple(value + 0.125 for value in one.seeds), one.draws + 0.125, one.groups)
    assert difference(better, one).value == pytest.approx(0.125)


def constant(value: float, spread: float = 0.0) -> OverSeeds:
    return OverSeeds((value,), value + spread * np.linspace(-1, 1, 2000), 50)


def test_the_gap_recovered_is_a_share_of_means() -> None:
    found = recovered(constant(0.8, 0.01), constant(0.6), constant(0.9))
    assert found.value == pytest.approx(2 / 3)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 2 / 3 < found.high


def test_without_a_clear_gap_there_is_none_to_recover() -> None:
    found = recovered(constant(0.8), constant(0.6), constant(0.62, 0.1))
    assert isinstance(found, Undefined)
    assert "not clearly ahead" in found.note


def test_draws_without_a_value_do_not_hide_that_there_is_no_clear_gap() -> None:
    golden = constant(0.62, 0.1)
    golden.draws[7] = np.nan
    assert isinstance(recovered(constant(0.8), constant(0.6), golden), Undefined)
