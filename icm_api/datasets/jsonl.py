"""Reads examples from JSON Lines files, one object a line, and says exactly which line is bad and why.

It stops at the first bad line and mends nothing. Gold labels are never loaded here, not even as metadata:
`icm_api.datasets.gold` reads them, through the same line reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from icm_api.errors import ConfigError, DataError
from icm_api.types import Dataset, Example

GOLD_FIELDS = ("gold", "label")
"""The keys under which a file holds gold labels; no `Example` ever has them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file: where it stands, the id it has or gets, and its JSON object."""

    path: str
    line: int
    id: str
    values: Mapping[str, object]

    def error(self, what: str) -> DataError:
        """An error that begins with the file and the line."""
        return _error(self.path, self.line, what)


def load_jsonl(
    path: str | PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    id_field: str = "id",
    group_field: str = "group",
    answer_field: str = "answer",
) -> Dataset:
    """Load unlabelled examples from a JSON Lines file in UTF-8.

    The keys "label" and "gold" are left out of the examples. Where gold labels stand under another key, name
    the text fields in `fields`, so that the key is at least never shown to the model. A null id, group or
    answer counts as absent; blank lines are skipped.

    Args:
        path: the file.
        fields: the keys of the texts, each required on every line; other keys go into the metadata. By
            default every key with a string is a text, apart from the three below.
        id_field: the key of the ids, strings or integers, on every line or on none. Where there are none,
            an example's id is its line number, "1" for the first line.
        group_field: the key of the group, a string or a number.
        answer_field: the key of the answer, a string or a number; equal numbers become equal texts
            (3 and 3.0 are "3").

    Returns:
        The examples in file order, at least one.

    Raises:
        DataError: the file cannot be read or has no example, or a line is bad (which one, and why).
        ConfigError: `fields` is empty or a single string, or a key of gold labels is asked for.
    """
    _check_keys(fields, (id_field, group_field, answer_field))
    claimed = {id_field, group_field, answer_field, *GOLD_FIELDS}
    examples = []
    for row in read_rows(path, id_field):
        rest = {key: value for key, value in row.values.items() if key not in claimed}
        texts = _found_texts(row, rest) if fields is None else _named_texts(row, fields)
        examples.append(
            Example(
                id=row.id,
                fields=MappingProxyType(texts),
                group=_optional_text(row, group_field),
                answer=_optional_text(row, answer_field),
                metadata=MappingProxyType({key: rest[key] for key in rest if key not in texts}),
            )
        )
    return Dataset(examples)


def read_rows(path: str | PathLike[str], id_field: str) -> Iterator[Row]:
    """The lines of a JSON Lines file, with their ids, one at a time.

    Raises:
        DataError: the file cannot be read or has no lines, a line is no JSON object, or an id is missing,
            of a wrong type, or not unique.
    """
    name = fspath(path)
    lines: dict[str, int] = {}
    first: tuple[int, bool] | None = None
    for line, values in _read_objects(name):
        own = values.get(id_field)
        first = first or (line, own is not None)
        if first[1] != (own is not None):
            here, there = ("has an", "has none") if own is not None else ("has no", "has one")
            what = f"{here} {id_field!r}, but line {first[0]} {there}; give every line an id, or none"
            raise _error(name, line, what)
        if own is not None and (isinstance(own, bool) or not isinstance(own, str | int)):
            raise _error(name, line, f"{id_field!r} is {kind(own)}; an id is a string or an integer")
        row = Row(name, line, str(line if own is None else own), values)
        if not row.id.strip():
            raise row.error(f"{id_field!r} is empty; give the line an id of its own")
        if row.id in lines:
            raise row.error(f"duplicate id {row.id!r} (first on line {lines[row.id]}); ids must be unique")
        lines[row.id] = line
        yield row
    if first is None:
        raise DataError(f"{name}: the file is empty; it needs one JSON object on each line")


def kind(value: object) -> str:
    """What a JSON value is, in words for a message."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"


def _error(path: str, line: int, what: str) -> DataError:
    return DataError(f"{path}:{line}: {what}")


def _read_objects(path: str) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        # In binary only a line feed ends a line; text mode would also split at a lone carriage return.
        with Path(path).open("rb") as file:
            for line, raw in enumerate(file, start=1):
                text = _decoded(path, line, raw)
                if text.strip():
                    yield line, _parsed(path, line, text.rstrip())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a directory; name a JSON Lines file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _decoded(path: str, line: int, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} of the line is 0x{raw[error.start]:02x}"
        raise _error(path, line, f"not UTF-8: {byte}; save the file as UTF-8") from None
    return text.removeprefix("\ufeff") if line == 1 else text


def _parsed(path: str, line: int, text: str) -> dict[str, object]:
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_float=_finite, parse_constant=_no_constant)
        if "\\ud" in text.lower():
            # JSON can escape half of a surrogate pair, which no UTF-8 request or file could carry later.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        start = max(0, error.pos - 20)
        snippet = text[start : error.pos + 20].strip()
        what = f"not valid JSON: {error.msg} at character {error.pos + 1}, near {snippet!r}"
        raise _error(path, line, what) from None
    except UnicodeEncodeError:
        raise _error(path, line, "a \\u escape is half of a surrogate pair; write the character itself") from None
    except RecursionError:
        raise _error(path, line, "nested too deeply; flatten the objects") from None
    except ValueError as error:
        raise _error(path, line, str(error)) from None
    if not isinstance(value, dict):
        raise _error(path, line, f"{kind(value)}, not a JSON object; write {{...}} on each line")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} occurs twice in one object; keep one")
        found[key] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large; write it as a string")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number; leave the key out, or write null")


def _check_keys(fields: Sequence[str] | None, others: Sequence[str]) -> None:
    if fields is not None and (isinstance(fields, str) or not fields):
        raise ConfigError(f"fields={fields!r}: give a list of keys, e.g. fields=['text']")
    for key in (*(fields or ()), *others):
        if key in GOLD_FIELDS:
            raise ConfigError(
                f"key {key!r} holds gold labels, which never reach the search; rename it in the file if it "
                "is none, or read it with load_gold"
            )


def _found_texts(row: Row, rest: Mapping[str, object]) -> dict[str, str]:
    texts = {key: value for key, value in rest.items() if isinstance(value, str)}
    if not texts:
        raise row.error(f"no text field: none of the keys {list(row.values)} holds a text for the model")
    for key, text in texts.items():
        if not text.strip():
            raise row.error(f"text field {key!r} is empty; fill it, or name the text fields with fields=[...]")
    return texts


def _named_texts(row: Row, fields: Sequence[str]) -> dict[str, str]:
    texts = {}
    for key in fields:
        if key not in row.values:
            raise row.error(f"text field {key!r} is missing; the line has the keys {list(row.values)}")
        value = row.values[key]
        if not isinstance(value, str):
            raise row.error(f"text field {key!r} is {kind(value)}; it must be a string")
        if not value.strip():
            raise row.error(f"text field {key!r} is empty; give it a text, or leave the line out")
        texts[key] = value
    return texts


def _optional_text(row: Row, key: str) -> str | None:
    value = row.values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise row.error(f"{key!r} is {kind(value)}; it must be a string or a number")
    if isinstance(value, str) and not value.strip():
        raise row.error(f"{key!r} is empty; leave the key out where there is none")
    # Equal numbers must be equal texts, since constraints compare the texts.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
