"""Reads JSON Lines (an object a line) and JSON (one list of objects), and says exactly what is bad and why.

Stricter than most: a key twice in one object, NaN, a number too large and half a surrogate pair are errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any, NoReturn

from icm_api.datasets.records import Record, Unit, decoded, error_at, kind, opened
from icm_api.errors import DataError

_WHITE_SPACE = " \t\r\n"


def json_lines_records(path: str) -> Iterator[Record]:
    """The objects of a JSON Lines file in UTF-8; blank lines are skipped.

    Raises:
        DataError: the file cannot be read or has no lines, or a line is no JSON object.
    """
    empty = True
    with opened(path, "JSON Lines") as file:
        # In binary only a line feed ends a line; text mode would also split at a lone carriage return.
        for line, raw in enumerate(file, start=1):
            text = decoded(path, line, raw)
            if text.strip():
                empty = False
                values, _ = _parsed(path, line, text.rstrip(), 0, "line")
                yield Record(path, line, values, line)
    if empty:
        raise DataError(f"{path}: the file is empty; it needs one JSON object on each line")


def json_records(path: str) -> Iterator[Record]:
    """The objects of a file that holds one JSON list of them, in UTF-8; one with an object a line will do too.

    Raises:
        DataError: the file cannot be read, or has something else than objects, or has none.
    """
    with opened(path, "JSON") as file:
        text = "".join(decoded(path, line, raw) for line, raw in enumerate(file, start=1))
    at, row = _after_space(text, 0), 0
    if text[at : at + 1] != "[":
        # Many a file of JSON lines is called .json.
        yield from json_lines_records(path)
        return
    at = _after_space(text, at + 1)
    if text[at : at + 1] == "]":
        raise DataError(f"{path}: the list is empty; it needs one JSON object for each row")
    following = ","
    while following == ",":
        row += 1
        values, at = _parsed(path, row, text, _after_space(text, at), "row")
        yield Record(path, row, values, row, "row")
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
    """The object that begins at `start`, and where it ends. On a line it is all there is."""
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
