"""The routes, and a request's way through the server: count it, meet a fault or a handler, answer.

Handlers run on one worker thread. Does not know what is in a body, or own a socket (`server` does).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from math import ceil
from random import Random
from threading import Lock
from types import MappingProxyType
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from icm_api.testing import anthropic_wire, decisions_wire, gemini_wire, openai_wire, sglang_wire
from icm_api.testing.backend import Backend, WireError
from icm_api.testing.faults import FaultPlan, Faults, distort, error_of, miscounted, retry_headers
from icm_api.testing.job_routes import JobRoutes
from icm_api.testing.jobs import JobDesk, JobPlan
from icm_api.testing.wire import Answer, Call, Dialect, Handler, RecordedRequest, ServerLog

_POSTS: tuple[tuple[str, Handler, str], ...] = (
    ("/v1/completions", openai_wire.completions, "openai"),
    ("/v1/chat/completions", openai_wire.chat_completions, "openai"),
    ("/tokenize", openai_wire.tokenize, "openai"),
    ("/detokenize", openai_wire.detokenize, "openai"),
    ("/generate", sglang_wire.generate, "openai"),
    ("/v1/score", sglang_wire.score, "openai"),
    ("/v1/decisions", decisions_wire.decisions, "openai"),
    ("/v1/systemone", decisions_wire.systemone, "openai"),
    ("/v1/messages", anthropic_wire.messages, "anthropic"),
    ("/v1/messages/count_tokens", anthropic_wire.count_tokens, "anthropic"),
    ("/v1beta/models/{name}", gemini_wire.models, "gemini"),
)
_GEMINI_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_GEMINI_STATUS |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 529: "UNAVAILABLE"}
# How Gemini says that a quota of the day is used up, for which no wait helps.
_DAY_IS_OVER = [
    {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}],
    }
]
_MOST_BODIES = 65_536
# What a question in a job has no header for.
_HEADERS: Mapping[str, str] = MappingProxyType({"anthropic-version": "2023-06-01"})
_JOBS = JobPlan()
# No limit is enforced, so the headers always name the same large ones.
_REQUESTS, _TOKENS = "100000", "1000000000"


class Journal:
    """What a server has been asked: the server's thread counts, any other reads whole snapshots.

    Args:
        keep: how many bodies to keep, the last ones.
    """

    def __init__(self, keep: int) -> None:
        self._lock = Lock()
        self._requests = Counter[str]()
        self._statuses = Counter[int]()
        self._faults = Counter[str]()
        self._tokens = [0, 0, 0]
        self._jobs = self._batched = 0
        self._kept: deque[RecordedRequest] = deque(maxlen=keep)

    def arrived(self, path: str, body: Mapping[str, Any], fault: str | None) -> None:
        """Count a request before it is answered, and the kind of its fault, if it meets one."""
        with self._lock:
            self._requests[path] += 1
            if fault is not None:
                self._faults[fault] += 1
            self._kept.append(RecordedRequest(path, body))

    def hit(self, fault: str | None) -> None:
        """Count the kind of fault that a question of a job meets, if it meets one."""
        if fault is not None:
            with self._lock:
                self._faults[fault] += 1

    def took_job(self) -> None:
        """Count a batch job."""
        with self._lock:
            self._jobs += 1

    def computed(self, answer: Answer, *, batched: bool = False) -> None:
        """Count the tokens of an answer, and whether a job asked for it."""
        with self._lock:
            self._batched += batched
            self._tokens[0] += answer.prompt_tokens
            self._tokens[1] += answer.cached_tokens
            self._tokens[2] += answer.completion_tokens

    def answered(self, status: int) -> None:
        """Count the HTTP status of an answer."""
        with self._lock:
            self._statuses[status] += 1

    def snapshot(self) -> ServerLog:
        """The counts now."""
        with self._lock:
            prompts, cached, completions = self._tokens
            return ServerLog(
                MappingProxyType(dict(self._requests)),
                MappingProxyType(dict(self._statuses)),
                MappingProxyType(dict(self._faults)),
                prompts,
                cached,
                completions,
                self._jobs,
                self._batched,
            )

    def kept(self) -> tuple[RecordedRequest, ...]:
        """The bodies kept, oldest first."""
        with self._lock:
            return tuple(self._kept)


class Cut(Response):
    """Sends half of its body and leaves; the server then closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class Service:
    """Answers requests.

    Args:
        backend: the model.
        dialect: how OpenAI's routes behave.
        faults: what to inject; None for nothing.
        seed: of all sampling.
        journal: counts the requests.
        jobs: how batch jobs go.
    """

    def __init__(
        self,
        backend: Backend,
        dialect: Dialect,
        faults: Faults | None,
        seed: int,
        journal: Journal,
        jobs: JobPlan = _JOBS,
    ) -> None:
        self._backend, self._dialect, self._faults, self._seed, self._journal = backend, dialect, faults, seed, journal
        self._desk = JobDesk(jobs, self._ask, journal.took_job)
        self._plan = FaultPlan(faults)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="icm-testing-model")
        self._answered: OrderedDict[bytes, int] = OrderedDict()
        self._serial = 0

    def app(self, more: Sequence[Route] = ()) -> Starlette:
        """The routes.

        Args:
            more: that come before those of models.
        """
        routes = [
            Route(path, partial(self._answer, handler=handler, family=family), methods=["POST"])
            for path, handler, family in _POSTS
        ]
        jobs = JobRoutes(
            self._desk, partial(self._journal.arrived, fault=None), partial(_error_body, request_id="req_job")
        )
        return Starlette(
            routes=[*more, *jobs.routes(), *routes, Route("/v1/models", self._listed), Route("/health", _healthy)]
        )

    def close(self) -> None:
        """End the worker thread."""
        self._worker.shutdown()

    async def _answer(self, request: Request, handler: Handler, family: str) -> Response:
        raw = await request.body()
        digest = sha256(request.url.path.encode() + b"\0" + raw).digest()
        fault = self._plan.draw(digest, raw)
        self._serial += 1
        request_id = f"req_{self._serial:08d}"
        if self._faults is not None and self._faults.latency[1]:
            await asyncio.sleep(Random(f"{self._seed}/{self._serial}").uniform(*self._faults.latency))
        try:
            body = _parse(raw)
            self._journal.arrived(request.url.path, body, fault)
            error = error_of(fault) if fault is not None else None
            if error is not None:
                raise error
            if fault == "slow" and self._faults is not None:
                await asyncio.sleep(self._faults.delay)
            name = str(request.path_params.get("name", ""))
            answer = await self._compute(handler, self._call(request.headers, name, body, digest, fault, request_id))
        except WireError as error:
            if fault == "200-error":
                response = _json(_error_inside(family, error, request_id))
            else:
                response = _json(_error_body(family, error, request_id), error.status)
            if fault is not None and self._faults is not None and error.status == 429:
                response.headers.update(retry_headers(fault, self._faults.retry_after))
        else:
            self._journal.computed(answer)
            response = _sound(answer, fault)
        reset = self._faults.retry_after if self._faults is not None and response.status_code == 429 else None
        response.headers.update(_limit_headers(family, request_id, reset))
        self._journal.answered(response.status_code)
        return response

    async def _listed(self, request: Request) -> Response:
        """The list of models, which is no question to one: it is not counted, and no fault concerns it."""
        return _json(openai_wire.models(self._backend))

    async def _ask(self, path: str, body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """A question of a batch job: the status, and the body of its answer or of its error."""
        handler, family = next((handler, family) for known, handler, family in _POSTS if known == path)
        raw = json.dumps(body).encode()
        digest = sha256(path.encode() + b"\0" + raw).digest()
        fault = self._plan.draw(digest, raw)
        self._journal.hit(fault)
        self._serial += 1
        request_id = f"req_{self._serial:08d}"
        try:
            error = error_of(fault) if fault is not None else None
            if error is not None:
                raise error
            answer = await self._compute(handler, self._call(_HEADERS, "", body, digest, fault, request_id))
        except WireError as error:
            return error.status, _error_body(family, error, request_id)
        self._journal.computed(answer, batched=True)
        payload = miscounted(fault, answer.payload)
        assert isinstance(payload, dict)
        return 200, payload

    def _call(
        self,
        headers: Mapping[str, str],
        name: str,
        body: Mapping[str, Any],
        digest: bytes,
        fault: str | None,
        request_id: str,
    ) -> Call:
        # A body that names a seed is answered alike every time, any other anew. An answer that a fault spoils does
        # not count, so that the next is what it would have been.
        times = 0 if body.get("seed") is not None else self._answered.pop(digest, 0)
        self._answered[digest] = times + (fault in (None, "slow"))
        if len(self._answered) > _MOST_BODIES:
            self._answered.popitem(last=False)
        return Call(
            body=body,
            headers=headers,
            name=name,
            request_id=request_id,
            backend=self._backend,
            dialect=self._dialect,
            random=Random(f"{self._seed}/{times}/{digest.hex()}"),
            fault=fault,
            distort=partial(distort, fault),
        )

    async def _compute(self, handler: Handler, call: Call) -> Answer:
        if self._backend.instant:
            return handler(call)
        return await asyncio.get_running_loop().run_in_executor(self._worker, handler, call)


async def _healthy(request: Request) -> Response:
    return Response()


def _parse(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as error:
        raise WireError(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(body, dict):
        raise WireError("the body must be a JSON object.")
    return body


def _json(payload: object, status: int = 200) -> Response:
    return Response(json.dumps(payload), status, media_type="application/json")


def _sound(answer: Answer, fault: str | None) -> Response:
    text = json.dumps(miscounted(fault, answer.payload))
    if fault == "truncated-json":
        return Response(text[: len(text) // 2], media_type="application/json")
    return (Cut if fault == "cut" else Response)(text, media_type="application/json")


def _error_body(family: str, error: WireError, request_id: str) -> dict[str, Any]:
    if family == "anthropic":
        kinds = {"insufficient_quota": "billing_error"}
        inner = {"type": kinds.get(error.kind, error.kind), "message": error.message}
        return {"type": "error", "error": inner, "request_id": request_id}
    if family == "gemini":
        status = _GEMINI_STATUS.get(error.status, "UNKNOWN")
        failure = {"code": error.status, "message": error.message, "status": status}
        return {"error": failure | ({"details": _DAY_IS_OVER} if error.code == "insufficient_quota" else {})}
    return {"error": {"message": error.message, "type": error.kind, "param": None, "code": error.code}}


def _error_inside(family: str, error: WireError, request_id: str) -> dict[str, Any]:
    """An error as services pass it on from those behind them, with status 200."""
    if family != "openai":
        return _error_body(family, error, request_id)
    inner = {"code": error.status, "message": error.message}
    failed = {"index": 0, "text": "", "message": {"role": "assistant", "content": ""}, "logprobs": None}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return {"choices": [failed | {"finish_reason": "error", "error": inner}], "usage": usage}


def _limit_headers(family: str, request_id: str, reset: float | None) -> dict[str, str]:
    """The request's id, and the limits as OpenAI's and Anthropic's services name them.

    `reset`: seconds until there is something left again; None if nothing is used up.
    """
    if family == "gemini":
        return {}
    anthropic = family == "anthropic"
    headers = {"request-id" if anthropic else "x-request-id": request_id}
    until = (datetime.now(UTC) + timedelta(seconds=reset or 0)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for what, limit in (("requests", _REQUESTS), ("tokens", _TOKENS)):
        values = {
            "limit": limit,
            "remaining": limit if reset is None else "0",
            "reset": until if anthropic else f"{ceil(1000 * (reset or 0))}ms",
        }
        for name, value in values.items():
            headers[f"anthropic-ratelimit-{what}-{name}" if anthropic else f"x-ratelimit-{name}-{what}"] = value
    return headers
