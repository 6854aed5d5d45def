"""The data set: examples in file order, found by position or by id, from files or from rows that are in Python."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Self, overload

from icm_api.errors import DataError
from icm_api.types.examples import Example
from icm_api.types.records import Keys, examples_of
from icm_api.wording import count_of


class Dataset(Sequence[Example]):
    """The examples in file order, found by position or by id. Holds no label of any kind.

    Args:
        examples: with unique ids, at least one.

    Raises:
        ValueError: an id occurs twice.

    Example:
        >>> data = Dataset([Example("a", {"text": "1+1=2"}), Example("b", {"text": "1+1=3"})])
        >>> len(data), data.get("b").fields["text"], data.position("b")
        (2, '1+1=3', 1)
    """

    __slots__ = ("_examples", "_positions")

    def __init__(self, examples: Iterable[Example]) -> None:
        self._examples = tuple(examples)
        self._positions = {example.id: at for at, example in enumerate(self._examples)}
        if len(self._positions) != len(self._examples):
            twice = next(e.id for at, e in enumerate(self._examples) if self._positions[e.id] != at)
            raise ValueError(f"id {twice!r} occurs twice; ids must be unique")

    @classmethod
    def from_records(
        cls,
        records: Any,
        *,
        fields: Sequence[str] | None = None,
        id_field: str = "id",
        group_field: str = "group",
        answer_field: str = "answer",
    ) -> Self:
        """The data set of rows that are already in Python. Keys "gold" and "label" are left out, as in files.

        Args:
            records: an iterable of dicts, a DataFrame of pandas or polars, or one split of a `datasets.Dataset`. What
                is None, NaN or blank counts as absent.
            fields: keys of the texts, each needed in every row; by default every key with a text that means nothing
                else. Other keys go into the metadata, where a template finds them too.
            id_field: key of the ids, in every row or in none; without, an example's id is its number, from "1".
            group_field: key of the group, a string or a number.
            answer_field: key of the answer, a string or a number.

        Raises:
            DataError: there is no row, or one is unusable (which, from 1, and why), or an id occurs twice.
            ConfigError: `fields` is empty or a single string, or a key of gold labels is asked for.

        Example:
            >>> data = Dataset.from_records([{"text": "1+1=2", "label": "True"}, {"text": "1+1=3"}])
            >>> data.ids, dict(data.get("1").fields), dict(data.get("1").metadata)
            (('1', '2'), {'text': '1+1=2'}, {})
        """
        found = tuple(examples_of(records, Keys(fields, id_field, group_field, answer_field)))
        if not found:
            raise DataError("there are no records, so nothing to label")
        try:
            return cls(found)
        except ValueError as error:
            raise DataError(f"records: {error}") from None

    def __repr__(self) -> str:
        return f"<Dataset of {count_of(len(self), 'example')}>"

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        return self._examples[index]

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, in file order."""
        return tuple(self._positions)

    def hashed(self) -> Dataset:
        """The same examples in an order that their contents decide, and not the file, which may be sorted by gold.

        Example:
            >>> rows = [Example(key, {"text": key}) for key in "abcd"]
            >>> Dataset(rows).hashed().ids == Dataset(reversed(rows)).hashed().ids
            True
        """
        return Dataset(sorted(self._examples, key=_content))

    def get(self, example_id: str) -> Example:
        """The example with this id. Raises KeyError where there is none."""
        return self._examples[self._positions[example_id]]

    def position(self, example_id: str) -> int:
        """Where in the file the example stands, from 0. Raises KeyError where there is none."""
        return self._positions[example_id]


def _content(example: Example) -> tuple[bytes, str, str, str, str]:
    """What to sort an example by: a hash of its texts. Names of groups and ids may count the rows, and come last."""
    told = json.dumps(sorted(example.fields.items()))
    beside = repr(sorted(example.metadata.items(), key=lambda item: item[0]))
    return sha256(told.encode()).digest(), example.answer or "", beside, example.group or "", example.id
