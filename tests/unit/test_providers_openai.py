"""The OpenAI-compatible providers against the embedded model behind real HTTP: its own numbers are the oracle."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import exp, log1p
from typing import Any

import httpx2
import pytest

from icm_api.config import ClientSettings
from icm_api.errors import ConfigError, LogprobsUnavailableError, ProviderError, RequestError
from icm_api.model import open_model
from icm_api.model.endpoints.headers import retry_after
from icm_api.model.endpoints.openai_sdk import Connection, Sdk, open_sdk, post
from icm_api.model.open import open_endpoint
from icm_api.model.reading.coverage import refuse_unknown
from icm_api.model.reading.reading import Below, label_distribution
from icm_api.testing import DIALECTS, Faults, Server, serve
from icm_api.types import Prompt, Turn, Verbalizer
from tests.models import text_request
from tests.unit.wire_helpers import LONG, ONE_TOKEN, TWO_TOKENS, oracle, prompts, questions_of, scored, scored_inside

# Answers say logprobs with six decimals, and sums of tokens are rounded once.
CLOSE = 2e-5


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "FIREWORKS_API_KEY", "TOGETHER_API_KEY"):
        monkeypatch.setenv(name, "sk-secret")


@pytest.fixture(scope="module", params=["openai", "fireworks", "llama.cpp"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    with serve(dialect=request.param) as running:
        yield request.param, running


SPECS = {"openai": "openai", "fireworks": "fireworks", "llama.cpp": "llamacpp"}


def assert_close(read: Mapping[str, float | Below], wanted: Mapping[str, float | Below]) -> None:
    assert list(read) == list(wanted)
    for form, value in wanted.items():
        assert value == pytest.approx(read[form], abs=CLOSE)


STYLES = [{"api": "completions"}, {"api": "chat"}, {"api": "chat", "chat_style": "one_message"}]


@pytest.mark.parametrize("options", STYLES)
async def test_one_token_labels_are_the_models_own(server: tuple[str, Server], options: dict[str, Any]) -> None:
    dialect, running = server
    readings = await scored(f"{SPECS[dialect]}:{running.model}@{running.url}", options, prompts())
    for reading, wanted in zip(readings, await oracle(prompts()), strict=True):
        assert reading.method == "top_k"
        assert_close(reading.forms, wanted)


@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_longer_labels_are_walked_where_an_answer_can_be_begun(api: str) -> None:
    with serve(dialect="llama.cpp") as running:
        readings = await scored(f"llamacpp:m@{running.url}", {"api": api}, prompts(TWO_TOKENS))
        assert sum(running.log.requests.values()) == 2 + 2 * 2
    for reading, wanted in zip(readings, await oracle(prompts(TWO_TOKENS)), strict=True):
        assert reading.method == "token_walk"
        assert_close(reading.forms, wanted)


async def test_what_the_alternatives_leave_open_is_read_from_the_prompt() -> None:
    with serve(dialect="fireworks") as running:
        readings = await scored(f"fireworks:m@{running.url}", {}, prompts(LONG))
    for reading, wanted in zip(readings, await oracle(prompts(LONG)), strict=True):
        assert reading.method == "prompt_logprobs"
        assert_close(reading.forms, wanted)


async def test_without_a_way_on_there_are_true_bounds_and_no_numbers() -> None:
    with serve(dialect="openai") as running:
        readings = await scored(f"openai:m@{running.url}", {}, prompts(LONG))
        (half, _) = await scored(f"openai:m@{running.url}", {"top_logprobs": 1}, prompts())
    for reading, wanted in zip(readings, await oracle(prompts(LONG)), strict=True):
        for form, value in reading.forms.items():
            assert isinstance(value, Below)
            number = wanted[form]
            assert isinstance(number, float)
            assert number <= value.logprob
        assert label_distribution(LONG, reading).unknown
    (listed,) = [value for value in half.forms.values() if isinstance(value, float)]
    (bound,) = [value for value in half.forms.values() if isinstance(value, Below)]
    # One alternative leaves all the rest to the other label.
    assert bound.logprob == pytest.approx(log1p(-exp(listed)), abs=CLOSE)
    assert set(label_distribution(ONE_TOKEN, half).intervals) == {"True", "False"}


# What is written, and what the embedded model's alternatives say of the rest.
SHARED = Verbalizer({"yes": [" True True", " True False"], "no": [" False True"], "odd": [" correct"]})
INSIDE = {"fireworks": "fireworks", "vllm": "vllm", "sglang": "sglang", "openai": "together"}


@pytest.mark.parametrize("dialect", INSIDE)
async def test_answers_inside_a_prompt_are_those_of_shorter_prompts(dialect: str) -> None:
    with serve(dialect=dialect) as running:
        for verbalizer in (ONE_TOKEN, TWO_TOKENS, SHARED, LONG):
            answers = [verbalizer.written(label) for label in (*verbalizer.labels, verbalizer.labels[0])]
            turns = tuple(Turn(turn.text, answer) for turn, answer in zip(prompts()[0].turns, answers, strict=False))
            whole = Prompt("Judge.", turns, "", verbalizer, "\n")
            shorter = [replace(whole, turns=turns[:at], query=turn.text) for at, turn in enumerate(turns)]
            before = running.log.total
            (inside,) = await scored_inside(f"{INSIDE[dialect]}:m@{running.url}", {}, [whole])
            assert running.log.total == before + 1
            for turn, reading, wanted in zip(turns, inside, await oracle(shorter), strict=True):
                known = {form: value for form, value in reading.forms.items() if isinstance(value, float)}
                assert_close(known, {form: wanted[form] for form in known})
                bounds = {form: value for form, value in reading.forms.items() if isinstance(value, Below)}
                for form, bound in bounds.items():
                    value = wanted[form]
                    assert isinstance(value, float)
                    assert bound.least - CLOSE <= value <= bound.logprob + CLOSE
                assert turn.answer in known
                assert list(reading.forms) == list(wanted)
                if verbalizer is ONE_TOKEN:
                    assert not bounds
                # A form that goes on as what is written is read where it parts from it, all but exactly.
                other = bounds.get(" True False")
                if turn.answer == " True True" and other is not None:
                    assert exp(other.logprob) - exp(other.least) < 0.01


@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_text_is_generated(api: Any) -> None:
    with serve(dialect="openai", record=9) as running:
        async with open_model(f"openai:gpt-6-luna@{running.url}", options={"api": api}) as model:
            first, second = await model.generate(["7>3", "3>7"], max_tokens=1, temperature=1.0, samples=3)
    assert (len(first), len(second), len(running.requests)) == (3, 3, 6)
    assert all(text.strip() for text in (*first, *second))


@pytest.mark.parametrize("fault", ["null-logprobs", "-9999", "nan", "zeros", "all-equal"])
@pytest.mark.parametrize("options", STYLES[:2])
async def test_made_up_numbers_are_refused(server: tuple[str, Server], fault: str, options: dict[str, Any]) -> None:
    dialect = server[0]
    with (
        serve(dialect=dialect, faults=Faults((fault,), times=None)) as running,
        pytest.raises(LogprobsUnavailableError, match=f"{SPECS[dialect]}/127"),
    ):
        await scored(f"{SPECS[dialect]}:m@{running.url}", options, prompts())


@pytest.mark.parametrize("fault", ["null-logprobs", "-9999", "nan", "zeros", "all-equal"])
async def test_made_up_numbers_in_an_echo_are_refused(fault: str) -> None:
    with (
        serve(dialect="fireworks", faults=Faults((fault,), times=None)) as running,
        pytest.raises(LogprobsUnavailableError),
    ):
        await scored_inside(f"fireworks:m@{running.url}", {}, prompts())


async def test_duplicates_change_nothing() -> None:
    with serve(dialect="llama.cpp", faults=Faults(("duplicates",), times=None)) as running:
        readings = await scored(f"llamacpp:m@{running.url}", {}, prompts())
    for reading, wanted in zip(readings, await oracle(prompts()), strict=True):
        assert_close(reading.forms, wanted)


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_where_alternatives_are_free_more_are_asked_for_if_no_label_is_among_the_first(api: str) -> None:
    # Bytes that the embedded model never writes here.
    unlikely = Verbalizer({"yes": ["~"], "no": ["^"]})
    with serve(dialect="llama.cpp", record=100) as running:
        readings = await scored(f"llamacpp:m@{running.url}", {"api": api}, [*prompts(unlikely), *prompts()])
        asked = [request.body.get("top_logprobs", request.body["logprobs"]) for request in running.requests]
    for reading, wanted in zip(readings, await oracle([*prompts(unlikely), *prompts()]), strict=True):
        assert_close(reading.forms, wanted)
    assert asked == [20, 20, 20, 20, 500, 500]


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_more_are_asked_for_too_if_some_labels_are_among_the_first_and_others_are_not(api: str) -> None:
    # Of bytes that are all about as unlikely, one is listed by chance, and the other is not.
    mixed = Verbalizer({"yes": ["p"], "no": ["^"]})
    with serve(dialect="llama.cpp") as running:
        readings = await scored(f"llamacpp:m@{running.url}", {"api": api}, prompts(mixed))
    for reading, wanted in zip(readings, await oracle(prompts(mixed)), strict=True):
        assert_close(reading.forms, wanted)


async def test_labels_that_are_not_listed_are_never_given_a_number() -> None:
    with serve(dialect="llama.cpp", faults=Faults(("missing-label",), times=None)) as running:
        readings = await scored(f"llamacpp:m@{running.url}", {}, prompts())
    for reading in readings:
        found = label_distribution(ONE_TOKEN, reading)
        assert (found.unknown, found.intervals["True"], bool(found.instead)) == (True, (0.0, 1.0), True)
        with pytest.raises(LogprobsUnavailableError, match=r"any of 1 answers.*top_logprobs.*' True'"):
            refuse_unknown([found], ONE_TOKEN, options=["top_logprobs"])


@pytest.mark.parametrize(
    ("fault", "kind", "wait"),
    [
        ("429-seconds", "rate_limit", 0.5),
        ("429-ms", "rate_limit", 0.5),
        ("429-none", "rate_limit", 0.5),
        ("500", "server", None),
        ("503", "overloaded", None),
        ("529", "overloaded", None),
        ("cut", "disconnected", None),
        ("truncated-json", "broken_answer", None),
        ("400", "bad_request", None),
        ("401", "authentication", None),
        ("403", "permission", None),
        ("404", "not_found", None),
        ("insufficient-quota", "quota", 0.5),
        ("refusal", "refused", None),
    ],
)
async def test_failures_are_classified_and_asked_once(fault: str, kind: str, wait: float | None) -> None:
    with serve(dialect="openai", faults=Faults((fault,), retry_after=0.5)) as running:
        with pytest.raises(RequestError, match=r"openai/127.*m") as caught:
            await scored(f"openai:m@{running.url}", {}, prompts()[:1])
        assert (caught.value.kind, caught.value.retry_after) == (kind, wait)
        assert sum(running.log.requests.values()) == 1


@pytest.mark.parametrize("http_client", ["httpx2", "aiohttp"])
async def test_the_client_says_how_long_an_answer_may_take(http_client: str) -> None:
    pytest.importorskip(http_client)
    with serve(dialect="openai", faults=Faults(("slow",))) as running:
        options = {"http_client": http_client}
        settings = ClientSettings(timeout=0.7, attempts=1)
        async with open_model(f"openai:m@{running.url}", options=options, settings=settings) as client:
            with pytest.raises(RequestError, match=r"no answer in 0\.7 s \(client\.timeout\)") as caught:
                await client.label_distributions(prompts()[:1])
    assert caught.value.kind == "timeout"


async def test_no_server_is_a_connection_error() -> None:
    with serve() as running:
        url = running.url
    with pytest.raises(RequestError) as caught:
        await scored(f"openai:m@{url}", {}, prompts()[:1])
    assert caught.value.kind == "connection"


async def test_what_a_request_costs_is_the_servers_count() -> None:
    with serve(dialect="openai") as running:
        provider, questions = questions_of(f"openai:m@{running.url}", {"api": "completions"})
        request = questions.next(prompts()[0])
        (first,) = await provider.send([request])
        (second,) = await provider.send([request])
        assert running.log.prompt_tokens == first.usage.prompt_tokens + second.usage.prompt_tokens
        assert (first.usage.cached_tokens, second.usage.cached_tokens) == (0, first.usage.prompt_tokens)
        assert second.usage.requests == second.usage.completion_tokens == 1
        await provider.close()


async def test_what_a_request_says_of_itself() -> None:
    provider, questions = questions_of("openai:gpt-6-luna")
    first, second = (questions.next(prompt) for prompt in prompts())
    same_turns = questions.next(Prompt("Judge.", prompts()[0].turns, "1>9", ONE_TOKEN, "\n"))
    assert first.prefix == same_turns.prefix != second.prefix
    assert first.tokens >= len(prompts()[0].text) / 4
    assert provider.count_tokens("a b c d e f") >= 6
    assert dict(first.body) == {
        "model": "gpt-6-luna",
        "temperature": 0.0,
        "messages": [
            {"role": "system", "content": "Judge."},
            *({"role": role, "content": text} for turn in prompts()[0].turns for role, text in _said(turn)),
            {"role": "user", "content": "7>3"},
        ],
        "max_completion_tokens": 1,
        "reasoning_effort": "none",
        "logprobs": True,
        "top_logprobs": 20,
    }
    await provider.close()


def _said(turn: Turn) -> list[tuple[str, str]]:
    return [("user", turn.text), ("assistant", turn.answer.strip())]


async def test_together_counts_alternatives_and_openrouter_requires_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-secret")
    together, its = questions_of("together:m", {"api": "chat"})
    assert its.next(prompts()[0]).body["logprobs"] == 20
    router, its = questions_of("openrouter:m")
    assert its.next(prompts()[0]).body["provider"]["require_parameters"] is True
    assert "max_tokens" in its.next(prompts()[0]).body
    for provider in (together, router):
        await provider.close()


def sdk_with(handler: Any, url: str) -> Sdk:
    sdk = open_sdk(Connection(url, None))
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(handler))
    return sdk.with_options(http_client=client)


async def test_what_the_environment_says_for_openai_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "sk-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: sk-mine\nAuthorization: Bearer sk-mine")
    seen = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append("\n".join(f"{name}: {value}" for name, value in request.headers.items()))
        return httpx2.Response(200, json={"choices": [{"index": 0}]})

    sdk = sdk_with(answer, "https://models.example/v1")
    for path in ("completions", "https://models.example/tokenize"):
        await post(sdk, path, {}, "here")
    assert len(seen) == 2
    assert not any("sk-" in headers for headers in seen)
    await sdk.close()


@pytest.mark.parametrize("status", [200, 401])
async def test_a_key_that_a_server_repeats_is_blotted_out(status: int) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        key = request.headers["authorization"].removeprefix("Bearer ")
        return httpx2.Response(status, json={"error": {"message": f"bad key {key}", "code": 401}})

    sdk = sdk_with(answer, "https://models.example/v1").with_options(api_key="sk-secret")
    with pytest.raises(RequestError, match="bad key") as caught:
        await post(sdk, "completions", {}, "here")
    assert caught.value.kind == "authentication"
    assert caught.value.__cause__ is None
    assert "sk-secret" not in str(caught.value)
    await sdk.close()


@pytest.mark.parametrize("text", ["<html>", "[1]", '"x"', ""])
async def test_an_answer_that_is_no_object_is_broken(text: str) -> None:
    sdk = sdk_with(lambda _: httpx2.Response(200, text=text), "https://models.example/v1")
    with pytest.raises(RequestError) as caught:
        await post(sdk, "completions", {}, "here")
    assert caught.value.kind == "broken_answer"
    await sdk.close()


@pytest.mark.parametrize("text", ["", "soon", "-1", "inf", "nan"])
def test_waits_that_make_no_sense_are_ignored(text: str) -> None:
    assert retry_after({"retry-after": text}) is None


def test_a_date_in_the_past_means_now() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


async def test_answers_that_arrive_together_stay_apart() -> None:
    with serve(dialect="openai") as running:
        provider, questions = questions_of(f"openai:m@{running.url}")
        asked = [questions.next(prompt) for prompt in prompts()] * 4
        answers = await asyncio.gather(*(provider.send([request]) for request in asked))
        alone = [(await provider.send([request]))[0].body["choices"] for request in asked[:2]]
        assert [answer.body["choices"] for (answer,) in answers] == alone * 4
        await provider.close()


async def test_a_reply_that_was_all_thoughts_is_blank_and_one_without_a_place_for_text_is_none() -> None:
    provider, readers = open_endpoint("openai:m")
    request = await text_request(readers)
    request.accept({"choices": [{"message": {"content": None, "reasoning_content": "Let me"}}]})
    nothing: list[dict[str, Any]] = [{"message": {}}, {"text": None}, {}]
    for choice in nothing:
        with pytest.raises(ProviderError, match="no text"):
            request.accept({"choices": [choice]})
    await provider.close()


async def test_labels_of_chat_models_may_begin_without_the_space() -> None:
    verbalizer = Verbalizer({"True": [" True"], "False": [" False"]})
    plain = [Prompt("Judge.", (), "7>3", verbalizer, "\n")]
    with serve(dialect=replace(DIALECTS["openai"], strip_space=True)) as running:
        (reading,) = await scored(f"openai:m@{running.url}", {}, plain)
    (wanted,) = await oracle(plain)
    assert_close(reading.forms, wanted)


async def test_the_faster_http_client_gives_the_same_numbers() -> None:
    pytest.importorskip("aiohttp")
    with serve(dialect="openai") as running:
        readings = await scored(f"openai:m@{running.url}", {"http_client": "aiohttp"}, prompts())
    for reading, wanted in zip(readings, await oracle(prompts()), strict=True):
        assert_close(reading.forms, wanted)
    with serve(dialect="openai", faults=Faults(("cut",))) as running, pytest.raises(RequestError) as caught:
        await scored(f"openai:m@{running.url}", {"http_client": "aiohttp"}, prompts())
    assert caught.value.kind == "disconnected"


async def test_without_an_instruction_chat_models_are_told_the_labels() -> None:
    provider, questions = questions_of("openai:m", {"chat_style": "one_message"})
    (message,) = questions.next(Prompt("", (Turn("a", " True"),), "b", ONE_TOKEN)).body["messages"]
    assert message["content"] == "Answer with exactly one of: True, False. Write nothing else.\n\na True\n\nb"
    await provider.close()


async def test_fields_that_a_host_does_not_take_are_left_out() -> None:
    given = {"api": "chat", "leave_out": ["temperature", "max_tokens"], "extra_body": {"max_completion_tokens": 1}}
    with serve(dialect="openai", record=1) as server:
        spec = f"openai-compatible:{server.model}@{server.url}"
        async with open_model(spec, options=given) as model:
            await model.label_distributions([Prompt("", (), "1>2", Verbalizer.plain(["True", "False"]))])
        body = server.requests[-1].body
    assert not {"temperature", "max_tokens"} & body.keys()
    assert body["max_completion_tokens"] == 1
    with pytest.raises(ConfigError, match="replies need a limit"):
        questions_of("openai-compatible:m@http://127.0.0.1:1/v1", {"leave_out": ["max_tokens"]})


# Fields beside the cache key


@pytest.mark.parametrize("api", ["chat", "completions"])
async def test_a_tier_and_a_key_of_the_hosts_cache_are_sent_and_change_no_key_of_ours(api: str) -> None:
    sent, costs = [], []
    with serve(dialect="vllm", record=10) as server:
        plain, flex = ClientSettings(), ClientSettings(tier="flex")
        for options, settings in (({}, plain), ({"prompt_cache_key": "mine"}, flex)):
            spec = f"openai-compatible:{server.model}@{server.url}"
            async with open_model(spec, options={"api": api, **options}, settings=settings) as model:
                answers = await model.label_distributions([Prompt("", (), "1>2", Verbalizer.plain(["True", "False"]))])
                costs.append(answers.costs.keys())
            sent.append(server.requests[-1].body)
    assert costs[0] == costs[1]
    assert sent[1] == {**sent[0], "prompt_cache_key": "mine", "service_tier": "flex"}


@pytest.mark.parametrize("spec", ["together:m", "vllm:m", "pocket", "anthropic:m"])
def test_a_tier_that_a_host_does_not_know_is_named(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "of-the-test")
    with pytest.raises(ConfigError, match=r"client\.tier: provider .* is not known to have it"):
        open_model(spec, settings=ClientSettings(tier="flex"))


def test_a_tier_that_a_host_does_not_know_is_named_before_a_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"^client\.tier: "):
        open_model("together:m", settings=ClientSettings(tier="flex"))


@pytest.mark.slow
def test_types_of_the_sdk_are_there_when_they_are_asked_for_and_not_before() -> None:
    code = """
import sys
import icm_api.model.endpoints.openai
import openai
assert "openai.types.responses.response" not in sys.modules
assert openai.types.chat.ChatCompletion.__module__ == "openai.types.chat.chat_completion"
from openai.types.responses import Response
from openai.types import Batch
assert Response.model_fields and Batch.model_fields
try:
    openai.types.chat.Nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'openai.types.chat' has no attribute 'Nothing'\n"
