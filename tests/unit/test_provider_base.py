"""How raw logprobs become a distribution over labels, and what is refused instead of being made up."""

import tomllib
from math import exp, inf, log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.coverage import coverage_warning, thinks_first
from icm_api.model.reading.reading import Below, Reading, label_distribution
from icm_api.types import LabelDistribution, Relation, Verbalizer, logsumexp

TWO = Verbalizer.plain(["True", "False"])
MERGED = Verbalizer({"True": [" True", " true"], "False": [" False", " false", " FALSE"]})


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8))
def test_logsumexp_is_the_log_of_the_sum(values: list[float]) -> None:
    assert logsumexp(values) == pytest.approx(log(sum(exp(value) for value in values)), abs=1e-9)


@pytest.mark.parametrize("shift", [-1e6, -800.0, 800.0, 1e6])
def test_logsumexp_neither_overflows_nor_underflows(shift: float) -> None:
    assert logsumexp([shift, shift + log(3)]) == pytest.approx(shift + log(4))


def test_logsumexp_of_nothing_possible_is_minus_infinity() -> None:
    assert logsumexp([-inf, -inf]) == -inf
    assert logsumexp([-inf, 0.0]) == 0.0


@given(st.lists(st.floats(1e-6, 1.0), min_size=6, max_size=6))
def test_distribution_against_plain_probabilities(weights: list[float]) -> None:
    *probabilities, _other = [weight / sum(weights) for weight in weights]
    forms = [form for label in MERGED.labels for form in MERGED.forms(label)]
    logprobs = {form: log(p) for form, p in zip(forms, probabilities, strict=True)}

    result = label_distribution(MERGED, Reading(logprobs, "exact"))

    true, false = sum(probabilities[:2]), sum(probabilities[2:])
    assert result.probability("True") == pytest.approx(true / (true + false))
    assert result.probability("True") + result.probability("False") == pytest.approx(1)
    assert result.coverage == pytest.approx(true + false)
    assert result.labels == ("True", "False")
    assert result.method == "exact"


def test_distribution_does_not_need_mass_on_the_labels() -> None:
    result = label_distribution(TWO, Reading({" True": -500.0, " False": -500.0 + log(3)}, "exact"))
    assert result.probability("False") == pytest.approx(0.75)
    assert result.coverage is not None
    assert 0 < result.coverage < 1e-200


@pytest.mark.parametrize("value", [nan, inf, -inf, 0.5, 1e-3, None])
@pytest.mark.parametrize("form", [" True", " False"])
def test_defect_4_an_unusable_logprob_is_refused_by_name(value: float | None, form: str) -> None:
    logprobs: dict[str, float] = {" True": -0.7, " False": -0.8, form: value}  # type: ignore[dict-item]
    with pytest.raises(LogprobsUnavailableError, match=repr(form)):
        label_distribution(TWO, Reading(logprobs, "exact"))


def test_defect_4_a_missing_form_is_refused_by_name() -> None:
    logprobs = {" True": -1.0, " true": -2.0, " False": -1.5, " FALSE": -3.0}
    with pytest.raises(LogprobsUnavailableError, match="' false' of label 'False'"):
        label_distribution(MERGED, Reading(logprobs, "exact"))


def test_probabilities_that_sum_to_more_than_one_are_refused() -> None:
    with pytest.raises(LogprobsUnavailableError, match=r"1\.03"):
        label_distribution(TWO, Reading({" True": log(0.63), " False": log(0.4)}, "exact"))


def test_a_little_rounding_above_one_is_allowed_and_coverage_stays_a_probability() -> None:
    result = label_distribution(TWO, Reading({" True": log(0.61), " False": log(0.4)}, "exact"))
    assert result.coverage == 1.0
    assert result.probability("True") == pytest.approx(0.61 / 1.01)


@pytest.mark.parametrize("logprobs", [(-9999.0, -0.1), (-9999.0, -9999.0)])
def test_defect_4_a_placeholder_is_refused(logprobs: tuple[float, float]) -> None:
    with pytest.raises(LogprobsUnavailableError):
        label_distribution(TWO, Reading(dict(zip([" True", " False"], logprobs, strict=True)), "exact"))


def test_a_reading_of_whole_labels_needs_no_forms() -> None:
    found = label_distribution(MERGED, Reading({}, "sampled", 0.1, {"True": log(0.6), "False": log(0.2)}))
    assert found.probability("True") == pytest.approx(0.75)
    assert found.coverage == pytest.approx(0.8)
    assert (found.method, found.standard_error, found.intervals) == ("sampled", 0.1, {})


def test_a_whole_label_can_be_bounded() -> None:
    found = label_distribution(MERGED, Reading({}, "stated", 0.0, {"True": log(0.9), "False": Below(log(0.1))}))
    assert found.intervals["False"] == pytest.approx((0.0, 0.1))
    assert found.probability("False") == pytest.approx(0.05 / 0.95)


@pytest.mark.parametrize("labels", [{"True": -0.1}, {"True": -0.1, "False": -9999.0}, {" True": -0.1, " False": -3.0}])
def test_defect_4_a_whole_label_without_a_number_is_refused(labels: dict[str, float]) -> None:
    with pytest.raises(LogprobsUnavailableError, match=r"'False'|'True'"):
        label_distribution(TWO, Reading({" True": -0.1, " False": -3.0}, "sampled", 0.1, labels))


@pytest.mark.parametrize("bound", [log(0.4), log(1e-6), 0.0])
def test_no_form_of_any_label_is_unknown_and_no_error(bound: float) -> None:
    forms = {" True": Below(bound), " False": Below(log(0.01))}
    found = label_distribution(TWO, Reading(forms, "top_k", instead={" So": 0.3}))
    # A larger bound is no evidence.
    assert [found.probability(label) for label in TWO.labels] == pytest.approx([0.5, 0.5])
    assert (found.unknown, found.coverage) == (True, 0.0)
    assert found.intervals == {"True": (0.0, 1.0), "False": (0.0, 1.0)}
    assert found.instead == {" So": 0.3}


THREE = Verbalizer({"True": [" True"], "False": [" False", " no"], "N/A": [" N/A"]})


def low(coverage: float, instead: dict[str, float], method: str = "top_k") -> LabelDistribution:
    return LabelDistribution(THREE.labels, (-log(3),) * 3, coverage, method, instead=instead)


def test_what_is_written_instead_becomes_a_line_to_paste() -> None:
    told = coverage_warning(
        [low(0.02, {"**true": 0.5, "The": 0.2}), low(0.0, {"No": 0.6, "The": 0.1})], THREE, options=["api"]
    )
    assert told is not None
    assert "only 1.0%" in told
    assert "none that could be read in 1 of 2 answers" in told
    assert "'No' (30.0%), '**true' (25.0%), 'The' (15.0%)" in told
    line = next(part for part in told.split("[prompt]: ")[1:])
    assert tomllib.loads(line)["forms"] == {
        "True": [" True", "**true"],
        "False": [" False", " no", "No"],
        "N/A": [" N/A"],
    }
    assert 'api = "completions"' in told


def test_advice_fits_how_labels_are_read() -> None:
    takes = ("max_tokens", "top_logprobs")
    sampled, exact, listed = (
        coverage_warning([low(0.1, {}, method)], THREE, options=takes) or "" for method in ("sampled", "exact", "top_k")
    )
    assert "max_tokens" in sampled
    assert "top_logprobs" in listed
    assert "api =" not in listed
    assert "max_tokens" not in (coverage_warning([low(0.1, {}, "sampled")], THREE) or "")
    assert "max_tokens" not in exact
    assert "top_logprobs" not in sampled + exact
    assert coverage_warning([low(0.6, {})], THREE) is None


@pytest.mark.parametrize(
    ("instruction", "names"),
    [
        ("", False),
        ("Is it True, False or N/A?", True),
        ("Answer true, no or n/a.", True),
        ("Say whether it is untrue or falsehood, or N/A", False),
        ("True or False?", False),
    ],
)
def test_an_instruction_that_names_the_labels_is_not_asked_for(instruction: str, names: bool) -> None:
    told = coverage_warning([low(0.1, {})], THREE, instruction=instruction) or ""
    assert ("name the labels in the instruction" not in told) == names
    assert told.partition(": ")[2]


@pytest.mark.parametrize("mark", ["<think>", "<|channel|>", "\n<thought>", "[THINK]", "<|start"])
def test_a_model_that_thinks_first_is_told_apart(mark: str) -> None:
    assert thinks_first([low(1e-7, {mark: 0.99})])
    assert not thinks_first([low(0.3, {mark: 0.2, "Well": 0.5})])
    told = [coverage_warning([low(1e-7, {mark: 0.99})], THREE, options=takes) or "" for takes in ((), ("thinking",))]
    assert ["thinking = false" in each for each in told] == [False, True]
    assert all("choose a model that does not think" in each for each in told)


def test_bounds_may_exceed_one_together_but_what_was_read_may_not() -> None:
    many = Verbalizer.plain(["a", "b", "c"])
    bounded = Reading({" a": log(0.9), " b": Below(log(0.1)), " c": Below(log(0.9))}, "top_k")
    assert label_distribution(many, bounded).best == "a"
    with pytest.raises(LogprobsUnavailableError, match=r"1\.800"):
        label_distribution(many, Reading({" a": log(0.9), " b": log(0.9), " c": Below(log(0.1))}, "top_k"))


def test_defect_5_correct_is_not_read_out_of_incorrect() -> None:
    """Labels and forms are compared whole: "correct" is in "incorrect", and "true" in "untrue"."""
    labels = Verbalizer.plain(["correct", "incorrect"])
    found = label_distribution(labels, Reading({" correct": log(0.2), " incorrect": log(0.8)}, "exact"))
    assert found.best == "incorrect"
    assert found.probability("correct") == pytest.approx(0.2)
    relation = Relation(("a", "b"), ((frozenset({"correct"}), frozenset({"correct"})),))
    assert not relation.is_broken({"a": "incorrect", "b": "correct"})
    assert relation.is_broken({"a": "correct", "b": "correct"})


def test_intervals_of_labels_that_are_all_but_impossible_are_shares_all_the_same() -> None:
    read = Reading({" True": Below(-65.0), " False": -200.0}, "top_k")
    found = label_distribution(TWO, read)
    lowest, highest = found.intervals["True"]
    assert (lowest, highest) == pytest.approx((0.0, 1.0))
    low, high = found.intervals["False"]
    assert 0 < low < 1e-50
    assert high == 1.0
