"""From labels to a job that is started once, whatever happens in between, and followed to its end.

A job costs money, and a process can be killed between the request that starts it and the answer that names it. So the
record says "submitting" before, and whoever finds that without an id asks the host for the job before another is
started. What goes over the wire is the trainers' business.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

from icm_api.errors import ConfigError, DataError, GaveUpError, RequestError, RunError, StorageError
from icm_api.export import FORMATS, Options, export_labels
from icm_api.export.rows import LabelledData
from icm_api.files import write_whole
from icm_api.runs import FinishedRun, locked
from icm_api.training.records import Attempt, Record, read_last
from icm_api.training.values import Estimate, Job, Method, Trainer, TrainingData

TRAINING_FOLDER = "training"
"""In a run folder: a folder for each model that is trained on its labels."""
_DATA_FOLDER = "data"


def training_folder(run: Path, spec: str, method: Method = "sft") -> Path:
    """Where the jobs of one trainer are recorded.

    Args:
        run: the run folder.
        spec: of the trainer.
        method: what it trains.

    Example:
        >>> training_folder(Path("runs/claims"), "openai:gpt-4.1-mini").as_posix()
        'runs/claims/training/openai-gpt-4.1-mini-e207a0'
    """
    name = re.sub(r"[^0-9A-Za-z._]+", "-", spec).strip("-.")[:60]
    what = "" if method == "sft" else f"{method}-"
    return run / TRAINING_FOLDER / f"{what}{name}-{sha256(spec.encode()).hexdigest()[:6]}"


def training_data(
    run: FinishedRun | LabelledData, trainer: Trainer, folder: Path, options: Options | None = None
) -> TrainingData:
    """Write the labels of a run as the trainer reads them.

    Args:
        run: finished, or labels in memory.
        trainer: that shall read them.
        folder: of its jobs.
        options: of the export.

    Raises:
        ConfigError: nothing is left to train on, or the format cannot do what is asked for.
        RunError: the data changed since the run.
    """
    place = folder / _DATA_FOLDER
    found = export_labels(run, trainer.format, place, options, force=True)
    [name] = [name for name in found.files if Path(name).stem == "train"]
    data = TrainingData.of(place / name, found.files[name])
    complaints = FORMATS[trainer.format].host.complaints(name, data.rows, data.size)
    if complaints:
        raise ConfigError("; ".join(complaints))
    return data


def prompt_data(prompts: Sequence[str], folder: Path) -> TrainingData:
    """Write prompts as a trainer reads them that has replies written to them.

    Args:
        prompts: one or more.
        folder: of its jobs.

    Raises:
        StorageError: the folder cannot be written.
    """
    place = folder / _DATA_FOLDER / "prompts.jsonl"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {place.parent}: {error.strerror or error}") from error
    rows = [{"prompt": [{"role": "user", "content": prompt}]} for prompt in prompts]
    write_whole(place, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return TrainingData.of(place, len(rows))


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a caller wants of a start.

    Attributes:
        confirm: called with each estimate before data are sent, and again before the job is started if the host says
            more by then; raises NotConfirmedError to stop there.
        again: start another job after one that has ended.
        data: which data it is to be, by name, as far as that is not the usual: a job on others is not taken for it.
        otherwise: what to do for other settings than those of the job that is there; by default `again`.
    """

    confirm: Callable[[Estimate], None] = lambda estimate: None
    again: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    otherwise: str = ""

    def order(self, trainer: Trainer) -> dict[str, Any]:
        """What shapes the job: the settings of the trainer, and which data.

        Args:
            trainer: that shall do it.
        """
        return {**trainer.order, **self.data}


async def start(
    trainer: Trainer, make_data: Callable[[], TrainingData], folder: Path, wishes: Wishes | None = None
) -> Job:
    """Start a job, or find the one that was started.

    Args:
        trainer: that shall do it.
        make_data: writes the data; not called if there is a job already.
        folder: of its jobs, as `training_folder` gives it.
        wishes: of the caller.

    Returns:
        The job: a new one, one that is under way, or the last that has ended.

    Raises:
        NotConfirmedError: the caller did not want it.
        ConfigError: the last job here had other settings, or was on other data.
        RunError: another process is at work on it, or the record is damaged.
        RequestError: the host refused it.
        GaveUpError: the host gives no answer. The same call later goes on, and starts no second job.
    """
    wishes = wishes or Wishes()
    with locked(folder), Record(folder) as record:
        last = record.last
        if last is not None and not last.refused:
            if last.job is None and last.submitted:
                found = await _found(trainer, last)
                last = last if found is None else record.note("started", job=found.id)
            if last.job is not None:
                job = last.ended or _noted(record, await _looked(trainer, last.job, wishes))
                if not (job.ended and wishes.again):
                    _check_same(last, trainer, folder, wishes)
                    return job
                last = record.last
        data = make_data()
        if last is None or last.over or _differs(last, trainer, data, wishes.order(trainer)):
            wishes.confirm(await trainer.estimate(data))
            mark = f"icm-{token_hex(6)}"
            record.begin(Attempt(mark, trainer.identity, wishes.order(trainer), data.rows, data.sha256))
        return await _submitted(trainer, data, record, wishes)


async def _submitted(trainer: Trainer, data: TrainingData, record: Record, wishes: Wishes) -> Job:
    """Send what is not there yet, and start the job of the last attempt."""
    attempt = record.last
    assert attempt is not None
    if attempt.file is None:
        try:
            file = await trainer.send(data, attempt.mark)
        except DataError as error:
            record.note("refused", error=str(error))
            raise
        attempt = record.note("sent", file=file)
    assert attempt.file is not None
    quote = await trainer.quote(data, attempt.file)
    if quote is not None:
        wishes.confirm(quote)
    attempt = record.note("submitting")
    assert attempt.file is not None
    try:
        job: Job | None = await trainer.start(attempt.file, attempt.mark)
    except RequestError as error:
        if not error.retryable:
            record.note("refused", error=str(error))
            raise
        # It may have arrived all the same.
        job = await _found(trainer, attempt)
        if job is None:
            told = f"{error}; the host lists no such job: repeat the command, which starts none twice"
            raise GaveUpError(told, kind=error.kind, status=error.status, retry_after=error.retry_after) from error
    assert job is not None
    record.note("started", job=job.id)
    return _noted(record, job)


async def follow(trainer: Trainer, folder: Path, job: Job, watch: Callable[[Job], object] = lambda job: None) -> Job:
    """Follow a job to its end, and note how it ended.

    Args:
        trainer: that does it.
        folder: of its jobs.
        job: as `start` gave it.
        watch: called each time that the host was asked.

    Returns:
        The job as it ended.

    Raises:
        RequestError: the host does not answer, however often it is asked; the job goes on without being followed.
        ProviderError: training on this machine failed for want of a library.
    """
    if job.ended:
        return job
    with locked(folder) if trainer.here else nullcontext():
        async for seen in trainer.follow(job.id):
            job = seen
            watch(job)
    with locked(folder), Record(folder) as record:
        return _noted(record, job)


async def cancel(trainer: Trainer, folder: Path) -> Job:
    """Cancel the last job in a folder, unless it has ended.

    Args:
        trainer: that does it.
        folder: of its jobs.

    Raises:
        ConfigError: no job was started.
        RequestError: the host refuses it, or does not answer.
    """
    last = read_last(folder)
    if last is not None and last.job is None and last.submitted and not last.refused:
        with locked(folder), Record(folder) as record:
            found = await _found(trainer, last)
            last = last if found is None else record.note("started", job=found.id)
    if last is None or last.job is None:
        raise ConfigError(f"{folder}: no job was started there, so that there is none to cancel")
    if last.ended is not None:
        return last.ended
    try:
        job = await trainer.cancel(last.job)
    except RequestError as error:
        # It may have ended meanwhile, and what has ended is not cancelled.
        job = Job(last.job, "running") if error.retryable else await trainer.look(last.job)
        if not job.ended:
            raise
    if job.ended and not trainer.here:
        with locked(folder), Record(folder) as record:
            return _noted(record, job)
    return job


async def _looked(trainer: Trainer, job: str, wishes: Wishes) -> Job:
    """How far a job is; that the host has no such job any more stops nobody who wants another."""
    try:
        return await trainer.look(job)
    except RequestError as error:
        if error.kind != "not_found":
            raise
        if wishes.again:
            return Job(job, "failed", error="the host has no such job any more")
        told = f"{error}; if it was removed there, start another with --again"
        raise RequestError(told, kind=error.kind, status=error.status) from error


async def _found(trainer: Trainer, attempt: Attempt) -> Job | None:
    """The job of an attempt that was submitted without an answer; None if the host has none."""
    assert attempt.file is not None
    for seconds in trainer.settling:
        await asyncio.sleep(seconds)
        found = await trainer.find(attempt.file, attempt.mark)
        if found is not None:
            return found
    return None


def _noted(record: Record, job: Job) -> Job:
    """The job, with its end in the record if it has ended."""
    last = record.last
    if job.ended and last is not None and last.job == job.id and last.ended is None:
        record.note("ended", state=job.state, model=job.model, error=job.error)
    return job


def _differs(attempt: Attempt, trainer: Trainer, data: TrainingData, order: Mapping[str, Any]) -> bool:
    """Whether what an attempt was to become is no longer what is asked for; nothing of it was started."""
    return (attempt.trainer, dict(attempt.order), attempt.sha256) != (trainer.identity, dict(order), data.sha256)


def _check_same(attempt: Attempt, trainer: Trainer, folder: Path, wishes: Wishes) -> None:
    """Refuse to take a job for one with other settings, or on other data."""
    order = wishes.order(trainer)
    if attempt.trainer != trainer.identity:
        raise RunError(f"{folder}: the job there is one of {attempt.trainer}, not of {trainer.identity}")
    changed = [key for key in (*attempt.order, *order) if attempt.order.get(key) != order.get(key)]
    if changed:
        was, now = (
            f"{changed[0]} = {given[changed[0]]!r}" if changed[0] in given else f"the usual value of {changed[0]}"
            for given in (attempt.order, order)
        )
        way = wishes.otherwise or (
            "start another with --again"
            if attempt.ended
            else "cancel it first (--cancel), then start another (--again)"
        )
        raise ConfigError(
            f"{folder}: the job there was started with {was}, and now {now} is asked for: "
            f"leave that as it was, or {way}"
        )
