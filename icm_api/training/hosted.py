"""What trainers at hosts share: the estimate, starting, looking, following and cancelling.

Each host's own paths, bodies and words are in a file of its own. Whatever starts a job is sent once; how requests are
sent, `host` knows.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any

from icm_api.errors import RequestError
from icm_api.export import FormatName
from icm_api.model.endpoints.http import checked_url, read_key
from icm_api.model.host import Entry
from icm_api.model.request import bytes_in_tokens
from icm_api.training.host import Ask, TrainingHost
from icm_api.training.options import HostedTraining
from icm_api.training.values import Estimate, Job, Method, State, TrainingData, Tuned

_A_MESSAGE = 8
"""Tokens that a chat template writes around a row, at least."""


class HostedTrainer(ABC):
    """A host that trains; implements `Trainer` but for what differs between hosts.

    Args:
        entry: of the catalogue.
        model: to train.
        options: of the user.
        method: "sft", or "dpo" for preferences.

    Raises:
        ConfigError: there is no key in the environment, or the address is none.
    """

    jobs_path: str
    """Where jobs are, below the address."""
    states: Mapping[str, State]
    """What the host calls a state of a job -> what we do."""

    def __init__(self, entry: Entry, model: str, options: HostedTraining, method: Method = "sft") -> None:
        self.model, self.options, self.method, self._entry = model, options, method, entry
        url = checked_url(options.base_url or self.jobs_url(entry.base_url), allow_http=options.allow_http)
        key = read_key(options.key_variable or entry.key_variable, required=entry.key_required)
        self.host = TrainingHost(entry.name, model, url, key)

    def jobs_url(self, url: str) -> str:
        """Where a host takes jobs.

        Args:
            url: where it answers questions.
        """
        return url

    @property
    def identity(self) -> str:
        """The host and the model."""
        return self.host.identity

    @property
    def order(self) -> Mapping[str, Any]:
        """The settings that shape what comes out."""
        return self.options.order()

    @property
    def here(self) -> bool:
        """It trains at the host."""
        return False

    @property
    def sent_to(self) -> str:
        """The host."""
        return self.identity

    @property
    def settling(self) -> tuple[float, ...]:
        """At once, soon, and after the usual time between looks."""
        return 0.0, self.options.poll_seconds / 4, self.options.poll_seconds

    @property
    @abstractmethod
    def format(self) -> FormatName:
        """The export that it reads."""

    def notes(self) -> tuple[str, ...]:
        """What to know before data are sent."""
        return ()

    async def estimate(self, data: TrainingData) -> Estimate:
        """Counted here, from the bytes of the data; the price by `options.price`."""
        once = await asyncio.to_thread(_tokens_of, data)
        tokens = once * (self.options.epochs or 1)
        price = self.options.price
        money = None if price is None else tokens / 1e6 * price
        return Estimate(data.rows, self.options.epochs, tokens, money, self.options.currency, notes=self.notes())

    async def quote(self, data: TrainingData, file: str) -> Estimate | None:
        """Most hosts say nothing."""
        return None

    @abstractmethod
    async def send(self, data: TrainingData, mark: str) -> str:
        """Bring the data, and wait until they can be trained on."""

    @abstractmethod
    def body(self, file: str, mark: str) -> Mapping[str, Any]:
        """What starts a job."""

    async def start(self, file: str, mark: str) -> Job:
        """Start a job, by one request that is sent once.

        Args:
            file: id of the file.
            mark: by which it can be found again.

        Raises:
            RequestError: the host refused it, or gave no answer.
        """
        return self.job_in(await self.host.once(Ask("POST", self.jobs_path, self.body(file, mark))))

    @abstractmethod
    async def find(self, file: str, mark: str) -> Job | None:
        """A job that was started with this file and mark; None if there is none."""

    async def look(self, job: str) -> Job:
        """How far a job is.

        Args:
            job: its id.

        Raises:
            RequestError: the host does not answer.
        """
        return self.job_in(await self.host.ask(Ask("GET", f"{self.jobs_path}/{job}")))

    async def cancel(self, job: str) -> Job:
        """Cancel a job."""
        return self.job_in(await self.host.ask(Ask("POST", f"{self.jobs_path}/{job}/cancel")))

    @abstractmethod
    def job_in(self, answer: Mapping[str, Any]) -> Job:
        """The job that an answer tells of."""

    @abstractmethod
    def result(self, job: Job) -> Tuned:
        """The model that came out."""

    async def follow(self, job: str) -> AsyncIterator[Job]:
        """Look again and again until the job has ended.

        Args:
            job: its id.

        Raises:
            GaveUpError: the host does not answer, however often it is asked.
        """
        while True:
            seen = await self.look(job)
            yield seen
            if seen.ended:
                return
            await asyncio.sleep(self.options.poll_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self.host.close()

    def state_in(self, told: object) -> State:
        """Our word for a state.

        Args:
            told: the host's word.

        Raises:
            RequestError: it is none that is known.
        """
        state = self.states.get(str(told))
        if state is None:
            raise RequestError(f"{self.identity}: a job has no state {str(told)[:80]!r}", kind="broken_answer")
        return state


def _tokens_of(data: TrainingData) -> int:
    """Tokens of one epoch, counted too high: what JSON writes around the texts is counted too."""
    with data.path.open(encoding="utf-8-sig") as stream:
        return sum(bytes_in_tokens(line) + _A_MESSAGE for line in stream)
