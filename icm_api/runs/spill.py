"""The rest of a data set on disk, cut into parts: a file of examples for each, until all of them are labelled.

One pass over the source fills all files, so that the source is never held, and a part can be labelled without it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from icm_api.errors import RunError, StorageError
from icm_api.files import write_whole
from icm_api.runs.core import Rows, Split, Unit
from icm_api.types import Example

PARTS_FOLDER = "parts"
INDEX_FILE = "parts.json"
_ROWS = "rows"
# A column may hold what JSON can't, such as a date.
_JSON = json.JSONEncoder(ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class Index:
    """How many examples each part has, and what they were made of.

    Attributes:
        examples: per part.
        source: fingerprint of the data.
    """

    examples: tuple[int, ...]
    source: str

    @property
    def total(self) -> int:
        """Examples in all parts."""
        return sum(self.examples)

    @classmethod
    def load(cls, folder: Path) -> Index | None:
        """As a folder of parts has it; None if the rest was not cut yet. Raises RunError if it is damaged."""
        path = folder / INDEX_FILE
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(map(int, found["examples"])), str(found["source"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{path}: damaged: {error!r}; remove it to have the parts cut anew") from error


def part_file(folder: Path, part: int) -> Path:
    """Where the labels of a part are.

    Args:
        folder: of the parts.
        part: its number, from 0.
    """
    return folder / f"{part:04}.jsonl"


def spill(rows: Rows, split: Split, unit: Unit, folder: Path, source: str) -> Index:
    """Cut the rest into files, whole or not at all; what is there already is taken.

    Args:
        rows: the data set.
        split: says what belongs where.
        unit: of an example.
        folder: of the parts.
        source: fingerprint of the data.

    Raises:
        RunError: the folder holds parts of other data.
        DataError: a row is bad.
        StorageError: the disk is full.
    """
    index = Index.load(folder)
    if index is not None and index.source != source:
        raise RunError(f"{folder} holds parts of other data: put the data back, or choose another folder")
    if index is not None and (folder / _ROWS).is_dir():
        return index
    scratch = folder / f"{_ROWS}.part"
    try:
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(parents=True)
        found = Index(tuple(_filled(rows, split, unit, scratch)), source)
        if index is not None and index != found:
            raise RunError(f"{folder}: the data are cut otherwise than before: they changed since the run began")
        # First the index: rows that are in place are those that it speaks of. Those without one are of nobody.
        write_whole(folder / INDEX_FILE, json.dumps({"examples": found.examples, "source": source}) + "\n")
        drop_rows(folder)
        scratch.replace(folder / _ROWS)
    except OSError as error:
        raise StorageError(
            f"cannot write {folder}: {error.strerror or error}; free some space, then resume the run"
        ) from error
    return found


def _filled(rows: Rows, split: Split, unit: Unit, scratch: Path) -> list[int]:
    counts = [0] * split.parts
    with ExitStack() as opened:
        files: list[BinaryIO] = [
            opened.enter_context(part_file(scratch, part).open("wb")) for part in range(split.parts)
        ]
        for example in rows:
            own = unit(example)
            part = split.part(own)
            if part is not None:
                files[part].write(_JSON.encode(_as_json(example, own)).encode() + b"\n")
                counts[part] += 1
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    return counts


def _as_json(example: Example, unit: int) -> dict[str, Any]:
    return {
        "unit": unit,
        "id": example.id,
        "fields": dict(example.fields),
        "group": example.group,
        "answer": example.answer,
        "metadata": dict(example.metadata),
    }


def read_part(folder: Path, part: int) -> list[tuple[int, Example]]:
    """The examples of a part with the hashes of their units, unit by unit.

    Args:
        folder: of the parts.
        part: its number.

    Raises:
        RunError: the file is missing or damaged.
    """
    path = part_file(folder / _ROWS, part)
    try:
        with path.open(encoding="utf-8", newline="\n") as stream:
            rows = [json.loads(line) for line in stream]
        found = [(int(row.pop("unit")), Example(**row)) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path}: damaged: {error!r}; remove {folder / _ROWS} to have it written anew") from error
    return sorted(found, key=lambda row: row[0])


def drop_rows(folder: Path) -> None:
    """Remove the examples of all parts, which are labelled. Raises StorageError if that fails."""
    try:
        for path in sorted((folder / _ROWS).glob("*.jsonl")):
            path.unlink()
        (folder / _ROWS).rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot remove {folder / _ROWS}: {error.strerror or error}") from error


def labelled_lines(folder: Path, *, unfinished: bool = False) -> Iterator[tuple[Path, int, Mapping[str, Any]]]:
    """Every line of every part: the file, the number of the line, and what it says.

    Args:
        folder: of the parts; nothing comes of one that is not there.
        unfinished: some parts are still to be labelled; a torn last line, which has no end, is no line then.

    Raises:
        RunError: a line is damaged.
    """
    for path in sorted(folder.glob("[0-9]*.jsonl")):
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, 1):
                if unfinished and not raw.endswith(b"\n"):
                    break
                try:
                    line = json.loads(raw)
                    if not isinstance(line, dict):
                        raise ValueError("not a JSON object")
                    yield path, number, line
                except (ValueError, RecursionError) as error:
                    raise RunError(f"{path}:{number}: damaged: {error}") from error
