"""Calibration and information against closed forms, brute force over all labelings, and properties."""

from __future__ import annotations

from itertools import product
from math import exp, fsum, isclose, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.consistency import Relations, compile_relations
from icm_api.consistency.constraints import exactly_one, mutually_exclusive
from icm_api.errors import ConfigError
from icm_api.objective import Calibration, information, pooled, shares
from icm_api.objective.calibration import batch_centre, class_centre
from icm_api.types import Dataset, Example, LabelDistribution, Labeling, Predictions, logsumexp

LABELS = ("a", "b", "c")


def read(weights: list[float]) -> LabelDistribution:
    total = logsumexp(weights)
    names = LABELS[: len(weights)]
    return LabelDistribution(names, tuple(value - total for value in weights), 1.0, "exact")


def reads_of(rows: list[list[float]]) -> Predictions:
    return {f"x{at}": read(row) for at, row in enumerate(rows)}


number = st.floats(-6, 6)
binary = st.lists(st.lists(number, min_size=2, max_size=2), min_size=1, max_size=6)
ternary = st.lists(st.lists(number, min_size=3, max_size=3), min_size=1, max_size=4)


@given(binary | ternary)
def test_information_is_mean_log_p_over_the_batch_mean_for_every_labeling(rows: list[list[float]]) -> None:
    reads = reads_of(rows)
    table = np.exp([one.logprobs for one in reads.values()])
    for labels in product(range(table.shape[1]), repeat=len(table)):
        labeling = Labeling({f"x{at}": LABELS[label] for at, label in enumerate(labels)})
        ratio = [table[at, label] / table[:, label].mean() for at, label in enumerate(labels)]
        assert information(reads, labeling) == pytest.approx(np.log(ratio).mean(), abs=1e-9)


@given(binary | ternary)
def test_all_alike_is_never_worth_more_than_nothing_and_nothing_if_the_texts_say_nothing(
    rows: list[list[float]],
) -> None:
    reads = reads_of(rows)
    for label in LABELS[: len(rows[0])]:
        assert information(reads, Labeling(dict.fromkeys(reads, label))) <= 1e-12
        same = reads_of([rows[0]] * len(rows))
        assert information(same, Labeling(dict.fromkeys(same, label))) == pytest.approx(0, abs=1e-12)


@given(binary | ternary, st.randoms())
def test_it_is_p_and_the_entropy_of_the_shares_and_their_divergence_from_the_mean(
    rows: list[list[float]], rng: object
) -> None:
    reads = reads_of(rows)
    choose = rng.choice  # type: ignore[attr-defined]
    labeling = Labeling({key: choose(one.labels) for key, one in reads.items()})
    share = {name: sum(label == name for label in labeling.values()) / len(reads) for name in LABELS}
    mean = {name: fsum(one.probability(name) for one in reads.values()) / len(reads) for name in LABELS[: len(rows[0])]}
    predictability = fsum(one.logprob(labeling[key]) for key, one in reads.items()) / len(reads)
    label_entropy = -fsum(value * log(value) for value in share.values() if value)
    divergence = fsum(value * log(value / mean[name]) for name, value in share.items() if value)
    assert information(reads, labeling) == pytest.approx(predictability + label_entropy + divergence, abs=1e-9)


@given(st.lists(st.lists(number, min_size=2, max_size=2), min_size=4, max_size=4))
def test_related_examples_count_by_their_posterior_over_legal_labelings(rows: list[list[float]]) -> None:
    reads = reads_of(rows)
    data = Dataset([Example(key, {"text": key}, group, key) for key, group in zip(reads, "ggg", strict=False)])
    data = Dataset([*data, Example("x3", {"text": "x3"}, "h", "x3")])
    relations = compile_relations(data, ("a", "b"), [mutually_exclusive("a")])
    mean = {name: fsum(one.probability(name) for one in reads.values()) / 4 for name in ("a", "b")}
    ways = [way for way in product("ab", repeat=3) if way.count("a") <= 1]

    def weight(way: tuple[str, ...]) -> float:
        return exp(fsum(reads[f"x{at}"].logprob(label) for at, label in enumerate(way)))

    def average(way: tuple[str, ...]) -> float:
        return float(np.prod([mean[label] for label in way]))

    for way, last in product(ways, "ab"):
        labeling = Labeling({**{f"x{at}": label for at, label in enumerate(way)}, "x3": last})
        posterior = weight(way) / sum(map(weight, ways))
        by_shares = average(way) / sum(map(average, ways))
        expected = log(posterior / by_shares) + reads["x3"].logprob(last) - log(mean[last])
        assert information(reads, labeling, relations) == pytest.approx(expected / 4, abs=1e-9)


def test_what_the_relations_settle_is_no_information() -> None:
    data = Dataset([Example("x0", {}, "g", "1"), Example("x1", {}, "g", "2")])
    relations = compile_relations(data, ("a", "b"), [mutually_exclusive("a"), exactly_one("a")])
    reads = reads_of([[0.0, 0.0], [0.0, 0.0]])
    assert information(reads, Labeling({"x0": "a", "x1": "b"}), relations) == pytest.approx(0)
    assert information(reads, Labeling({"x0": "a", "x1": "b"}), Relations((), ("x0", "x1"), ("a", "b"))) == 0


@given(binary | ternary, st.sampled_from(["none", "batch", "centres"]))
def test_calibrated_predictions_are_distributions_of_the_same_examples(rows: list[list[float]], method: str) -> None:
    reads = reads_of(rows)
    found = Calibration(method)(reads)
    assert list(found) == list(reads)
    for key, one in found.items():
        assert one.labels == reads[key].labels
        assert isclose(fsum(map(exp, one.logprobs)), 1)


def test_batch_is_the_mean_probability_and_a_prior_moves_it() -> None:
    reads = reads_of([[log(0.9), log(0.1)], [log(0.5), log(0.5)]])
    assert [exp(value) for value in batch_centre(list(reads.values()))] == pytest.approx([0.7, 0.3])
    odds = [one.logprobs[0] - one.logprobs[1] for one in Calibration("batch")(reads).values()]
    assert odds == pytest.approx([log(9) - log(7 / 3), -log(7 / 3)])
    known = [one.logprobs[0] - one.logprobs[1] for one in Calibration("batch", {"a": 3, "b": 1})(reads).values()]
    assert known == pytest.approx([value + log(3) for value in odds])


def test_class_centres_divide_uneven_classes_where_the_batch_mean_cuts_into_the_larger() -> None:
    odds = [*np.linspace(0.05, 0.95, 24), *np.linspace(-0.95, -0.05, 8)]
    reads = reads_of([[value, 0.0] for value in odds])
    assert shares(Calibration("centres")(reads)) == {"a": 0.75, "b": 0.25}
    assert shares(Calibration("batch")(reads))["a"] < 0.7


def test_class_centres_are_two_means_over_the_log_odds() -> None:
    rng = np.random.default_rng(0)
    odds = np.concatenate([rng.normal(3, 0.5, 24), rng.normal(1, 0.5, 8)])
    centre = class_centre([read([value, 0.0]) for value in odds])
    cut = centre[0] - centre[1]
    low, high = odds[odds < cut].mean(), odds[odds >= cut].mean()
    assert cut == pytest.approx((low + high) / 2)


def test_a_class_without_an_example_leaves_the_batch_mean() -> None:
    reads = list(reads_of([[0.5, 0.0], [0.5, 0.0]]).values())
    assert class_centre(reads) == batch_centre(reads)


def test_pooling_adds_up_log_p() -> None:
    one, two = reads_of([[1.0, 0.0, 0.5]]), reads_of([[0.0, 2.0, 0.5]])
    assert pooled([one, two])["x0"].logprobs == pytest.approx(read([1.0, 2.0, 1.0]).logprobs)


def test_what_calibration_cannot_use_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown calibration"):
        Calibration("other")
    with pytest.raises(ConfigError, match="above 0"):
        Calibration("batch", {"a": 0.0, "b": 1.0})
    with pytest.raises(ConfigError, match="prior"):
        Calibration("batch", {"a": 1.0})(reads_of([[0.0, 1.0]]))
    assert Calibration("batch")({}) == {}
