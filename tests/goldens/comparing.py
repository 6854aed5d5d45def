"""Two recordings held together: what is equal, what differs as declared, and what differs.

`data` must be equal to the byte but for the declared changes, `texts` in their numbers; other words are only told.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any

# Changes made on purpose, each with its reason. They apply where an artefact is not equal as it is.
RENAMED_KEYS: Mapping[str, str] = {"task": "format"}
"""Keys of JSON, JSON Lines and TOML: in A -> in B."""
DROPPED_KEYS: frozenset[str] = frozenset()
"""Keys that only A has."""
ADDED_KEYS: frozenset[str] = frozenset({"kind"})
"""Keys that only B has."""
MOVED: Mapping[str, str] = {}
"""Artefacts: regular expression of a name in A -> its replacement, e.g. {"(.*)/queue.csv": r"\\1/asked.csv"}."""
REWORDED: Mapping[str, str] = {}
"""Texts in A: regular expression -> its replacement, anywhere in an artefact."""
LOOKED_AT: tuple[str, ...] = ()
"""Regular expressions of names of artefacts whose difference was looked at and is as it should be, such as figures."""
GONE: frozenset[str] = frozenset()
"""Artefacts that only A has."""
NEW: frozenset[str] = frozenset()
"""Artefacts that only B has."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e-?\d+)?")
_SHOWN = 12


def compare(one: str, other: str, beginnings: Sequence[str] = ()) -> int:
    """Print what differs between two recordings; 0 if nothing differs that has to be equal, else 1.

    With `beginnings`, such as "engines" or "hosted/sound", only artefacts whose names begin so count.
    """
    failures = 0
    for section in ("data", "texts", "messages"):
        a, b = _artefacts(Path(one) / section), _artefacts(Path(other) / section)
        a = {_moved(name): content for name, content in a.items() if name not in GONE}
        b = {name: content for name, content in b.items() if name not in NEW}
        verdicts: dict[str, list[str]] = {"equal": [], "as declared": [], "other words": [], "DIFFERENT": []}
        for name in sorted(each for each in a.keys() | b.keys() if each.startswith(tuple(beginnings) or "")):
            verdict = _verdict(section, name, a.get(name), b.get(name))
            verdicts[verdict].append(name)
            if verdict in ("DIFFERENT", "other words"):
                print(f"{verdict}: {section}/{name}")
                print("".join(f"    {line[:300]}\n" for line in _difference(a.get(name), b.get(name))), end="")
        failures += len(verdicts["DIFFERENT"])
        counts = ", ".join(f"{len(names)} {verdict}" for verdict, names in verdicts.items())
        print(f"{section}: {counts}")
    return int(failures > 0)


def _artefacts(folder: Path) -> dict[str, bytes]:
    files = (each for each in folder.rglob("*") if each.is_file())
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}


def _moved(name: str) -> str:
    for pattern, words in MOVED.items():
        name = re.sub(f"^{pattern}$", words, name)
    return name


def _verdict(section: str, name: str, a: bytes | None, b: bytes | None) -> str:
    if a == b:
        return "equal"
    if section == "messages":
        return "other words"
    if any(re.fullmatch(pattern, name) for pattern in LOOKED_AT):
        return "as declared"
    if a is None or b is None:
        return "DIFFERENT"
    if _as_declared(name, a, b):
        return "as declared"
    if section == "texts" and _NUMBER.findall(a.decode()) == _NUMBER.findall(b.decode()):
        return "other words"
    return "DIFFERENT"


def _as_declared(name: str, a: bytes, b: bytes) -> bool:
    """Whether nothing but the declared changes lies between an artefact of A and one of B."""
    try:
        before, after = a.decode(), b.decode()
    except UnicodeDecodeError:
        return False
    for pattern, words in REWORDED.items():
        before = re.sub(pattern, words, before)
    parsers: Mapping[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads, ".jsonl": _lines}
    parse = parsers.get(Path(name).suffix)
    if before == after or parse is None:
        return before == after
    try:
        return _agree(parse(before), parse(after))
    except ValueError:
        return False


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _agree(a: Any, b: Any) -> bool:
    """Equal but for declared keys. Those that both have stand in the same order."""
    if isinstance(a, dict) and isinstance(b, dict):
        renamed = {RENAMED_KEYS[key] if key in RENAMED_KEYS and key not in b else key: each for key, each in a.items()}
        lost, won = renamed.keys() - b.keys(), b.keys() - renamed.keys()
        shared = [key for key in renamed if key in b]
        in_order = shared == [key for key in b if key in renamed]
        fine = lost <= DROPPED_KEYS and won <= ADDED_KEYS and in_order
        return fine and all(_agree(renamed[key], b[key]) for key in shared)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_agree, a, b))
    return json.dumps(a, default=str) == json.dumps(b, default=str)


def _difference(a: bytes | None, b: bytes | None) -> Iterator[str]:
    if a is None or b is None:
        yield "only in the second" if a is None else "only in the first"
        return
    try:
        before, after = a.decode().splitlines(), b.decode().splitlines()
    except UnicodeDecodeError:
        yield "binary"
        return
    for at, line in enumerate(unified_diff(before, after, lineterm="", n=0)):
        if at >= 2 + _SHOWN:
            return
        if at >= 2:
            yield line
