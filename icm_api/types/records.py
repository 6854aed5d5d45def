"""Rows that are already in Python become examples: dicts, a DataFrame, a data set of the hub.

Files are read by `icm_api.data`, with the same words: a key of gold labels never becomes part of an example.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from types import MappingProxyType
from typing import Any

from icm_api.errors import ConfigError, DataError
from icm_api.types.examples import Example

GOLD_FIELDS = ("gold", "label")
"""The keys under which rows hold gold labels; no `Example` ever has them."""
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Keys:
    """What the keys of a row mean.

    Attributes:
        fields: keys of the texts; None for every key with a text that has no other meaning.
        id: key of the ids.
        group: key of the group.
        answer: key of the answer.
    """

    fields: Sequence[str] | None = None
    id: str = "id"
    group: str = "group"
    answer: str = "answer"

    def __post_init__(self) -> None:
        if self.fields is not None and (isinstance(self.fields, str) or not self.fields):
            raise ConfigError(f"fields={self.fields!r}: give a list of keys, e.g. fields=['text']")
        for key in (*(self.fields or ()), self.id, self.group, self.answer):
            if key in GOLD_FIELDS:
                raise ConfigError(
                    f"key {key!r} holds gold labels, which never reach the search; rename it if it holds none"
                )


def examples_of(records: Any, keys: Keys) -> Iterator[Example]:
    """An example for each row.

    Args:
        records: an iterable of mappings, such as dicts or a `datasets.Dataset`; or a DataFrame of pandas or polars.
        keys: what their keys mean.

    Yields:
        Examples in the order of the rows.

    Raises:
        DataError: `records` are none; or a row has no text, no usable id, group or answer: which row, from 1.
    """
    numbered = False
    for number, record in enumerate(_rows(records), start=1):
        if not isinstance(record, Mapping):
            raise _error(number, f"it is {type(record).__name__}, and no mapping of keys to values")
        row = {str(key): found for key, value in record.items() if (found := _plain(value)) is not None}
        for key, value in row.items():
            if isinstance(value, str) and _HALF.search(value):
                raise _error(number, f"its {key!r} holds half of a surrogate pair; write the character itself")
        numbered = keys.id not in row if number == 1 else numbered
        if numbered != (keys.id not in row):
            raise _error(number, f"it has {'an' if numbered else 'no'} {keys.id!r}; give every row an id, or none")
        texts = _texts(row, keys, number)
        meant = {*texts, *GOLD_FIELDS, keys.id, keys.group, keys.answer}
        rest = {key: value for key, value in row.items() if key not in meant}
        name = str(number) if numbered else _text_of(row, keys.id, number)
        assert name is not None
        group, answer = _text_of(row, keys.group, number), _text_of(row, keys.answer, number)
        yield Example(name, MappingProxyType(texts), group, answer, MappingProxyType(rest))


def _rows(records: Any) -> Iterable[object]:
    if hasattr(records, "to_dicts"):
        rows: Iterable[object] = records.to_dicts()
    elif hasattr(records, "to_dict") and hasattr(records, "columns"):
        names = [str(name) for name in records.columns]
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"the table has the column {name!r} twice; rename one")
        rows = records.to_dict("records")
    elif isinstance(records, Iterable) and not isinstance(records, str | bytes | Mapping):
        rows = records
    else:
        raise DataError(
            f"records are {type(records).__name__}: give a list of dicts, a DataFrame or one split of a data set"
        )
    return rows


def _texts(row: Mapping[str, object], keys: Keys, number: int) -> dict[str, str]:
    if keys.fields is None:
        # A text that also says the group is shown all the same.
        claimed = {keys.id, *{keys.group, keys.answer} & {"group", "answer"}, *GOLD_FIELDS}
        texts = {key: value for key, value in row.items() if isinstance(value, str) and key not in claimed}
        if not texts:
            raise _error(number, f"none of its keys {list(row)} holds a text for the model")
        return texts
    found = {key: row.get(key) for key in keys.fields}
    for key, value in found.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            state = "is missing or empty" if value is None else f"is {type(value).__name__}"
            raise _error(number, f"its text {key!r} {state}; the row has {list(row)}")
    return {key: str(value) for key, value in found.items()}


def _text_of(row: Mapping[str, object], key: str, number: int) -> str | None:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise _error(number, f"its {key!r} is {type(value).__name__}; it must be a string or a number")
    # Equal numbers must be equal texts, since constraints compare the texts.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)


def _plain(value: Any) -> Any:
    """The value without numpy's or pandas' types; None for what is missing, NaN or blank."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    missing = (isinstance(value, float) and isnan(value)) or (isinstance(value, str) and not value.strip())
    return None if missing else value


def _error(number: int, what: str) -> DataError:
    return DataError(f"row {number} of the records: {what}")
