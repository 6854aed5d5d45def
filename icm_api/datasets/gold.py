"""Reads gold labels, for measuring a result afterwards. Nothing that searches may use them.

`Gold` is a class of its own and no `Labeling`, so that a type checker refuses it wherever a labeling goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike

from icm_api.datasets.columns import GOLD_FIELDS
from icm_api.datasets.readers import read_rows
from icm_api.datasets.rows import Row, kind
from icm_api.types import Label


class Gold(Mapping[str, Label]):
    """Gold labels: a mapping id -> label that never changes, and that only evaluation reads.

    Example:
        >>> gold = Gold({"a": "True", "b": "False"})
        >>> gold["a"], len(gold), gold
        ('True', 2, Gold(2 labels))
    """

    __slots__ = ("_labels",)

    def __init__(self, labels: Mapping[str, Label]) -> None:
        self._labels = dict(labels)

    def __getitem__(self, example_id: str) -> Label:
        return self._labels[example_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gold) and self._labels == other._labels

    def __hash__(self) -> int:
        return hash(frozenset(self._labels.items()))

    def __repr__(self) -> str:
        return f"Gold({len(self)} labels)"


def load_gold(
    path: str | PathLike[str],
    *,
    label_field: str | None = None,
    id_field: str = "id",
    labels: Sequence[Label] | None = None,
) -> Gold:
    """Load gold labels from a file with an id and a label in each row; the file of the examples will do.

    Args:
        path: the file: JSON Lines, or .json, .csv, .tsv, or "hub:OWNER/NAME", as `read_rows` reads them.
        label_field: the key of the labels; by default "gold" where a line has it, else "label".
        id_field: the key of the ids. Where no line has one, an id is the line number, as in the examples.
        labels: the label set, where labels outside it are an error.

    Returns:
        The label of every line's id: a string as it stands, true and false as "True" and "False", an
        integer as its digits. Lines whose label is null (in a CSV file: an empty cell) have none.

    Raises:
        DataError: the file cannot be read or has no lines, or a line is bad or has no usable label (which
            one, and why).
    """
    return Gold(dict(column_gold(read_rows(path, id_field), label_field, labels)))


def column_gold(
    rows: Iterable[Row], label_field: str | None = None, labels: Sequence[Label] | None = None
) -> Iterator[tuple[str, Label]]:
    """The gold label of each row that has one, by its id; what the arguments mean, and what is raised: `load_gold`."""
    for row in rows:
        label = _label(row, label_field, labels)
        if label is not None:
            yield row.id, label


def _label(row: Row, label_field: str | None, labels: Sequence[Label] | None) -> Label | None:
    keys = GOLD_FIELDS if label_field is None else (label_field,)
    key = next((key for key in keys if key in row.values), None)
    if key is None:
        wanted = " or ".join(repr(name) for name in keys)
        raise row.error(f"no gold label under {wanted}; the {row.unit} has the keys {list(row.values)}")
    value = row.values[key]
    if value is None:
        # Files that a person has checked in part are the usual case.
        return None
    if not isinstance(value, str | int):
        raise row.error(f"gold label {key!r} is {kind(value)}; use a string, true, false or an integer")
    label = str(value)
    if not label.strip():
        raise row.error(f"gold label {key!r} is empty; give it one, or leave the {row.unit} out")
    if labels is not None and label not in labels:
        raise row.error(f"gold label {label!r} is not in the label set {list(labels)}")
    return label
