"""Examples without their texts in temporary files, cut into parts by the hashes of their units, to be audited."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from icm_api.consistency import value_of
from icm_api.errors import StorageError
from icm_api.runs.core import END, Unit
from icm_api.types import Example

_TOGETHER = 64
"""Rows that are written as one line of JSON, which is quicker than a line each."""
_UNIT = itemgetter(0)
# A column may hold what JSON can't, such as a date.
_JSON = json.JSONEncoder(ensure_ascii=False, default=str, check_circular=False)


class Scratch:
    """What constraints read of many examples, on disk.

    Args:
        folder: that is not there yet.
        parts: files.
        keys: that constraints read, beside the group.

    Attributes:
        parts: files.
        absent: keys that no example has.
    """

    def __init__(self, folder: Path, parts: int, keys: Sequence[str]) -> None:
        self.parts = parts
        self.absent = frozenset(keys)
        self._folder = folder
        self._kept = tuple(key for key in keys if key not in ("group", "answer"))

    def fill(self, examples: Iterable[Example], unit: Unit) -> None:
        """Write examples, each into the part of its unit.

        Args:
            examples: all of them.
            unit: of an example.

        Raises:
            DataError: whatever going through the examples raises.
            StorageError: the disk is full.
        """
        waiting: list[list[Any]] = [[] for _ in range(self.parts)]
        try:
            self._folder.mkdir()
            with ExitStack() as opened:
                files = [opened.enter_context(self._file(part).open("wb")) for part in range(self.parts)]
                for example in examples:
                    own = unit(example)
                    part = own * self.parts // END
                    waiting[part].append(self._row(own, example))
                    if len(waiting[part]) == _TOGETHER:
                        _write(files[part], waiting[part])
                for file, rows in zip(files, waiting, strict=True):
                    _write(file, rows)
        except OSError as error:
            raise StorageError(f"cannot write {self._folder}: {error.strerror or error}; free some space") from error

    def _row(self, own: int, example: Example) -> tuple[Any, ...]:
        if self.absent:
            self.absent = frozenset(key for key in self.absent if value_of(example, key) is None)
        values = {key: value for key in self._kept if (value := value_of(example, key)) is not None}
        return own, example.id, example.group, example.answer, values

    def examples(self, part: int) -> Iterator[Example]:
        """The examples of a part in the order in which they came.

        Args:
            part: its number, from 0.
        """
        return (_example(row) for row in self._rows(part))

    def units(self, part: int) -> Iterator[list[Example]]:
        """The examples of each unit of a part, by its hash.

        Args:
            part: its number, from 0.
        """
        for _, rows in groupby(sorted(self._rows(part), key=_UNIT), key=_UNIT):
            yield [*map(_example, rows)]

    def _rows(self, part: int) -> Iterator[list[Any]]:
        with self._file(part).open("rb") as stream:
            for line in stream:
                yield from json.loads(line)

    def _file(self, part: int) -> Path:
        return self._folder / f"{part:04}.jsonl"


def _example(row: list[Any]) -> Example:
    _, key, group, answer, values = row
    return Example(key, {}, group, answer, values)


def _write(file: BinaryIO, rows: list[Any]) -> None:
    if rows:
        file.write(_JSON.encode(rows).encode() + b"\n")
        rows.clear()
