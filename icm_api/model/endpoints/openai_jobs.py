"""Batch jobs in OpenAI's shape and in Together's: a file of questions in, a job, files of answers and of errors out.

It does: write the lines, hand over, look, find a job by the file that it was given, and read what came of each line.
It does not: wait, try again, or note anything.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx2
import openai
from openai.types import Batch

from icm_api.errors import ProviderError, RequestError
from icm_api.model.endpoints.answers import error_within, read_object
from icm_api.model.endpoints.http import advised, kind_of
from icm_api.model.endpoints.network import PerLoop
from icm_api.model.endpoints.openai_sdk import Sdk, request_error
from icm_api.model.endpoints.usage import charged
from icm_api.model.host import Host
from icm_api.model.job import Bundle, Found, JobState, Status, checked_id
from icm_api.model.request import Request, Response

MOST_REQUESTS = 10_000
"""Questions of a job. Hosts take 50,000 and more; so many have answers that can be read at once."""
MOST_BYTES = 50 * 2**20
"""Of the questions of a job. Hosts take 100 MB and more."""

_NAME = "icm_api_job"
_PAGE = 100
# Seconds by which clocks may differ.
_SKEW = 3600
_STATUSES: Mapping[str, Status] = {
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
# Of questions that were not attempted, which the state of the job says too.
_NOT_ATTEMPTED = frozenset({"batch_expired", "batch_cancelled"})
_CROWDED = "token_limit_exceeded"

_T = TypeVar("_T")


class OpenAIJobs:
    """Jobs of one model at a host of OpenAI's formats; implements `JobHost`.

    Args:
        host: the model and its host.
        sdk: the connections of its endpoint, which closes them.
        unkeyed: sent with every question; it changes what that costs and not what is answered.
    """

    most_requests = MOST_REQUESTS
    most_bytes = MOST_BYTES

    def __init__(self, host: Host, sdk: PerLoop[Sdk], unkeyed: Mapping[str, str]) -> None:
        self._host, self._open, self._unkeyed = host, sdk, unkeyed

    @property
    def identity(self) -> str:
        """That of the model's endpoint."""
        return self._host.identity

    @property
    def _sdk(self) -> openai.AsyncOpenAI:
        return self._open.get()

    def line(self, item: str, request: Request) -> bytes:
        """A question as a line of a file, without its end."""
        body = {**request.body, **self._unkeyed}
        return _encoded({"custom_id": item, "method": "POST", "url": f"/v1/{request.endpoint}", "body": body})

    async def upload(self, job: Bundle, lines: Sequence[bytes]) -> str:
        """Hand over a file of questions; its id."""
        given = (f"icm-api-{job.name}.jsonl", b"".join(line + b"\n" for line in lines))
        kept = await self._called(lambda: self._sdk.files.create(file=given, purpose="batch"))
        return checked_id(getattr(kept, "id", None), self.identity)

    async def submit(self, job: Bundle, lines: Sequence[bytes]) -> JobState:
        """Have the questions of the file answered within 24 hours."""
        # What hosts take is checked by the catalogue.
        path = cast("Any", f"/v1/{job.endpoint}")
        made = await self._called(
            lambda: self._sdk.batches.create(
                input_file_id=job.upload, endpoint=path, completion_window="24h", metadata={_NAME: job.name}
            )
        )
        return self._state(_plain(made))

    async def find(self, job: Bundle) -> Found:
        """Look among the jobs since then for one of the file; without a file there is none."""
        if not job.upload:
            return Found()

        async def search() -> JobState | None:
            async for batch in self._sdk.batches.list(limit=_PAGE):
                about = _plain(batch)
                made = about.get("created_at")
                if about.get("input_file_id") == job.upload:
                    return self._state(about)
                if isinstance(made, int | float) and made < job.began - _SKEW:
                    break
            return None

        return Found(await self._called(search))

    async def look(self, key: str) -> JobState:
        """How far a job is."""
        return self._state(_plain(await self._called(lambda: self._sdk.batches.retrieve(key))))

    async def results(self, state: JobState, asked: Mapping[str, Request]) -> Mapping[str, Response | ProviderError]:
        """What came of each question, by the files of answers and of errors."""
        found: dict[str, Response | ProviderError] = {}
        for key in state.files:
            content = (await self._called(lambda key=key: self._sdk.files.content(key))).content  # type: ignore[misc]
            for line in content.splitlines():
                item, outcome = self._outcome(line, asked)
                if outcome is not None:
                    found.setdefault(item, outcome)
        return found

    def _outcome(self, line: bytes, asked: Mapping[str, Request]) -> tuple[str, Response | ProviderError | None]:
        """The id of a question, and what came of it; None if it was not attempted, or the line says nothing."""
        try:
            record = json.loads(line, parse_constant=str)
        except (ValueError, RecursionError):
            return "", None
        if not isinstance(record, Mapping):
            return "", None
        item, response, error = str(record.get("custom_id")), record.get("response"), record.get("error")
        body = response.get("body") if isinstance(response, Mapping) else None
        if isinstance(response, Mapping) and isinstance(body, Mapping):
            status = response.get("status_code")
            return item, self._read(body, status if isinstance(status, int) else 200, asked.get(item) or Request({}))
        if isinstance(error, Mapping) and error.get("code") in _NOT_ATTEMPTED:
            return item, None
        return item, self._wrong({"error": error or "no answer"}, 500)

    def _read(self, body: Mapping[str, Any], status: int, request: Request) -> Response | ProviderError:
        if status >= 400:
            return self._wrong(body, status)
        try:
            sound = read_object(json.dumps(body).encode(), status, self.identity, self._sdk.api_key)
        except RequestError as error:
            return error
        usage, doubt = charged(sound, request)
        return Response(sound, usage, doubt=doubt)

    def _wrong(self, body: Mapping[str, Any], status: int) -> RequestError:
        code, stated, text = error_within(body) or ("", None, json.dumps(body)[:500])
        kind = kind_of(stated or status, code, text)
        told = advised(self._host.blot(text), kind)
        return RequestError(f"{self.identity}: {told}", kind=kind, status=stated or status)

    def _state(self, batch: Mapping[str, Any]) -> JobState:
        """A job of any host in these words; a word that is not known is taken for one on the way."""
        said = self._host.blot(str(batch.get("status")))[:40].lower()
        counts, share = batch.get("request_counts"), batch.get("progress")
        progress = ""
        if isinstance(counts, Mapping) and isinstance(counts.get("total"), int) and counts["total"]:
            done = int(counts.get("completed") or 0) + int(counts.get("failed") or 0)
            progress = f"{done:,} of {counts['total']:,} questions done"
        elif isinstance(share, int | float):
            progress = f"{share:.0f}% done"
        files = [batch.get("output_file_id"), batch.get("error_file_id")]
        reasons = _reasons(batch)
        return JobState(
            checked_id(batch.get("id"), self.identity),
            _STATUSES.get(said, "under_way"),
            said,
            progress,
            tuple(checked_id(key, self.identity) for key in files if key),
            self._host.blot("; ".join(text for _, text in reasons))[:500] or "the host does not say why",
            crowded=any(code == _CROWDED for code, _ in reasons),
        )

    async def _called(self, call: Callable[[], Awaitable[_T]]) -> _T:
        sdk = self._sdk
        try:
            return await call()
        except openai.APIError as error:
            raise request_error(error, self.identity, sdk.api_key, str(sdk.base_url)) from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            # The SDK reads answers without asking whether they are any.
            raise RequestError(f"{self.identity}: the answer on a batch job is none", kind="broken_answer") from error


class TogetherJobs(OpenAIJobs):
    """The same in Together's words: another way for files, a job inside the answer, no counts, no pages of a list."""

    def line(self, item: str, request: Request) -> bytes:
        """A question as a line of a file, without its end."""
        return _encoded({"custom_id": item, "body": {**request.body, **self._unkeyed}})

    async def upload(self, job: Bundle, lines: Sequence[bytes]) -> str:
        """Hand over a file of questions; its id."""
        name = f"icm-api-{job.name}.jsonl"
        content = b"".join(line + b"\n" for line in lines)
        kept = await self._called(
            lambda: self._sdk.post(
                "/files/upload",
                cast_to=httpx2.Response,
                body={"purpose": "batch-api", "file_name": name},
                files={"file": (name, content)},
                options={"headers": {"Content-Type": "multipart/form-data"}},
            )
        )
        return checked_id(self._object(kept).get("id"), self.identity)

    async def submit(self, job: Bundle, lines: Sequence[bytes]) -> JobState:
        """Have the questions of the file answered."""
        body = {"input_file_id": job.upload, "endpoint": f"/v1/{job.endpoint}", "completion_window": "24h"}
        made = self._object(await self._called(lambda: self._sdk.post("/batches", cast_to=httpx2.Response, body=body)))
        inner = made.get("job")
        return self._state(inner if isinstance(inner, Mapping) else made)

    async def find(self, job: Bundle) -> Found:
        """Look among all jobs for one of the file; without a file there is none."""
        if not job.upload:
            return Found()
        listed = await self._called(lambda: self._sdk.get("/batches", cast_to=httpx2.Response))
        try:
            jobs = json.loads(listed.content)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{self.identity}: the list of jobs is no JSON", kind="broken_answer") from error
        jobs = jobs.get("data") if isinstance(jobs, Mapping) else jobs
        known = [each for each in jobs if isinstance(each, Mapping)] if isinstance(jobs, list) else []
        return Found(next((self._state(each) for each in known if each.get("input_file_id") == job.upload), None))

    async def look(self, key: str) -> JobState:
        """How far a job is."""
        path = f"/batches/{quote(key, safe='')}"
        return self._state(self._object(await self._called(lambda: self._sdk.get(path, cast_to=httpx2.Response))))

    def _object(self, response: httpx2.Response) -> Mapping[str, Any]:
        try:
            found = json.loads(response.content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Mapping):
            raise RequestError(f"{self.identity}: the answer is no JSON object", kind="broken_answer")
        return found


def _plain(found: object) -> Mapping[str, Any]:
    """What a host sent, if it is an object; the SDK hands over anything."""
    return found.to_dict(warnings=False) if isinstance(found, Batch) else {}


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode()


def _reasons(batch: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Code and text of what a job failed of."""
    errors = batch.get("errors")
    listed = errors.get("data") if isinstance(errors, Mapping) else None
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    shown = []
    for each in found[:5]:
        line = f" (line {each['line']})" if each.get("line") is not None else ""
        shown.append((str(each.get("code")), f"{each.get('message')}{line}"))
    error = batch.get("error")
    return shown or ([("", str(error))] if error else [])
