"""JSON lines, written one by one: as many rows as one likes in as little memory."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from icm_api.export.folder import synced

_BREAKS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x7f\x85\u2028\u2029"})
"""What some readers take for the end of a line, and JSON allows as it stands."""


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]], *, mark: bool = False) -> None:
    """One object a line, in UTF-8; with `mark`, after a byte-order mark."""
    with synced(path) as stream:
        if mark:
            stream.write(codecs.BOM_UTF8)
        for record in records:
            stream.write(json_line(record))


def json_line(record: Mapping[str, Any]) -> bytes:
    r"""A record as a line, whatever a reader takes for the end of one.

    Example:
        >>> json_line({"text": "naïve\u2028\n<b>"}).decode()
        '{"text": "naïve\\u2028\\n<b>"}\n'
    """
    return (json.dumps(record, ensure_ascii=False, allow_nan=False).translate(_BREAKS) + "\n").encode()
