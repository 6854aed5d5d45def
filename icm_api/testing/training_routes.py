"""The routes of fine-tuning jobs: one handler a request, each of which may meet a fault.

Bodies and states are made in `training_jobs`. A request is matched here before the routes of models, so that a server
without jobs knows none of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from email import message_from_bytes
from email.message import Message
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from icm_api.testing.app import Cut
from icm_api.testing.backend import WireError
from icm_api.testing.faults import FaultPlan, error_of, retry_headers
from icm_api.testing.training_jobs import MadeJob, TrainingJobs, rows_of, together_limits

_Handler = Callable[[Request], Awaitable[Mapping[str, Any] | Response]]
_ACCOUNT = "/v1/accounts/{account}"
_FIREWORKS = ("supervisedFineTuningJob", "dpoJob")


def training_routes(jobs: TrainingJobs) -> list[Route]:
    """All routes of jobs.

    Args:
        jobs: their state.
    """
    hosts = _Hosts(jobs)
    table: tuple[tuple[str, str, _Handler], ...] = (
        ("POST", "/v1/files", hosts.upload),
        ("GET", "/v1/files/{id}", hosts.file),
        ("PUT", "/blobs/{id}", hosts.blob),
        ("POST", "/v1/files/{id}/preprocess", hosts.file),
        ("POST", "/v1/fine_tuning/jobs", hosts.openai_create),
        ("GET", "/v1/fine_tuning/jobs", hosts.openai_list),
        ("GET", "/v1/fine_tuning/jobs/{id}", hosts.openai_look),
        ("POST", "/v1/fine_tuning/jobs/{id}/cancel", hosts.openai_cancel),
        ("GET", "/v1/fine-tunes/models/limits", hosts.together_limits),
        ("POST", "/v1/fine-tunes/estimate-price", hosts.together_price),
        ("POST", "/v1/fine-tunes", hosts.together_create),
        ("GET", "/v1/fine-tunes", hosts.together_list),
        ("GET", "/v1/fine-tunes/{id}", hosts.together_look),
        ("POST", "/v1/fine-tunes/{id}/cancel", hosts.together_cancel),
        ("POST", f"{_ACCOUNT}/datasets", hosts.fireworks_dataset),
        ("POST", f"{_ACCOUNT}/datasets/{{id}}:upload", hosts.fireworks_upload),
        ("GET", f"{_ACCOUNT}/datasets/{{id}}", hosts.fireworks_ready),
        *(
            route
            for kind in _FIREWORKS
            for route in (
                ("POST", f"{_ACCOUNT}/{kind}s", hosts.fireworks_create),
                ("POST", f"{_ACCOUNT}/{kind}s/{{id}}:cancel", hosts.fireworks_cancel),
                ("GET", f"{_ACCOUNT}/{kind}s/{{id}}", hosts.fireworks_look),
            )
        ),
    )
    plan = FaultPlan(jobs.faults)
    return [Route(path, _answering(handler, plan, jobs), methods=[method]) for method, path, handler in table]


def _answering(handler: _Handler, plan: FaultPlan, jobs: TrainingJobs) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        raw = await request.body()
        asked = f"{request.method} {request.url.path}".encode()
        # Bodies of forms have a boundary drawn by chance.
        form = request.headers.get("content-type", "").startswith("multipart")
        fault = plan.draw(sha256(asked + b"\0" + (b"" if form else raw)).digest(), asked + b"\0" + raw)
        try:
            error = error_of(fault) if fault is not None else None
            if error is not None:
                raise error
            found = await handler(request)
            if fault == "slow" and jobs.faults is not None:
                await asyncio.sleep(jobs.faults.delay)
        except WireError as error:
            told = {"message": error.message, "type": error.kind, "param": None, "code": error.code}
            response = JSONResponse({"error": told}, error.status)
            if fault is not None and jobs.faults is not None and error.status == 429:
                response.headers.update(retry_headers(fault, jobs.faults.retry_after))
            return response
        if isinstance(found, Response):
            return found
        text = json.dumps(found)
        if fault == "truncated-json":
            return Response(text[: len(text) // 2], media_type="application/json")
        return (Cut if fault == "cut" else Response)(text, media_type="application/json")

    return answer


class _Hosts:
    """What each host does with a request."""

    def __init__(self, jobs: TrainingJobs) -> None:
        self._jobs = jobs

    async def _body(self, request: Request) -> Mapping[str, Any]:
        try:
            body = json.loads(await request.body() or b"{}")
        except ValueError as error:
            raise WireError(f"no JSON: {error}") from None
        self._jobs.bodies.append((request.url.path, body))
        return dict(body)

    def _job(self, request: Request) -> MadeJob:
        job = self._jobs.jobs.get(request.path_params["id"])
        if job is None:
            raise _missing(f"no job {request.path_params['id']!r}")
        return job

    def _checked(self, file: object) -> str:
        if file not in self._jobs.files:
            raise WireError(f"no file {file!r}", code="invalid_training_file")
        return str(file)

    def _cancelled(self, job: MadeJob) -> MadeJob:
        if job.phase in ("succeeded", "failed"):
            raise WireError(f"Job has already {job.phase}: it cannot be cancelled.")
        job.phases[:] = self._jobs.cancels
        return job

    async def upload(self, request: Request) -> Mapping[str, Any] | Response:
        """OpenAI's files, with the content; and Together's, which say where to put it."""
        form = await _form(request)
        file = form.get("file")
        if file is None:
            if not {"purpose", "file_name", "file_type", "checksum"} <= set(form):
                raise WireError(f"a file needs purpose, file_name, file_type and checksum, got {sorted(form)}")
            key = self._jobs.keep(_content(form["file_name"]).decode(), b"")
            where = str(request.url.replace(path=f"/blobs/{key}"))
            return Response(status_code=302, headers={"location": where, "x-together-file-id": key})
        if "purpose" not in form or _content(form["purpose"]) != b"fine-tune":
            raise WireError("a file needs purpose 'fine-tune'")
        return self._file(self._jobs.keep(file.get_filename() or "", _content(file)))

    async def blob(self, request: Request) -> Mapping[str, Any]:
        """Where Together has content put; a key has no business here."""
        if "authorization" in request.headers:
            raise WireError("the key was sent to the storage", status=400)
        key = request.path_params["id"]
        name, _ = self._jobs.files[key]
        self._jobs.files[key] = name, await request.body()
        return {}

    async def file(self, request: Request) -> Mapping[str, Any]:
        """A file, checked."""
        return self._file(self._checked(request.path_params["id"]))

    def _file(self, key: str) -> dict[str, Any]:
        name, content = self._jobs.files[key]
        rows = rows_of(content)
        sound = bool(rows)
        return {
            "id": key,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_790_000_000,
            "filename": name,
            "purpose": "fine-tune",
            "status": "processed" if sound else "error",
            "status_details": None if sound else "a line is no JSON object",
            "FileType": "jsonl",
            "processing_status": "COMPLETED" if sound else "INVALID_FORMAT",
            "validation_report": {"valid": sound, "nlines": rows, "error": None if sound else "a line is no JSON"},
        }

    async def openai_create(self, request: Request) -> Mapping[str, Any]:
        """OpenAI: start a job."""
        body = await self._body(request)
        self._checked(body.get("training_file"))
        ending = f":{body['suffix']}" if body.get("suffix") else ""
        return self._jobs.openai(self._jobs.submit(body, f"ft:{body['model']}:org{ending}:{self._jobs.submissions}"))

    async def openai_list(self, request: Request) -> Mapping[str, Any]:
        """OpenAI: the jobs, the newest first, by pages."""
        found = [self._jobs.openai(job) for job in reversed(self._jobs.jobs.values())]
        after, limit = request.query_params.get("after"), int(request.query_params.get("limit", 20))
        names = [job["id"] for job in found]
        begin = names.index(after) + 1 if after in names else 0
        return {"object": "list", "data": found[begin : begin + limit], "has_more": begin + limit < len(found)}

    async def openai_look(self, request: Request) -> Mapping[str, Any]:
        """OpenAI: a job, which then goes on."""
        job = self._job(request)
        told = self._jobs.openai(job)
        job.move()
        return told

    async def openai_cancel(self, request: Request) -> Mapping[str, Any]:
        """OpenAI: cancel a job."""
        return self._jobs.openai(self._cancelled(self._job(request)))

    async def together_limits(self, request: Request) -> Mapping[str, Any]:
        """Together: the limits of a model."""
        return together_limits(request.query_params["model_name"])

    async def together_price(self, request: Request) -> Mapping[str, Any]:
        """Together: what a job will cost."""
        body = await self._body(request)
        self._checked(body.get("training_file"))
        return self._jobs.together_price(body)

    async def together_create(self, request: Request) -> Mapping[str, Any]:
        """Together: start a job."""
        body = await self._body(request)
        self._checked(body.get("training_file"))
        return self._jobs.together(self._jobs.submit(body, f"test/{body['model']}-{body.get('suffix')}"))

    async def together_list(self, request: Request) -> Mapping[str, Any]:
        """Together: all jobs."""
        return {"data": [self._jobs.together(job) for job in self._jobs.jobs.values()]}

    async def together_look(self, request: Request) -> Mapping[str, Any]:
        """Together: a job, which then goes on."""
        job = self._job(request)
        told = self._jobs.together(job)
        job.move()
        return told

    async def together_cancel(self, request: Request) -> Mapping[str, Any]:
        """Together: cancel a job."""
        return self._jobs.together(self._cancelled(self._job(request)))

    async def fireworks_dataset(self, request: Request) -> Mapping[str, Any]:
        """Fireworks: make an empty data set."""
        body = await self._body(request)
        if body["datasetId"] in self._jobs.files:
            raise WireError("the dataset exists already", status=409, kind="ALREADY_EXISTS")
        self._jobs.keep(body["datasetId"], b"", identity=body["datasetId"])
        return {"name": f"accounts/{request.path_params['account']}/datasets/{body['datasetId']}", "state": "UPLOADING"}

    async def fireworks_upload(self, request: Request) -> Mapping[str, Any]:
        """Fireworks: the content of a data set."""
        file = (await _form(request)).get("file")
        if file is None:
            raise WireError("an upload needs a file")
        self._jobs.files[request.path_params["id"]] = (file.get_filename() or "", _content(file))
        return {}

    async def fireworks_ready(self, request: Request) -> Mapping[str, Any]:
        """Fireworks: a data set."""
        key = self._checked_dataset(request.path_params["id"])
        rows = rows_of(self._jobs.files[key][1])
        told = {"code": "OK", "message": ""} if rows else {"code": "INVALID_ARGUMENT", "message": "a line is no JSON"}
        return {"state": "READY" if rows else "UPLOADING", "status": told, "exampleCount": str(rows)}

    def _checked_dataset(self, key: str) -> str:
        if key not in self._jobs.files:
            raise _missing(f"no dataset {key!r}")
        return key

    async def fireworks_create(self, request: Request) -> Mapping[str, Any]:
        """Fireworks: start a job under the id that is asked for."""
        body, account = await self._body(request), request.path_params["account"]
        kind = _kind(request)
        if kind == "dpoJob" and body.get("lossConfig", {}).get("method") != "DPO":
            raise WireError("lossConfig.method: without one the job is GRPO")
        key = request.query_params.get(f"{kind}Id") or f"job{self._jobs.submissions}"
        self._checked_dataset(str(body["dataset"]).rpartition("/")[2])
        if key in self._jobs.jobs:
            raise WireError("the job exists already", status=409, kind="ALREADY_EXISTS")
        settings = body.get("trainingConfig", {}) if kind == "dpoJob" else body
        model = settings.get("outputModel") or f"accounts/{account}/models/{key}"
        return self._told(self._jobs.submit(body, model, key), request)

    async def fireworks_look(self, request: Request) -> Mapping[str, Any]:
        """Fireworks: a job, which then goes on."""
        job = self._job(request)
        told = self._told(job, request)
        job.move()
        return told

    async def fireworks_cancel(self, request: Request) -> Mapping[str, Any]:
        """Fireworks: cancel a job; the answer is empty."""
        self._cancelled(self._job(request))
        return {}

    def _told(self, job: MadeJob, request: Request) -> dict[str, Any]:
        told, kind = self._jobs.fireworks(job), _kind(request)
        if kind == "dpoJob":
            # Which says neither how far it is, nor the model but in its settings.
            told = {key: value for key, value in told.items() if key not in ("jobProgress", "outputModel")}
            told["trainingConfig"] = {**job.body.get("trainingConfig", {}), "outputModel": job.model}
        return {**told, "name": f"accounts/{request.path_params['account']}/{kind}s/{told['name']}"}


def _kind(request: Request) -> str:
    """Which of Fireworks' kinds of jobs a request is about."""
    return next(kind for kind in _FIREWORKS if f"/{kind}s" in request.url.path)


def _missing(text: str) -> WireError:
    return WireError(text, status=404, kind="not_found_error", code="not_found")


async def _form(request: Request) -> Mapping[str, Message]:
    """The parts of a form, by name; the standard library's reader of mails reads them."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    whole = message_from_bytes(head + await request.body())
    parts = whole.get_payload()
    if not isinstance(parts, list):
        raise WireError("no form")
    return {
        str(part.get_param("name", header="content-disposition")): part for part in parts if isinstance(part, Message)
    }


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content
