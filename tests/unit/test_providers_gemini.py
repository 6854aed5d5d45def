"""Gemini's wire format: what is asked, how the listed tokens are read, and what each error means."""

import json
from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from typing import Any

import httpx2
import pytest

from icm_api.errors import CapabilityError, ConfigError, LogprobsUnavailableError, RequestError, RequestErrorKind
from icm_api.model.endpoints.gemini import GeminiEndpoint
from icm_api.model.options import GeminiOptions
from icm_api.types import LabelDistribution, Prompt, Turn, Usage, Verbalizer
from tests.models import Straight, as_model, gemini
from tests.unit.wire_helpers import NO_ANSWER

KEY = "AIza-secret-of-the-test"
TWO = Verbalizer.plain(["True", "False"])
PROMPT = Prompt("Judge.", (Turn("1+1=2", " True"),), "2+2=4", TWO)

Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)


def entry(token: str, p: float | None, token_id: int | None = None) -> dict[str, Any]:
    known = {"token": token, "logProbability": None if p is None else log(p)}
    return known if token_id is None else {**known, "tokenId": token_id}


def answer(top: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    result = {"topCandidates": [{"candidates": list(top)}], "chosenCandidates": [chosen or top[0]]}
    return {"candidates": [{"logprobsResult": result, "finishReason": "MAX_TOKENS"}], **more}


async def read(body: object, prompt: Prompt = PROMPT) -> LabelDistribution:
    async with as_model(gemini(lambda request: httpx2.Response(200, json=body))) as client:
        (found,) = await client.label_distributions([prompt])
    return found


async def failing(response: httpx2.Response | Exception) -> RequestError:
    calls = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    asked = gemini(handler)

    with pytest.raises(RequestError) as caught:
        await asked.readers.labels.read([PROMPT], Straight(asked.endpoint))
    await asked.endpoint.close()
    assert len(calls) == 1
    assert "gemini-x" in str(caught.value)
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"
    return caught.value


async def test_the_request() -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=answer([entry("True", 0.6), entry("False", 0.3)]))

    asked = gemini(handler, top_logprobs=7)
    async with as_model(asked) as client:
        await client.label_distributions([PROMPT])
    (request,) = seen
    assert str(request.url) == "https://generativelanguage.googleapis.com/v1beta/models/gemini-x:generateContent"
    assert request.headers["x-goog-api-key"] == KEY
    shown = f"{request.url} {request.content!r} {asked!r} {vars(asked.endpoint)!r} {asked.endpoint.identity}"
    assert KEY not in f"{shown} {vars(asked.readers.labels)!r}"
    assert json.loads(request.content) == {
        "systemInstruction": {"parts": [{"text": "Judge."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "1+1=2"}]},
            {"role": "model", "parts": [{"text": "True"}]},
            {"role": "user", "parts": [{"text": "2+2=4"}]},
        ],
        "generationConfig": {
            "responseLogprobs": True,
            "logprobs": 7,
            "maxOutputTokens": 1,
            "temperature": 0,
            "thinkingConfig": {"thinkingBudget": 0},
        },
    }
    assert asked.endpoint.identity == "gemini/generativelanguage.googleapis.com/gemini-x"


@pytest.mark.parametrize(
    ("model", "path"), [("gemini-x", "/v1beta/models/gemini-x"), ("tunedModels/mine", "/v1beta/tunedModels/mine")]
)
async def test_models_and_options_shape_the_request(model: str, path: str) -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=answer([entry("True", 0.6), entry("False", 0.3)]))

    options = {"thinking": True, "base_url": "https://proxy.example/google/"}
    async with as_model(gemini(handler, model, **options)) as client:
        await client.label_distributions([PROMPT])
    assert seen[0].url.path == f"/google{path}:generateContent"
    assert "thinkingConfig" not in json.loads(seen[0].content)["generationConfig"]


async def test_tokens_are_read_with_or_without_their_space() -> None:
    found = await read(answer([entry("True", 0.5, 1), entry(" True", 0.1, 2), entry("False", 0.3, 3)]))
    assert found.probability("True") == pytest.approx(0.6 / 0.9)
    assert found.coverage == pytest.approx(0.9)
    assert (found.method, found.intervals, found.standard_error) == ("top_k", {}, None)


@pytest.mark.parametrize("token_id", [3, None])
async def test_the_chosen_token_counts_once_whether_it_is_listed_or_not(token_id: int | None) -> None:
    chosen = entry("True", 0.5, token_id)
    listed = await read(answer([chosen, chosen, entry("False", 0.25)], chosen))
    apart = await read(answer([entry("False", 0.25)], chosen))
    assert listed.probability("True") == apart.probability("True") == pytest.approx(2 / 3)


async def test_a_label_that_is_not_listed_has_a_bound_and_no_number() -> None:
    found = await read(answer([entry("True", 0.9), entry("Yes", 0.04), entry("Sure", 0.01)]))
    low, high = found.intervals["False"]
    assert low == 0.0
    assert high == pytest.approx(0.01 / 0.91)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"candidates": []},
        {"candidates": [{"finishReason": "MAX_TOKENS"}]},
        {"candidates": [{"logprobsResult": None}]},
        {"candidates": [{"logprobsResult": {}}]},
        answer([entry("True", None), entry("False", 0.4)]),
        answer([{"token": "True", "logProbability": -9999.0}]),
        answer([{"token": "True", "logProbability": 0.5}, entry("False", 0.1)]),
        answer([entry(token, 0.1) for token in ("True", "False", "x", "y")]),
        answer([entry("True", 0.9), entry("False", 0.9)]),
    ],
)
async def test_defect_4_an_answer_without_usable_logprobs_is_refused(body: object) -> None:
    with pytest.raises(LogprobsUnavailableError, match="gemini-x"):
        await read(body)


async def test_an_answer_that_lists_no_label_is_unknown_and_says_what_is_there() -> None:
    found = await read(answer([entry("Yes", 0.5), entry("No", 0.4)]))
    assert found.unknown
    assert found.probability("True") == pytest.approx(0.5)
    assert found.instead == pytest.approx({"Yes": 0.5, "No": 0.4})


async def test_defect_4_nan_is_refused() -> None:
    text = '{"candidates": [{"logprobsResult": {"chosenCandidates": [{"token": "True", "logProbability": NaN}]}}]}'
    async with as_model(gemini(lambda request: httpx2.Response(200, content=text.encode()))) as client:
        with pytest.raises(LogprobsUnavailableError, match="NaN"):
            await client.label_distributions([PROMPT])


async def test_usage() -> None:
    counts = {
        "promptTokenCount": 90,
        "candidatesTokenCount": 1,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 64,
    }
    body = answer([entry("True", 0.6), entry("False", 0.3)], usageMetadata=counts)
    asked = gemini(lambda request: httpx2.Response(200, json=body))
    straight = Straight(asked.endpoint)
    (reading,) = await asked.readers.labels.read([PROMPT], straight)
    await asked.endpoint.close()
    uses = [response.usage for _, response in straight.exchanges]
    assert uses == [Usage(1, 90, 6, 64)]
    value = reading.forms[" True"]
    assert isinstance(value, float)
    assert exp(value) == pytest.approx(0.6)


async def test_a_model_without_logprobs_is_named() -> None:
    error = {"code": 400, "message": "Logprobs is not supported for this model.", "status": "INVALID_ARGUMENT"}
    async with as_model(gemini(lambda request: httpx2.Response(400, json={"error": error}))) as client:
        with pytest.raises(CapabilityError, match="gemini-x gives no logprobs"):
            await client.label_distributions([PROMPT])


@pytest.mark.parametrize(
    "body",
    [
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [{"finishReason": "SAFETY"}]},
        {"candidates": [{"finishReason": "PROHIBITED_CONTENT"}]},
    ],
)
async def test_a_refusal_is_named(body: object) -> None:
    error = await failing(httpx2.Response(200, json=body))
    assert (error.kind, error.retryable) == ("refused", False)


STATUSES: list[tuple[int, RequestErrorKind]] = [
    (400, "bad_request"),
    (401, "authentication"),
    (403, "permission"),
    (404, "not_found"),
    (429, "rate_limit"),
    (500, "server"),
    (503, "overloaded"),
    (529, "overloaded"),
    (302, "bad_request"),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_defect_13_each_status_has_its_kind(status: int, kind: RequestErrorKind) -> None:
    error = await failing(httpx2.Response(status, json={"error": {"message": f"with {KEY} in it"}}))
    assert (error.kind, error.status, error.retry_after) == (kind, status, None)
    assert "with *** in it" in str(error)


def google(*details: Mapping[str, Any]) -> dict[str, Any]:
    return {"error": {"code": 429, "message": "no", "details": list(details)}}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"retry-after": "3"}, [], 3.0),
        ({"retry-after-ms": "250"}, [], 0.25),
        ({}, [RETRY_INFO], 37.5),
        ({"retry-after": "3"}, [RETRY_INFO], 3.0),
        ({}, [{"retryDelay": "soon"}], None),
        ({}, [], None),
    ],
)
async def test_retry_after(headers: dict[str, str], details: list[Any], seconds: float | None) -> None:
    error = await failing(httpx2.Response(429, json=google(*details), headers=headers))
    assert (error.kind, error.retry_after) == ("rate_limit", seconds)


async def test_a_quota_of_the_day_is_not_worth_another_try() -> None:
    violations = [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]
    error = await failing(httpx2.Response(429, json=google({"violations": violations}, RETRY_INFO)))
    assert (error.kind, error.retryable) == ("quota", False)


async def test_a_bad_key_is_an_authentication_error_though_the_status_is_400() -> None:
    error = await failing(httpx2.Response(400, json=google({"reason": "API_KEY_INVALID"})))
    assert error.kind == "authentication"


@pytest.mark.parametrize("text", ['{"candidates": [{"logp', "<html>", "[]", "null", ""])
async def test_an_answer_that_is_no_object_may_be_asked_for_again(text: str) -> None:
    error = await failing(httpx2.Response(200, content=text.encode()))
    assert (error.kind, error.status, error.retryable) == ("broken_answer", 200, True)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [*NO_ANSWER, (httpx2.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'"), "connection")],
)
async def test_no_answer(raised: Exception, kind: RequestErrorKind) -> None:
    error = await failing(raised)
    assert (error.kind, error.status) == (kind, None)


@pytest.mark.parametrize("options", [{"top_logprobs": 0}, {"top_logprobs": 21}, {"context_window": 0}])
def test_unusable_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        GeminiOptions(**options)


def test_plain_http_is_for_this_machine_unless_asked_for() -> None:
    with pytest.raises(ConfigError, match="allow_http"):
        GeminiEndpoint("gemini-x", GeminiOptions(base_url="http://example.org"))
    GeminiEndpoint("gemini-x", GeminiOptions(base_url="http://example.org", allow_http=True))


async def test_either_variable_may_hold_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(ConfigError, match="GEMINI_API_KEY or GOOGLE_API_KEY"):
        GeminiEndpoint("gemini-x")
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    await GeminiEndpoint("gemini-x").close()
