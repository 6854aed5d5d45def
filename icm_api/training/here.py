"""Jobs on this machine, as folders: one holds what it was given, and in the end `model`, or why there is none.

A job trains while it is followed; another process can cancel it by a file that is looked for at every step. What is
trained, and how, is in `local` and `pocket`.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias

from icm_api.errors import DataError, StorageError
from icm_api.export import FormatName
from icm_api.files import write_whole
from icm_api.training.options import TrainingOptions
from icm_api.training.values import Estimate, Job, TrainingData, Tuned

MODEL = "model"
"""In a job's folder: the model that came out, there whole or not at all."""
OnStep: TypeAlias = Callable[[float, float], bool]
"""Called after each step with the share that is done and the seconds that are left; it says whether to go on."""
_FAILED, _CANCELLED, _GIVEN = "failed.txt", "cancelled", "given.json"


class TrainerHere(ABC):
    """Training in this process; implements `Trainer` but for what is trained.

    Args:
        place: folder of its jobs.
        options: of the user.
    """

    def __init__(self, place: Path, options: TrainingOptions) -> None:
        self._place, self._options = place, options

    @property
    @abstractmethod
    def identity(self) -> str:
        """The model."""

    @property
    @abstractmethod
    def format(self) -> FormatName:
        """The export that it reads."""

    @abstractmethod
    async def estimate(self, data: TrainingData) -> Estimate:
        """What a job is likely to take."""

    @abstractmethod
    def train(self, rows: list[dict[str, Any]], folder: Path, on_step: OnStep) -> str | None:
        """Train, and leave the model in the job's folder; called in a thread of its own.

        Args:
            rows: of the export.
            folder: of the job.
            on_step: to be called after each step.

        Returns:
            Why it failed; None if it did not, or was stopped.
        """

    @abstractmethod
    def result(self, job: Job) -> Tuned:
        """The model that came out."""

    @property
    def order(self) -> Mapping[str, Any]:
        """The settings that shape what comes out."""
        return self._options.order()

    @property
    def here(self) -> bool:
        """It trains in this process."""
        return True

    @property
    def sent_to(self) -> str:
        """The labels stay on this machine."""
        return ""

    @property
    def settling(self) -> tuple[float, ...]:
        """A folder is there at once."""
        return (0.0,)

    async def send(self, data: TrainingData, mark: str) -> str:
        """The data stay where they are.

        Args:
            data: to train on.
            mark: not used.
        """
        return str(data.path.resolve())

    async def quote(self, data: TrainingData, file: str) -> Estimate | None:
        """Nobody says more than the estimate.

        Args:
            data: to train on.
            file: its path.
        """
        return None

    async def start(self, file: str, mark: str) -> Job:
        """Make the folder of a job, which trains once it is followed.

        Args:
            file: path of the data.
            mark: what the folder is called.

        Raises:
            StorageError: the folder cannot be written.
        """
        folder = self._place / mark
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
        write_whole(folder / _GIVEN, json.dumps({"file": file}) + "\n")
        return Job(mark, "queued")

    async def find(self, file: str, mark: str) -> Job | None:
        """The job of this mark, if its folder is there.

        Args:
            file: path of the data.
            mark: of the job.
        """
        return await self.look(mark) if (self._place / mark / _GIVEN).is_file() else None

    async def look(self, job: str) -> Job:
        """What the job's folder says of it."""
        folder = self._place / job
        if (folder / MODEL).is_dir():
            return Job(job, "succeeded", model=str((folder / MODEL).resolve()), done=1.0)
        if (folder / _CANCELLED).exists():
            return Job(job, "cancelled")
        if (folder / _FAILED).is_file():
            return Job(job, "failed", error=(folder / _FAILED).read_text(encoding="utf-8").strip())
        return Job(job, "queued")

    async def follow(self, job: str) -> AsyncIterator[Job]:
        """Train, and tell of every step.

        Args:
            job: its id.

        Raises:
            ProviderError: the model cannot be loaded.
            StorageError: the disk is full.
        """
        seen = await self.look(job)
        if seen.ended:
            yield seen
            return
        folder, loop = self._place / job, asyncio.get_running_loop()
        steps: asyncio.Queue[Job | None] = asyncio.Queue()
        stop = Event()

        def on_step(done: float, seconds: float) -> bool:
            told = Job(job, "running", done=done, seconds=seconds)
            loop.call_soon_threadsafe(steps.put_nowait, told)
            return not stop.is_set() and not (folder / _CANCELLED).exists()

        rows = read_rows(Path(json.loads((folder / _GIVEN).read_text(encoding="utf-8"))["file"]))
        work = asyncio.ensure_future(asyncio.to_thread(self.train, rows, folder, on_step))
        work.add_done_callback(lambda _: steps.put_nowait(None))
        try:
            while (told := await steps.get()) is not None:
                yield told
            if (error := await work) is not None:
                write_whole(folder / _FAILED, error + "\n")
        finally:
            # Whoever leaves, by Ctrl-C or otherwise, ends it after the step under way.
            stop.set()
        yield await self.look(job)

    async def cancel(self, job: str) -> Job:
        """Have the job stop after its step under way, whichever process trains it."""
        seen = await self.look(job)
        if not seen.ended:
            write_whole(self._place / job / _CANCELLED, "")
        return await self.look(job)

    async def close(self) -> None:  # noqa: B027
        """Nothing is open."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON Lines that an export wrote.

    Args:
        path: of the file.

    Raises:
        DataError: the file is missing, or is not what the export wrote.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line]
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
