"""The record of the jobs of one trainer in a run folder: what was meant, sent, submitted and started, a line each.

A line is on disk before what it announces is done, so that whoever is killed in between finds out what may have been
done. It knows no host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from icm_api.errors import RunError, StorageError
from icm_api.journal import Journal
from icm_api.training.values import Job, State

RECORD_FILE = "jobs.jsonl"
_NAME = re.compile(r"[\w.:-]{1,300}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One job, or what was to become one, as far as the record tells.

    Attributes:
        mark: by which the host knows file and job.
        trainer: its identity.
        order: its settings.
        rows: of the data.
        sha256: of the data.
        file: id of the file at the host; None before it is there.
        submitted: whether a request that starts the job may have been sent.
        job: id of the job; None before it is known.
        ended: as it ended; None before.
        refused: why the host did not take it; empty if it did, or was not asked.
    """

    mark: str
    trainer: str
    order: Mapping[str, Any]
    rows: int
    sha256: str
    file: str | None = None
    submitted: bool = False
    job: str | None = None
    ended: Job | None = None
    refused: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing is under way any more."""
        return self.ended is not None or bool(self.refused)

    def after(self, line: Mapping[str, Any]) -> Attempt:
        """The attempt after one more line of the record.

        Args:
            line: with the key `step`.

        Raises:
            KeyError, TypeError, ValueError: the line is none of a record.
        """
        match line["step"]:
            case "sent":
                return replace(self, file=str(line["file"]))
            case "submitting":
                return replace(self, submitted=True)
            case "started":
                return replace(self, job=_name(line["job"]))
            case "ended":
                if line["state"] not in get_args(State):
                    raise ValueError(f"no state {line['state']!r}")
                return replace(self, ended=Job(str(self.job), line["state"], line["model"], error=str(line["error"])))
            case "refused":
                return replace(self, refused=str(line["error"]) or "refused")
        raise ValueError(f"no step {line['step']!r}")


class Record:
    """The attempts of one trainer, the last of which may be under way; one process at a time may write.

    Args:
        folder: of the trainer, in the run folder; created where it is missing.

    Raises:
        RunError: a line of the record is damaged: which.
        StorageError: the record cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.last = read_last(folder)
        self._journal = Journal(folder / RECORD_FILE)

    def begin(self, attempt: Attempt) -> None:
        """Note what is meant, before anything is done.

        Args:
            attempt: with mark, trainer, order and data.
        """
        named = ("mark", "trainer", "order", "rows", "sha256")
        self._journal.write_all([{"step": "meant", **{name: getattr(attempt, name) for name in named}}])
        self.last = attempt

    def note(self, step: str, **values: Any) -> Attempt:
        """Add a line to the last attempt.

        Args:
            step: sent, submitting, started, ended or refused.
            **values: that go with it.

        Returns:
            The attempt after it.
        """
        assert self.last is not None
        line = {"step": step, **values}
        self._journal.write_all([line])
        self.last = self.last.after(line)
        return self.last

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()


def _check(attempt: Attempt) -> None:
    """Raise ValueError for values that no record has: marks are names of folders, too."""
    _name(attempt.mark)
    if not isinstance(attempt.order, dict) or not isinstance(attempt.trainer, str):
        raise ValueError("trainer and order are no text and no object")


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or ".." in value:
        raise ValueError(f"{str(value)[:80]!r} is no name of a job")
    return value


def read_last(folder: Path) -> Attempt | None:
    """The last attempt in a record; None if there is none.

    Args:
        folder: of the trainer.

    Raises:
        RunError: a line is damaged: which.
        StorageError: the file cannot be read.
    """
    path = folder / RECORD_FILE
    if not path.exists():
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    last: Attempt | None = None
    # A torn last line is the work of a process that was killed while writing it.
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), 1):
        try:
            found = json.loads(line)
            if found["step"] == "meant":
                given = {name: found[name] for name in ("mark", "trainer", "order", "rows", "sha256")}
                last = Attempt(**given)
                _check(last)
            elif last is None:
                raise ValueError("it follows nothing that was meant")
            else:
                last = last.after(found)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(f"{path}:{number}: damaged: {error}; remove the file if no job is under way") from error
    return last
