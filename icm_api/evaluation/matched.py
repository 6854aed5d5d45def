"""The examples of a result that have a gold label, as arrays that metrics can count.

Checks that the two belong together. Computes no metric.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from icm_api.data import Gold
from icm_api.errors import DataError
from icm_api.result import LabelledExample, Result
from icm_api.types import Label


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """n examples with a label found and a gold label, over K labels, in G groups.

    Attributes:
        labels: the label set, in the order of `LabelledExample.probabilities`.
        gold: per example the position of its gold label in `labels`, shape (n,).
        correct: per example whether the label found is the gold label, shape (n,).
        probabilities: p of every label per example, shape (n, K).
        groups: per example the number of its group, 0..G-1, shape (n,). No group: one of its own.
        without_gold: examples of the result that have no gold label.
        unknown_ids: gold labels whose id the result does not have.
    """

    labels: tuple[Label, ...]
    gold: NDArray[np.int64]
    correct: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    groups: NDArray[np.int64]
    without_gold: int
    unknown_ids: int

    @property
    def group_count(self) -> int:
        """G."""
        return int(self.groups.max()) + 1


def match(result: Result, gold: Gold) -> Matched:
    """Bring the labels found and the gold labels together by id.

    Raises:
        DataError: no id in common; a gold label outside the label set; or an example whose probabilities are
            over another label set, or are not numbers in 0..1.
    """
    rows = [row for row in result.examples if row.id in gold]
    if not rows:
        raise DataError(
            f"nothing to compare: none of the {len(result.examples)} ids of the result ({_some(result.labeling)}) "
            f"is among the {len(gold)} ids of the gold labels ({_some(gold)}); load the gold labels that belong "
            "to this data set, with the same id_field"
        )
    labels = tuple(result.examples[0].probabilities)
    numbers: dict[tuple[bool, str], int] = {}
    # A group may be called like the id of an example without one, hence the flag.
    keys = [(True, row.id) if row.group is None else (False, row.group) for row in rows]
    return Matched(
        labels,
        np.array([labels.index(_gold_label(row, gold, labels)) for row in rows], dtype=np.int64),
        np.array([row.label == gold[row.id] for row in rows], dtype=np.bool_),
        np.array([_probabilities(row, labels) for row in rows], dtype=np.float64),
        np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64),
        len(result.examples) - len(rows),
        len(gold.keys() - {row.id for row in rows}),
    )


def _gold_label(row: LabelledExample, gold: Gold, labels: tuple[Label, ...]) -> Label:
    if gold[row.id] not in labels:
        raise DataError(
            f"gold label {gold[row.id]!r} of id {row.id!r} is not in the label set {list(labels)} of the result; "
            "write the gold labels as the result does, or name the labels as the gold does under [prompt] labels, and "
            "say how the model writes them under [prompt.forms]"
        )
    return gold[row.id]


def _probabilities(row: LabelledExample, labels: tuple[Label, ...]) -> list[float]:
    if row.probabilities.keys() != set(labels):
        raise DataError(
            f"id {row.id!r} has probabilities of {list(row.probabilities)}, but the result's label set is "
            f"{list(labels)}; is labels.jsonl put together from several runs?"
        )
    found = [row.probabilities[label] for label in labels]
    if not all(0 <= probability <= 1 for probability in found):
        raise DataError(f"id {row.id!r} has a probability that is not in 0..1: {dict(row.probabilities)}")
    return found


def _some(ids: Collection[str]) -> str:
    shown = [repr(name) for name in islice(ids, 3)]
    return ", ".join([*shown, "..."] if len(ids) > 3 else shown)
