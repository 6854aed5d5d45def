"""The first question to a path is written by OpenAI's SDK and the next ones after its example: all as if by the SDK."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable

import httpx2
import pytest
from pydantic import SecretStr

from icm_api.errors import RequestError
from icm_api.model.endpoints.openai_sdk import Connection, Sdk, open_sdk, post

URL = "https://models.example/v1"
SOUND = {"choices": [{"index": 0}]}


def sdk_with(handler: Callable[[httpx2.Request], httpx2.Response]) -> Sdk:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(handler), follow_redirects=True)
    return open_sdk(Connection(URL, SecretStr("sk-secret"))).with_options(http_client=client)


async def test_the_next_requests_are_like_the_first_but_for_their_content() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=SOUND, headers={"Set-Cookie": f"server={len(seen)}"})

    async with sdk_with(answer) as sdk:
        bodies = [{"prompt": "x" * length} for length in (1, 20, 300)]
        for body in bodies:
            await post(sdk, "completions", body, "here")
        await post(sdk, "https://models.example/tokenize", {}, "here")
    assert [json.loads(request.content) for request in seen] == [*bodies, {}]
    assert [request.headers["content-length"] for request in seen[:3]] == [str(len(each.content)) for each in seen[:3]]
    # Some balancers keep a client with one server so.
    assert [request.headers.get("cookie") for request in seen[:3]] == [None, "server=1", "server=2"]
    own = {"content-length", "cookie"}
    told = [sorted(each for each in request.headers.multi_items() if each[0] not in own) for request in seen]
    assert told[0] == told[1] == told[2] == told[3]
    assert ("authorization", "Bearer sk-secret") in told[0]
    assert [str(request.url) for request in seen] == [*[f"{URL}/completions"] * 3, "https://models.example/tokenize"]
    assert seen[0].extensions["timeout"] == seen[1].extensions["timeout"]


async def test_a_redirect_is_followed_each_time_with_the_whole_content() -> None:
    seen: list[tuple[str, bytes]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.url.path, request.content))
        moved = request.url.path == "/v1/completions"
        return httpx2.Response(307, headers={"Location": "/v2"}) if moved else httpx2.Response(200, json=SOUND)

    async with sdk_with(answer) as sdk:
        for prompt in "ab":
            await post(sdk, "completions", {"prompt": prompt}, "here")
    a, b = b'{"prompt":"a"}', b'{"prompt":"b"}'
    assert seen == [("/v1/completions", a), ("/v2", a), ("/v1/completions", b), ("/v2", b)]


async def error_of(answers: list[httpx2.Response | Exception], sound: int) -> RequestError:
    """What is said of an answer that comes after so many sound ones."""
    left = [*[httpx2.Response(200, json=SOUND) for _ in range(sound)], *answers]

    def answer(request: httpx2.Request) -> httpx2.Response:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async with sdk_with(answer) as sdk:
        for _ in range(sound):
            await post(sdk, "completions", {}, "here")
        with pytest.raises(RequestError) as caught:
            await post(sdk, "completions", {}, "here")
    return caught.value


def _object(**error: object) -> str:
    return json.dumps({"error": error})


@pytest.mark.parametrize(
    ("status", "text", "headers"),
    [
        (400, _object(message="bad sk-secret", type="invalid_request_error", code="context_length_exceeded"), {}),
        (401, _object(message="no such key"), {}),
        (403, '{"error": "flagged"}', {}),
        (404, '{"detail": "Not Found"}', {}),
        (422, '{"object": "error", "message": "no such option", "code": 422}', {}),
        (429, _object(message="Please try again in 1m26.5s.", code="rate_limit_exceeded"), {}),
        (429, _object(message="no money", code="insufficient_quota"), {"retry-after": "3"}),
        (500, "<html>down</html>", {}),
        (503, "", {"retry-after": "7"}),
        (502, "[1]", {}),
        (500, "[" * 100_000, {}),
        (304, "", {}),
    ],
)
async def test_errors_read_alike_whoever_wrote_the_request(status: int, text: str, headers: dict[str, str]) -> None:
    first, later = [await error_of([httpx2.Response(status, text=text, headers=headers)], sound) for sound in (0, 2)]
    assert str(later) == str(first)
    assert (later.kind, later.status, later.retry_after) == (first.kind, first.status, first.retry_after)
    assert later.__cause__ is None
    assert later.status == status


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("late"),
        httpx2.RemoteProtocolError("gone"),
        ssl.SSLError("CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_a_connection_that_fails_reads_alike_whoever_wrote_the_request(error: Exception) -> None:
    first, later = [await error_of([error], sound) for sound in (0, 2)]
    assert (str(later), later.kind) == (str(first), first.kind)
