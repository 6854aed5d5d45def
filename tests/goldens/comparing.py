"""Two recordings held together: what is equal, what differs as declared, and what differs.

`data` must be equal to the byte but for the declared changes, `texts` in their numbers; other words are only told.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
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
    if _settled(name, a, before=True) == _settled(name, b, before=False):
        return "as declared"
    if section == "texts" and _NUMBER.findall(a.decode()) == _NUMBER.findall(b.decode()):
        return "other words"
    return "DIFFERENT"


def _settled(name: str, content: bytes, *, before: bool) -> Any:
    """An artefact of A or of B after the declared changes."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content
    if before:
        for pattern, words in REWORDED.items():
            text = re.sub(pattern, words, text)
    try:
        if name.endswith(".toml"):
            return _renamed(tomllib.loads(text), before=before)
        if name.endswith((".json", ".jsonl")):
            parse = json.loads if name.endswith(".json") else _lines
            return json.dumps(_renamed(parse(text), before=before))
    except ValueError:
        pass
    return text


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def _renamed(value: Any, *, before: bool) -> Any:
    if isinstance(value, dict):
        skip, names = (DROPPED_KEYS, RENAMED_KEYS) if before else (ADDED_KEYS, {})
        kept = {key: each for key, each in value.items() if key not in skip}
        return {names.get(key, key): _renamed(each, before=before) for key, each in kept.items()}
    return [_renamed(each, before=before) for each in value] if isinstance(value, list) else value


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
