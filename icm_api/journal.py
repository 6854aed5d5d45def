"""An append-only file of JSON lines, one a step; a step counts once its line is on disk.

It writes lines, and reads them back: a torn last line (no line end) is dropped and said; any other damage is
refused with its place. What the lines mean is the caller's business.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from icm_api.errors import RunError, StorageError


def encode_line(record: Mapping[str, Any]) -> bytes:
    """A record as its line, line end included; equal records give equal bytes."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"


class Journal:
    """The lines on disk, followed by those written now.

    A line written at a place where the file already has one must be the same to the byte: so a resumed run
    that computes its steps again also checks every one of them.

    Args:
        path: of the file; created where it is missing.

    Raises:
        RunError: a line that is whole is no JSON object; the file and the line.
        StorageError: the file cannot be read or written.

    Attributes:
        recorded: lines that were on disk when it was opened.
        torn: bytes of a torn last line that were dropped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            self._lines = [line + b"\n" for line in whole.split(b"\n")[:-1]]
            for number, line in enumerate(self._lines, 1):
                _check(path, number, line)
            self._stream = path.open("ab", buffering=0)
            self.torn = len(content) - len(whole)
            if self.torn:
                self._stream.truncate(len(whole))
        except OSError as error:
            raise StorageError(f"cannot open {path}: {error.strerror or error}") from error
        self.recorded = len(self._lines)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line, or compare it with the one already there.

        Raises:
            RunError: the file has another line at this place.
            StorageError: the disk is full; the lines before are whole.
        """
        line, at = encode_line(record), self._next
        if at < self.recorded:
            if self._lines[at] != line:
                raise RunError(
                    f"{self._path}:{at + 1}: the line on disk differs from what this step gives; the file was "
                    "changed, or the data, the model, the configuration or the version of icm-api are others than when "
                    "it was written: put back what changed, or run again in another folder, with answers from the cache"
                )
        else:
            self._append(line)
        self._next += 1

    def write_all(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Add lines that count together: on disk by one write, after those that are there.

        Args:
            records: a line each.

        Raises:
            StorageError: the disk is full; of these lines, a resume takes those that are whole.
        """
        lines = [encode_line(record) for record in records]
        self._append(b"".join(lines))
        self._next = self.recorded = self.recorded + len(lines)

    def restart(self) -> None:
        """Drop all lines: what they tell is no longer what is done.

        Raises:
            StorageError: the file cannot be written.
        """
        self.keep(0)
        self._next = 0

    def keep(self, count: int) -> None:
        """Drop the lines after the first ones, and go on after these.

        Args:
            count: lines that stay, at most as many as are there.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            self._stream.truncate(sum(map(len, self._lines[:count])))
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._lines = self._lines[:count]
        self._next = self.recorded = count

    def finish(self) -> None:
        """State that no line follows.

        Raises:
            RunError: the file has more lines than were written.
        """
        if self._next < self.recorded:
            raise RunError(
                f"{self._path}:{self._next + 1}: the run ends before this line; the file was added to, or the "
                "data, the model or the configuration are others than when it was written"
            )

    def _append(self, line: bytes) -> None:
        try:
            written = self._stream.write(line)
            if written != len(line):
                raise OSError("the disk took only a part of the line")
            os.fsync(self._stream.fileno())
            if not os.fstat(self._stream.fileno()).st_nlink:
                raise OSError("it was removed while the run was writing it")
        except OSError as error:
            raise StorageError(
                f"cannot write {self._path}: {error.strerror or error}; free some space, then resume the run"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check(path: Path, number: int, line: bytes) -> None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}:{number}: damaged: {error}; only a torn last line can be mended") from error
    if not isinstance(record, dict):
        raise RunError(f"{path}:{number}: damaged: not a JSON object")
