"""Reads labels from files: gold labels, for measuring a result, and fixed labels, which a person gives a search.

`Gold` is a class of its own and no `Labeling`, so that a type checker refuses gold labels wherever a labeling goes in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from os import PathLike

from icm_api.data.annotated import read_answers
from icm_api.data.readers import read_rows
from icm_api.data.rows import Row, kind
from icm_api.data.spreadsheets import is_rewritten, unescaped
from icm_api.types import Dataset, Label, Labeling, Labels
from icm_api.types.records import GOLD_FIELDS

_FIXED_ID, _FIXED_LABEL = "id", "label"
"""The keys of a file of fixed labels."""


class Gold(Labels):
    """Gold labels: a mapping id -> label that never changes, and that only evaluation reads.

    Example:
        >>> gold = Gold({"a": "True", "b": "False"})
        >>> gold["a"], len(gold), gold
        ('True', 2, Gold(2 labels))
    """

    __slots__ = ()

    def spelled(self, labels: Sequence[Label]) -> Gold:
        """The same labels as the label set writes them; those that are none of it stay as they are.

        Args:
            labels: the label set.

        Example:
            >>> Gold({"a": "TRUE", "b": "maybe"}).spelled(("True", "False"))["a"]
            'True'
        """
        return Gold({key: matched_label(label, labels) or label for key, label in self.items()})

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
        label_field: the key of the labels; by default "gold" if a row has it, else "label".
        id_field: the key of the ids. If no row has ids, an id is the line number, as in the examples.
        labels: the label set, if labels outside it are an error; case and outer space make no difference then.

    Returns:
        The label of every row's id: a string as it is, true and false as "True" and "False", an integer as its
        digits. Rows whose label is null (in a CSV file: an empty cell) have no gold label.

    Raises:
        DataError: the file cannot be read or has no rows, or a row is bad or has no usable label (which row, and
            why).
    """
    return Gold(dict(column_gold(read_rows(path, id_field), label_field, labels)))


def column_gold(
    rows: Iterable[Row], label_field: str | None = None, labels: Sequence[Label] | None = None
) -> Iterator[tuple[str, Label]]:
    """The gold labels of rows that have a column for them.

    Args:
        rows: of any source.
        label_field: the key of the labels; by default "gold" if a row has it, else "label".
        labels: the label set, if labels outside it are an error.

    Yields:
        The id and the label of each row whose label is not null.

    Raises:
        DataError: a row has no key of labels, or its label is no string, boolean or integer, empty, or not in the
            label set.
    """
    for row in rows:
        key = gold_key(row, GOLD_FIELDS if label_field is None else (label_field,))
        label = _label(row, key, f"gold label {key!r}")
        # Files that a person has checked in part are the usual case.
        if label is None:
            continue
        if not label.strip():
            raise row.error(f"gold label {key!r} is empty; give it one, or leave the {row.unit} out")
        matched = label if labels is None else matched_label(label, labels)
        if matched is None:
            raise row.error(f"gold label {label!r} is not in the label set {list(labels or ())}")
        yield row.id, matched


def gold_key(row: Row, names: Collection[str]) -> str:
    """The first of the names under which a row has a gold label.

    Args:
        row: of any source.
        names: keys that may hold a gold label, the first wins.

    Raises:
        DataError: the row has none of the keys.
    """
    key = next((name for name in names if name in row.values), None)
    if key is None:
        wanted = " or ".join(map(repr, names))
        raise row.error(f"no gold label under {wanted}; the {row.unit} has the keys {list(row.values)}")
    return key


def load_fixed(path: str | PathLike[str], dataset: Dataset, labels: Sequence[Label]) -> Labeling:
    """Load a person's answers from a file of rows with "id" and "label"; other keys are not looked at.

    Args:
        path: JSON Lines, or what else `read_rows` reads; or what Argilla or Label Studio export, see `annotated`.
        dataset: the examples that the answers are about.
        labels: the label set.

    Returns:
        The answers. A row whose label is null or empty is not answered yet, and left out.

    Raises:
        DataError: the file cannot be read or has no rows, or a row has no id or no label key, an id that is not in
            the data set, or a label that is not in the label set; which row.
    """
    known = frozenset(dataset.ids)
    rewritten = any(map(is_rewritten, known))
    found: dict[str, Label] = {}
    for row in read_answers(path, _FIXED_ID):
        if _FIXED_ID not in row.values:
            raise row.error(f"no {_FIXED_ID!r}: say which example the label is of")
        key = row.id if row.id in known else unescaped(row.id)
        if key not in known:
            hint = "; a spreadsheet may have written it anew, as it does with dates and numbers" * rewritten
            raise row.error(
                f"id {row.id!r} is not in the data set{hint}; leave the row out, or write the id as the data have it"
            )
        if _FIXED_LABEL not in row.values:
            raise row.error(f"no {_FIXED_LABEL!r}: give one, or null if there is no answer yet")
        label = (_label(row, _FIXED_LABEL, repr(_FIXED_LABEL)) or "").strip()
        matched = matched_label(label, labels)
        if label and matched is None:
            raise row.error(
                f"label {label!r} is not in the label set {list(labels)}: write one of these, or nothing if there is "
                "no answer yet"
            )
        if matched is not None:
            found[key] = matched
    return Labeling(found)


def answered_ids(path: str | PathLike[str]) -> frozenset[str]:
    """The ids in a file of a person's answers, also as they may have been before a spreadsheet wrote them.

    Args:
        path: as for `load_fixed`.

    Raises:
        DataError: the file cannot be read, or a row is bad.
    """
    return frozenset(key for row in read_answers(path, _FIXED_ID) for key in (row.id, unescaped(row.id)))


def matched_label(written: str, labels: Sequence[Label]) -> Label | None:
    """The label that is meant by a text: itself, or the only one that differs in case, outer space, ".0" or ",0".

    Args:
        written: by a person or a spreadsheet program, which makes TRUE of True.
        labels: the label set.

    Returns:
        None if no label is meant, or several could be.

    Example:
        >>> matched_label(" TRUE", ("True", "False")), matched_label("1,0", ("1", "2")), matched_label("a", ("A", "a "))
        ('True', '1', None)
    """
    for text in (written, unescaped(written)):
        if text in labels:
            return text
    plain = unescaped(written).strip().casefold()
    meant = [each for each in labels if each.strip().casefold() in (plain, plain.removesuffix(".0").removesuffix(",0"))]
    return meant[0] if len(meant) == 1 else None


def _label(row: Row, key: str, what: str) -> Label | None:
    """The label under a key as a text; None for null. `what` is what the message calls it."""
    value = row.values[key]
    if isinstance(value, float) and value.is_integer():
        # What a table makes of integers beside an empty cell.
        value = int(value)
    if value is not None and not isinstance(value, str | int):
        raise row.error(f"{what} is {kind(value)}; use a string, true, false or an integer")
    return None if value is None else str(value)
