"""Batch jobs of Anthropic: questions and job in one request, a result for each question when all are over.

A job takes no name and no metadata. One that may have arrived is known by the ids of its questions, which its results
name; as long as it goes on, only its size can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast
from urllib.parse import quote

import anthropic
import httpx2
from anthropic.types.messages import MessageBatch

from icm_api.errors import ProviderError, RequestError
from icm_api.model.endpoints.answers import error_within
from icm_api.model.endpoints.anthropic_host import AnthropicHost
from icm_api.model.endpoints.http import advised, kind_of
from icm_api.model.job import Bundle, Found, JobState, Status, checked_id
from icm_api.model.request import Request, Response

MOST_REQUESTS = 10_000
"""Questions of a job. Anthropic takes 100,000; so many have answers that can be read at once."""
MOST_BYTES = 50 * 2**20
"""Of the questions of a job. Anthropic takes 256 MB."""

_PAGE = 100
# Seconds by which clocks may differ.
_SKEW = 3600
# Of questions that were not attempted, which the state of the job says too.
_NOT_ATTEMPTED = frozenset({"expired", "canceled"})

_KINDS = ("processing", "succeeded", "errored", "canceled", "expired")

_T = TypeVar("_T")


class AnthropicJobs:
    """Jobs of one Claude model; implements `JobHost`.

    Args:
        host: the model, with the connections, which its endpoint closes.
    """

    most_requests = MOST_REQUESTS
    most_bytes = MOST_BYTES

    def __init__(self, host: AnthropicHost) -> None:
        self._host = host

    @property
    def identity(self) -> str:
        """That of the model's endpoint."""
        return self._host.identity

    def line(self, item: str, request: Request) -> bytes:
        """A question of a job."""
        return json.dumps({"custom_id": item, "params": self._host.body_of(request)}).encode()

    async def upload(self, job: Bundle, lines: Sequence[bytes]) -> str:
        """Nothing: the questions go with the job."""
        return ""

    async def submit(self, job: Bundle, lines: Sequence[bytes]) -> JobState:
        """Send the questions, to be answered within 24 hours."""
        requests = cast("Any", [json.loads(line) for line in lines])
        return self._state(await self._called(lambda: self._host.sdk.messages.batches.create(requests=requests)))

    async def find(self, job: Bundle) -> Found:
        """Look among the jobs since then for one of as many questions, whose results are those of this one."""
        unsure = False
        alike: list[MessageBatch] = []

        async def search() -> None:
            async for batch in self._host.sdk.messages.batches.list(limit=_PAGE):
                made = getattr(batch, "created_at", None)
                if isinstance(made, datetime) and made.timestamp() < job.began - _SKEW:
                    break
                if sum(_counts(batch).values()) == job.size:
                    alike.append(batch)

        await self._called(search)
        for batch in alike:
            if batch.processing_status != "ended":
                unsure = True
            elif any(job.place(item) is not None for item, _ in await self._lines(batch.id)):
                return Found(self._state(batch))
        return Found(unsure=unsure)

    async def look(self, key: str) -> JobState:
        """How far a job is."""
        return self._state(await self._called(lambda: self._host.sdk.messages.batches.retrieve(key)))

    async def results(self, state: JobState, asked: Mapping[str, Request]) -> Mapping[str, Response | ProviderError]:
        """What came of each question."""
        found: dict[str, Response | ProviderError] = {}
        for item, result in await self._lines(state.id):
            if result.get("type") not in _NOT_ATTEMPTED:
                found.setdefault(item, self._outcome(result, asked.get(item) or Request({})))
        return found

    def _outcome(self, result: Mapping[str, Any], request: Request) -> Response | ProviderError:
        message = result.get("message")
        if result.get("type") == "succeeded" and isinstance(message, Mapping):
            try:
                return self._host.response(json.dumps(message).encode(), request)
            except RequestError as error:
                return error
        # An error of a question is wrapped as the answer to a request of its own is.
        told = result.get("error")
        body: Mapping[str, Any] = told if isinstance(told, Mapping) else {"error": told or "no answer"}
        code, status, text = error_within(body) or ("", None, json.dumps(result)[:500])
        kind = kind_of(status or 500, code, text)
        return RequestError(f"{self.identity}: {advised(self._host.blotted(text), kind)}", kind=kind, status=status)

    async def _lines(self, key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The id of each question and its result, as it came."""
        # The SDK's own reading fills in what the answer does not say, and would make another answer of it.
        path = f"/v1/messages/batches/{quote(key, safe='')}/results"
        response = await self._called(lambda: self._host.sdk.get(path, cast_to=httpx2.Response))
        found: list[tuple[str, Mapping[str, Any]]] = []
        for line in response.content.splitlines():
            try:
                record = json.loads(line, parse_constant=str)
                found.append((str(record["custom_id"]), dict(record["result"])))
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
        return found

    async def _called(self, call: Callable[[], Awaitable[_T]]) -> _T:
        try:
            return await call()
        except anthropic.APIError as error:
            raise self._host.classified(error) from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            # The SDK reads answers without asking whether they are any.
            raise RequestError(f"{self.identity}: the answer on a batch job is none", kind="broken_answer") from error

    def _state(self, batch: MessageBatch) -> JobState:
        """A job in the words of all hosts; a word that is not known is taken for one on the way."""
        counts, said = _counts(batch), self._host.blotted(str(getattr(batch, "processing_status", None)))[:40]
        status: Status = "under_way"
        if said == "ended":
            status = "cancelled" if counts["canceled"] else "expired" if counts["expired"] else "completed"
        whole = sum(counts.values())
        progress = f"{whole - counts['processing']:,} of {whole:,} questions done"
        return JobState(checked_id(getattr(batch, "id", None), self.identity), status, said, progress)


def _counts(batch: object) -> Mapping[str, int]:
    """Questions by what became of them, whatever it is that a host sent."""
    found = batch.to_dict(warnings=False).get("request_counts") if isinstance(batch, MessageBatch) else None
    counts = found if isinstance(found, Mapping) else {}
    return {kind: value if type(value := counts.get(kind)) is int else 0 for kind in _KINDS}
