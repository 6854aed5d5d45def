"""Fine-tuning on this machine: LoRA by PEFT and TRL over transformers; what comes out is a folder of whole weights.

A job is a folder below the one of its record: it holds what it was given, a checkpoint an epoch, and in the end
`model`. It trains while it is followed; after a kill it goes on from the last checkpoint. How one is trained is in
`local_training`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

from icm_api.errors import DataError, ProviderError, StorageError
from icm_api.export import FormatName
from icm_api.model.endpoints.local_weights import load_tokenizer, window_of
from icm_api.model.options import LocalOptions
from icm_api.result import write_whole
from icm_api.training.options import LocalTraining
from icm_api.training.values import Estimate, Job, TrainingData, Tuned

_MODEL, _FAILED, _CANCELLED, _GIVEN = "model", "failed.txt", "cancelled", "given.json"
_PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate")


class LocalTrainer:
    """LoRA on this machine; implements `Trainer`.

    Args:
        model: a folder, or a name on the Hugging Face hub.
        options: of the user.
        place: folder of its jobs.

    Raises:
        ProviderError: a package is missing, or the tokenizer cannot be loaded.
    """

    def __init__(self, model: str, options: LocalTraining, place: Path) -> None:
        absent = [name for name in _PACKAGES if find_spec(name) is None]
        if absent:
            raise ProviderError(f"to train here needs {', '.join(absent)}: pip install 'icm-api[train]'")
        self._model, self.options, self._place = model, options, place

    @cached_property
    def _loaded(self) -> tuple[Any, int]:
        """Tokenizer and context window."""
        tokenizer, config = load_tokenizer(self._model, LocalOptions())
        return tokenizer, window_of(self._model, config, tokenizer)

    @property
    def identity(self) -> str:
        """The model, by its folder or name."""
        return f"huggingface/{Path(self._model).resolve() if Path(self._model).is_dir() else self._model}"

    @property
    def order(self) -> Mapping[str, Any]:
        """The settings that shape what comes out."""
        return self.options.order()

    @property
    def format(self) -> FormatName:
        """Prompts and completions, or chat messages."""
        return "trl-sft" if self.options.data == "completion" else "openai-sft"

    @property
    def here(self) -> bool:
        """It trains in this process."""
        return True

    @property
    def settling(self) -> tuple[float, ...]:
        """A folder is there at once."""
        return (0.0,)

    async def estimate(self, data: TrainingData) -> Estimate:
        """Tokens by the model's own tokenizer, and seconds by two steps of training, whose outcome is thrown away.

        Args:
            data: to train on.

        Raises:
            DataError: a row is longer than the model's context window.
            ProviderError: the model cannot be loaded.
        """
        rows = read_rows(data.path)
        tokens = await asyncio.to_thread(self._tokens, rows, data.path)
        from icm_api.training.local_training import step_seconds

        steps = -(-len(rows) // self.options.batch_size) * self.options.epochs
        seconds = await asyncio.to_thread(partial(step_seconds, self._model, self.options, rows))
        return Estimate(len(rows), self.options.epochs, tokens * self.options.epochs, 0.0, seconds=seconds * steps)

    def _tokens(self, rows: list[dict[str, Any]], path: Path) -> int:
        """Tokens of one epoch."""
        tokenizer, window = self._loaded
        counts = []
        for number, row in enumerate(rows, 1):
            if "messages" in row:
                ids = tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True)["input_ids"]
            else:
                ids = tokenizer(row["prompt"] + row["completion"])["input_ids"]
            if len(ids) >= window:
                raise DataError(
                    f"{path}:{number}: the row has {len(ids)} tokens, more than the context window of {window} leaves; "
                    "shorten its texts, or train a model with a larger window"
                )
            counts.append(len(ids) + 1)
        return sum(counts)

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
        """What the job's folder says of it.

        Args:
            job: its id.
        """
        folder = self._place / job
        if (folder / _MODEL).is_dir():
            return Job(job, "succeeded", model=str((folder / _MODEL).resolve()), done=1.0)
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
        from icm_api.training.local_training import Ordered, train

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
        ordered = Ordered(self._model, self.options, folder / "checkpoints", folder / _MODEL)
        work = asyncio.ensure_future(asyncio.to_thread(train, ordered, rows, on_step))
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
        """Have the job stop after its step under way, whichever process trains it.

        Args:
            job: its id.
        """
        seen = await self.look(job)
        if not seen.ended:
            write_whole(self._place / job / _CANCELLED, "")
        return await self.look(job)

    def result(self, job: Job) -> Tuned:
        """The folder of the trained weights.

        Args:
            job: that has succeeded.
        """
        chat = {"chat_template": True} if self.options.data == "chat" else {}
        return Tuned(f"huggingface:{job.model}", chat)

    async def close(self) -> None:
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
