"""Which labels are taken for which: precision, recall, confusion matrix, and distances of ordinal labels.

For what the data do not define there is None. Nothing here knows a result or a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_api.types import Label

_WIDEST = 12
"""The most labels of which a matrix is printed; of more, the pairs that are most often confused."""


@dataclass(frozen=True, slots=True)
class Ordinal:
    """How far labels that are numbers are from the gold labels, over n examples.

    Attributes:
        mean_absolute_error: mean of |found - gold|, in units of the labels.
        spearman: rank correlation of found and gold (Spearman, 1904), ties by their mean rank; None if either is the
            same everywhere.
        weighted_kappa: 1 less the ratio of observed and expected squared distance in places of the label set, in
            numeric order (Cohen, 1968); None if no disagreement is expected.
    """

    mean_absolute_error: float
    spearman: float | None
    weighted_kappa: float | None

    def lines(self) -> list[str]:
        """For people, a fact a line."""
        return [
            f"ordinal: mean absolute error {self.mean_absolute_error:.3f}, Spearman {_number(self.spearman)}, "
            f"weighted kappa (quadratic) {_number(self.weighted_kappa)}"
        ]


@dataclass(frozen=True, slots=True)
class Classes:
    """Gold labels against the labels found, over n examples and K labels.

    Attributes:
        labels: the label set.
        confusion: per gold label, per label found, how many examples; K rows of K.
    """

    labels: tuple[Label, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def precision(self) -> dict[Label, float | None]:
        """Per label, the share of the examples labelled so whose gold label it is; None if none is labelled so."""
        counts = np.array(self.confusion)
        return _shares(self.labels, np.diagonal(counts), counts.sum(0))

    @property
    def recall(self) -> dict[Label, float | None]:
        """Per label, the share of the examples whose gold label it is that are labelled so; None if there are none."""
        counts = np.array(self.confusion)
        return _shares(self.labels, np.diagonal(counts), counts.sum(1))

    @property
    def ordinal(self) -> Ordinal | None:
        """Distances, if the labels are three or more different numbers; else None."""
        values = _numbers(self.labels)
        if values is None:
            return None
        order = np.argsort(values)
        counts, values = np.array(self.confusion)[np.ix_(order, order)], values[order]
        gold, found = (axis.ravel() for axis in np.indices(counts.shape))
        weights, n = counts.ravel(), counts.sum()
        error = float(np.abs(values[gold] - values[found]) @ weights / n)
        expected = np.outer(counts.sum(1), counts.sum(0)).ravel() / n
        distances = (gold - found) ** 2
        least = float(distances @ expected)
        kappa = 1 - float(distances @ weights) / least if least else None
        return Ordinal(error, _spearman(counts), kappa)

    def lines(self) -> list[str]:
        """For people: the matrix with precision and recall, or a line a label if there are many; then distances."""
        table = self._matrix() if len(self.labels) <= _WIDEST else self._list()
        return [*table, *(self.ordinal.lines() if self.ordinal else [])]

    def as_json(self) -> dict[str, Any]:
        """For machines; null for what is not defined."""
        ordinal, precision, recall = self.ordinal, self.precision, self.recall
        names = ("mean_absolute_error", "spearman", "weighted_kappa")
        return {
            "classes": {name: {"precision": precision[name], "recall": recall[name]} for name in self.labels},
            "confusion": {"labels": list(self.labels), "gold_by_found": [list(row) for row in self.confusion]},
            "ordinal": None if ordinal is None else {name: getattr(ordinal, name) for name in names},
        }

    def _matrix(self) -> list[str]:
        recall, precision = (map(_percent, each.values()) for each in (self.recall, self.precision))
        rows = [
            ["gold \\ found", *self.labels, "recall"],
            *([name, *map(str, row), of] for name, row, of in zip(self.labels, self.confusion, recall, strict=True)),
            ["precision", *precision, ""],
        ]
        return _aligned(rows)

    def _list(self) -> list[str]:
        counts = np.array(self.confusion)
        rows = [["label", "precision", "recall", "gold", "found"]]
        for at, name in enumerate(self.labels):
            of = (_percent(self.precision[name]), _percent(self.recall[name]))
            rows.append([name, *of, str(counts[at].sum()), str(counts[:, at].sum())])
        wrong = [
            (-counts[i, j], i, j) for i in range(len(counts)) for j in range(len(counts)) if i != j and counts[i, j]
        ]
        worst = [
            f"{-count} of gold {self.labels[i]} are labelled {self.labels[j]}"
            for count, i, j in sorted(wrong)[:_WIDEST]
        ]
        return [*_aligned(rows), *worst]


def classes_of(labels: Sequence[Label], gold: Sequence[Label], found: Sequence[Label]) -> Classes:
    """Count which label is found for which.

    Args:
        labels: the label set.
        gold: per example the gold label.
        found: per example the label found.

    Example:
        >>> classes = classes_of(["a", "b"], gold=["a", "a", "b"], found=["a", "b", "b"])
        >>> classes.confusion, classes.precision, classes.recall
        (((1, 1), (0, 1)), {'a': 1.0, 'b': 0.5}, {'a': 0.5, 'b': 1.0})
    """
    places = {label: at for at, label in enumerate(labels)}
    counts = np.zeros((len(places), len(places)), dtype=np.int64)
    np.add.at(counts, ([places[label] for label in gold], [places[label] for label in found]), 1)
    return Classes(tuple(labels), tuple(tuple(row) for row in counts.tolist()))


def _numbers(labels: Sequence[Label]) -> NDArray[np.float64] | None:
    try:
        values = [float(label) for label in labels]
    except ValueError:
        return None
    return np.array(values) if len(set(values)) >= 3 and all(map(isfinite, values)) else None


def _spearman(counts: NDArray[np.int64]) -> float | None:
    """From the counts of pairs of values, both in increasing order."""
    ranks = []
    for totals in (counts.sum(1), counts.sum(0)):
        # The mean rank of each value, from the middle of all ranks.
        ranks.append(totals.cumsum() - totals / 2 - counts.sum() / 2)
    gold, found = ranks
    spread = float(counts.sum(1) @ gold**2) * float(counts.sum(0) @ found**2)
    return float(gold @ counts @ found) / spread**0.5 if spread else None


def _shares(labels: Sequence[Label], hits: NDArray[np.int64], totals: NDArray[np.int64]) -> dict[Label, float | None]:
    return {
        label: int(hit) / int(total) if total else None for label, hit, total in zip(labels, hits, totals, strict=True)
    }


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
