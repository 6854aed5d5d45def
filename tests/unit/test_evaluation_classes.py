"""Precision, recall, confusions and distances of ordinal labels, against scikit-learn, scipy and counting by hand."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, confusion_matrix, mean_absolute_error, precision_recall_fscore_support

from icm_api.data import Gold
from icm_api.evaluation import evaluate
from icm_api.evaluation.classes import classes_of
from icm_api.types import Example
from tests.labelled import line, result_of

STARS = ("3", "1", "10", "2.5", "5")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    labels = list(STARS[: draw(st.integers(3, 5))])
    one = st.sampled_from(labels)
    return labels, draw(st.lists(st.tuples(one, one), min_size=1, max_size=40))


@given(pairs())
def test_each_figure_is_scikit_learns_or_scipys(drawn: tuple[list[str], list[tuple[str, str]]]) -> None:
    labels, examples = drawn
    gold, found = (list(side) for side in zip(*examples, strict=True))
    classes = classes_of(labels, gold, found)
    assert np.array_equal(classes.confusion, confusion_matrix(gold, found, labels=labels))
    precision, recall, _, _ = precision_recall_fscore_support(gold, found, labels=labels, zero_division=np.nan)
    for ours, theirs in ((classes.precision, precision), (classes.recall, recall)):
        assert [np.nan if value is None else value for value in ours.values()] == pytest.approx(theirs, nan_ok=True)
    ordinal = classes.ordinal
    assert ordinal is not None
    numbers = [[float(label) for label in side] for side in (gold, found)]
    assert ordinal.mean_absolute_error == pytest.approx(mean_absolute_error(*numbers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rank = spearmanr(*numbers).statistic if len(gold) > 1 else np.nan
        kappa = cohen_kappa_score(gold, found, labels=sorted(labels, key=float), weights="quadratic")
    for value, oracle in ((ordinal.spearman, rank), (ordinal.weighted_kappa, kappa)):
        assert (np.nan if value is None else value) == pytest.approx(oracle, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize(
    "labels", [("True", "False"), ("1", "2"), ("a", "1", "2"), ("1", "1.0", "2"), ("1", "2", "inf")]
)
def test_only_three_or_more_numbers_are_ordinal(labels: tuple[str, ...]) -> None:
    assert classes_of(labels, [labels[0]], [labels[1]]).ordinal is None


def test_the_matrix_by_hand() -> None:
    shown = classes_of(["yes", "no", "maybe"], ["yes"] * 3 + ["no"], ["yes", "yes", "no", "no"]).lines()
    assert shown == [
        "gold \\ found     yes     no  maybe  recall",
        "yes                2      1      0   66.7%",
        "no                 0      1      0  100.0%",
        "maybe              0      0      0       -",
        "precision     100.0%  50.0%      -",
    ]


def test_of_many_labels_the_worst_confusions_are_listed() -> None:
    labels = [f"topic {n}" for n in range(20)]
    shown = classes_of(labels, ["topic 3"] * 5 + ["topic 4"] * 2, ["topic 7"] * 3 + ["topic 3"] * 4).lines()
    assert len(shown) == 1 + 20 + 2
    assert shown[0].split() == ["label", "precision", "recall", "gold", "found"]
    assert shown[4].split() == ["topic", "3", "50.0%", "40.0%", "5", "4"]
    assert shown[-2:] == ["3 of gold topic 3 are labelled topic 7", "2 of gold topic 4 are labelled topic 3"]


def test_evaluate_prints_them_and_gives_them_as_json() -> None:
    stars = ("1", "2", "3")
    rows = [line(Example(str(at), {}), label, labels=stars) for at, label in enumerate("1233")]
    found = evaluate(result_of(rows), Gold({"0": "1", "1": "2", "2": "3", "3": "1", "9": "1"}))
    said = "\n".join(found.lines())
    assert "gold \\ found" in said
    assert "ordinal: mean absolute error 0.500, Spearman 0.389" in said
    plain = json.loads(json.dumps(found.as_json()))
    assert plain["classes"]["3"] == {"precision": 0.5, "recall": 1.0}
    assert plain["confusion"]["gold_by_found"] == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
    assert plain["ordinal"]["mean_absolute_error"] == 0.5
