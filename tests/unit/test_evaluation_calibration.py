"""Temperatures, calibration errors and the queue for a person, against brute force and closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from icm_api.consistency import compile_relations, exactly_one
from icm_api.evaluation.calibration import (
    COLDEST,
    HOTTEST,
    Temperature,
    brier,
    calibrated,
    expected_calibration_error,
    scaled,
    temperature_of_agreement,
    temperature_of_labels,
)
from icm_api.evaluation.queue import queue_of
from icm_api.types import Dataset, Example, Label, LabelDistribution, Labeling, Score

LABELS = ("A", "B", "C")
UNIT = st.floats(0.01, 0.99)


def read(*probabilities: float) -> LabelDistribution:
    total = sum(probabilities)
    labels = LABELS[: len(probabilities)]
    return LabelDistribution(labels, tuple(log(p / total) for p in probabilities), 1.0, "exact")


def score(reads: dict[str, LabelDistribution], labels: dict[str, Label], broken: frozenset[int] = frozenset()) -> Score:
    logprobs = {key: read.logprob(labels[key]) for key, read in reads.items()}
    return Score(Labeling(labels), 0.0, 0.0, 0.0, 0.0, logprobs, reads, broken, "exact")


def surprise(pairs: Sequence[tuple[LabelDistribution, Label]], temperature: float) -> float:
    """-log p_T of the labels, written out apart from the code."""
    total = 0.0
    for one, label in pairs:
        weights = {name: exp(value / temperature) for name, value in zip(one.labels, one.logprobs, strict=True)}
        total -= log(weights[label] / sum(weights.values()))
    return total


@given(st.lists(st.tuples(UNIT, UNIT, UNIT, st.sampled_from(LABELS)), min_size=1, max_size=12))
def test_no_temperature_of_a_fine_grid_makes_the_given_labels_more_probable(rows: list[tuple[float, ...]]) -> None:
    pairs = [(read(a, b, c), str(label)) for a, b, c, label in rows]
    found = temperature_of_labels(pairs)
    grid = [COLDEST * (HOTTEST / COLDEST) ** (at / 250) for at in range(251)]
    assert surprise(pairs, found.value) <= min(surprise(pairs, one) for one in grid) + 1e-9
    assert found.source == "given labels"
    assert found.evidence == len(pairs)


def test_equal_confidences_get_the_temperature_at_which_they_are_as_often_right() -> None:
    # 0.9 to 0.1 is log-odds of log 9; three of four right are log-odds of log 3, half as much.
    pairs = [(read(0.9, 0.1), "A")] * 3 + [(read(0.9, 0.1), "B")]
    assert temperature_of_labels(pairs).value == pytest.approx(2.0)


def test_labels_that_are_all_most_probable_end_at_the_coldest_and_none_at_one() -> None:
    assert temperature_of_labels([(read(0.9, 0.1), "A")]).value == COLDEST
    assert temperature_of_labels([(read(0.9, 0.1), "B")]).value == HOTTEST
    assert temperature_of_labels([]) == Temperature()


@given(st.lists(UNIT, min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8), st.integers(1, 3))
def test_mean_confidence_becomes_the_smoothed_agreement(ps: list[float], same: list[bool], repeats: int) -> None:
    reads = {str(at): read(p, 1 - p) for at, p in enumerate(ps)}
    other = {"A": "B", "B": "A"}
    again = Labeling({key: one.best if same[int(key)] else other[one.best] for key, one in reads.items()})
    found = temperature_of_agreement(reads, [again] * repeats)
    agreeing = repeats * sum(same[: len(ps)])
    expected = (agreeing + 1) / (repeats * len(ps) + 2)
    assert found.agreement == pytest.approx(expected)

    def confidence(temperature: float) -> float:
        return sum(max(map(exp, scaled(one, temperature).logprobs)) for one in reads.values()) / len(reads)

    assume(confidence(HOTTEST) < expected)
    assert confidence(found.value) == pytest.approx(min(expected, confidence(1.0)), abs=1e-6)


def test_agreement_never_makes_the_model_surer_than_it_was() -> None:
    reads = {str(at): read(0.6, 0.4) for at in range(50)}
    same = Labeling(dict.fromkeys(reads, "A"))
    assert temperature_of_agreement(reads, [same] * 4).value == pytest.approx(1.0)
    assert temperature_of_agreement(reads, []) == Temperature()


def test_a_label_below_the_threshold_is_left_open_and_keeps_its_probability() -> None:
    found = score({"sure": read(0.9, 0.1), "torn": read(0.55, 0.45)}, {"sure": "A", "torn": "B"})
    sure, torn = calibrated(found, Temperature(), abstain_below=0.5)
    assert (sure.label, torn.label) == ("A", None)
    assert torn.probability == pytest.approx(0.45)
    assert calibrated(found, Temperature(2.0))[0].probability == pytest.approx(0.75)
    with pytest.raises(ValueError, match=r"abstain_below is 1\.5"):
        calibrated(found, Temperature(), abstain_below=1.5)


def by_hand(confidences: Sequence[float], correct: Sequence[bool], bins: int) -> float:
    """Equal-mass bins, example by example: rank r of n goes to the largest bin b with n * b // B <= r."""
    size, order = len(correct), sorted(range(len(correct)), key=lambda at: (confidences[at], correct[at]))
    members: dict[int, list[int]] = {}
    for rank, at in enumerate(order):
        members.setdefault(max(b for b in range(bins) if size * b // bins <= rank), []).append(at)
    return sum(
        len(inside)
        / size
        * abs(sum(confidences[at] for at in inside) / len(inside) - sum(correct[at] for at in inside) / len(inside))
        for inside in members.values()
    )


@given(st.lists(st.tuples(UNIT, st.booleans()), min_size=1, max_size=40), st.integers(1, 12))
def test_calibration_error_is_that_of_bins_filled_by_hand(rows: list[tuple[float, bool]], bins: int) -> None:
    confidences, correct = [p for p, _ in rows], [hit for _, hit in rows]
    found = expected_calibration_error(confidences, correct, bins)
    assert found == pytest.approx(by_hand(confidences, correct, bins), abs=1e-12)


def test_calibration_error_of_one_bin_and_of_certainty() -> None:
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0.0
    assert expected_calibration_error([0.7] * 10, [True] * 7 + [False] * 3, bins=1) == pytest.approx(0.0)
    for values in ([], [0.5]):
        with pytest.raises(ValueError, match="at least one"):
            expected_calibration_error(values, [])
    with pytest.raises(ValueError, match="0 bins"):
        expected_calibration_error([0.5], [True], bins=0)


def test_brier_score_is_that_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = Random(0)
    for size in range(2, 40):
        confidences = [rng.random() for _ in range(size)]
        correct = [rng.random() < 0.7 for _ in range(size)]
        expected = sklearn.brier_score_loss(correct, confidences, labels=[False, True])
        assert brier(confidences, correct) == pytest.approx(expected)


def questions(*groups: str | None) -> Dataset:
    return Dataset(Example(f"e{at}", {"text": str(at)}, group) for at, group in enumerate(groups))


def test_the_queue_holds_the_least_sure_of_each_group_and_no_fixed_ones() -> None:
    dataset = questions("p", "p", "q", "q", None)
    reads = {f"e{at}": read(p, 1 - p) for at, p in enumerate((0.6, 0.7, 0.9, 0.95, 0.8))}
    found, relations = score(reads, dict.fromkeys(reads, "A")), compile_relations(dataset, ("A", "B"), ())
    assert queue_of(found, dataset, relations) == ("e0", "e4", "e2")
    assert queue_of(found, dataset, relations, per_group=2) == ("e0", "e1", "e4", "e2", "e3")
    assert queue_of(found, dataset, relations, fixed={"e0"}) == ("e1", "e4", "e2")
    with pytest.raises(ValueError, match="per_group is 0"):
        queue_of(found, dataset, relations, per_group=0)


def test_the_queue_begins_with_broken_relations_then_with_what_repetitions_disagree_on() -> None:
    dataset = questions("p", "p", "q", "r")
    reads = {f"e{at}": read(p, 1 - p) for at, p in enumerate((0.99, 0.98, 0.9, 0.85))}
    relations = compile_relations(dataset, ("A", "B"), [exactly_one("A")])
    labels = dict.fromkeys(reads, "A")
    found = score(reads, labels, relations.broken(labels))
    assert queue_of(found, dataset, relations) == ("e1", "e3", "e2")
    doubted = Labeling({**labels, "e2": "B"})
    assert queue_of(found, dataset, relations, repeats=[doubted]) == ("e1", "e2", "e3")
