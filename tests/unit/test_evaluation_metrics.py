"""Metrics against counting by hand, against every pair, and against scikit-learn."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_api.data import Gold
from icm_api.errors import DataError
from icm_api.evaluation import Evaluation, Interval, Undefined, accuracy, auroc, balanced_accuracy, evaluate
from icm_api.result import LabelledExample, Result
from icm_api.types import Usage

Row = tuple[str, str, dict[str, float]]
"""Label found, gold label, probabilities."""


def row(example_id: str, label: str, probabilities: dict[str, float], group: str | None = None) -> LabelledExample:
    return LabelledExample(example_id, label, probabilities[label], 1.0, group, probabilities)


def result_of(rows: Sequence[LabelledExample]) -> Result:
    return Result(tuple(rows), 0.0, 0.0, 0.0, Usage(), 0, {})


def matched(rows: Sequence[Row]) -> tuple[Result, Gold]:
    examples = [row(str(at), label, dict(p)) for at, (label, _, p) in enumerate(rows)]
    return result_of(examples), Gold({str(at): gold for at, (_, gold, _) in enumerate(rows)})


def binary(found: str, gold: str, scores: Sequence[float] | None = None) -> tuple[Result, Gold]:
    """One letter an example: T or F. Scores are p(True)."""
    names = {"T": "True", "F": "False"}
    scores = scores or [0.9 if letter == "T" else 0.1 for letter in found]
    return matched(
        [(names[f], names[g], {"True": p, "False": 1 - p}) for f, g, p in zip(found, gold, scores, strict=True)]
    )


@st.composite
def labelled(draw: st.DrawFn, sizes: tuple[int, int], labels_in_gold: int = 2) -> list[Row]:
    """Examples over a label set of any size; coarse probabilities, so that many tie."""
    names = [f"L{at}" for at in range(draw(st.integers(*sizes)))]
    weights = st.lists(st.integers(1, 4), min_size=len(names), max_size=len(names))
    rows = draw(
        st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names), weights), min_size=2, max_size=40).filter(
            lambda rows: len({gold for _, gold, _ in rows}) >= labels_in_gold
        )
    )
    return [
        (found, gold, {name: w / sum(drawn) for name, w in zip(names, drawn, strict=True)})
        for found, gold, drawn in rows
    ]


def share_of_pairs(positives: Sequence[float], others: Sequence[float]) -> float:
    won = sum((p > q) + (p == q) / 2 for p in positives for q in others)
    return won / (len(positives) * len(others))


def test_accuracy_and_balanced_accuracy_by_hand() -> None:
    result, gold = binary("TTTTFF", "TTTFFT")
    found = evaluate(result, gold)
    assert found.accuracy.value == 4 / 6
    assert found.balanced_accuracy.value == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_auroc_by_hand_with_ties() -> None:
    result, gold = binary("TTFF", "TFTF", [0.9, 0.6, 0.6, 0.2])
    # Pairs: 0.9>0.6, 0.9>0.2, 0.6=0.6, 0.6>0.2.
    assert auroc(result, gold) == 3.5 / 4


def test_the_positive_label_of_a_pair_is_the_first_of_the_probabilities() -> None:
    rows = [("a", "Yes", 0.7), ("b", "No", 0.4)]
    gold = Gold({"a": "Yes", "b": "No"})
    for order in (("Yes", "No"), ("No", "Yes")):
        # Not summing to 1, so that which label is scored makes a difference.
        result = result_of([row(i, found, dict.fromkeys(order, p)) for i, found, p in rows])
        assert evaluate(result, gold).labels == order
        assert auroc(result, gold) == (1.0 if order[0] == "Yes" else 0.0)
        assert f"AUROC of p({order[0]})" in evaluate(result, gold).lines()[2]


def test_defect_11_accuracy_below_half_is_reported_as_it_is() -> None:
    result, gold = binary("TTTTFFFFFF" * 3, "FFFTTTTTTF" * 3)
    found = evaluate(result, gold)
    assert accuracy(result, gold) == found.accuracy.value == 0.2
    assert balanced_accuracy(result, gold) == found.balanced_accuracy.value == pytest.approx((1 / 6 + 1 / 4) / 2)
    assert found.accuracy.high is not None
    assert found.accuracy.high < 0.5
    assert auroc(result, gold) < 0.5
    assert "20.0%" in found.lines()[0]


@given(labelled((2, 5)))
def test_auroc_is_the_share_of_all_pairs_in_the_right_order(rows: list[Row]) -> None:
    names = list(rows[0][2])
    scored = names[:1] if len(names) == 2 else sorted({gold for _, gold, _ in rows})
    by_pairs = [
        share_of_pairs([p[name] for _, g, p in rows if g == name], [p[name] for _, g, p in rows if g != name])
        for name in scored
    ]
    assert auroc(*matched(rows)) == pytest.approx(sum(by_pairs) / len(by_pairs), abs=1e-12)


@settings(max_examples=50)
@given(labelled((2, 6)))
def test_accuracies_agree_with_scikit_learn(rows: list[Row]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    found, gold = [row[0] for row in rows], [row[1] for row in rows]
    result, reference = matched(rows)
    assert accuracy(result, reference) == pytest.approx(sklearn.accuracy_score(gold, found))
    with warnings.catch_warnings():  # it warns of labels found that gold does not have
        warnings.simplefilter("ignore", UserWarning)
        expected = sklearn.balanced_accuracy_score(gold, found)
    assert balanced_accuracy(result, reference) == pytest.approx(expected)


@settings(max_examples=50)
@given(labelled((2, 2)))
def test_auroc_of_a_pair_agrees_with_scikit_learn(rows: list[Row]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    expected = sklearn.roc_auc_score([gold == "L0" for _, gold, _ in rows], [p["L0"] for _, _, p in rows])
    assert auroc(*matched(rows)) == pytest.approx(expected)


@settings(max_examples=50)
@given(labelled((3, 5)))
def test_macro_auroc_agrees_with_scikit_learn(rows: list[Row]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    names = list(rows[0][2])
    # scikit-learn wants every label in gold: add an example of each.
    rows = [*rows, *((name, name, rows[0][2]) for name in names)]
    expected = sklearn.roc_auc_score(
        [gold for _, gold, _ in rows],
        [[p[name] for name in names] for _, _, p in rows],
        multi_class="ovr",
        average="macro",
        labels=names,
    )
    assert auroc(*matched(rows)) == pytest.approx(expected)


@settings(max_examples=25)
@given(labelled((2, 4)))
def test_the_short_functions_give_the_values_of_the_evaluation(rows: list[Row]) -> None:
    result, gold = matched(rows[:6])
    found = evaluate(result, gold)
    assert accuracy(result, gold) == found.accuracy.value
    for function, measured in ((balanced_accuracy, found.balanced_accuracy), (auroc, found.auroc)):
        if measured.value is None:
            with pytest.raises(DataError, match="two labels are needed"):
                function(result, gold)
        else:
            assert function(result, gold) == measured.value


def test_one_label_in_gold_leaves_a_reason_and_no_number() -> None:
    result, gold = binary("TFT", "TTT")
    found = evaluate(result, gold)
    assert found.accuracy.value == 2 / 3
    for measured in (found.balanced_accuracy, found.auroc):
        assert isinstance(measured, Undefined)
        assert (measured.value, measured.low, measured.high) == (None, None, None)
        assert "'True'" in measured.note
    assert "undefined: gold has only the label 'True'" in found.lines()[2]
    for function in (balanced_accuracy, auroc):
        with pytest.raises(DataError, match="only the label 'True'"):
            function(result, gold)


def test_ids_without_gold_and_unknown_ids_are_counted_and_said() -> None:
    result, gold = binary("TFTF", "TFFF")
    some = Gold({"0": gold["0"], "2": gold["2"], "x": "True", "y": "outside the label set", "z": "True"})
    found = evaluate(result, some)
    assert (found.compared, found.without_gold, found.unknown_ids) == (2, 2, 3)
    assert found.accuracy.value == 0.5
    assert found.lines()[4:7] == [
        "compared: 2 of 4 examples, in 2 groups",
        "not compared: 2 without a gold label",
        "not used: 3 gold labels of ids not in the result",
    ]
    assert evaluate(result, gold).lines()[4:5] == ["compared: 4 of 4 examples, in 4 groups"]


def test_no_id_in_common_is_an_error_that_shows_ids() -> None:
    result, _ = binary("TF", "TF")
    with pytest.raises(DataError, match=r"none of the 2 ids of the result \('0', '1'\).*1 ids.*\('q7'\).*id_field"):
        evaluate(result, Gold({"q7": "True"}))
    with pytest.raises(DataError, match="nothing to compare: none of the 0 ids"):
        evaluate(result_of([]), Gold({}))


def test_gold_outside_the_label_set_names_id_label_and_set() -> None:
    result, _ = binary("TF", "TF")
    with pytest.raises(DataError, match=r"gold label 'true' of id '1' .* \['True', 'False'\]"):
        evaluate(result, Gold({"0": "True", "1": "true"}))


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1])
def test_what_is_no_probability_is_an_error(bad: float) -> None:
    result = result_of([row("a", "True", {"True": 0.5, "False": bad})])
    with pytest.raises(DataError, match="id 'a' has a probability that is not in"):
        evaluate(result, Gold({"a": "True"}))


def test_examples_over_different_label_sets_are_an_error() -> None:
    mixed = result_of([row("a", "True", {"True": 1.0, "False": 0.0}), row("b", "A", {"A": 1.0, "B": 0.0})])
    with pytest.raises(DataError, match=r"id 'b' has probabilities of \['A', 'B'\]"):
        evaluate(mixed, Gold({"a": "True", "b": "True"}))


def test_probabilities_are_read_by_label_and_not_by_place() -> None:
    result = result_of([row("a", "True", {"True": 0.9, "False": 0.1}), row("b", "False", {"False": 0.8, "True": 0.2})])
    assert auroc(result, Gold({"a": "True", "b": "False"})) == 1.0


def test_json_and_lines_say_the_same_and_nothing_is_no_number() -> None:
    result, gold = binary("TTFFTF" * 5, "TFFFTT" * 5)
    found = evaluate(result, gold)
    read = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert read["accuracy"]["value"] == found.accuracy.value == 4 / 6
    assert read["accuracy"]["low"] < 4 / 6 < read["accuracy"]["high"]
    assert read["interval"]["level"] == 0.95
    assert "jackknife over groups" in read["interval"]["method"]
    assert (read["labels"], read["compared"], read["groups"]) == (["True", "False"], 30, 30)
    low, high = found.accuracy.low, found.accuracy.high
    assert found.lines()[0] == f"accuracy           66.7%  (95% interval {low:.1%} to {high:.1%})"

    one_label = evaluate(*binary("TF", "TT")).as_json()["auroc"]
    assert one_label["value"] is None
    assert one_label["note"]


def test_an_evaluation_does_not_change() -> None:
    found: Evaluation = evaluate(*binary("TF", "TF"))
    with pytest.raises(FrozenInstanceError):
        found.compared = 3  # type: ignore[misc]
    assert replace(found, accuracy=Interval(1.0, None, None)) != found
