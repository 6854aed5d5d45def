"""Intervals: closed forms, brute force over all groups, and coverage on simulated groups."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import comb, sqrt
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.data import Gold
from icm_api.evaluation import Interval, Measure, evaluate, exact_lower_limit, spread, wilson_interval
from icm_api.evaluation.clustered import clustered_interval, exact_interval, student
from icm_api.evaluation.resampling import Matched, Metric, accuracies, aurocs, balanced_accuracies, measure
from icm_api.result import LabelledExample, Result
from icm_api.types import Usage
from tests.benchmarks.coverage import coverage, drawn

METRICS: tuple[Metric, ...] = (accuracies, balanced_accuracies, aurocs)


def matched(gold: list[int], correct: list[bool], scores: list[float], groups: list[int], labels: int = 2) -> Matched:
    p = np.array(scores)
    rest = [(1 - p) / (labels - 1) * (1 + at) / labels for at in range(labels - 1)]
    return Matched(
        tuple(f"L{at}" for at in range(labels)),
        np.array(gold, dtype=np.int64),
        np.array(correct, dtype=np.bool_),
        np.stack([p, *rest], axis=1),
        np.array(groups, dtype=np.int64),
        0,
        0,
    )


def repeated(one: Matched, drawn: list[int]) -> Matched:
    """The examples of the groups drawn, written out as often as they were drawn."""
    at = [i for group in drawn for i in range(len(one.gold)) if one.groups[i] == group]
    return Matched(one.labels, one.gold[at], one.correct[at], one.probabilities[at], np.arange(len(at)), 0, 0)


@st.composite
def grouped(draw: st.DrawFn) -> Matched:
    labels, groups = draw(st.integers(2, 4)), draw(st.integers(1, 5))
    # Every group has an example.
    numbers = [*range(groups), *draw(st.lists(st.integers(0, groups - 1), max_size=8))]
    size = len(numbers)
    gold = draw(st.lists(st.integers(0, labels - 1), min_size=size, max_size=size))
    right = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    scores = draw(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=size, max_size=size))
    return matched(gold, right, scores, numbers, labels)


@given(grouped(), st.data())
def test_a_weighted_metric_is_the_metric_of_the_groups_written_out(one: Matched, data: st.DataObject) -> None:
    size = one.group_count
    drawn = data.draw(st.lists(st.integers(0, size - 1), min_size=size, max_size=size))
    draws = np.array([np.bincount(drawn, minlength=size), np.ones(size)], dtype=np.float64)
    written = repeated(one, drawn)
    for metric in METRICS:
        weighted = metric(one, draws)[0]
        plain = metric(written, np.ones((1, written.group_count)))[0]
        np.testing.assert_allclose(weighted, plain, atol=1e-12)


def test_variance_is_that_of_the_metric_without_one_group_at_a_time() -> None:
    one = matched([0, 1, 0, 1, 0, 1], [True, True, False, True, False, True], [0.5] * 6, [0, 0, 1, 2, 3, 3])
    without = [fmean(one.correct[one.groups != group]) for group in range(4)]
    variance = 3 / 4 * sum((each - fmean(without)) ** 2 for each in without)
    # The Wilson equation, with the t quantile of 3 degrees of freedom and as many trials as vary as much.
    found, trials = measure(accuracies, one), min(4 / 6 * 2 / 6 / variance, 4)
    assert found.value == 4 / 6
    for limit in (found.low, found.high):
        assert limit is not None
        assert abs(found.value - limit) == pytest.approx(3.182446 * sqrt(limit * (1 - limit) / trials), abs=1e-6)


def test_the_same_result_gives_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    gold, right = rng.integers(0, 2, 90).tolist(), (rng.random(90) < 0.8).tolist()
    one = matched(gold, right, rng.random(90).tolist(), [at // 3 for at in range(90)])
    for metric in METRICS:
        first, second = measure(metric, one), measure(metric, one)
        assert first == second
        assert first.low is not None
        assert first.high is not None
        assert first.value is not None
        assert first.low < first.value < first.high


@pytest.mark.parametrize("shape", [(12, 1), (16, 4)])
def test_the_interval_covers_the_truth_as_often_as_it_says(shape: tuple[int, int]) -> None:
    found = coverage(shape, right=0.8, together=0.67, rare=0.5, runs=100)
    # 95% of 100 runs, standard deviation 2.2.
    assert found["accuracy"][0] >= 0.89
    assert shape == (12, 1) or found["accuracy"][0] < 1.0
    assert found["balanced"][0] >= 0.89 or not found["balanced"][2]


def test_examples_taken_as_independent_would_cover_less() -> None:
    rng, held = np.random.default_rng(7), {"groups": 0, "alone": 0}
    for _ in range(100):
        one = drawn(rng, (40, 4), right=0.7, together=1.0, rare=0.5)
        for name, groups in (("groups", one.groups), ("alone", np.arange(160))):
            found = measure(accuracies, replace(one, groups=groups))
            assert found.low is not None
            assert found.high is not None
            held[name] += found.low <= 0.7 <= found.high
    assert held["groups"] >= 89
    assert held["alone"] <= 80


def test_auroc_interval_of_independent_examples_agrees_with_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    scores = np.concatenate([rng.normal(1.0, 1.0, 200), rng.normal(0.0, 1.0, 300)])
    p = 1 / (1 + np.exp(-scores))
    found = measure(aurocs, matched([0] * 200 + [1] * 300, [True] * 500, p.tolist(), list(range(500))))
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    # DeLong, 1988: variance from how often each example is ordered rightly.
    beats = scores[:200, None] > scores[None, 200:]
    error = sqrt(beats.mean(axis=1).var(ddof=1) / 200 + beats.mean(axis=0).var(ddof=1) / 300)
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.15 * error)


@pytest.mark.parametrize("metric", METRICS[1:])
def test_no_limits_where_a_label_is_in_too_few_groups(metric: Metric) -> None:
    rng = np.random.default_rng(5)
    right, scores = (rng.random(40) < 0.7).tolist(), rng.random(40).tolist()

    def found_with(rare: int, each: int = 1) -> Measure:
        groups = [at // each for at in range(40)]
        return measure(metric, matched([1] * rare + [0] * (40 - rare), right, scores, groups))

    nine, ten = found_with(9), found_with(10)
    assert nine.note == "no interval: gold label 'L1' is in 9 of the groups, and 10 are needed"
    assert (nine.low, nine.high) == (None, None)
    assert nine.value is not None
    assert ten.low is not None
    # Groups count, not examples.
    assert found_with(18, each=2).low is None
    assert found_with(20, each=2).low is not None


def test_no_limits_for_one_group_or_where_nothing_varies() -> None:
    gold, scores = [0, 1, 0, 1], [0.9, 0.2, 0.3, 0.1]
    one_group = measure(accuracies, matched(gold, [True, False, True, True], scores, [0] * 4))
    assert one_group == Interval(0.75, None, None, "no interval: all examples are of one group")
    all_right = matched(gold * 5, [True] * 20, scores * 5, list(range(20)))
    nothing_varies = Interval(1.0, None, None, "no interval: no group makes a difference")
    assert measure(balanced_accuracies, all_right) == nothing_varies


def test_accuracy_where_all_are_right_has_the_exact_interval_of_the_groups() -> None:
    gold, scores = [0, 1, 0, 1], [0.9, 0.2, 0.3, 0.1]
    assert measure(accuracies, matched(gold, [True] * 4, scores, [0, 0, 1, 1])) == exact_interval(2, 2)
    assert measure(accuracies, matched(gold, [False] * 4, scores, [0, 0, 1, 1])) == exact_interval(0, 2)


def evaluated_groups(names: list[str | None]) -> int:
    rows = tuple(LabelledExample(str(at), "A", 1.0, 1.0, name, {"A": 1.0, "B": 0.0}) for at, name in enumerate(names))
    result = Result(rows, 0.0, 0.0, 0.0, Usage(), 0, {})
    return evaluate(result, Gold({row.id: "A" for row in rows})).groups


def test_an_example_without_group_is_its_own_whatever_others_are_called() -> None:
    assert evaluated_groups(["q", "q", None, None]) == 3
    assert evaluated_groups([None, "0", "0"]) == 2  # group "0" is not the example "0"
    assert evaluated_groups(["", "", None]) == 2


def test_five_thousand_examples_take_no_loop_over_examples_or_groups() -> None:
    rng = np.random.default_rng(2)
    gold, right = rng.integers(0, 2, 5000).tolist(), (rng.random(5000) < 0.8).tolist()
    one = matched(gold, right, rng.random(5000).tolist(), list(range(5000)))
    for metric in METRICS:
        measure(metric, one)  # what loads at the first use
        calls = Counter[str]()
        sys.setprofile(lambda frame, event, argument: calls.update([event]))  # noqa: B023 - used up in this round
        try:
            measure(metric, one)
        finally:
            sys.setprofile(None)
        assert 0 < calls["call"] + calls["c_call"] < 1000


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_limits_solve_the_equation_that_defines_them(drawn: tuple[int, int]) -> None:
    successes, n = drawn
    found = wilson_interval(successes, n)
    assert found.value == successes / n
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low < found.high <= 1
    for limit in (found.low, found.high):
        distance = 1.959963984540054 * sqrt(limit * (1 - limit) / n)
        assert abs(found.value - limit) == pytest.approx(distance, abs=1e-9)
    mirrored = wilson_interval(n - successes, n)
    assert mirrored.low == pytest.approx(1 - found.high, abs=1e-12)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_limits_leave_out_what_is_rarer_than_one_in_forty(drawn: tuple[int, int]) -> None:
    successes, n = drawn
    found = exact_interval(successes, n)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high

    def at_least(k: int, p: float) -> float:
        return sum(comb(n, at) * p**at * (1 - p) ** (n - at) for at in range(k, n + 1))

    assert at_least(successes, found.low) == pytest.approx(0.025) if successes else found.low == 0.0
    assert at_least(n - successes, 1 - found.high) == pytest.approx(0.025) if successes < n else found.high == 1.0


def test_limits_of_groups_are_those_of_as_many_trials_if_there_are_many() -> None:
    assert [round(student(freedom), 3) for freedom in (2, 4, 30)] == [4.303, 2.776, 2.042]
    found, plain = clustered_interval(0.8, 0.8 * 0.2 / 50, 10**6, 100), wilson_interval(40, 50)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-4)
    # Never as if there were more trials than examples.
    assert clustered_interval(0.8, 1e-9, 10**6, 50) == clustered_interval(0.8, 0.8 * 0.2 / 50, 10**6, 50)


def test_wilson_at_the_ends() -> None:
    assert wilson_interval(0, 10).low == 0.0
    assert wilson_interval(10, 10).high == 1.0
    # At 0 of n the upper limit is z^2 / (n + z^2).
    assert wilson_interval(0, 10).high == pytest.approx(1.959963984540054**2 / (10 + 1.959963984540054**2))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} successes of {n}"):
        wilson_interval(successes, n)


def test_spread_by_hand() -> None:
    found = spread([2.0, 4.0, 4.0, 6.0])
    assert (found.mean, found.low, found.high) == (4.0, 2.0, 6.0)
    assert found.standard_deviation == pytest.approx(sqrt(8 / 3))
    with pytest.raises(ValueError, match="two values, got 1"):
        spread([1.0])


@pytest.mark.parametrize(
    ("successes", "n"), [(1, 1), (0, 7), (3, 7), (7, 7), (16, 20), (19, 20), (80, 100), (590, 600)]
)
def test_the_exact_lower_limit_is_where_so_many_successes_become_rare(successes: int, n: int) -> None:
    low = exact_lower_limit(successes, n)

    def at_least(p: Fraction) -> float:
        return float(sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(successes, n + 1)))

    if successes:
        assert at_least(Fraction(low).limit_denominator(10**9)) == pytest.approx(0.05, abs=1e-6)
    else:
        assert low == 0.0


@pytest.mark.parametrize("size", [1, 2, 9])
def test_the_exact_lower_limit_covers_whatever_the_truth(size: int) -> None:
    """All outcomes of all trials, written out: the limit is above the truth in at most 5% of them."""
    limits = [exact_lower_limit(successes, size) for successes in range(size + 1)]
    for percent in range(1, 100):
        p = percent / 100
        above = sum(
            p ** sum(way) * (1 - p) ** (size - sum(way))
            for way in product((0, 1), repeat=size)
            if limits[sum(way)] > p + 1e-12
        )
        assert above <= 0.05 + 1e-12


@pytest.mark.parametrize(
    ("successes", "n", "level"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)]
)
def test_a_limit_of_what_cannot_be_is_refused(successes: int, n: int, level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        exact_lower_limit(successes, n, level)
