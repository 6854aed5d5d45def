"""Accuracy, balanced accuracy and AUROC against gold labels, and their 95% intervals.

Examples of one group (candidate answers to one question) rise and fall together, so what counts is how groups differ.
A draw of groups is a row of G multiplicities, so a metric is a few matrix products for many draws at once; the value
itself is the metric of the row of ones, and the metric without a group that of a row with a 0 at its place. Reads no
files, draws nothing at random, and rounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from icm_api.data import Gold
from icm_api.errors import DataError
from icm_api.evaluation.clustered import ROUNDING, clustered_interval, exact_interval
from icm_api.evaluation.intervals import Interval, Measure, Undefined
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
        """G, at least 1."""
        return int(self.groups.max()) + 1


def match(result: Result, gold: Gold) -> Matched:
    """Pair the labels found and the gold labels by id.

    Args:
        result: the labels found.
        gold: gold labels by id.

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
    # A group may be named like the id of an example that has no group, hence the flag.
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


FEWEST_GROUPS = 10
"""In which every gold label must be for limits of a mean over the labels; and mistakes, to see how they come."""
MOST_EXACT = 100
"""Examples without groups up to which the limits of accuracy are exact; of more, they are as good and quick."""
MOST_BLOCKS = 1000
"""More groups than that are left out some at a time."""
_CELLS_AT_ONCE = 1_000_000  # 8 MB an array

Floats: TypeAlias = NDArray[np.float64]
Metric: TypeAlias = Callable[[Matched, Floats], Floats]
"""Multiplicities of groups, shape (B, G), to the metric's B values; NaN if a draw leaves it undefined."""


def accuracies(matched: Matched, draws: Floats) -> Floats:
    """Share of examples whose label found is the gold label.

    Args:
        matched: n examples in G groups.
        draws: multiplicities of groups, shape (B, G).

    Returns:
        Shape (B,), in [0, 1].
    """
    hits = np.bincount(matched.groups, matched.correct, matched.group_count)
    return _ratio(draws @ hits, draws @ np.bincount(matched.groups))


def balanced_accuracies(matched: Matched, draws: Floats) -> Floats:
    """Mean over the labels present in gold of the share found.

    Args:
        matched: n examples in G groups.
        draws: multiplicities of groups, shape (B, G).

    Returns:
        Shape (B,), in [0, 1]; NaN if a draw has fewer than two labels.
    """
    width = len(matched.labels)
    cells, size = matched.groups * width + matched.gold, matched.group_count * width
    hits = draws @ np.bincount(cells, matched.correct, size).reshape(-1, width)
    sizes = draws @ np.bincount(cells, minlength=size).reshape(-1, width)
    return _mean_over_labels(_ratio(hits, sizes))


def aurocs(matched: Matched, draws: Floats) -> Floats:
    """AUROC of p(first label) for two labels; for more, the mean of one-vs-rest AUROCs over labels in gold.

    Args:
        matched: n examples in G groups.
        draws: multiplicities of groups, shape (B, G).

    Returns:
        Shape (B,), in [0, 1]; NaN if a draw has fewer than two labels.
    """
    if len(matched.labels) == 2:
        return _one_vs_rest(matched, draws, 0)
    present = np.unique(matched.gold)
    return _mean_over_labels(np.stack([_one_vs_rest(matched, draws, label) for label in present], axis=1))


def _one_vs_rest(matched: Matched, draws: Floats, label: int) -> Floats:
    """Share of pairs of an example of the label and one of another in which p(label) is higher; ties half."""
    scores, positive = matched.probabilities[:, label], matched.gold == label
    order = np.argsort(scores[~positive], kind="stable")
    below = scores[~positive][order]
    # rest[:, j]: weight of the first j of the rest, by rising score. Midranks: mean of "below" and "up to".
    rest = np.zeros((len(draws), len(below) + 1))
    np.cumsum(draws[:, matched.groups[~positive][order]], axis=1, out=rest[:, 1:])
    beaten = rest[:, np.searchsorted(below, scores[positive], "left")]
    beaten += rest[:, np.searchsorted(below, scores[positive], "right")]
    weights = draws[:, matched.groups[positive]]
    pairs = weights.sum(axis=1) * rest[:, -1]
    wins = np.einsum("bi,bi->b", weights, beaten) / 2
    return _ratio(wins, pairs)


def _mean_over_labels(values: Floats) -> Floats:
    """Mean of each row without its NaN; NaN if fewer than two are left."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return _ratio(np.where(count > 1, total, np.nan), count)


def _ratio(above: Floats, below: NDArray[Any]) -> Floats:
    """Element by element; NaN if there is nothing to divide by."""
    found: Floats = np.full_like(above, np.nan)
    np.divide(above, below, out=found, where=below > 0)
    return found


def value_of(metric: Metric, matched: Matched) -> float | Undefined:
    """The metric, every group counted once.

    Args:
        metric: such as `accuracies`.
        matched: n examples in G groups.
    """
    value = float(metric(matched, np.ones((1, matched.group_count)))[0])
    if np.isnan(value):
        only = matched.labels[matched.gold[0]]
        return Undefined(f"gold has only the label {only!r} among the examples compared; two labels are needed")
    return value


def measure(metric: Metric, matched: Matched) -> Measure:
    """The metric with its 95% interval, the same at every call.

    Accuracy of examples without groups has exact limits. Else limits come from how the metric changes if one group
    is left out (the jackknife), see `clustered.clustered_interval`. There are no limits if there is one group only; if
    no group makes a difference, which is no proof that none would; and none of a mean over the labels if a gold label
    is in fewer than `FEWEST_GROUPS` groups.

    Args:
        metric: such as `accuracies`.
        matched: n examples in G groups.
    """
    value, groups, size = value_of(metric, matched), matched.group_count, len(matched.gold)
    if isinstance(value, Undefined):
        return value
    if groups < 2:
        return Interval(value, None, None, "no interval: all examples are of one group")
    if metric is accuracies:
        if value in (0.0, 1.0) or groups == size <= MOST_EXACT:
            # All alike in every group: as many independent trials as there are groups, which is the safe side.
            return exact_interval(round(value * groups), groups)
        return _between_groups(metric, matched, value, groups - 1)
    label, fewest = _rarest(matched)
    if fewest < FEWEST_GROUPS:
        note = f"no interval: gold label {label!r} is in {fewest} of the groups, and {FEWEST_GROUPS} are needed"
        return Interval(value, None, None, note)
    return _between_groups(metric, matched, value, fewest - 1)


def _rarest(matched: Matched) -> tuple[Label, int]:
    """The gold label that is in the fewest groups, and in how many."""
    counts = {int(label): len(np.unique(matched.groups[matched.gold == label])) for label in np.unique(matched.gold)}
    rarest = min(counts, key=lambda label: counts[label])
    return matched.labels[rarest], counts[rarest]


def _between_groups(metric: Metric, matched: Matched, value: float, freedom: int) -> Interval:
    size, blocks = len(matched.gold), min(matched.group_count, MOST_BLOCKS)
    left = np.concatenate([metric(matched, rows) for rows in _without_one(matched.group_count, blocks, size)])
    variance = float((blocks - 1) / blocks * ((left - left.mean()) ** 2).sum())
    if variance < ROUNDING or not 0 < value < 1:
        return Interval(value, None, None, "no interval: no group makes a difference")
    return clustered_interval(value, variance, freedom, _most_trials(matched))


def _most_trials(matched: Matched) -> int:
    """The examples; or the groups, if too few of them have a mistake to see whether mistakes come together."""
    odd = min(len(np.unique(matched.groups[matched.correct == right])) for right in (False, True))
    return len(matched.gold) if odd >= FEWEST_GROUPS else matched.group_count


def _without_one(groups: int, blocks: int, size: int) -> Iterator[Floats]:
    """Multiplicities of the groups with one block of them left out, some rows at a time so that memory stays small."""
    block = np.arange(groups) % blocks
    rows = max(1, _CELLS_AT_ONCE // size)
    for start in range(0, blocks, rows):
        left_out = np.arange(start, min(start + rows, blocks))
        yield (block[None, :] != left_out[:, None]).astype(np.float64)
