"""Anthropic's wire format: what is asked, how replies are read, and what each error means."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import cycle
from math import sqrt
from typing import Any

import httpx2
import pytest

from icm_api.errors import CapabilityError, ConfigError, LogprobsUnavailableError, RequestError, RequestErrorKind
from icm_api.model.endpoints.anthropic import AnthropicEndpoint
from icm_api.model.options import AnthropicOptions
from icm_api.model.reading.anthropic import conversation
from icm_api.types import LabelDistribution, Prompt, Turn, Usage, Verbalizer
from tests.models import Straight, as_model, claude, text_request
from tests.unit.wire_helpers import NO_ANSWER

KEY = "sk-ant-secret-of-the-test"
TWO = Verbalizer({"True": [" True", " true"], "False": [" False"]})
PROMPT = Prompt("Judge.", (Turn("1+1=2", " True"), Turn("1+1=3", " False")), "2+2=4", TWO)

Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


def message(text: str, stop_reason: str = "end_turn", **usage: int) -> dict[str, Any]:
    content = [{"type": "thinking", "thinking": "hm, False?", "signature": ""}, {"type": "text", "text": text}]
    return {
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 10, "output_tokens": 2, **usage},
    }


def replying(replies: Sequence[str], seen: list[httpx2.Request]) -> Handler:
    turns = cycle(replies)

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=message(next(turns)))

    return handler


async def score(replies: Sequence[str], **options: Any) -> tuple[LabelDistribution, list[dict[str, Any]]]:
    seen: list[httpx2.Request] = []
    async with as_model(claude(replying(replies, seen), samples=len(replies), **options)) as client:
        (found,) = await client.label_distributions([PROMPT])
    return found, [json.loads(request.content) for request in seen]


async def failing(handler: Handler, **options: Any) -> RequestError:
    """The error that one request ends with."""
    asked = claude(handler, **options)

    with pytest.raises(RequestError) as caught:
        await asked.readers.labels.read([PROMPT], Straight(asked.endpoint, most=1))
    await asked.endpoint.close()
    assert "claude-x" in str(caught.value)
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"
    return caught.value


@pytest.mark.parametrize("body", [{}, {"content": None}, {"content": [{"type": "text"}]}, {"content": ["True"]}])
async def test_what_is_no_message_is_not_kept(body: Mapping[str, Any]) -> None:
    request = await text_request(claude(replying([], [])).readers)
    with pytest.raises(RequestError, match=r"claude-x.*no message"):
        request.accept(body)


async def test_sampled_against_the_closed_form() -> None:
    found, _ = await score(["True", "true", " True\n", "False", "untrue", "It is True.", "True", "False"])
    n = 4 + 2
    assert found.probability("True") == pytest.approx((4 + 0.5) / (n + 1))
    assert found.coverage == pytest.approx(6 / 8)
    assert found.method == "sampled"
    p = 4.5 / 7
    assert found.standard_error == pytest.approx(sqrt(p * (1 - p) / (n + 2)))


async def test_smoothing_is_as_the_options_say() -> None:
    found, _ = await score(["True"] * 5, smoothing=2.0)
    assert found.probability("False") == pytest.approx(2 / 9)


async def test_replies_none_of_which_is_a_label_are_unknown_and_shown() -> None:
    found, _ = await score(["The claim is False."] * 2 + ["No."])
    assert found.unknown
    assert found.instead == pytest.approx({"The claim is False.": 2 / 3, "No.": 1 / 3})


async def test_the_request_is_the_conversation_without_anything_that_current_models_refuse() -> None:
    _, bodies = await score(["True"] * 3)
    assert bodies[0] == bodies[1] == bodies[2]
    body = bodies[0]
    marked = {"cache_control": {"type": "ephemeral"}}
    assert body.pop("max_tokens") >= len("False")
    assert body == {
        "model": "claude-x",
        "system": "Judge.",
        "messages": [
            {"role": "user", "content": "1+1=2"},
            {"role": "assistant", "content": [{"type": "text", "text": "True", **marked}]},
            {"role": "user", "content": "1+1=3"},
            {"role": "assistant", "content": [{"type": "text", "text": "False", **marked}]},
            {"role": "user", "content": "2+2=4"},
        ],
        "thinking": {"type": "disabled"},
    }


async def test_the_key_goes_into_a_header_and_nowhere_else() -> None:
    seen: list[httpx2.Request] = []
    asked = claude(replying(["True"], seen), samples=1)
    async with as_model(asked) as client:
        await client.label_distributions([PROMPT])
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    shown = f"{seen[0].url} {seen[0].content!r} {asked.endpoint.identity} {asked!r} {vars(asked.endpoint)!r}"
    assert KEY not in f"{shown} {vars(asked.readers.labels)!r}"
    assert asked.endpoint.identity == "anthropic/api.anthropic.com/claude-x"


async def test_options_shape_the_request() -> None:
    _, (body,) = await score(["True"], cache_control=False, thinking=True, max_tokens=2000)
    assert body["messages"][1] == {"role": "assistant", "content": "True"}
    assert body["max_tokens"] == 2000
    assert "thinking" not in body
    assert "cache_control" not in json.dumps(body)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 100])
def test_at_most_four_marks_the_last_on_the_last_demonstration(count: int) -> None:
    turns = tuple(Turn(f"q{at}", " True") for at in range(count))
    messages = conversation(Prompt("", turns, "q", TWO), cached=True)["messages"]
    marked = [at for at, each in enumerate(messages) if isinstance(each["content"], list)]
    assert len(marked) == min(count, 4)
    assert marked[-1:] == ([2 * count - 1] if count else [])


def test_prompts_that_share_their_first_half_share_bytes_up_to_a_mark() -> None:
    shared = [Turn(f"shared {at}", " True") for at in range(8)]

    def messages(rest: str) -> list[Any]:
        turns = (*shared, *(Turn(f"{rest} {at}", " False") for at in range(8)))
        found: list[Any] = conversation(Prompt("I", turns, rest, TWO), cached=True)["messages"]
        return found

    one, other = messages("one"), messages("other")
    assert one[:16] == other[:16]
    assert "cache_control" in one[15]["content"][0]


async def test_tokens_read_from_and_written_to_the_cache_are_prompt_tokens() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=message("True", cache_read_input_tokens=70, cache_creation_input_tokens=20))

    async with as_model(claude(handler, samples=1)) as client:
        await client.label_distributions([PROMPT])
        assert client.sent == Usage(1, 100, 2, 70)


async def test_limits_in_the_headers_are_passed_on() -> None:
    headers = {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-tokens-limit": "40000"}
    asked = claude(lambda request: httpx2.Response(200, json=message("True"), headers=headers), samples=1)

    straight = Straight(asked.endpoint)
    await asked.readers.labels.read([PROMPT], straight)
    ((_, response),) = straight.exchanges
    assert response.limits == {"requests_per_minute": 50.0, "tokens_per_minute": 40000.0}
    await asked.endpoint.close()


async def test_stated_probabilities_are_averaged() -> None:
    replies = ['{"True": 0.9, "False": 0.1}', '{"False": 0.3, "True": 0.7}', '{"True": 0.8, "False": 0.2}']
    found, bodies = await score(replies, estimate="stated")
    assert found.probability("True") == pytest.approx(0.8)
    assert found.standard_error == pytest.approx(0.1 / sqrt(3))
    assert found.method == "stated"
    assert found.coverage == pytest.approx(1.0)
    orders = [list(body["output_config"]["format"]["schema"]["properties"]) for body in bodies]
    assert orders == [["True", "False"], ["False", "True"], ["True", "False"]]
    questions = [body["messages"][-1]["content"] for body in bodies]
    assert all(question.startswith("2+2=4\n\n") for question in questions)
    assert [question.index('"True"') < question.index('"False"') for question in questions] == [True, False, True]
    assert bodies[0] == bodies[2]


@pytest.mark.parametrize("reply", ['{"True": 0.9, "Fal', '{"True": 0.9, "False": 0.9}', "I cannot say."])
async def test_defect_4_a_statement_that_is_none_is_refused_with_what_came(reply: str) -> None:
    with pytest.raises(LogprobsUnavailableError) as caught:
        await score(['{"True": 0.9, "False": 0.1}', reply], estimate="stated")
    assert repr(reply) in str(caught.value)
    assert "claude-x" in str(caught.value)


async def test_samples_of_one_body_are_kept_apart_and_asked_once() -> None:
    seen: list[httpx2.Request] = []
    async with as_model(claude(replying(["True", "False"], seen), samples=4)) as client:
        first = await client.label_distributions([PROMPT])
        assert await client.label_distributions([PROMPT]) == first
    assert len(seen) == 4
    assert first[0].probability("True") == pytest.approx(0.5)


async def test_several_prompts_get_their_own_replies() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        query = json.loads(request.content)["messages"][-1]["content"]
        return httpx2.Response(200, json=message("True" if query == "2+2=4" else "False"))

    other = Prompt("Judge.", PROMPT.turns, "2+2=5", TWO)
    async with as_model(claude(handler, samples=3)) as client:
        found = await client.label_distributions([PROMPT, other, PROMPT])
    assert [each.best for each in found] == ["True", "False", "True"]


async def test_labels_that_a_reply_cannot_tell_apart_are_refused_before_anything_is_sent() -> None:
    seen: list[httpx2.Request] = []
    same = Verbalizer({"a": [" yes"], "b": ["yes"]})
    async with as_model(claude(replying(["yes"], seen))) as client:
        with pytest.raises(CapabilityError, match="'yes'"):
            await client.label_distributions([Prompt("", (), "q", same)])
    assert not seen


STATUSES: list[tuple[int, str, RequestErrorKind]] = [
    (400, "invalid_request_error", "bad_request"),
    (401, "authentication_error", "authentication"),
    (402, "billing_error", "quota"),
    (403, "permission_error", "permission"),
    (404, "not_found_error", "not_found"),
    (413, "invalid_request_error", "bad_request"),
    (429, "rate_limit_error", "rate_limit"),
    (500, "api_error", "server"),
    (529, "overloaded_error", "overloaded"),
]


@pytest.mark.parametrize(("status", "name", "kind"), STATUSES)
async def test_defect_13_each_status_has_its_kind(status: int, name: str, kind: RequestErrorKind) -> None:
    calls = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        calls.append(request)
        error = {"type": name, "message": f"something with {KEY} in it"}
        return httpx2.Response(status, json={"type": "error", "error": error})

    error = await failing(handler)
    assert (error.kind, error.status, error.retry_after) == (kind, status, None)
    assert "something with *** in it" in str(error)
    assert len(calls) == 1


async def test_a_spend_limit_is_no_rate_limit() -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "over", "details": details}}
    error = await failing(lambda request: httpx2.Response(429, json=body))
    assert (error.kind, error.retryable) == ("quota", False)


async def test_a_model_that_always_thinks_is_explained() -> None:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "thinking cannot be disabled"}}
    assert "thinking=true" in str(await failing(lambda request: httpx2.Response(400, json=body)))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "3"}, 3.0), ({"retry-after-ms": "250"}, 0.25), ({"retry-after": "soon"}, None), ({}, None)],
)
async def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    error = await failing(lambda request: httpx2.Response(429, json={}, headers=headers))
    assert (error.kind, error.retry_after) == ("rate_limit", seconds)


async def test_retry_after_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    error = await failing(lambda request: httpx2.Response(429, json={}, headers={"retry-after": date}))
    assert error.retry_after == pytest.approx(30, abs=5)


@pytest.mark.parametrize(
    "body", ['{"content": [{"type": "te', "[]", "null", "{}", '{"content": [1], "usage": null}', '{"usage": {}}']
)
async def test_an_answer_that_is_no_message_may_be_asked_for_again(body: str) -> None:
    error = await failing(lambda request: httpx2.Response(200, content=body.encode()))
    assert (error.kind, error.status, error.retryable) == ("broken_answer", 200, True)


async def test_a_refusal_is_an_error_and_not_a_reply() -> None:
    refused = {**message("", "refusal"), "stop_details": {"category": "bio"}}
    error = await failing(lambda request: httpx2.Response(200, json=refused))
    assert (error.kind, error.retryable) == ("refused", False)
    assert "bio" in str(error)


async def test_a_prompt_that_is_too_long_is_an_error() -> None:
    cut = message("Tr", "model_context_window_exceeded")
    assert (await failing(lambda request: httpx2.Response(200, json=cut))).kind == "bad_request"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [*NO_ANSWER, (httpx2.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'"), "connection")],
)
async def test_no_answer(raised: Exception, kind: RequestErrorKind) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise raised

    error = await failing(handler)
    assert (error.kind, error.status) == (kind, None)


@pytest.mark.parametrize(
    "options",
    [
        {"estimate": "guessed"},
        {"samples": 0},
        {"samples": 1, "estimate": "stated"},
        {"smoothing": 0.0},
        {"smoothing": float("nan")},
        {"max_tokens": 0},
        {"context_window": 0},
    ],
)
def test_unusable_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        AnthropicOptions(**options)


def test_plain_http_is_for_this_machine_unless_asked_for() -> None:
    with pytest.raises(ConfigError, match="allow_http"):
        AnthropicEndpoint("claude-x", AnthropicOptions(base_url="http://example.org"))
    AnthropicEndpoint("claude-x", AnthropicOptions(base_url="http://example.org", allow_http=True))
    AnthropicEndpoint("claude-x", AnthropicOptions(base_url="http://127.0.0.1:1"))


def test_no_key_is_an_error_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        AnthropicEndpoint("claude-x")


def test_what_it_says_of_itself() -> None:
    for estimate in ("sampled", "stated"):
        asked = AnthropicEndpoint("claude-x", AnthropicOptions(estimate=estimate, context_window=1000))
        assert (asked.capabilities.method, asked.capabilities.deterministic) == (estimate, False)
        assert asked.capabilities.context_window == 1000
    assert asked.count_tokens("The claim is true.") >= len("The claim is true.") / 4
