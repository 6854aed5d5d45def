"""What trainers at hosts share: the connection, requests that are sent again if that is safe, the estimate, following.

Each host's own paths, bodies and words are in a file of its own. Whatever starts a job is sent once.
"""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import httpx2
import openai
from openai._types import FileTypes, RequestOptions

from icm_api.config import ClientSettings
from icm_api.errors import GaveUpError, RequestError
from icm_api.export import FormatName
from icm_api.model.client.retry import with_retries
from icm_api.model.endpoints.http import blotted, checked_url, host_of, read_key
from icm_api.model.endpoints.network import PerLoop
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk, request_error
from icm_api.model.host import Entry
from icm_api.model.request import bytes_in_tokens
from icm_api.training.options import HostedTraining
from icm_api.training.values import Estimate, Job, Method, State, TrainingData, Tuned

_T = TypeVar("_T")
HttpMethod: TypeAlias = Literal["GET", "POST"]
# An upload, or a host that thinks, may take its time; a job goes on without us.
_TIMEOUT = httpx2.Timeout(300.0, connect=10.0)
_PATIENCE = ClientSettings(attempts=8, retry_seconds=300.0)
# What ids and names of models are made of: they get into paths and specs.
_NAME = re.compile(r"[\w.:@/+-]{1,300}")
_A_MESSAGE = 8
"""Tokens that a chat template writes around a row, at least."""


class Ask(NamedTuple):
    """A request.

    Attributes:
        method: of HTTP.
        path: below the base URL.
        body: JSON-able, or the fields of a form if there is a file.
        query: of the URL.
        file: name and content of a file.
        form: send the body as a form.
        there: that it is there already is no error.
    """

    method: HttpMethod
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None
    file: tuple[str, bytes] | None = None
    form: bool = False
    there: bool = False


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
        self.url = url
        self._secret = key.get_secret_value() if key else ""
        self._sdk = PerLoop(partial(open_sdk, Connection(url, key)), openai.AsyncOpenAI.close)

    def jobs_url(self, url: str) -> str:
        """Where a host takes jobs.

        Args:
            url: where it answers questions.
        """
        return url

    @property
    def identity(self) -> str:
        """The host and the model."""
        return f"{self._entry.name}/{host_of(self.url)}/{self.model}"

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
        return self.job_in(await self.once(Ask("POST", self.jobs_path, self.body(file, mark))))

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
        return self.job_in(await self.ask(Ask("GET", f"{self.jobs_path}/{job}")))

    async def cancel(self, job: str) -> Job:
        """Cancel a job."""
        return self.job_in(await self.ask(Ask("POST", f"{self.jobs_path}/{job}/cancel")))

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
        await self._sdk.close()

    async def ask(self, wanted: Ask) -> Mapping[str, Any]:
        """Send a request that may be sent again.

        Args:
            wanted: the request.

        Raises:
            RequestError: it failed; classified.
        """
        return await self.again(lambda: self.once(wanted))

    async def again(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Do what may be done again until it succeeds.

        Args:
            attempt: does it once.

        Raises:
            RequestError: it failed; classified.
        """
        try:
            return await with_retries(attempt, _PATIENCE, clock=monotonic, sleep=asyncio.sleep)
        except GaveUpError as error:
            told = f"{error.__cause__}; gave up after {_PATIENCE.attempts} attempts; a job that was started goes on"
            raise GaveUpError(told, kind=error.kind, status=error.status, retry_after=error.retry_after) from error

    async def once(self, wanted: Ask) -> Mapping[str, Any]:
        """Send a request once.

        Args:
            wanted: the request.

        Raises:
            RequestError: it failed; classified.
        """
        try:
            response = await self.response(wanted)
        except RequestError as error:
            if wanted.there and error.status == httpx2.codes.CONFLICT:
                return {}
            raise
        # An error inside is one of the job that it tells of.
        try:
            found = json.loads(response.content or b"{}", parse_constant=str)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Mapping):
            shown = blotted(response.content[:2000].decode("utf-8", "replace"), self._secret)[:80]
            told = f"{self.identity}: the answer is no JSON object: {shown!r}"
            raise RequestError(told, kind="broken_answer", status=response.status_code)
        return found

    async def response(self, wanted: Ask) -> httpx2.Response:
        """Send a request once, and take its answer as it is. Redirects are not followed: they are answers.

        Args:
            wanted: the request.

        Raises:
            RequestError: it failed; classified.
        """
        sdk = self._sdk.get()
        options: RequestOptions = {"timeout": _TIMEOUT, "follow_redirects": False}
        if wanted.query:
            options["params"] = dict(wanted.query)
        try:
            if wanted.method == "GET":
                return await sdk.get(wanted.path, cast_to=httpx2.Response, options=options)
            files: list[tuple[str, FileTypes]] | None = None if wanted.file is None else [("file", wanted.file)]
            if files is not None or wanted.form:
                options["headers"] = {"Content-Type": "multipart/form-data"}
            body = {} if wanted.body is None else dict(wanted.body)
            return await sdk.post(wanted.path, cast_to=httpx2.Response, body=body, files=files, options=options)
        except openai.APIStatusError as error:
            if error.status_code == httpx2.codes.FOUND:
                return error.response
            raise self.named(error) from None
        except openai.APIError as error:
            raise self.named(error) from None

    def named(self, error: openai.APIError) -> RequestError:
        """What an error of the SDK means.

        Args:
            error: as the SDK raised it.
        """
        return request_error(error, self.identity, self._secret, self.url)

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

    def name_in(self, answer: Mapping[str, Any], key: str) -> str:
        """An id or a model's name in an answer.

        Args:
            answer: of the host.
            key: of the value.

        Raises:
            RequestError: it is missing, or holds what no name has.
        """
        found = answer.get(key)
        if not isinstance(found, str) or not _NAME.fullmatch(found) or ".." in found:
            told = f"{self.identity}: the answer has no name under {key!r}: {str(found)[:80]!r}"
            raise RequestError(told, kind="broken_answer")
        return found


def number_in(value: object) -> int | None:
    """A count in an answer; None if it is none.

    Example:
        >>> number_in(3), number_in(3.0), number_in("3"), number_in(-1), number_in(True)
        (3, 3, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return int(value)


def list_in(answer: Mapping[str, Any], key: str = "data") -> list[Mapping[str, Any]]:
    """The objects of a list in an answer.

    Args:
        answer: of a host.
        key: of the list.
    """
    found = answer.get(key)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _tokens_of(data: TrainingData) -> int:
    """Tokens of one epoch, counted too high: what JSON writes around the texts is counted too."""
    with data.path.open(encoding="utf-8-sig") as stream:
        return sum(bytes_in_tokens(line) + _A_MESSAGE for line in stream)
