"""The routes of batch jobs, in the shapes of OpenAI, Together and Anthropic.

OpenAI's files and batches are at /v1/files and /v1/batches. A file that comes by /v1/files/upload makes its job one of
Together's, with other words and without counts. Anthropic's jobs are at /v1/messages/batches, questions included.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email import policy
from email.parser import BytesParser
from functools import wraps
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from icm_api.testing.backend import WireError
from icm_api.testing.jobs import Job, JobDesk

BATCH_FIELDS = frozenset({"completion_window", "endpoint", "input_file_id", "metadata", "output_expires_after"})
"""What OpenAI's batches take. Source: `BatchCreateParams` of the openai SDK 3.57."""
TOGETHER_FIELDS = frozenset({"completion_window", "endpoint", "input_file_id", "model_id", "priority"})
"""What Together's batches take. Source: `BatchCreateParams` of the together SDK 3.1."""

_DAY = timedelta(hours=24)
_LINE_FIELDS = frozenset({"custom_id", "method", "url", "body"})
_MOST = 50_000
_UNANSWERED = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed because the batch was cancelled."),
}
_REFUSED = {
    "failed": ("invalid_json_line", "This line is not parseable as valid JSON."),
    "queue-full": (
        "token_limit_exceeded",
        "Enqueued token limit reached. Limit: 90,000 enqueued tokens. Please try again once some in_progress batches "
        "have been completed.",
    ),
}

Work: TypeAlias = Callable[[Request], Coroutine[Any, Any, object]]


class JobRoutes:
    """Answers all that concerns jobs.

    Args:
        desk: the jobs.
        heard: called with the path and the body of each request that arrives.
        told: the body of an error, by the family of the route: "openai" or "anthropic".
    """

    def __init__(
        self,
        desk: JobDesk,
        heard: Callable[[str, Mapping[str, Any]], None],
        told: Callable[[str, WireError], Mapping[str, Any]],
    ) -> None:
        self._desk, self._heard, self._told = desk, heard, told
        self._together: set[str] = set()

    def routes(self) -> list[Route]:
        """All of them."""
        claude = "/v1/messages/batches"
        return [
            self._route("/v1/files", self._upload, "POST"),
            self._route("/v1/files/upload", self._upload, "POST"),
            self._route("/v1/files/{name}/content", self._content, "GET"),
            self._route("/v1/batches", self._create, "POST"),
            self._route("/v1/batches", self._list, "GET"),
            self._route("/v1/batches/{name}", self._look, "GET"),
            self._route("/v1/batches/{name}/cancel", self._cancel, "POST"),
            self._route(claude, self._create_claude, "POST", "anthropic"),
            self._route(claude, self._list_claude, "GET", "anthropic"),
            self._route(claude + "/{name}", self._look_claude, "GET", "anthropic"),
            self._route(claude + "/{name}/results", self._results_claude, "GET", "anthropic"),
            self._route(claude + "/{name}/cancel", self._cancel, "POST", "anthropic"),
        ]

    def _route(self, path: str, work: Work, method: str, family: str = "openai") -> Route:
        @wraps(work)
        async def answer(request: Request) -> Response:
            if method == "GET":
                self._heard(request.url.path, {})
            try:
                found = await work(request)
            except WireError as error:
                return Response(json.dumps(self._told(family, error)), error.status, media_type="application/json")
            if isinstance(found, bytes):
                return Response(found, media_type="application/binary")
            return Response(json.dumps(found), media_type="application/json")

        return Route(path, answer, methods=[method])

    # OpenAI and Together

    async def _upload(self, request: Request) -> object:
        form = _form(request.headers.get("content-type", ""), await request.body())
        together = request.url.path.endswith("/upload")
        purpose = form.get("purpose", ("", b""))[1].decode()
        if "file" not in form or purpose != ("batch-api" if together else "batch"):
            raise WireError(f"file and purpose are needed, got {sorted(form)} and purpose {purpose!r}.")
        name, content = form["file"]
        if together and form.get("file_name", ("", b""))[1].decode() != name:
            raise WireError("file_name: Missing required fields")
        self._heard(request.url.path, {"purpose": purpose, "filename": name, "bytes": len(content)})
        key = self._desk.keep(name, content)
        if together:
            self._together.add(key)
        made = int(datetime.now(UTC).timestamp())
        about = {"id": key, "object": "file", "bytes": len(content), "created_at": made, "filename": name}
        return {**about, "purpose": purpose, **({"FileType": "jsonl"} if together else {"status": "processed"})}

    async def _create(self, request: Request) -> object:
        body = await _object(request)
        self._heard(request.url.path, body)
        key = str(body.get("input_file_id"))
        together = key in self._together
        unknown = sorted(set(body) - (TOGETHER_FIELDS if together else BATCH_FIELDS))
        if unknown or key not in self._desk.files:
            raise WireError(f"Unknown parameter or file: {unknown or key}.")
        if not together and body.get("completion_window") != "24h":
            raise WireError("completion_window: only 24h is supported.")
        path = str(body.get("endpoint"))
        if together and path != "/v1/chat/completions":
            raise WireError(f"endpoint {path} is not supported in batches.")
        lines = _lines(self._desk.files[key][1], path, method=not together)
        job = self._desk.take(path, lines, key, body.get("metadata"))
        await self._acknowledge()
        return {"job": self._shown(job)} if together else self._shown(job)

    async def _acknowledge(self) -> None:
        plan = self._desk.plan
        if plan.wait:
            await asyncio.sleep(plan.wait)
        if len(self._desk.jobs) <= plan.unsaid:
            raise WireError("The server had an error while processing your request.", status=500, kind="api_error")

    async def _list(self, request: Request) -> object:
        jobs = self._desk.listed()
        if self._together:
            return [self._shown(job) for job in jobs]
        shown, more = _page(jobs, request.query_params.get("after"), request.query_params.get("limit", "20"))
        ends = {"first_id": shown[0].id, "last_id": shown[-1].id} if shown else {}
        return {"object": "list", "data": [self._shown(job) for job in shown], "has_more": more, **ends}

    async def _look(self, request: Request) -> object:
        return self._shown(await self._desk.look(self._job(request)))

    async def _cancel(self, request: Request) -> object:
        job = self._job(request)
        job.cancel()
        return self._shown_claude(job) if "messages" in request.url.path else self._shown(job)

    async def _content(self, request: Request) -> object:
        name = str(request.path_params["name"])
        if name in self._desk.files:
            return self._desk.files[name][1]
        kind, _, key = name.partition("-")
        job = self._desk.jobs.get(key)
        if job is None or kind not in ("output", "error"):
            raise WireError(f"No such File object: {name}", status=404, kind="not_found_error")
        lines = [line for wrong, line in _outcomes(job) if wrong == (kind == "error")]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def _job(self, request: Request) -> Job:
        found = self._desk.jobs.get(str(request.path_params["name"]))
        if found is None:
            told = f"No batch found with id {request.path_params['name']!r}."
            raise WireError(told, status=404, kind="not_found_error")
        return found

    def _shown(self, job: Job) -> dict[str, Any]:
        wrongs = [wrong for wrong, _ in _outcomes(job)] if job.ended else []
        files = {
            "output_file_id": f"output-{job.id}" if False in wrongs else None,
            "error_file_id": f"error-{job.id}" if True in wrongs else None,
        }
        if job.upload in self._together:
            word = {"finalizing": "in_progress", "cancelling": "in_progress"}.get(job.status, job.status)
            about = {"id": job.id, "endpoint": job.path, "input_file_id": job.upload, "status": word.upper()}
            when = {"created_at": _stamp(job.created), "progress": 100.0 if job.ended else 0.0, "error": None}
            return {**about, **when, **files}
        counts = {"total": len(job.lines), "completed": wrongs.count(False), "failed": wrongs.count(True)}
        made = int(job.created)
        shown: dict[str, Any] = {"id": job.id, "object": "batch", "endpoint": job.path, "input_file_id": job.upload}
        shown |= {"completion_window": "24h", "status": job.status, "created_at": made, "expires_at": made + 86_400}
        errors = None
        if job.status == "failed":
            code, message = _REFUSED[job.end]
            line = 1 if job.end == "failed" else None
            errors = {"object": "list", "data": [{"code": code, "message": message, "line": line, "param": None}]}
        return {**shown, **files, "request_counts": counts, "metadata": job.about, "errors": errors}

    # Anthropic

    async def _create_claude(self, request: Request) -> object:
        body = await _object(request)
        self._heard(request.url.path, body)
        asked = body.get("requests")
        if set(body) != {"requests"} or not isinstance(asked, list) or not asked:
            raise WireError("requests: Field required, and nothing else permitted")
        wrong = [each for each in asked if not isinstance(each, dict) or set(each) != {"custom_id", "params"}]
        if wrong or len({each["custom_id"] for each in asked}) < len(asked):
            raise WireError("requests: custom_id, which must be unique, and params, and nothing else, are needed")
        lines = [(str(each["custom_id"]), each["params"]) for each in asked]
        job = self._desk.take("/v1/messages", lines)
        await self._acknowledge()
        return self._shown_claude(job)

    async def _list_claude(self, request: Request) -> object:
        query = request.query_params
        shown, more = _page(self._desk.listed(), query.get("after_id"), query.get("limit", "20"))
        ends = {"first_id": shown[0].id, "last_id": shown[-1].id} if shown else {"first_id": None, "last_id": None}
        return {"data": [self._shown_claude(job) for job in shown], "has_more": more, **ends}

    async def _look_claude(self, request: Request) -> object:
        return self._shown_claude(await self._desk.look(self._job(request)))

    async def _results_claude(self, request: Request) -> object:
        job = self._job(request)
        if not job.ended:
            raise WireError("The batch has not ended.", status=404, kind="not_found_error")
        lines = [{"custom_id": item, "result": result} for item, result in _claude(job)]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def _shown_claude(self, job: Job) -> dict[str, Any]:
        word = "ended" if job.ended else "canceling" if job.status == "cancelling" else "in_progress"
        kinds = [result["type"] for _, result in _claude(job)] if job.ended else []
        counts = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
        return {
            "id": job.id,
            "type": "message_batch",
            "processing_status": word,
            "request_counts": {"processing": 0 if job.ended else len(job.lines), **counts},
            "created_at": _stamp(job.created),
            "expires_at": _stamp(job.created, _DAY),
            "ended_at": _stamp(job.created) if job.ended else None,
            "cancel_initiated_at": _stamp(job.created) if job.end == "cancelled" else None,
            "archived_at": None,
            "results_url": f"/v1/messages/batches/{job.id}/results" if job.ended else None,
        }


def _outcomes(job: Job) -> list[tuple[bool, dict[str, Any]]]:
    """OpenAI's lines of all results, each with whether it belongs in the file of errors."""
    if job.results is None:
        return []
    lines: list[dict[str, Any]] = []
    for at, (item, (status, body)) in enumerate(job.results.items()):
        response = {"status_code": status, "request_id": f"req_{at}", "body": body}
        lines.append({"id": f"batch_req_{at}", "custom_id": item, "response": response, "error": None})
    for item, _ in job.lines:
        if item not in job.results:
            code, message = _UNANSWERED[job.end]
            error = {"code": code, "message": message}
            lines.append({"id": "batch_req_none", "custom_id": item, "response": None, "error": error})
    return [(line["response"] is None or line["response"]["status_code"] != 200, line) for line in lines]


def _claude(job: Job) -> list[tuple[str, dict[str, Any]]]:
    """Anthropic's results; a job whose file OpenAI would refuse has errors alone."""
    found: list[tuple[str, dict[str, Any]]] = []
    for item, (status, body) in (job.results or {}).items():
        fine = status == 200
        found.append((item, {"type": "succeeded", "message": body} if fine else {"type": "errored", "error": body}))
    kind = {"expired": "expired", "cancelled": "canceled"}.get(job.end, "errored")
    inner = {"type": "api_error", "message": "Internal server error"}
    error = {"error": {"type": "error", "error": inner, "request_id": None}} if kind == "errored" else {}
    return [*found, *((item, {"type": kind, **error}) for item, _ in job.lines if item not in (job.results or {}))]


def _page(jobs: Sequence[Job], after: str | None, limit: str) -> tuple[list[Job], bool]:
    ids = [job.id for job in jobs]
    begin = ids.index(after) + 1 if after in ids else 0
    return list(jobs[begin : begin + int(limit)]), len(jobs) > begin + int(limit)


def _lines(content: bytes, path: str, *, method: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """The questions of a file."""
    lines = [json.loads(line) for line in content.splitlines()]
    needed = _LINE_FIELDS if method else frozenset({"custom_id", "body"})
    for line in lines:
        if set(line) != needed or (method and (line["method"], line["url"]) != ("POST", path)):
            raise WireError(f"a line needs {sorted(needed)}, for {path} alone, got {sorted(line)}.")
    if not 0 < len({line["custom_id"] for line in lines}) == len(lines) <= _MOST:
        raise WireError("custom_id must be unique, and a file has 1 to 50,000 lines.")
    return [(str(line["custom_id"]), line["body"]) for line in lines]


def _stamp(seconds: float, more: timedelta = timedelta(0)) -> str:
    return (datetime.fromtimestamp(seconds, UTC) + more).isoformat().replace("+00:00", "Z")


def _form(kind: str, raw: bytes) -> dict[str, tuple[str, bytes]]:
    """The parts of a form: file name and content of each."""
    whole = BytesParser(policy=policy.HTTP).parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + raw)
    found = {}
    for part in whole.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        found[str(name)] = (part.get_filename() or "", content if isinstance(content, bytes) else b"")
    return found


async def _object(request: Request) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise WireError(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(body, dict):
        raise WireError("the body must be a JSON object.")
    return body
