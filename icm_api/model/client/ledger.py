"""What is spent, over all processes that work on a run, so that a budget holds over all of them, killed ones included.

It does: keep a file whose lines add up to what counts as spent, note a line a session for people, and read both back.
It does not: know a budget or a price.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from io import FileIO
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

from icm_api.errors import RunError, StorageError
from icm_api.types import Usage

logger = logging.getLogger(__name__)

_CHECK = "check"
_NAMES = tuple(each.name for each in fields(Usage))


class Ledger:
    """A file whose lines add up to what counts as spent; one process at a time may write it.

    A line before requests are sent adds the most that they can cost, and a line once they are answered corrects that to
    what they did cost. A process that is killed (kill -9) in between leaves its requests counted at their most. The
    system has a line when the call returns, which a kill does not undo; a power cut may lose the last lines, as it may
    lose the last entries of the cache.

    A line carries a checksum of itself and of those before it, so that no number can be changed unnoticed.

    A last line without a line end is the work of a process that was killed while writing it, and is dropped: a
    reservation of which nothing was sent yet, or a correction, without which its reservation counts in full.

    Args:
        path: of the file; created at the first line.

    Raises:
        RunError: a line is damaged; the file and the line.
        StorageError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before, self._size, self._check = _read(path)
        self._owed = Usage()
        self._stream: FileIO | None = None

    @property
    def before(self) -> Usage:
        """What all processes before this one spent, or may have spent."""
        return self._before

    def reserve(self, most: Usage) -> None:
        """Count the most that requests can cost. Only then may they be sent.

        Raises:
            StorageError: the line, or one before it, cannot be written.
        """
        self._add(most)

    def settle(self, change: Usage) -> None:
        """Correct what was reserved: add what it did cost, less what was reserved.

        A line that cannot be written stops the next reservation, so that the answer at hand is not lost.
        """
        try:
            self._add(change)
        except StorageError:
            self._owed += change

    def close(self) -> None:
        """Write what is left, and close the file; it opens again by itself when used.

        Raises:
            StorageError: a line cannot be written.
        """
        try:
            self._add(Usage())
        finally:
            self._close()

    def _add(self, change: Usage) -> None:
        change += self._owed
        if change == Usage():
            return
        record = {name: number for name, number in zip(_NAMES, _numbers(change), strict=True) if number}
        check = _checked(record, self._check)
        line = json.dumps(record | {_CHECK: check}).encode() + b"\n"
        try:
            if self._stream is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = FileIO(self._path, "ab")
                self._stream.truncate(self._size)
            if self._stream.write(line) != len(line):
                raise OSError("the disk took only a part of the line")
        except OSError as error:
            # Opened anew, it drops what was written of the line.
            self._close()
            raise StorageError(
                f"cannot write {self._path}: {error.strerror or error}; free some space, then resume the run"
            ) from error
        self._size += len(line)
        self._check = check
        self._owed = Usage()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def spent(path: Path) -> Usage:
    """What a ledger's lines add up to; nothing if there is no such file.

    Raises:
        RunError: a line is damaged; the file and the line.
        StorageError: the file cannot be read.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Usage, int, int]:
    """What the whole lines add up to, how many bytes they are, and the check of the last of them."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Usage(), 0, 0
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    *lines, torn = content.split(b"\n")
    total, check = Usage(), 0
    for number, line in enumerate(lines, 1):
        try:
            change = json.loads(line)
            noted = change.pop(_CHECK, None)
            check = _checked(change, check)
            if noted not in (None, check):
                raise ValueError("the line or one before it was changed")
            if not all(type(value) is int for value in change.values()):
                raise ValueError("not whole numbers")
            total += Usage(**change)
            if min(_numbers(total)) < 0:
                raise ValueError("the lines up to here add up to less than nothing")
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{path}:{number}: damaged ({error}), so what was spent of the budget is not known; put the file back "
                "as it was, or begin a new run in another folder: what was paid for comes from the cache there"
            ) from error
    return total, len(content) - len(torn), check


def _checked(record: Mapping[str, Any], before: int) -> int:
    """A checksum of a line and of all lines before it."""
    return crc32(json.dumps(record).encode(), before)


def _numbers(usage: Usage) -> tuple[int, ...]:
    # Once or twice a request: `astuple` takes longer than to write the line.
    return usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens


class Spends(Protocol):
    """Whatever says what it sent and what that cost: a meter, or a model."""

    @property
    def sent(self) -> Usage: ...

    @property
    def spent(self) -> float | None: ...


def note_session(path: Path, meter: Spends, seconds: float) -> None:
    """Add a line for people: what this process sent, and what it cost if prices are known.

    A process that is killed leaves no such line, so nothing but reports may rest on it.

    Args:
        path: of the file.
        meter: what the process sent.
        seconds: how long the process worked.
    """
    line = {"sent": asdict(meter.sent), "seconds": round(seconds, 3)}
    if meter.spent is not None:
        line["money"] = round(meter.spent, 9)
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError:
        # On a full disk the error that matters is already on its way.
        logger.warning("could not note this session in %s", path)


@dataclass(frozen=True, slots=True)
class Sent:
    """What reached the model, over all processes that worked on a run.

    Attributes:
        sessions: how many processes noted what they sent.
        unreadable: notes that cannot be read, of processes that were killed while writing them.
        usage: requests and tokens of all processes, those without a note included.
        seconds: that the processes with a note took together.
        money: what the processes with a note paid; None if any of them had no prices.
        unnoted: the part of `usage` that no note has, but the ledger counts: of processes that were killed, and
            requests that may have been billed without an answer. Requests without an answer are counted at their most.
    """

    sessions: int
    unreadable: int
    usage: Usage
    seconds: float
    money: float | None
    unnoted: Usage = field(default_factory=Usage)


def read_sent(notes: Path, ledger: Path) -> Sent | None:
    """What the processes of a run sent, from their notes and their ledger.

    Args:
        notes: the file that `note_session` writes.
        ledger: the file of the `Ledger`; it may be missing.

    Returns:
        The sums; None if there is neither a note nor any spending.

    Raises:
        RunError: the notes cannot be read, or a line of the ledger is damaged.
        StorageError: the ledger cannot be read.
    """
    try:
        lines = notes.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise RunError(f"cannot read {notes}: {error.strerror or error}") from error
    found = list(_sessions(lines))
    noted = sum((usage for usage, _, _ in found), Usage())
    missed = spent(ledger) - noted
    unnoted = missed if missed.requests > 0 else Usage()
    if not found and unnoted == Usage():
        return None
    paid = [money for _, _, money in found]
    # Part of a sum is no sum.
    money = None if None in paid else sum((value for value in paid if value is not None), 0.0)
    seconds = sum((took for _, took, _ in found), 0.0)
    return Sent(len(found), len(lines) - len(found), noted + unnoted, seconds, money, unnoted)


def _sessions(lines: list[str]) -> Iterator[tuple[Usage, float, float | None]]:
    for line in lines:
        try:
            note = json.loads(line)
            money = note.get("money")
            yield Usage(**note["sent"]), float(note["seconds"]), None if money is None else float(money)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
