"""Answers are judged by all that they hold: errors at status 200, limits in headers, odd and hostile bodies."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import openai
import pytest

from icm_api.cli.main import main
from icm_api.config import ClientSettings
from icm_api.errors import GaveUpError, IcmError, RequestError
from icm_api.model import Opened, open_model
from icm_api.model.endpoints.answers import MOST_BYTES, error_within, read_capped, read_object
from icm_api.model.endpoints.headers import limits_of, retry_after, wait_said
from icm_api.model.endpoints.http import kind_of
from icm_api.model.endpoints.network import PerLoop
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk, post
from icm_api.model.open import open_endpoint
from icm_api.testing import Faults, serve
from icm_api.types import Prompt, Turn, Verbalizer
from tests.hosted import HOSTED, Hosted, write_config
from tests.models import as_model, claude, gemini

PROMPT = Prompt("Judge.", (Turn("1+1=2", " True"),), "2+2=4", Verbalizer.plain(["True", "False"]))
_CLAUDES = "anthropic-ratelimit-"
NOW = datetime(2026, 11, 26, tzinfo=UTC)


async def asked(answer: Callable[[httpx2.Request], httpx2.Response]) -> Mapping[str, Any]:
    """What is read of an answer of a host of OpenAI's formats."""
    transport = httpx2.MockTransport(answer)
    client = httpx2.AsyncClient(transport=transport, event_hooks={"response": [read_capped]})
    sdk = open_sdk(Connection("https://models.example/v1", None)).with_options(http_client=client)
    try:
        return (await post(sdk, "completions", {}, "here"))[0]
    finally:
        await client.aclose()


def compatible(answer: Callable[[httpx2.Request], httpx2.Response], api: str) -> Opened:
    """A model of OpenAI's formats that a function answers for."""
    opened = open_endpoint("openai-compatible:m@https://models.example/v1", {"api": api})
    sdk = open_sdk(Connection("https://models.example/v1", None))
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    anew = sdk.with_options(http_client=client)
    opened.endpoint._sdk = PerLoop(lambda: anew, openai.AsyncOpenAI.close)  # type: ignore[attr-defined]
    return opened


def inside(**error: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": "error", "message": {"content": ""}, "error": error}]}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (inside(code=502, message="Upstream overloaded"), "server"),
        (inside(code=429, message="Slow down"), "rate_limit"),
        (inside(code="503", message="Busy"), "overloaded"),
        (inside(code="rate_limit_exceeded", message="Slow down"), "rate_limit"),
        (inside(code="content_filter", message="No."), "refused"),
        (inside(code=402, message="No credit"), "quota"),
        (inside(message="?"), "server"),
        ({"choices": [{"finish_reason": "error", "logprobs": None}]}, "server"),
        ({"choices": [], "error": {"type": "overloaded_error", "message": "Busy"}}, "overloaded"),
        ({"error": "model is loading"}, "server"),
        ({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, "bad_request"),
        ({"type": "error", "error": {"type": "authentication_error", "message": "key"}}, "authentication"),
        ({"meta_info": {"finish_reason": {"type": "abort", "message": "full", "status_code": 503}}}, "overloaded"),
    ],
)
async def test_an_error_with_status_200_is_what_it_says_it_is(body: dict[str, Any], kind: str) -> None:
    with pytest.raises(RequestError) as caught:
        await asked(lambda _: httpx2.Response(200, json=body))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"finish_reason": "stop", "error": None, "text": "error"}], "error": None},
        {"meta_info": {"finish_reason": {"type": "length", "length": 1}}},
        {"meta_info": {"finish_reason": {"type": "abort", "message": "too long"}}},
        {"tokens": [1, 2]},
    ],
)
def test_a_sound_answer_holds_no_error(body: dict[str, Any]) -> None:
    assert error_within(body) is None


@pytest.mark.parametrize(
    ("status", "code", "text", "kind"),
    [
        (413, "", "Payload Too Large", "bad_request"),
        (429, "rate_limit_exceeded", "Request too large for m: Limit 6000, Requested 6500", "bad_request"),
        (429, "tokens", "on tokens per min (TPM): Limit 10,000, Requested 20,000.", "bad_request"),
        (429, "tokens", "on tokens per min (TPM): Limit 30000, Used 28000, Requested 6000.", "rate_limit"),
        (500, "", "This model's maximum context length is 4096 tokens", "bad_request"),
        (500, "", "Conversation roles must alternate user/assistant/user/assistant/...", "bad_request"),
        (405, "", "Method Not Allowed", "not_found"),
        (400, "rate_limit_exceeded", "", "rate_limit"),
        (400, "content_filter", "", "refused"),
        (503, "invalid_request_error", "", "overloaded"),
        (401, "server_error", "", "authentication"),
    ],
)  # fmt: skip
def test_status_name_and_text_of_an_error_count_together(status: int, code: str, text: str, kind: str) -> None:
    assert kind_of(status, code, text) == kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "soon", "x-ratelimit-reset-tokens": "2s"}, 2.0),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3.0),
        ({"retry-after": "1m30s"}, 90.0),
        ({"retry-after": str(NOW.timestamp() + 7)}, 7.0),
        ({"retry-after": "2026-11-26T00:00:09Z"}, 9.0),
        ({"retry-after": "Thu, 26 Nov 99999999999999 00:00:00 GMT"}, None),
        ({"x-ratelimit-reset-requests": "nonsense", "x-ratelimit-reset-tokens": "4s"}, 4.0),
        ({f"{_CLAUDES}tokens-reset": "2026-11-26T00:00:05Z", f"{_CLAUDES}tokens-remaining": "0"}, 5.0),
        # What is used up for the minute counts, and not what the day has left.
        (
            {
                "x-ratelimit-remaining-requests": "14000", "x-ratelimit-reset-requests": "23h50m",
                "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "7.5s",
            },
            7.5,
        ),
        ({"x-ratelimit-reset-requests": "23h50m"}, None),
        ({"retry-after": "30 seconds"}, 30.0),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50.0),
        ({"ratelimit": '"default";r=0;t=40', "ratelimit-policy": '"default";q=100;w=60'}, 40.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h"}, 3600.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(1000 * (NOW.timestamp() + 6)))}, 6.0),
    ],
)  # fmt: skip
def test_each_header_is_read_on_its_own(headers: dict[str, str], seconds: float | None) -> None:
    found = retry_after(headers, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


_LATER = f"{1000 * (NOW.timestamp() + 6):.0f}"
ROUTED = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": _LATER}


@pytest.mark.parametrize(
    ("error", "text", "seconds"),
    [
        ({"metadata": {"headers": ROUTED}}, "Rate limit exceeded: free-models-per-min", 6.0),
        (None, "No deployments available for selected model, Try again in 60 seconds. Passed model=m", 60.0),
        (None, "Please retry your request after 1 minute 30 seconds", 90.0),
        (None, "Limit 3, Used 3, Requested 1. Please try again in 20ms.", 0.02),
        ({"metadata": {"headers": ["X-RateLimit-Reset"]}}, "Rate limit exceeded", None),
        ([1], "Please try again later; you have 3 requests a minute", None),
        ({"details": [1, {"@type": "google.rpc.RetryInfo", "retryDelay": "34s"}]}, "Resource exhausted", 34.0),
        (None, "Too many requests, wait 1 minute", 60.0),
        (None, "Failed after 3 retries", None),
        (None, "retry 3 times", None),
    ],
)
def test_an_error_says_how_long_to_wait_where_no_header_does(error: object, text: str, seconds: float | None) -> None:
    found = wait_said(error, text, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("choices", [[], None])
def test_an_answer_without_a_choice_is_asked_for_again(choices: object) -> None:
    with pytest.raises(RequestError) as caught:
        read_object(json.dumps({"choices": choices, "usage": None}).encode(), 200, "m", "")
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        ({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "many"}, {"requests_per_minute": 500.0}),
        ({"x-ratelimit-limit-requests": "1000", "x-ratelimit-reset-requests": "2m59.5s"}, None),
        ({"x-ratelimit-limit-requests-day": "1000"}, None),
        ({"x-ratelimit-limit-tokens-minute": "60000"}, {"tokens_per_minute": 60000.0}),
        ({"x-ratelimit-limit-requests": "100, 100;w=60"}, {"requests_per_minute": 100.0}),
        ({"x-ratelimit-limit-requests": "900, 900;w=86400"}, None),
        ({f"{_CLAUDES}requests-limit": "50", f"{_CLAUDES}tokens-limit": "-1"}, {"requests_per_minute": 50.0}),
        ({"x-ratelimit-limit-requests": "nan", "x-ratelimit-limit-tokens": "1e999"}, None),
    ],
)  # fmt: skip
def test_only_what_holds_for_a_minute_is_a_limit_of_a_minute(
    headers: dict[str, str], limits: dict[str, float] | None
) -> None:
    assert limits_of(headers) == limits


@pytest.mark.parametrize("levels", [70, 5_000, 200_000])
async def test_deep_json_is_a_broken_answer(levels: int) -> None:
    text = '{"choices":' + "[" * levels + "]" * levels + "}"
    with pytest.raises(RequestError, match="levels") as caught:
        await asked(lambda _: httpx2.Response(200, content=text.encode()))
    assert caught.value.kind == "broken_answer"


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_beyond_any_answer_is_not_read_to_its_end_nor_asked_for_again(packed: bool) -> None:
    body = b" " * (MOST_BYTES + 2**20)
    headers = {"content-encoding": "gzip"} if packed else {}
    content = gzip.compress(body, 1) if packed else body
    with pytest.raises(RequestError, match="more than 64 MB") as caught:
        await asked(lambda _: httpx2.Response(200, headers=headers, content=content))
    assert not caught.value.retryable


async def test_the_sdk_of_every_host_reads_no_more_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_api.model.endpoints.answers.MOST_BYTES", 10)
    for name in ("openai-chat", "gemini", "anthropic"):
        with serve(dialect=HOSTED[name].dialect) as server, pytest.raises(RequestError, match="more than 0 MB"):
            await ask_once(HOSTED[name], server, monkeypatch)


async def ask_once(hosted: Hosted, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(variable, "sk-test")
    async with open_model(hosted.spec(server), options=hosted.options) as model:
        await model.label_distributions([PROMPT])


async def test_what_a_server_says_is_shown_without_control_characters() -> None:
    said = "bad\x1b[2J \x07request\r\nicm-api: all is well\u202e\x00"
    with pytest.raises(RequestError) as caught:
        await asked(lambda _: httpx2.Response(400, json={"error": {"message": said}}))
    assert str(caught.value).isprintable()
    assert "bad[2J request  icm-api: all is well;" in str(caught.value)


async def test_a_failure_that_lasts_is_given_up_with_exit_code_3() -> None:
    settings = ClientSettings(attempts=3)
    with serve(dialect="vllm", faults=Faults(("500",), times=None)) as server:
        async with open_model(f"vllm:{server.model}@{server.url}", settings=settings) as model:
            with pytest.raises(GaveUpError, match="gave up after 3 attempts") as caught:
                await model.label_distributions([PROMPT])
    assert caught.value.exit_code == 3


def test_a_run_that_gave_up_says_how_to_go_on_and_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(dialect="vllm", faults=Faults(("503",), times=1)) as server:
        config = write_config(tmp_path, f"vllm:{server.model}@{server.url}", extra="\n[client]\nattempts = 1\n")
        assert main(["run", str(config)]) == 3
        assert f"to go on: icm-api resume {tmp_path / 'run'}" in capsys.readouterr().err


def _mutated(value: Any, random: Random) -> Any:
    """The value with one place replaced by something odd."""
    odd: tuple[Any, ...] = (
        None,
        True,
        -1,
        10**30,
        1.5,
        float("inf"),
        "",
        "\ud800",
        "x" * 50,
        [],
        {},
        [[]],
        {"a": [None]},
        [1, "b"],
    )
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(list(value))
        return {**value, key: _mutated(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        return [*value[:at], _mutated(value[at], random), *value[at + 1 :]]
    return random.choice(odd)


_ENTRIES = [
    {"token": text, "logprob": p, "bytes": None} for text, p in (("True", -0.5), ("False", -1.5), ("\ufffd", -3.0))
]
_USAGE = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}
_CHAT = {
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"content": "True", "refusal": None}, "error": None,
         "logprobs": {"content": [_ENTRIES[0] | {"top_logprobs": _ENTRIES}]}}
    ],
    "usage": _USAGE,
}  # fmt: skip
_LEGACY = {
    "choices": [
        {"index": 0, "text": " True",
         "logprobs": {"tokens": [" True"], "token_logprobs": [-0.5], "top_logprobs": [{" True": -0.5, " False": -1.5}]}}
    ],
    "usage": _USAGE,
}  # fmt: skip
_GEMINI_TOP = [{"token": text, "tokenId": at, "logProbability": -0.5 - at} for at, text in enumerate(("True", "False"))]
_GEMINI = {
    "candidates": [
        {"finishReason": "STOP", "content": {"parts": [{"text": "True"}]},
         "logprobsResult": {"topCandidates": [{"candidates": _GEMINI_TOP}], "chosenCandidates": _GEMINI_TOP[:1]}}
    ],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1},
}  # fmt: skip
_CLAUDE = {
    "content": [{"type": "text", "text": "True"}], "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 0},
}  # fmt: skip


@pytest.mark.parametrize("wire", ["chat", "legacy", "gemini", "claude"])
@pytest.mark.parametrize("status", [200, 429])
async def test_odd_answers_are_documented_errors(wire: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GEMINI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(variable, "sk-test")
    random = Random(f"{wire}/{status}")
    sound = {"chat": _CHAT, "legacy": _LEGACY, "gemini": _GEMINI, "claude": _CLAUDE}[wire]
    body: Any = sound

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=json.dumps(body).encode())

    settings, api = ClientSettings(attempts=1), "chat" if wire == "chat" else "completions"
    if wire == "claude":
        opened = claude(answer, samples=2)
    else:
        opened = gemini(answer) if wire == "gemini" else compatible(answer, api)
    model = as_model(opened, memory=0, settings=settings)
    read, said = 0, list[str]()
    for _ in range(150):
        body = _mutated(_mutated(sound, random), random)
        if status != 200:
            body = {"error": _mutated({"message": "no", "code": "x", "details": [{"violations": [{}]}]}, random)}
        try:
            await model.label_distributions([PROMPT])
            read += 1
        except IcmError as error:
            said.append(str(error))
    await model.close()
    assert (read > 0) == (status == 200)
    assert not [text for text in said if "\n" in text]
