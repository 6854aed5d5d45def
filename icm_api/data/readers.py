"""Reads JSON Lines, JSON, tables and Hugging Face data sets as rows, and says exactly which row is bad and why.

It stops at the first bad row, unless it is told what to do with one, and corrects nothing. In CSV every value is a
string. JSON is read more strictly than
elsewhere: a key twice in one object, NaN, a number too large and half a surrogate pair are errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NoReturn

from icm_api.data.opening import look, opened
from icm_api.data.rows import Row, Unit, error_at, kind
from icm_api.data.tables import csv_rows, decoded, parquet_rows, workbook_rows
from icm_api.errors import ConfigError, DataError

HUB = "hub:"
"""How the name of a source begins if the package `datasets` reads it."""

_BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".arrow": "arrow"}
_LINES = (".jsonl", ".ndjson", ".jl")
_WHITE_SPACE = " \t\r\n"
_HEAD = 512


def read_rows(
    source: str | PathLike[str],
    id_field: str = "id",
    *,
    name: str | None = None,
    split: str = "train",
    delimiter: str | None = None,
    bad: Callable[[DataError], None] | None = None,
) -> Iterator[Row]:
    """The rows of a source, one at a time; its first bytes, and else how its name ends, decide how it is read.

    Args:
        source: a file that ends in .json (a list of objects), .csv or .tsv (with a header; a value is a string,
            an empty cell a null); a Parquet file, or the first sheet of an Excel workbook; "hub:OWNER/NAME" for
            `datasets.load_dataset`, also with a local file or folder in place of OWNER/NAME; any other file is read as
            JSON Lines, or as a table if it begins with none and its first line has tabs. Files packed by gzip, xz,
            bzip2, zstd or zip are unpacked.
        id_field: the key of the ids, on every row or on none. Without ids, an id is the line number in JSON Lines,
            and elsewhere the row's number, from 1 and without the header.
        name: the hub's configuration name.
        split: the hub's split.
        delimiter: what stands between the cells of delimited text; by default it is found.
        bad: what is done with a bad row instead of raising its error; the row is left out.

    Raises:
        DataError: the source cannot be read or has no rows, or a row is bad (which row, and why).
        ConfigError: the source is on the hub and names no data set, or a package that reads the source is not
            installed.
    """
    text = fspath(source)
    if text.startswith(HUB):
        return _identified(_hub_rows(text, name, split), id_field, bad)
    return _identified(_file_rows(text, delimiter, bad), id_field, bad)


def _file_rows(path: str, delimiter: str | None, bad: Callable[[DataError], None] | None) -> Iterator[Row]:
    found = look(path)
    if found.kind == "parquet":
        return parquet_rows(path)
    if found.kind == "xlsx":
        return workbook_rows(path)
    if found.ending in (".csv", ".tsv") or delimiter is not None:
        return csv_rows(path, found.ending, delimiter, bad)
    beginning = _beginning(path)
    begins = beginning[:1]
    if found.ending == ".json" or begins == "[":
        return _json_rows(path, bad)
    if begins not in ("", "{") and found.ending not in _LINES:
        if "\t" in beginning.splitlines()[0]:
            # What a spreadsheet program calls "Unicode text" is named .txt.
            return csv_rows(path, ".tsv", delimiter, bad)
        raise DataError(
            f"{path}: no JSON Lines, as it begins with {begins!r}; if it is a table with a header, name it .csv or "
            ".tsv, or say under [data] what is between its cells: delimiter = ..."
        )
    return _json_lines(path, bad)


def _beginning(path: str) -> str:
    """A file's first text, without the white space before it; "" if its first lines are empty."""
    with opened(path, "JSON Lines") as file:
        return file.read(_HEAD).decode("utf-8", "replace").removeprefix("\ufeff").lstrip()


def read_json_lines(path: str | PathLike[str], id_field: str = "id") -> Iterator[Row]:
    """The rows of a JSON Lines file in UTF-8, whatever its name ends with; blank lines are skipped.

    Args:
        path: the file.
        id_field: the key of the ids, on every line or on none; without ids, an id is the line number.

    Raises:
        DataError: the file cannot be read or has no lines, or a line is bad (which line, and why).
    """
    return _identified(_json_lines(fspath(path), None), id_field, None)


def _identified(rows: Iterable[Row], id_field: str, bad: Callable[[DataError], None] | None) -> Iterator[Row]:
    """The rows with their own ids, or, if they have none, with the numbers that they were read with."""
    seen: dict[str, int] = {}
    first: Row | None = None
    for row in rows:
        first = first or row
        try:
            named = _named(row, id_field, first)
            if named.id in seen:
                raise row.error(
                    f"id {named.id!r} occurs twice, first on {row.unit} {seen[named.id]}; ids must be unique"
                )
        except DataError as error:
            if bad is None:
                raise
            bad(error)
            continue
        seen[named.id] = row.line
        yield named


def _named(row: Row, id_field: str, first: Row) -> Row:
    """The row with its own id; it has one if the first row has."""
    own, there = row.values.get(id_field), first.values.get(id_field) is not None
    if there != (own is not None):
        here, other = ("has an", "has none") if own is not None else ("has no", "has one")
        where = f"{row.unit} {first.line}"
        raise row.error(f"{here} {id_field!r}, but {where} {other}; give every {row.unit} an id, or none")
    if own is not None and (isinstance(own, bool) or not isinstance(own, str | int)):
        raise row.error(f"{id_field!r} is {kind(own)}; an id is a string or an integer")
    named = row if own is None else Row(row.path, row.line, str(own), row.values, row.unit)
    if not named.id.strip():
        raise row.error(f"{id_field!r} is empty; give the {row.unit} an id of its own")
    return named


def _json_lines(path: str, bad: Callable[[DataError], None] | None) -> Iterator[Row]:
    empty = True
    with opened(path, "JSON Lines") as file:
        # In binary only a line feed ends a line; text mode would also split at a lone carriage return.
        for line, raw in enumerate(file, start=1):
            try:
                text = decoded(path, line, raw)
                if not text.strip():
                    continue
                empty = False
                # Lines of a list without its brackets end in commas.
                values, _ = _parsed(path, line, text.rstrip().removesuffix(","), 0, "line")
            except DataError as error:
                if bad is None:
                    raise
                bad(error)
                continue
            yield Row(path, line, str(line), values)
    if empty:
        raise DataError(f"{path}: the file is empty; it needs one JSON object on each line")


def _json_rows(path: str, bad: Callable[[DataError], None] | None) -> Iterator[Row]:
    """The objects of a file in UTF-8 that holds one JSON list of objects, or one object on each line."""
    with opened(path, "JSON") as file:
        text = "".join(decoded(path, line, raw) for line, raw in enumerate(file, start=1))
    at, row = _after_space(text, 0), 0
    if text[at : at + 1] != "[":
        # Many a file of JSON lines is called .json.
        yield from _json_lines(path, bad)
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
        own = text if unit == "line" else text[start:end]
        if "\\u" in own and "\\ud" in own.lower():
            # JSON can escape half of a surrogate pair, which no UTF-8 request or file could carry later.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        what = f"not valid JSON: {_wrong(error)} at character {error.pos + 1}, {_near(text, error.pos)}"
        raise error_at(path, at, what, unit) from None
    except UnicodeEncodeError:
        half = "a \\u escape is half of a surrogate pair; write the character itself"
        raise error_at(path, at, half, unit) from None
    except RecursionError:
        raise error_at(path, at, "nested too deeply; flatten the objects", unit) from None
    except ValueError as error:
        # Numbers of thousands of digits are refused by Python itself.
        long = "digits" in str(error)
        raise error_at(
            path, at, "a number has too many digits; write it as text" if long else str(error), unit
        ) from None
    if not isinstance(value, dict):
        where = "on each line" if unit == "line" else "for each row"
        raise error_at(path, at, f"{kind(value)}, not a JSON object; write {{...}} {where}", unit)
    return value, end


def _wrong(error: json.JSONDecodeError) -> str:
    """What is wrong, in the words of who wrote the file."""
    here, before = error.doc[error.pos : error.pos + 1], error.doc[: error.pos].rstrip()
    if here == "'":
        return "single quotes, as Python prints, where json.dumps writes double ones,"
    if here in ("}", "]") and before.endswith(","):
        return f"a comma too many before the {here!r}"
    return error.msg


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
