"""The testing server through the official clients, with the embedded model itself as the oracle."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import exp, isclose, isnan
from typing import Any

import anthropic
import httpx2
import numpy as np
import openai
import pytest

from icm_api.errors import ConfigError
from icm_api.pocket.model import PocketModel
from icm_api.testing import CONTENT, DIALECTS, RETRYABLE, UNRETRYABLE, Dialect, Faults, Server, serve

PROMPT = "27>82 False\n35>12 True\n82>27"
TURNS = [
    {"role": "user", "content": "27>82"},
    {"role": "assistant", "content": "False"},
    {"role": "user", "content": "35>12"},
    {"role": "assistant", "content": "True"},
    {"role": "user", "content": "82>27"},
]


@pytest.fixture(scope="module")
def model() -> PocketModel:
    return PocketModel.load()


@pytest.fixture(scope="module")
def truth(model: PocketModel) -> dict[str, float]:
    """The label logprobs after PROMPT."""
    row = model.next_token_logprobs([(model.encode(PROMPT),)])[0]
    return {label: round(float(row[model.encode(label)[0]]), 6) for label in (" True", " False")}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with _openai(server) as opened:
        yield opened


@contextmanager
def _openai(server: Server, retries: int = 0) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=retries) as opened:
        yield opened


@contextmanager
def _anthropic(server: Server, retries: int = 0) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.root, api_key="none", max_retries=retries) as opened:
        yield opened


def _post(server: Server, path: str, body: object) -> Any:
    answer = httpx2.post(server.root + path, json=body)
    return answer.raise_for_status().json()


def _chat(client: openai.OpenAI, **changes: Any) -> Any:
    asked: dict[str, Any] = {"model": "m", "messages": TURNS, "max_completion_tokens": 1, "logprobs": True}
    return client.chat.completions.create(**asked | {"top_logprobs": 5} | changes)


# Completions.


@pytest.mark.parametrize("as_ids", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_completions_take_every_form_of_prompt(
    client: openai.OpenAI, model: PocketModel, truth: dict[str, float], as_ids: bool, several: bool
) -> None:
    prompt: Any = list(model.encode(PROMPT)) if as_ids else PROMPT
    found = client.completions.create(
        model="m", prompt=[prompt, prompt] if several else prompt, max_tokens=1, logprobs=2
    )
    assert [choice.index for choice in found.choices] == [0, 1][: 1 + several]
    for choice in found.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.top_logprobs is not None
        assert truth.items() <= choice.logprobs.top_logprobs[0].items()
    assert found.usage is not None
    assert found.usage.prompt_tokens == len(model.encode(PROMPT)) * (1 + several)


def test_echo_gives_every_token_of_the_prompt_but_the_first(client: openai.OpenAI, model: PocketModel) -> None:
    ids = model.encode(PROMPT)
    found: Any = client.completions.create(model="m", prompt=PROMPT, max_tokens=0, echo=True, logprobs=2).choices[0]
    logprobs = found.logprobs
    assert found.text == PROMPT == "".join(logprobs.tokens)
    assert logprobs.token_logprobs[0] is None
    assert logprobs.top_logprobs[0] is None
    np.testing.assert_allclose(logprobs.token_logprobs[1:], model.token_logprobs(ids)[1:], atol=6e-7)
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert PROMPT[offset:].startswith(token)
    rows = model.next_token_logprobs([(ids[:at],) for at in range(1, len(ids))])
    for row, top, token in zip(rows, logprobs.top_logprobs[1:], logprobs.tokens[1:], strict=True):
        best = {model.decode_bytes(int(at)).decode(errors="replace") for at in np.argsort(-row)[:2]}
        assert set(top) == best | {token}


def test_without_echo_offsets_begin_after_the_prompt(client: openai.OpenAI) -> None:
    found = client.completions.create(model="m", prompt=PROMPT, max_tokens=2, logprobs=0, temperature=0).choices[0]
    assert found.logprobs is not None
    assert found.logprobs.text_offset == [len(PROMPT), len(PROMPT) + len(" True")]
    assert [list(top) for top in found.logprobs.top_logprobs or []] == [
        [token] for token in found.logprobs.tokens or []
    ]


def test_wanted_ids_come_by_id(client: openai.OpenAI, model: PocketModel) -> None:
    wanted = [model.encode(" False")[0], model.encode("<")[0]]
    extra = {"logprob_token_ids": wanted, "return_tokens_as_token_ids": True}
    found = client.completions.create(
        model="m", prompt=PROMPT, max_tokens=1, logprobs=1, temperature=0, extra_body=extra
    ).choices[0]
    assert found.logprobs is not None
    assert found.logprobs.top_logprobs is not None
    row = model.next_token_logprobs([(model.encode(PROMPT),)])[0]
    expected = {f"token_id:{token}": pytest.approx(row[token], abs=6e-7) for token in [int(row.argmax()), *wanted]}
    assert found.logprobs.top_logprobs[0] == expected


def test_prompt_logprobs_hold_the_token_first_with_its_rank(client: openai.OpenAI, model: PocketModel) -> None:
    found: Any = client.completions.create(model="m", prompt=PROMPT, max_tokens=1, extra_body={"prompt_logprobs": 1})
    entries, ids = found.choices[0].prompt_logprobs, model.encode(PROMPT)
    assert entries[0] is None
    rows = np.round(model.next_token_logprobs([(ids[:at],) for at in range(1, len(ids))]), 6)
    for token, row, entry in zip(ids[1:], rows, entries[1:], strict=True):
        first = next(iter(entry))
        assert first == str(token)
        assert set(entry) == {str(token), str(int(row.argmax()))}
        assert entry[first]["rank"] == 1 + int((row > row[token]).sum())
        assert entry[first]["logprob"] == pytest.approx(row[token], abs=6e-7)
        assert entry[first]["decoded_token"].encode() == model.decode_bytes(token)
    chat: Any = _chat(client, extra_body={"prompt_logprobs": 1})
    assert chat.prompt_logprobs == entries


def test_tokenizer_routes(server: Server, model: PocketModel) -> None:
    assert _post(server, "/tokenize", {"prompt": PROMPT})["tokens"] == list(model.encode(PROMPT))
    assert _post(server, "/tokenize", {"messages": TURNS})["tokens"] == list(model.encode(PROMPT))
    assert _post(server, "/detokenize", {"tokens": list(model.encode(PROMPT))}) == {"prompt": PROMPT}


# Chat.


def test_chat_gives_the_labels_of_the_plain_text(client: openai.OpenAI, truth: dict[str, float]) -> None:
    place = _chat(client).choices[0].logprobs.content[0]
    assert truth.items() <= {entry.token: entry.logprob for entry in place.top_logprobs}.items()
    assert all(bytes(entry.bytes or []) == entry.token.encode() for entry in place.top_logprobs if entry.token in truth)
    assert place.token in truth


def test_chat_answers_one_word_and_stops(client: openai.OpenAI) -> None:
    choice = _chat(client, max_completion_tokens=9, temperature=0).choices[0]
    assert (choice.message.content, choice.finish_reason, len(choice.logprobs.content)) == (" True", "stop", 1)


def test_chat_can_leave_the_space_out(truth: dict[str, float]) -> None:
    with serve(dialect=replace(DIALECTS["openai"], strip_space=True)) as server, _openai(server) as client:
        choice = _chat(client, temperature=0, reasoning_effort="none").choices[0]
    place = choice.logprobs.content[0]
    assert choice.message.content == place.token == "True"
    assert bytes(place.bytes) == b"True"
    assert {entry.token: entry.logprob for entry in place.top_logprobs[:2]} == {
        "True": truth[" True"],
        "False": truth[" False"],
    }


def test_a_last_answer_is_continued_where_asked(client: openai.OpenAI, model: PocketModel) -> None:
    turns = [*TURNS, {"role": "assistant", "content": "Fal"}]
    flags = {"continue_final_message": True, "add_generation_prompt": False}
    place = _chat(client, messages=turns, extra_body=flags, temperature=0).choices[0].logprobs.content[0]
    row = model.next_token_logprobs([(model.encode(PROMPT + " Fal"),)])[0]
    assert place.logprob == pytest.approx(row.max(), abs=6e-7)
    with pytest.raises(openai.BadRequestError, match="add_generation_prompt"):
        _chat(client, messages=turns, extra_body={"continue_final_message": True})


# Dialects.


@pytest.mark.parametrize(
    ("dialect", "most"), [("openai", 20), ("vllm", 20), ("sglang", 20), ("fireworks", 5), ("llama.cpp", None)]
)
def test_each_dialect_has_its_largest_k(dialect: str, most: int | None) -> None:
    with serve(dialect=dialect) as server, _openai(server) as client:
        fine = most or 300
        assert len(_chat(client, top_logprobs=fine).choices[0].logprobs.content[0].top_logprobs) == fine
        client.completions.create(model="m", prompt=PROMPT, max_tokens=1, logprobs=fine)
        if most is not None:
            with pytest.raises(openai.BadRequestError, match=f"max allowed: {most}"):
                _chat(client, top_logprobs=most + 1)
            with pytest.raises(openai.BadRequestError, match=f"max allowed: {most}"):
                client.completions.create(model="m", prompt=PROMPT, max_tokens=1, logprobs=most + 1)


def test_llama_cpp_writes_completions_like_chat_and_echoes_nothing(truth: dict[str, float]) -> None:
    with serve(dialect="llama.cpp") as server, _openai(server) as client:
        found: Any = client.completions.create(model="m", prompt=PROMPT, max_tokens=1, logprobs=2).choices[0].logprobs
        assert found.tokens is None
        (place,) = found.model_extra["content"]
        assert {entry["token"]: entry["logprob"] for entry in place["top_logprobs"]} == truth
        with pytest.raises(openai.BadRequestError, match="no echo"):
            client.completions.create(model="m", prompt=PROMPT, echo=True)
        assert len(_chat(client, top_logprobs=None).choices[0].logprobs.content[0].top_logprobs) == 20
        assert _post(server, "/tokenize", {"content": " True"})["tokens"] == _tokens(server, " True")


def _tokens(server: Server, text: str) -> list[int]:
    return list(PocketModel.load().encode(text))


def test_openai_refuses_what_is_not_its_own() -> None:
    with serve(dialect="openai") as server, _openai(server) as client:
        for changes in ({"extra_body": {"logprob_token_ids": [1]}}, {"max_tokens": 1}, {"reasoning_effort": "low"}):
            with pytest.raises(openai.BadRequestError):
                _chat(client, **changes)
        with pytest.raises(openai.BadRequestError, match="prompt_logprobs"):
            client.completions.create(model="m", prompt=PROMPT, extra_body={"prompt_logprobs": 1})
        assert httpx2.post(f"{server.root}/tokenize", json={"prompt": "a"}).status_code == 404


def test_fireworks_echoes_the_end_of_the_prompt_alone() -> None:
    with serve(dialect="fireworks") as server, _openai(server) as client:
        found: Any = client.completions.create(
            model="m", prompt=PROMPT, echo=True, logprobs=0, max_tokens=0, extra_body={"echo_last": 2}
        )
        assert found.choices[0].logprobs.tokens == ["2", "7"]
        assert None not in found.choices[0].logprobs.token_logprobs


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": ""},
        {"prompt": 3},
        {"prompt": [99999]},
        {"prompt": "1" * 2000},
        {"prompt": PROMPT, "max_tokens": 5000},
        {"prompt": PROMPT, "max_tokens": -1},
        {"prompt": PROMPT, "logprobs": "two"},
        {"prompt": PROMPT, "temperature": 3},
        {"prompt": PROMPT, "stop": 1},
        {"prompt": PROMPT, "n": 2},
        {"prompt": PROMPT, "stream": True},
        {"prompt": PROMPT, "logprob_token_ids": [1]},
        [],
    ],
)
def test_bad_requests_are_refused(server: Server, body: object) -> None:
    answer = httpx2.post(f"{server.url}/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


# SGLang.


def test_sglang_generate(server: Server, model: PocketModel, truth: dict[str, float]) -> None:
    labels = [model.encode(label)[0] for label in truth]
    ids = model.encode(PROMPT + " False")
    asked = {
        "text": PROMPT + " False",
        "return_logprob": True,
        "logprob_start_len": len(ids) - 2,
        "token_ids_logprob": labels,
        "top_logprobs_num": 1,
        "sampling_params": {"max_new_tokens": 1, "temperature": 0},
    }
    info = _post(server, "/generate", asked)["meta_info"]
    assert info["input_token_logprobs"] == [[None, ids[-2], None], [truth[" False"], ids[-1], None]]
    assert info["input_token_ids_logprobs"] == [
        None,
        [[logprob, token, None] for logprob, token in zip(truth.values(), labels, strict=True)],
    ]
    assert info["output_top_logprobs"][0] == info["output_token_logprobs"]
    asked |= {"text": None, "input_ids": [list(ids[:-1])] * 2, "logprob_start_len": -1, "return_text_in_logprobs": True}
    for answer in _post(server, "/generate", asked):
        found = {text: logprob for logprob, _, text in answer["meta_info"]["output_token_ids_logprobs"][0]}
        assert found == truth
        assert answer["meta_info"]["cached_tokens"] >= len(ids) - 1


@pytest.mark.parametrize("softmax", [False, True])
def test_sglang_score(server: Server, model: PocketModel, truth: dict[str, float], softmax: bool) -> None:
    labels = [model.encode(label)[0] for label in truth]
    asked = {"query": PROMPT[:-5], "items": [PROMPT[-5:]] * 2, "label_token_ids": labels, "apply_softmax": softmax}
    expected = [exp(logprob) for logprob in truth.values()]
    total = sum(expected) if softmax else 1.0
    found = _post(server, "/v1/score", asked)["scores"]
    assert found == [pytest.approx([value / total for value in expected])] * 2
    turned = asked | {"query": PROMPT[-5:], "items": [PROMPT[:-5]], "item_first": True}
    assert _post(server, "/v1/score", turned)["scores"] == found[:1]


# Anthropic.


def _say(client: anthropic.Anthropic, **changes: Any) -> Any:
    asked: dict[str, Any] = {"model": "m", "messages": TURNS, "max_tokens": 4}
    return client.messages.create(**asked | changes)


def test_anthropic_samples_the_models_distribution_reproducibly(truth: dict[str, float]) -> None:
    runs = []
    for seed in (0, 0, 1):
        with serve(seed=seed) as server, _anthropic(server) as client:
            runs.append([_say(client).content[0].text for _ in range(100)])
    assert runs[0] == runs[1] != runs[2]
    said = runs[0] + runs[2]
    expected = exp(truth[" True"])
    assert set(said) == {"True", "False"}
    assert abs(said.count("True") / 200 - expected) < 4 * (expected * (1 - expected) / 200) ** 0.5


def test_an_answer_lost_on_the_way_comes_again_as_it_was() -> None:
    runs = []
    for faults in (None, Faults(("cut", "500"), times=3)):
        with serve(faults=faults) as server, _anthropic(server, retries=3) as client:
            client._calculate_retry_timeout = lambda *_, **__: 0.0  # type: ignore[method-assign]
            runs.append([_say(client).content[0].text for _ in range(20)])
    assert runs[0] == runs[1]


def test_anthropic_states_the_models_probabilities(server: Server, truth: dict[str, float]) -> None:
    number = {"type": "number"}
    inner = {"type": "object", "properties": {"True": number, "False": number}, "additionalProperties": False}
    schema = {"type": "object", "properties": {"p": inner}, "additionalProperties": False}
    with _anthropic(server) as client:
        found = _say(client, output_config={"format": {"type": "json_schema", "schema": schema}})
        total = sum(map(exp, truth.values()))
        stated = {label.strip(): round(exp(logprob) / total, 2) for label, logprob in truth.items()}
        assert json.loads(found.content[0].text) == {"p": stated}
        with pytest.raises(anthropic.BadRequestError, match="additionalProperties"):
            _say(
                client,
                output_config={"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": 1}}},
            )


def test_anthropic_caches_what_is_marked(server: Server, model: PocketModel) -> None:
    shots = PROMPT[:-5]

    def asked(query: str) -> list[dict[str, Any]]:
        block = {"type": "text", "text": "Claims.\n" + shots, "cache_control": {"type": "ephemeral"}}
        return [{"role": "user", "content": [block, {"type": "text", "text": query}]}]

    marked = len(model.encode("Claims.\n" + shots))
    with _anthropic(server) as client:
        first = _say(client, messages=asked("82>27")).usage
        second = _say(client, messages=asked("28>27")).usage
        plain = _say(client).usage
    assert (first.cache_creation_input_tokens, first.cache_read_input_tokens, first.input_tokens) == (marked, 0, 5)
    assert (second.cache_creation_input_tokens, second.cache_read_input_tokens, second.input_tokens) == (0, marked, 5)
    assert (plain.cache_creation_input_tokens, plain.cache_read_input_tokens) == (0, 0)
    assert plain.input_tokens == len(model.encode(PROMPT))


def test_anthropic_refuses_what_its_version_refuses(server: Server) -> None:
    with _anthropic(server) as client:
        with pytest.raises(anthropic.BadRequestError, match="temperature"):
            _say(client, extra_body={"temperature": 1.0})
        with pytest.raises(anthropic.BadRequestError, match="prefill"):
            _say(client, messages=[*TURNS, {"role": "assistant", "content": "T"}])
        old = {"anthropic-version": "2023-06-01"}
        assert _say(client, extra_body={"temperature": 0}, extra_headers=old).content[0].text == "True"
        assert client.messages.count_tokens(model="m", messages=TURNS[:1]).input_tokens == 5  # type: ignore[arg-type]


# Gemini.


def test_gemini(server: Server, truth: dict[str, float]) -> None:
    contents = [
        {"role": "model" if turn["role"] == "assistant" else "user", "parts": [{"text": turn["content"]}]}
        for turn in TURNS
    ]
    config = {"responseLogprobs": True, "logprobs": 2, "maxOutputTokens": 1}
    path = "/v1beta/models/gemini-x:generateContent"
    candidate = _post(server, path, {"contents": contents, "generationConfig": config})["candidates"][0]
    top = candidate["logprobsResult"]["topCandidates"][0]["candidates"]
    assert {entry["token"]: entry["logProbability"] for entry in top} == truth
    assert candidate["logprobsResult"]["chosenCandidates"][0]["token"] == candidate["content"]["parts"][0]["text"]
    for wrong in ({"logprobs": 21, "responseLogprobs": True}, {"logprobs": 2}):
        answer = httpx2.post(server.root + path, json={"contents": contents, "generationConfig": wrong})
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


# Faults.

_STATUS_ERRORS: dict[str, type[openai.APIStatusError]] = {
    "400": openai.BadRequestError,
    "filter": openai.BadRequestError,
    "401": openai.AuthenticationError,
    "403": openai.PermissionDeniedError,
    "404": openai.NotFoundError,
    "insufficient-quota": openai.RateLimitError,
    "500": openai.InternalServerError,
    "503": openai.InternalServerError,
    "529": openai.InternalServerError,
}
_SPOILED = ("truncated-json", "slow", "cut", "200-error")


@pytest.mark.parametrize("kind", [kind for kind in (*RETRYABLE, *UNRETRYABLE) if kind not in (*CONTENT, *_SPOILED)])
def test_an_error_is_met_once_and_the_request_sent_again_is_served(kind: str) -> None:
    with serve(faults=Faults((kind,), retry_after=0.01)) as server, _openai(server) as client:
        with pytest.raises(_STATUS_ERRORS.get(kind, openai.RateLimitError)) as caught:
            _chat(client)
        assert _chat(client).choices
        with _anthropic(server) as other, pytest.raises(anthropic.APIStatusError) as elsewhere:
            _say(other)
    headers = caught.value.response.headers
    waits = {name: headers.get(name) for name in ("retry-after", "retry-after-ms")}
    if kind == "429-date":
        assert "GMT" in (waits["retry-after"] or "")
    else:
        expected = {"429-seconds": ("0.01", None), "429-ms": (None, "10")}.get(kind, (None, None))
        assert tuple(waits.values()) == expected
    assert caught.value.code == {"insufficient-quota": "insufficient_quota"}.get(kind, caught.value.code)
    assert elsewhere.value.status_code == caught.value.status_code
    assert server.log.faults == {kind: 2}
    assert server.log.statuses == {caught.value.status_code: 2, 200: 1}


def test_clients_that_retry_get_through() -> None:
    kinds = tuple(kind for kind in RETRYABLE if kind not in ("slow", "truncated-json", "200-error"))
    with serve(faults=Faults(kinds, times=2)) as server, _openai(server, retries=2) as client:
        client._calculate_retry_timeout = lambda *_, **__: 0.0  # type: ignore[method-assign]
        for seed in range(20):
            assert _chat(client, seed=seed).choices
        log = server.log
    assert log.total == 60
    assert set(log.faults) == set(kinds)


def test_a_cut_connection_a_truncated_body_and_a_slow_answer() -> None:
    with serve(faults=Faults(("cut",))) as server, pytest.raises(httpx2.RemoteProtocolError):
        _post(server, "/v1/completions", {"prompt": PROMPT})
    with serve(faults=Faults(("truncated-json",))) as server, pytest.raises(json.JSONDecodeError):
        _post(server, "/v1/completions", {"prompt": PROMPT})
    with serve(faults=Faults(("slow",), delay=0.3)) as server:
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{server.url}/completions", json={"prompt": PROMPT}, timeout=0.1)
        assert _post(server, "/v1/completions", {"prompt": PROMPT})


def test_an_error_with_status_200_stands_in_the_first_choice_or_in_place_of_an_answer() -> None:
    with serve(faults=Faults(("200-error",))) as server:
        [choice] = _post(server, "/v1/completions", {"prompt": PROMPT})["choices"]
        assert (choice["finish_reason"], choice["error"]["code"], choice["logprobs"]) == ("error", 502, None)
        claude = _post(server, "/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": PROMPT}]})
        assert claude["type"] == "error"


@pytest.mark.parametrize(
    ("kind", "counted"),
    [("usage-none", None), ("usage-constant", 256), ("usage-floats", 300.0), ("usage-negative", -300)],
)
def test_odd_counts_of_tokens(kind: str, counted: float | None) -> None:
    with serve(faults=Faults((kind,)), instant=True) as server:
        usage = _post(server, "/v1/completions", {"prompt": list(range(2, 302)), "max_tokens": 1})["usage"]
    assert (usage and usage["prompt_tokens"]) == counted


def _spoiled(kind: str) -> tuple[Any, Any]:
    """What chat and completions say where the content has a fault."""
    with serve(faults=Faults((kind,))) as server, _openai(server) as client:
        chat = _chat(client, temperature=0).choices[0]
        text = client.completions.create(model="m", prompt=PROMPT, max_tokens=1, logprobs=2, temperature=0).choices[0]
        assert server.log.statuses == {200: 2}
    return chat, text


def test_faults_of_the_content(truth: dict[str, float]) -> None:
    for kind, value in (("-9999", -9999.0), ("zeros", 0.0), ("all-equal", -3.0)):
        chat, text = _spoiled(kind)
        assert {entry.logprob for entry in chat.logprobs.content[0].top_logprobs} == {value}
        assert set(text.logprobs.top_logprobs[0].values()) == {value} == set(text.logprobs.token_logprobs)
    chat, text = _spoiled("nan")
    assert all(isnan(entry.logprob) for entry in chat.logprobs.content[0].top_logprobs)
    assert all(map(isnan, text.logprobs.token_logprobs))
    chat, text = _spoiled("null-logprobs")
    assert chat.logprobs is text.logprobs is None
    chat, text = _spoiled("missing-label")
    assert not truth.keys() & {entry.token for entry in chat.logprobs.content[0].top_logprobs}
    assert not truth.keys() & set(text.logprobs.top_logprobs[0])
    chat, text = _spoiled("duplicates")
    assert [entry.token for entry in chat.logprobs.content[0].top_logprobs][:4] == [
        " True",
        " True",
        " False",
        " False",
    ]
    assert text.logprobs.top_logprobs[0] == truth
    chat, text = _spoiled("refusal")
    assert chat.message.content is None
    assert chat.message.refusal
    assert chat.logprobs.content is None
    assert text.finish_reason == "content_filter"


def test_anthropic_and_gemini_refuse_too() -> None:
    with serve(faults=Faults(("refusal",))) as server, _anthropic(server) as client:
        found = _say(client)
        assert (found.stop_reason, found.content) == ("refusal", [])
        contents = [{"parts": [{"text": PROMPT}]}]
        candidate = _post(server, "/v1beta/models/x:generateContent", {"contents": contents})["candidates"][0]
        assert candidate["finishReason"] == "SAFETY"


# The server itself.


def test_the_log_counts_requests_and_shared_tokens(model: PocketModel) -> None:
    with serve(record=2) as server, _openai(server) as client:
        prompts = [PROMPT, PROMPT[:-2] + "99", "1" + PROMPT]
        found = [client.completions.create(model="m", prompt=prompt, max_tokens=1) for prompt in prompts]
        cached = [
            one.usage.prompt_tokens_details.cached_tokens
            for one in found
            if one.usage and one.usage.prompt_tokens_details
        ]
        log = server.log
        assert cached == [0, len(model.encode(PROMPT)) - 2, 0]
        assert (log.prompt_tokens, log.cached_tokens) == (sum(map(len, map(model.encode, prompts))), sum(cached))  # type: ignore[arg-type]
        assert (log.requests, log.statuses, log.completion_tokens) == ({"/v1/completions": 3}, {200: 3}, 3)
        assert [kept.body["prompt"] for kept in server.requests] == prompts[1:]


def test_headers_name_the_request_and_the_limits(client: openai.OpenAI, server: Server) -> None:
    raw = client.completions.with_raw_response.create(model="m", prompt=PROMPT, max_tokens=1)
    assert raw.headers["x-request-id"]
    assert {
        f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
    } <= set(raw.headers)
    assert [card.id for card in client.models.list()] == [server.model]
    with _anthropic(server) as other:
        headers = other.messages.with_raw_response.create(model="m", max_tokens=1, messages=[TURNS[0]]).headers  # type: ignore[list-item]
    assert headers["request-id"]
    assert headers["anthropic-ratelimit-tokens-remaining"]


def test_stopping_leaves_nothing_behind() -> None:
    before = set(threading.enumerate())
    with serve() as server, httpx2.Client() as client:
        assert client.post(f"{server.url}/completions", json={"prompt": PROMPT, "max_tokens": 1}).status_code == 200
        port = int(server.root.rpartition(":")[2])
        with pytest.raises(ConfigError, match="choose another port"), serve(port=port):
            pass
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_instant_answers_every_route_with_made_up_labels() -> None:
    with serve(instant=True) as server, _openai(server) as client, _anthropic(server) as other:
        long = "27>82 False\n" * 2000
        found = client.completions.create(model="m", prompt=long, max_tokens=1, logprobs=2).choices[0].logprobs
        assert found is not None
        assert found.top_logprobs is not None
        assert isclose(exp(found.top_logprobs[0][" True"]), 0.6, rel_tol=1e-5)
        assert _chat(client, messages=[{"role": "user", "content": long}]).choices[0].logprobs.content
        assert _say(other).content[0].text


def test_the_command_serves_and_names_its_address() -> None:
    command = [sys.executable, "-m", "icm_api.testing", "--dialect", "fireworks", "--faults", "500", "--strip-space"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            statuses = [httpx2.post(f"{url}/completions", json={"prompt": "1"}).status_code for _ in range(2)]
        finally:
            process.terminate()
    assert statuses == [500, 200]


def test_a_dialect_of_ones_own() -> None:
    with serve(dialect=Dialect("mine", separator="\n\n")) as server:
        first = _post(server, "/v1/chat/completions", {"messages": TURNS[:3]})["usage"]["prompt_tokens"]
        assert first == len(PocketModel.load().encode("27>82 False\n\n35>12"))
