"""Probabilities from replies: closed forms, simulation, and what is refused instead of being read into a reply."""

from math import isclose, log, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.errors import CapabilityError, LogprobsUnavailableError
from icm_api.model.reading.reading import label_distribution
from icm_api.model.reading.sampling import (
    Estimate,
    from_counts,
    from_statements,
    read_label,
    read_statement,
    rotated,
    spoken_forms,
    statement_question,
)
from icm_api.types import Verbalizer

TWO = Verbalizer.plain(["True", "False"])
THREE = Verbalizer.plain(["a", "b", "c"])
MERGED = Verbalizer({"True": [" True", " true"], "False": [" False", "no"]})


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(any), st.integers(0, 50), st.floats(0.01, 3))
def test_counts_against_the_mean_and_deviation_of_the_dirichlet_posterior(
    counts: list[int], other: int, smoothing: float
) -> None:
    n, size = sum(counts), len(counts)
    found = from_counts({str(at): count for at, count in enumerate(counts)}, other, smoothing)

    a = [count + smoothing for count in counts]
    whole = sum(a)
    deviations = [sqrt(each * (whole - each) / (whole**2 * (whole + 1))) for each in a]
    assert list(found.probabilities.values()) == pytest.approx([each / whole for each in a])
    assert found.probabilities["0"] == pytest.approx((counts[0] + smoothing) / (n + smoothing * size))
    assert found.standard_error == pytest.approx(max(deviations))
    assert found.coverage == n / (n + other)


def test_the_standard_error_is_how_far_estimates_really_spread() -> None:
    random, p, n = Random(5), 0.3, 200
    draws = [sum(random.random() < p for _ in range(n)) for _ in range(2000)]
    found = [from_counts({"True": count, "False": n - count}, 0, 0.5) for count in draws]
    spread = sqrt(sum((each.probabilities["True"] - p) ** 2 for each in found) / len(found))
    assert spread == pytest.approx(found[0].standard_error, rel=0.1)


def test_a_label_that_never_came_has_what_smoothing_gives_it_and_no_less() -> None:
    found = from_counts({"True": 20, "False": 0}, 0, 0.5)
    assert found.probabilities["False"] == 0.5 / 21
    assert found.standard_error > 0


@pytest.mark.parametrize("smoothing", [0.0, -1.0, float("nan")])
def test_counts_need_smoothing(smoothing: float) -> None:
    with pytest.raises(ValueError, match="smoothing"):
        from_counts({"True": 1, "False": 0}, 0, smoothing)


def test_replies_that_are_no_label_make_no_distribution() -> None:
    with pytest.raises(LogprobsUnavailableError, match="none of 20 replies"):
        from_counts({"True": 0, "False": 0}, 20, 0.5)


def test_an_estimate_becomes_a_distribution_with_its_method_error_and_coverage() -> None:
    estimate = from_counts({"True": 6, "False": 2}, 2, 0.5)
    found = label_distribution(TWO, estimate.reading("sampled"))
    assert found.probability("True") == pytest.approx(6.5 / 9)
    assert found.coverage == pytest.approx(0.8)
    assert (found.method, found.standard_error, found.intervals) == ("sampled", estimate.standard_error, {})


def test_statements_against_plain_arithmetic() -> None:
    first = [0.5, 0.7, 0.9, 0.5]
    found = from_statements([{"True": p, "False": 1 - p} for p in first])
    mean = sum(first) / 4
    assert found.probabilities["True"] == pytest.approx(mean)
    assert found.standard_error == pytest.approx(sqrt(sum((p - mean) ** 2 for p in first) / 3 / 4))
    assert found.coverage == 1.0


def test_one_statement_has_no_spread() -> None:
    with pytest.raises(ValueError, match="two"):
        from_statements([{"True": 0.5, "False": 0.5}])


def test_a_label_always_stated_as_0_is_bounded_by_what_rounds_to_0() -> None:
    found = label_distribution(TWO, from_statements([{"True": 1.0, "False": 0.0}] * 3).reading("stated"))
    assert found.intervals["False"] == pytest.approx((0.0, 0.005 / 1.005))
    assert 0 < found.probability("False") < 0.005
    assert found.standard_error == 0.0


def test_many_labels_stated_as_0_are_no_excess_of_probability() -> None:
    labels = list("abcdefghijklmnopqrst")
    estimate = Estimate({label: float(label == "d") for label in labels}, 0.0, 1.0)
    assert label_distribution(Verbalizer.plain(labels), estimate.reading("stated")).best == "d"


def test_defect_5_only_a_whole_reply_is_a_label() -> None:
    spoken = spoken_forms(MERGED)
    assert [read_label(reply, spoken) for reply in ("True", " true\n", "no", "False")] == [
        "True", "True", "False", "False"
    ]  # fmt: skip
    for reply in ("untrue", "True.", "TRUE", "It is True", "True False", "", "not"):
        assert read_label(reply, spoken) is None


def test_labels_that_differ_in_white_space_alone_are_refused() -> None:
    with pytest.raises(CapabilityError, match="'x' and 'y' are both written 'yes'"):
        spoken_forms(Verbalizer({"x": [" yes"], "y": ["yes"]}))


@given(st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any))
def test_statements_are_read_back(parts: list[int]) -> None:
    shares = [part / sum(parts) for part in parts]
    found = read_statement(f'{{"a": {shares[0]}, "c": {shares[2]}, "b": {shares[1]}}}', THREE)
    assert list(found) == ["a", "b", "c"]
    assert list(found.values()) == pytest.approx(shares)


def test_a_sum_off_by_rounding_is_scaled() -> None:
    found = read_statement('{"a": 0.33, "b": 0.33, "c": 0.33}', THREE)
    assert list(found.values()) == pytest.approx([1 / 3] * 3)
    assert isclose(sum(found.values()), 1.0)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "True",
        '{"True": 0.5, "Fal',
        "[0.5, 0.5]",
        '{"True": 0.5}',
        '{"True": 0.5, "False": 0.5, "other": 0}',
        '{"True": "0.5", "False": 0.5}',
        '{"True": true, "False": 0}',
        '{"True": null, "False": 1}',
        '{"True": NaN, "False": 1}',
        '{"True": 1.5, "False": -0.5}',
        '{"True": 0.6, "False": 0.6}',
        '{"True": 0.0, "False": 0.0}',
        '{"True": 60, "False": 40}',
    ],
)
def test_defect_4_what_is_no_statement_is_refused_and_shown(reply: str) -> None:
    with pytest.raises(LogprobsUnavailableError) as caught:
        read_statement(reply, TWO)
    assert repr(reply) in str(caught.value)


def test_the_question_names_every_label_first_in_turn() -> None:
    assert [rotated(THREE.labels, turn)[0] for turn in range(5)] == ["a", "b", "c", "a", "b"]
    questions = [statement_question(THREE, turn) for turn in range(3)]
    assert len(set(questions)) == 3
    for question in questions:
        assert all(f'"{label}"' in question for label in THREE.labels)


def test_the_reading_is_of_labels_and_not_of_forms() -> None:
    reading = from_counts({"True": 1, "False": 1}, 0, 0.5).reading("sampled")
    assert reading.forms == {}
    assert reading.labels == {"True": log(0.5), "False": log(0.5)}
