"""What a trainer says and is told: data, estimate, job, and the model that came out. Values alone, and the protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

from icm_api.errors import StorageError
from icm_api.export import FormatName
from icm_api.wording import count_of

State: TypeAlias = Literal["validating", "queued", "running", "succeeded", "failed", "cancelled"]
Method: TypeAlias = Literal["sft", "dpo", "reward", "grpo"]
"""What is trained: to say the labels; to prefer one reply to another; to score replies; to write what scores well."""
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
"""States that a job stays in."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A file to train on, as an export wrote it.

    Attributes:
        path: of the file, JSON Lines.
        rows: that it has.
        size: bytes.
        sha256: of its bytes.
    """

    path: Path
    rows: int
    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path, rows: int) -> TrainingData:
        """The data in a file.

        Args:
            path: of the file.
            rows: that it has.

        Raises:
            StorageError: the file cannot be read.
        """
        try:
            with path.open("rb") as stream:
                return cls(path, rows, path.stat().st_size, file_digest(stream, "sha256").hexdigest())
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job is likely to take, before it is started.

    Attributes:
        rows: that are trained on.
        epochs: how often each; None if the host chooses.
        tokens: that are trained on in all epochs together; counted too high rather than too low.
        money: what they cost; None if it is not known.
        currency: of the money.
        seconds: that training takes; None if it is not known.
        notes: what else to know before the data are sent.
    """

    rows: int
    epochs: int | None
    tokens: int
    money: float | None = None
    currency: str = "USD"
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The lines that say this to people.

        Example:
            >>> Estimate(64, 3, 9_600, money=0.029).lines()
            ['64 rows, 3 epochs, about 9,600 tokens to train on', 'price: about 0.03 USD', 'time: not known in advance']
        """
        often = "as many epochs as the host chooses" if self.epochs is None else f"{self.epochs} epochs"
        price = "not known in advance" if self.money is None else f"about {self.money:,.2f} {self.currency}"
        time = "not known in advance" if self.seconds is None else f"about {_span(self.seconds)}"
        return [
            f"{count_of(self.rows, 'row')}, {often}, about {count_of(self.tokens, 'token')} to train on",
            f"price: {price}",
            f"time: {time}",
            *(f"note: {note}" for note in self.notes),
        ]


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its host last told of it.

    Attributes:
        id: by which the host knows it.
        state: in one word for all hosts.
        model: the host's name of the model that came out; None before it has succeeded.
        done: share of the training that is done, from 0 to 1; None if it is not known.
        seconds: until it ends; None if it is not known.
        tokens: that were trained on; None if it is not known.
        error: why it failed; empty if it did not.
    """

    id: str
    state: State
    model: str | None = None
    done: float | None = None
    seconds: float | None = None
    tokens: int | None = None
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether its state is its last."""
        return self.state in ENDED

    def line(self) -> str:
        """What there is to say of it, in a line.

        Example:
            >>> Job("ftjob-1", "running", done=0.5, seconds=120.0).line()
            'ftjob-1: running, 50% done, about 2 minutes left'
            >>> Job("ftjob-1", "failed", error="no such column").line()
            'ftjob-1: failed: no such column'
        """
        told: list[str] = [self.state]
        if self.state == "running" and self.done is not None:
            told.append(f"{self.done:.0%} done")
        if self.seconds is not None and not self.ended:
            told.append(f"about {_span(self.seconds)} left")
        if self.tokens:
            told.append(f"{count_of(self.tokens, 'token')} trained")
        return f"{self.id}: {', '.join(told)}" + (f": {self.error}" if self.error else "")


@dataclass(frozen=True, slots=True)
class Tuned:
    """The model that came out of a job.

    Attributes:
        spec: as `open_model` takes it.
        options: that go with it, as under [model.options].
        note: what has to be done before it answers; empty if nothing.
    """

    spec: str
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    note: str = ""


class Trainer(Protocol):
    """One way to fine-tune a model, at a host or on this machine.

    It is asked through `icm_api.training.jobs`, which sees to it that no job is started twice. What a trainer does is
    done once each time it is called: it keeps no records.
    """

    @property
    def identity(self) -> str:
        """Where it trains, and which model."""

    @property
    def order(self) -> Mapping[str, Any]:
        """The settings that shape what comes out, ready for JSON."""

    @property
    def format(self) -> FormatName:
        """The export that it reads."""

    @property
    def here(self) -> bool:
        """Whether it trains in this process, while it is followed."""

    @property
    def sent_to(self) -> str:
        """Who gets the labels; empty if they stay on this machine."""

    @property
    def settling(self) -> tuple[float, ...]:
        """Seconds before each look for a job whose start was not answered: a host's list may lag behind."""

    async def estimate(self, data: TrainingData) -> Estimate:
        """What a job is likely to take; nothing of the data is sent.

        Args:
            data: to train on.

        Raises:
            ConfigError: the settings or the data are outside what the host takes.
            RequestError: the host does not answer what is asked of its limits.
        """

    async def send(self, data: TrainingData, mark: str) -> str:
        """Bring the data to where they are trained on, and wait until they can be.

        Args:
            data: to train on.
            mark: what the file is called there.

        Returns:
            The id of the file.

        Raises:
            DataError: the host can make nothing of them.
            RequestError: they could not be sent.
        """

    async def quote(self, data: TrainingData, file: str) -> Estimate | None:
        """What the host itself says of a job on data that it has; None if it says nothing.

        Args:
            data: to train on.
            file: id of the file.

        Raises:
            RequestError: the host does not answer.
        """

    async def start(self, file: str, mark: str) -> Job:
        """Start a job: one request, sent once.

        Args:
            file: id of the file.
            mark: by which the job can be found again.

        Raises:
            RequestError: the host refused it, or gave no answer: then the job may have been started all the same.
        """

    async def find(self, file: str, mark: str) -> Job | None:
        """A job that was started with this file and this mark; None if there is none.

        Args:
            file: id of the file.
            mark: of the job.

        Raises:
            RequestError: the host does not answer.
        """

    async def look(self, job: str) -> Job:
        """How far a job is.

        Args:
            job: its id.

        Raises:
            RequestError: the host does not answer, or does not know it.
        """

    def follow(self, job: str) -> AsyncIterator[Job]:
        """How far a job is, again and again until it has ended.

        Args:
            job: its id.

        Raises:
            RequestError: the host does not answer, however often it is asked.
        """

    async def cancel(self, job: str) -> Job:
        """Cancel a job, unless it has ended.

        Args:
            job: its id.

        Raises:
            RequestError: the host refuses it.
        """

    def result(self, job: Job) -> Tuned:
        """The model that came out of a job that has succeeded.

        Args:
            job: that has succeeded.
        """

    async def close(self) -> None:
        """Close the connections."""


def _span(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> _span(1.2), _span(40), _span(62), _span(120), _span(7_200)
        ('1 second', '40 seconds', '1 minute', '2 minutes', '2.0 hours')
    """
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    count, unit = (round(seconds), "second") if seconds < 60 else (round(seconds / 60), "minute")
    return f"{count} {unit}{'' if count == 1 else 's'}"
