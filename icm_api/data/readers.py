"""Reads JSON Lines, JSON, CSV, TSV and Hugging Face data sets as rows, and says exactly which row is bad and why.

It stops at the first bad row and corrects nothing. In CSV every value is a string. JSON is read more strictly than
elsewhere: a key twice in one object, NaN, a number too large and half a surrogate pair are errors.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from os import PathLike, fspath
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NoReturn

from icm_api.data.rows import Row, Unit, error_at, kind
from icm_api.errors import ConfigError, DataError

HUB = "hub:"
"""How the name of a source begins if the package `datasets` reads it."""

_BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".arrow": "arrow"}
_WHITE_SPACE = " \t\r\n"


def read_rows(
    source: str | PathLike[str], id_field: str = "id", *, name: str | None = None, split: str = "train"
) -> Iterator[Row]:
    """The rows of a source, one at a time; how its name begins or ends decides how it is read.

    Args:
        source: a file that ends in .json (a list of objects), .csv or .tsv (with a header; a value is a string,
            an empty cell a null); "hub:OWNER/NAME" for `datasets.load_dataset`, also with a local file or folder
            in place of OWNER/NAME; any other file is read as JSON Lines.
        id_field: the key of the ids, on every row or on none. Without ids, an id is the line number in JSON Lines,
            and elsewhere the row's number, from 1 and without the header.
        name: the hub's configuration name.
        split: the hub's split.

    Raises:
        DataError: the source cannot be read or has no rows, or a row is bad (which row, and why).
        ConfigError: the source is on the hub, and names no data set or the package `datasets` is not installed.
    """
    text = fspath(source)
    if text.startswith(HUB):
        return _identified(_hub_rows(text, name, split), id_field)
    ending = PurePath(text).suffix.lower()
    if ending in (".csv", ".tsv"):
        return _identified(_csv_rows(text, "," if ending == ".csv" else "\t"), id_field)
    if ending == ".json":
        return _identified(_json_rows(text), id_field)
    return read_json_lines(text, id_field)


def read_json_lines(path: str | PathLike[str], id_field: str = "id") -> Iterator[Row]:
    """The rows of a JSON Lines file in UTF-8, whatever its name ends with; blank lines are skipped.

    Args:
        path: the file.
        id_field: the key of the ids, on every line or on none; without ids, an id is the line number.

    Raises:
        DataError: the file cannot be read or has no lines, or a line is bad (which line, and why).
    """
    return _identified(_json_lines(fspath(path)), id_field)


def _identified(rows: Iterable[Row], id_field: str) -> Iterator[Row]:
    """The rows with their own ids, or, if they have none, with the numbers that they were read with."""
    seen: dict[str, int] = {}
    first: tuple[int, bool] | None = None
    for row in rows:
        own = row.values.get(id_field)
        first = first or (row.line, own is not None)
        if first[1] != (own is not None):
            here, there = ("has an", "has none") if own is not None else ("has no", "has one")
            where = f"{row.unit} {first[0]}"
            raise row.error(f"{here} {id_field!r}, but {where} {there}; give every {row.unit} an id, or none")
        if own is not None and (isinstance(own, bool) or not isinstance(own, str | int)):
            raise row.error(f"{id_field!r} is {kind(own)}; an id is a string or an integer")
        named = row if own is None else replace(row, id=str(own))
        if not named.id.strip():
            raise row.error(f"{id_field!r} is empty; give the {row.unit} an id of its own")
        if named.id in seen:
            raise row.error(f"duplicate id {named.id!r} (first on {row.unit} {seen[named.id]}); ids must be unique")
        seen[named.id] = row.line
        yield named


@contextmanager
def _opened(path: str, what: str) -> Iterator[BinaryIO]:
    """The file, open for reading; every way in which that can fail is a DataError. `what` is the kind of file."""
    try:
        with Path(path).open("rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a directory; name a {what} file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def _decoded(path: str, line: int, raw: bytes) -> str:
    """A line of a file as text, without a byte order mark at the beginning of the file."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} of the line is 0x{raw[error.start]:02x}"
        raise error_at(path, line, f"not UTF-8: {byte}; save the file as UTF-8") from None
    return text.removeprefix("\ufeff") if line == 1 else text


def _csv_rows(path: str, delimiter: str) -> Iterator[Row]:
    """The rows below the header of a file in UTF-8; blank lines are skipped, and quoted line breaks are text."""
    with _opened(path, "CSV") as file:
        lines = (_decoded(path, line, raw) for line, raw in enumerate(file, start=1))
        rows = _cells(path, lines, delimiter)
        _, header = next(rows, (0, []))
        if not header:
            raise DataError(f"{path}: the file is empty; it needs a header and a row for each example")
        _check_header(path, header)
        number = 0
        for number, (line, cells) in enumerate(rows, start=1):
            if len(cells) != len(header):
                what = f"{len(cells)} values, but the header has {len(header)} columns; quote values that hold a "
                raise error_at(path, line, f"{what}{'tab' if delimiter == chr(9) else 'comma'} or a line break")
            # An empty cell says nothing, like a null in JSON.
            yield Row(path, line, str(number), dict(zip(header, (cell or None for cell in cells), strict=True)))
    if not number:
        raise DataError(f"{path}: no rows below the header; it needs a row for each example")


def _cells(path: str, lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line that it begins on."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise error_at(path, line, f"not valid CSV: {error}; quote values, and double a quote inside") from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def _check_header(path: str, header: list[str]) -> None:
    for at, name in enumerate(header):
        if not name.strip():
            raise error_at(path, 1, f"column {at + 1} of the header has no name; give it one")
        if name in header[:at]:
            raise error_at(path, 1, f"the header has the column {name!r} twice; rename one")


def _json_lines(path: str) -> Iterator[Row]:
    empty = True
    with _opened(path, "JSON Lines") as file:
        # In binary only a line feed ends a line; text mode would also split at a lone carriage return.
        for line, raw in enumerate(file, start=1):
            text = _decoded(path, line, raw)
            if text.strip():
                empty = False
                values, _ = _parsed(path, line, text.rstrip(), 0, "line")
                yield Row(path, line, str(line), values)
    if empty:
        raise DataError(f"{path}: the file is empty; it needs one JSON object on each line")


def _json_rows(path: str) -> Iterator[Row]:
    """The objects of a file in UTF-8 that holds one JSON list of objects, or one object on each line."""
    with _opened(path, "JSON") as file:
        text = "".join(_decoded(path, line, raw) for line, raw in enumerate(file, start=1))
    at, row = _after_space(text, 0), 0
    if text[at : at + 1] != "[":
        # Many a file of JSON lines is called .json.
        yield from _json_lines(path)
        return
    at = _after_space(text, at + 1)
    if text[at : at + 1] == "]":
        raise DataError(f"{path}: the list is empty; it needs one JSON object for each row")
    following = ","
    while following == ",":
        row += 1
        values, at = _parsed(path, row, text, _after_space(text, at), "row")
        yield Row(path, row, str(row), values, "row")
        at = _after_space(text, at)
        following, at = text[at : at + 1], at + 1
    if following != "]":
        raise error_at(path, row, f"not valid JSON: neither ',' nor ']' after it, {_near(text, at)}", "row")
    if rest := text[at:].strip():
        raise DataError(f"{path}: not valid JSON: {rest[:20]!r} after the end of the list")


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _WHITE_SPACE:
        at += 1
    return at


def _parsed(path: str, at: int, text: str, start: int, unit: Unit) -> tuple[dict[str, object], int]:
    """The object that begins at `start`, and where it ends. A line holds nothing else."""
    try:
        if unit == "line":
            value, end = _DECODER.decode(text), len(text)
        else:
            value, end = _DECODER.raw_decode(text, start)
        if "\\ud" in text[start:end].lower():
            # JSON can escape half of a surrogate pair, which no UTF-8 request or file could carry later.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        what = f"not valid JSON: {error.msg} at character {error.pos + 1}, {_near(text, error.pos)}"
        raise error_at(path, at, what, unit) from None
    except UnicodeEncodeError:
        half = "a \\u escape is half of a surrogate pair; write the character itself"
        raise error_at(path, at, half, unit) from None
    except RecursionError:
        raise error_at(path, at, "nested too deeply; flatten the objects", unit) from None
    except ValueError as error:
        raise error_at(path, at, str(error), unit) from None
    if not isinstance(value, dict):
        where = "on each line" if unit == "line" else "for each row"
        raise error_at(path, at, f"{kind(value)}, not a JSON object; write {{...}} {where}", unit)
    return value, end


def _near(text: str, at: int) -> str:
    return f"near {text[max(0, at - 20) : at + 20].strip()!r}"


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


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_float=_finite, parse_constant=_no_constant)


def _hub_rows(source: str, name: str | None, split: str) -> Iterator[Row]:
    """The rows of a split, in order; the package `datasets` alone decides what is downloaded and kept."""
    path = source.removeprefix(HUB)
    if not path:
        raise ConfigError(f"{source!r} names no data set; write hub:OWNER/NAME")
    rows = _loaded(source, path, name, split)
    at = 0
    for at, values in enumerate(rows, start=1):
        yield Row(source, at, str(at), values, "row")
    if not at:
        raise DataError(f"{source}: split {split!r} has no rows")


def _loaded(source: str, path: str, name: str | None, split: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"{source}: needs the package datasets; install it with: pip install 'icm-api[hub]'"
        ) from error
    local = Path(path).expanduser()
    builder = _BUILDERS.get(local.suffix.lower()) if local.is_file() else None
    try:
        if builder is not None:
            return datasets.load_dataset(builder, data_files=str(local), split=split)
        return datasets.load_dataset(path, name, split=split)
    # The package raises errors of many other packages: of pyarrow, of the hub's client, of fsspec.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{source}: cannot be loaded (name {name!r}, split {split!r}): {reason}") from error
