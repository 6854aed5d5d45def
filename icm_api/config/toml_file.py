"""A TOML file as nested values, or one line that says where it cannot be read and what to write instead."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icm_api.errors import ConfigError

_PLACE = re.compile(r"\(at line (\d+), column \d+\)$")
_QUOTES = re.compile("[\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb]")
_BACKSLASH = re.compile(r'"[^"]*\\[^"]*"')
_NO_FOLDER = "this is a folder; name a TOML file"
_NO_FILE = "no such file; check the path, or write one: `icm-api init TASK` or `icm-api init FILE`"


def read_toml(path: Path) -> Mapping[str, Any]:
    """The values of a TOML file in UTF-8, with or without a byte-order mark.

    Args:
        path: the file.

    Raises:
        ConfigError: it is missing, a folder, not UTF-8 or no TOML.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: {_NO_FOLDER if path.is_dir() else _NO_FILE}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}{_hint(str(error), text)}") from error
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply to be a configuration") from None


def _hint(problem: str, text: str) -> str:
    """What to write instead, for the mistakes that the parser's own words do not explain."""
    place = _PLACE.search(problem)
    lines = text.split("\n")
    line = lines[int(place[1]) - 1] if place and int(place[1]) <= len(lines) else ""
    if problem.startswith("Cannot overwrite a value"):
        return "; the key occurs twice in its table: keep one"
    if _QUOTES.search(line) and problem.startswith("Invalid value"):
        return '; the quotes are typographic: write "..."'
    if _BACKSLASH.search(line) and re.match("Invalid hex|Unescaped|Invalid.*escape", problem):
        return "; a backslash in \"...\" begins an escape: write '...' or, in a path, / for it"
    return ""
