"""Which batch jobs were sent, on disk before anything rests on it: a file each, in a folder of the run.

A job is noted with all its questions before it is sent, again when its file is there, again with the id that its host
gave it, and once more when it is paid for. So whoever goes on after a kill knows which jobs to look for.
It does not: talk to a host, or keep an answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from icm_api.errors import RunError, StorageError
from icm_api.files import write_whole
from icm_api.journal import Journal
from icm_api.model.job import Bundle
from icm_api.types import Usage

_LOCK = ".{}.lock"
# The most bytes of a note of a job that is over.
_SHORT = 1000


@dataclass(slots=True)
class Filed:
    """A job that was noted.

    Attributes:
        bundle: what goes in it.
        keys: of its questions, by their places.
        reserved: what was set aside for it.
        id: that its host gave it; empty as long as that is not known.
        settled: it is paid for, so that nothing is set aside any more.
        open: questions of which no answer is kept elsewhere.
    """

    bundle: Bundle
    keys: Sequence[str]
    reserved: Usage
    id: str = ""
    settled: bool = False
    open: set[str] = field(default_factory=set)


def open_jobs(folder: Path) -> int:
    """How many batch jobs were noted and are not over, whoever is at work in the folder; a damaged note counts.

    Args:
        folder: of the files; it may be missing.

    Raises:
        StorageError: a file cannot be read.
    """
    try:
        return sum(not _is_over(path) for path in folder.glob("*.jsonl"))
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror or error}") from error


def _is_over(path: Path) -> bool:
    """Whether a note says so; of one that is too long to say it, no more is read."""
    with path.open("rb") as file:
        line = file.readline(_SHORT)
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("over") is True


class JobBook:
    """The jobs of one model in a folder; one process at a time.

    Args:
        folder: of the files; made when it is first needed.
        identity: of the model; jobs of others are left alone.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder, self._identity = folder, identity
        self._lock: FileLock | None = None
        self._journals: dict[str, Journal] = {}
        self._filed: dict[str, Filed] = {}
        self._holders: dict[str, Filed] = {}

    def pending(self) -> list[Filed]:
        """The jobs of which something is not settled or not kept, the oldest first.

        Raises:
            RunError: a file is damaged, or another process is at work in the folder.
            StorageError: a file cannot be read.
        """
        self._enter()
        return list(self._filed.values())

    def holder(self, key: str) -> Filed | None:
        """The job that holds a question; None if none does.

        Args:
            key: of the question.
        """
        return self._holders.get(key)

    def note(self, bundle: Bundle, keys: Sequence[str], reserved: Usage) -> Filed:
        """Note a job that is about to be sent.

        Raises:
            StorageError: it cannot be written; then nothing may be sent.
        """
        filed = Filed(bundle, tuple(keys), reserved, open=set(keys))
        about = {"model": self._identity, **asdict(bundle), "reserved": asdict(reserved), "keys": filed.keys}
        self._write(bundle.name, about)
        self._file(filed)
        return filed

    def uploaded(self, filed: Filed, upload: str) -> None:
        """Note that the host has the questions.

        Raises:
            StorageError: it cannot be written; then the job may not be sent.
        """
        if upload:
            self._write(filed.bundle.name, {"upload": upload})
            filed.bundle = replace(filed.bundle, upload=upload)

    def submitted(self, filed: Filed, key: str) -> None:
        """Note the id that the host gave.

        Raises:
            StorageError: it cannot be written.
        """
        self._write(filed.bundle.name, {"id": key})
        filed.id = key

    def settled(self, filed: Filed) -> None:
        """Note that it is paid for; to be called before its reservation is given back.

        Raises:
            StorageError: it cannot be written.
        """
        self._write(filed.bundle.name, {"settled": True})
        filed.settled = True
        self._close_if_over(filed)

    def kept(self, keys: Iterable[str]) -> None:
        """Questions whose answers are kept, or which are given up: no job has to be asked for them any more.

        Raises:
            StorageError: it cannot be written.
        """
        touched: dict[str, Filed] = {}
        for key in keys:
            filed = self._holders.pop(key, None)
            if filed is not None:
                filed.open.discard(key)
                touched[filed.bundle.name] = filed
        for filed in touched.values():
            self._close_if_over(filed)

    def close(self) -> None:
        """Leave the folder to others."""
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _file(self, filed: Filed) -> None:
        self._filed[filed.bundle.name] = filed
        for key in filed.open:
            before = self._holders.get(key)
            if before is not None and before is not filed:
                before.open.discard(key)
                self._close_if_over(before)
            self._holders[key] = filed

    def _close_if_over(self, filed: Filed) -> None:
        """Keep of a job that is over only what a person may want to look up."""
        if filed.open or not filed.settled or filed.bundle.name not in self._filed:
            return
        del self._filed[filed.bundle.name]
        journal = self._journals.pop(filed.bundle.name, None)
        if journal is not None:
            journal.close()
        about = {"model": self._identity, "id": filed.id, "questions": filed.bundle.size, "over": True}
        write_whole(self._path(filed.bundle.name), json.dumps(about) + "\n")

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        if name not in self._journals:
            self._journals[name] = Journal(self._path(name))
        self._journals[name].write_all([record])

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _enter(self) -> None:
        """Lock the folder, and read what is in it; once."""
        if self._lock is not None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # One for each model: a run may have two.
            digest = sha256(self._identity.encode()).hexdigest()[:12]
            lock = FileLock(self._folder / _LOCK.format(digest), timeout=0)
            lock.acquire()
        except Timeout as error:
            raise RunError(f"{self._folder} is in use: another process waits for its batch jobs") from error
        except OSError as error:
            raise StorageError(f"cannot write {self._folder}: {error.strerror or error}") from error
        self._lock, self._filed, self._holders = lock, {}, {}
        found = [filed for path in sorted(self._folder.glob("*.jsonl")) if (filed := self._read(path)) is not None]
        for filed in sorted(found, key=lambda each: each.bundle.began):
            self._file(filed)

    def _read(self, path: Path) -> Filed | None:
        """A job that is not over; None if it is, is another model's, or was never noted whole."""
        journal = Journal(path)
        try:
            lines = [json.loads(line) for line in path.read_bytes().splitlines()]
            if not lines or lines[0]["model"] != self._identity or lines[0].get("over"):
                return None
            about = {name: value for line in lines for name, value in line.items()}
            bundle = Bundle(*(about[name] for name in ("name", "endpoint", "size", "began", "upload")))
            keys = [str(key) for key in about["keys"]]
            if path != self._path(bundle.name) or len(keys) != bundle.size:
                raise ValueError("it is another job's, or lacks questions")
            reserved, settled = Usage(**about["reserved"]), bool(about.get("settled"))
            return Filed(bundle, keys, reserved, str(about.get("id", "")), settled, set(keys))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RunError(f"{path}: damaged: {error}") from error
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        finally:
            journal.close()
