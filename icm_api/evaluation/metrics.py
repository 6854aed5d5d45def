"""How well the labels of a result agree with gold labels: accuracy, AUROC, calibration error, classes.

Numbers are reported as they are: an accuracy below one half is not turned around, although a search that knows no
gold label can find the right division under swapped names. For what the data do not define there is a reason instead.
Changes no label, draws no picture and asks no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from icm_api.data import Gold
from icm_api.errors import DataError
from icm_api.evaluation.calibration import expected_calibration_error
from icm_api.evaluation.classes import Classes, classes_of
from icm_api.evaluation.intervals import LEVEL, Interval, Measure, Undefined
from icm_api.evaluation.resampling import (
    Metric,
    accuracies,
    aurocs,
    balanced_accuracies,
    match,
    measure,
    value_of,
)
from icm_api.result import Result
from icm_api.types import Label

METHOD = "exact for few examples without groups; else Wilson with t, variance by the jackknife over groups"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Agreement of a result with gold labels, over the examples that have one.

    Intervals are 95% intervals that count groups and not examples; see `evaluate`.

    Attributes:
        accuracy: share of examples whose label found is the gold label.
        balanced_accuracy: mean over the labels present in gold of the share found.
        auroc: share of pairs that p orders rightly, ties half; of the first label if there are two labels,
            else the mean over the labels present in gold of one label against the rest.
        calibration_error: expected calibration error of the probability of each label found (calibrated if the run
            did that), in bins of equal mass; biased upwards if examples are few.
        classes: which labels are taken for which.
        compared: examples with a gold label.
        groups: groups among them; an example without one is its own.
        without_gold: examples of the result that have no gold label.
        unknown_ids: gold labels whose id the result does not have.
    """

    accuracy: Interval
    balanced_accuracy: Measure
    auroc: Measure
    calibration_error: float
    classes: Classes
    compared: int
    groups: int
    without_gold: int
    unknown_ids: int

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label set; the first is the positive label of a set of two."""
        return self.classes.labels

    def lines(self) -> list[str]:
        """For people, a fact a line."""
        scored = f"AUROC of p({self.labels[0]})" if len(self.labels) == 2 else "AUROC, one vs rest"
        rows = {
            "accuracy": _written(self.accuracy, ".1%"),
            "balanced accuracy": _written(self.balanced_accuracy, ".1%"),
            scored: _written(self.auroc, ".3f"),
            "calibration error": f"{self.calibration_error:.3f}",
        }
        width = max(map(len, rows))
        total = self.compared + self.without_gold
        return [
            *(f"{name:<{width}}  {written}" for name, written in rows.items()),
            f"compared: {self.compared} of {total} examples, in {self.groups} groups",
            *([f"not compared: {self.without_gold} without a gold label"] if self.without_gold else []),
            *([f"not used: {self.unknown_ids} gold labels of ids not in the result"] if self.unknown_ids else []),
            *self.classes.lines(),
        ]

    def as_json(self) -> dict[str, Any]:
        """For machines: what `json.dumps` takes as it is; null if `note` says why."""
        return {
            "accuracy": _plain(self.accuracy),
            "balanced_accuracy": _plain(self.balanced_accuracy),
            "auroc": _plain(self.auroc),
            "calibration_error": self.calibration_error,
            "interval": {"level": LEVEL, "method": METHOD},
            "labels": list(self.labels),
            **self.classes.as_json(),
            "compared": self.compared,
            "groups": self.groups,
            "without_gold": self.without_gold,
            "unknown_ids": self.unknown_ids,
        }


def evaluate(result: Result, gold: Gold) -> Evaluation:
    """Measure the labels found, and the model's probabilities of them, against gold labels.

    Each number comes with a 95% interval: exact for the accuracy of few examples without groups, else from how the
    number changes without one of the groups, since examples of one group are not independent. Balanced accuracy and
    AUROC have none if a gold label is in fewer than 10 groups.

    Args:
        result: with at least one example that has a gold label.
        gold: gold labels by id.

    Raises:
        DataError: no id in common, a gold label outside the label set, or probabilities that cannot be used.

    Example:
        >>> from icm_api.result import LabelledExample
        >>> from icm_api.types import Usage
        >>> found = {"a": 0.9, "b": 0.8, "c": 0.3, "d": 0.6}
        >>> rows = tuple(
        ...     LabelledExample(
        ...         name, "True" if p > 0.5 else "False", max(p, 1 - p), 1.0, None, {"True": p, "False": 1 - p}
        ...     )
        ...     for name, p in found.items()
        ... )
        >>> result = Result(rows, 0.0, 0.0, 0.0, Usage(), 4, {})
        >>> gold = Gold({"a": "True", "b": "True", "c": "False", "d": "False", "e": "True"})
        >>> found = evaluate(result, gold)
        >>> found.accuracy.value, found.auroc.value, found.compared, found.unknown_ids
        (0.75, 1.0, 4, 1)
        >>> round(found.calibration_error, 9)
        0.3
    """
    matched = match(result, gold)
    compared = [row for row in result.examples if row.id in gold]
    accuracy_found = measure(accuracies, matched)
    assert isinstance(accuracy_found, Interval), "a share of at least one example is defined"
    return Evaluation(
        accuracy_found,
        measure(balanced_accuracies, matched),
        measure(aurocs, matched),
        expected_calibration_error([row.confidence for row in compared], matched.correct.tolist()),
        classes_of(matched.labels, [gold[row.id] for row in compared], [row.label for row in compared]),
        len(matched.gold),
        matched.group_count,
        matched.without_gold,
        matched.unknown_ids,
    )


def accuracy(result: Result, gold: Gold) -> float:
    """Share of the examples with gold whose label found is the gold label.

    Args:
        result: with at least one example that has a gold label.
        gold: gold labels by id.

    Raises:
        DataError: as `evaluate`.
    """
    return _value(accuracies, result, gold)


def balanced_accuracy(result: Result, gold: Gold) -> float:
    """Mean over the labels present in gold of the share of their examples that were found.

    Args:
        result: with at least one example that has a gold label.
        gold: gold labels by id.

    Raises:
        DataError: as `evaluate`; or gold has one label only, so that there is nothing to balance.
    """
    return _value(balanced_accuracies, result, gold)


def auroc(result: Result, gold: Gold) -> float:
    """How well the model's probabilities order examples; `Evaluation.auroc` says of which label.

    Args:
        result: with at least one example that has a gold label.
        gold: gold labels by id.

    Raises:
        DataError: as `evaluate`; or gold has one label only, so that there is no pair to order.
    """
    return _value(aurocs, result, gold)


def _value(metric: Metric, result: Result, gold: Gold) -> float:
    value = value_of(metric, match(result, gold))
    if isinstance(value, Undefined):
        raise DataError(value.note)
    return value


def _written(found: Measure, form: str) -> str:
    if found.value is None:
        return f"undefined: {found.note}"
    if found.low is None or found.high is None:
        return f"{found.value:{form}}  ({found.note})"
    return f"{found.value:{form}}  (95% interval {found.low:{form}} to {found.high:{form}})"


def _plain(found: Measure) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "note": found.note}
