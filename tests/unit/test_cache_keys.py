"""Keys of the answers that users have paid for: each request's body, endpoint, identity and key, as they always were.

`python -m tests.unit.test_cache_keys` adds the requests of new cases to the file. Those in it never change, but for
what a server's tokenizer is asked, which costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from icm_api.errors import IcmError, ProviderError
from icm_api.model.client.entries import cache_key
from icm_api.model.endpoints.pocket import PocketEndpoint
from icm_api.model.open import open_endpoint
from icm_api.model.reading.local import ReadsForms, WritesText
from icm_api.model.reading.reading import Sampling
from icm_api.model.request import Body, Request
from icm_api.testing import serve
from icm_api.types import Answers, Prompt, Turn, Verbalizer
from tests.hosted import KEY_VARIABLES

FILE = Path(__file__).parents[1] / "data" / "cache_keys.json"

TURNS = tuple(Turn(f"{n}+{n}={2 * n}", (" False", " True")[n % 2]) for n in range(1, 6))
MANY_FORMS = Verbalizer({"yes": [" True", " yes"], "no": [" False"], "unclear": [" ?!"]})
# Longer than a token of the embedded model each, which lists the first and so is asked for what follows it.
BEGUN = Verbalizer({"A": [" True so"], "B": [" False so"]})
PROMPTS: Mapping[str, Prompt] = {
    "shots": Prompt("", TURNS, "12>7", Verbalizer.plain(["True", "False"]), separator="\n"),
    "instructed": Prompt("Judge each claim.\n", TURNS[:1], 'Ça va? "2+2=5" é\n', MANY_FORMS, separator="\n\n"),
    "alone": Prompt("", (), "3>5", BEGUN),
}

# Spec -> the options to ask it with, one set a line.
MODELS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "pocket": [{}],
    "openai:gpt-6-luna": [
        {},
        {"chat_style": "one_message"},
        {"top_logprobs": 5, "extra_body": {"reasoning_effort": "low", "service_tier": "flex"}},
        {"base_url": "https://eu.api.openai.com/v1"},
    ],
    "openai:gpt-4.1-mini": [{}],
    "openai:ft:gpt-4.1-mini:a-team::b1c2": [{}],
    "openai:o9-mini": [{}],
    "openai:davinci-002": [{"api": "completions"}],
    "azure:judge@https://one.openai.azure.com/openai/v1": [{}, {"extra_body": {"reasoning_effort": "none"}}],
    "openrouter:meta-llama/llama-3.1-70b": [{}, {"extra_body": {"provider": {"order": ["one"]}}}],
    "together:meta-llama/Llama-3.1-70B": [{}, {"api": "chat"}, {"top_logprobs": 1}],
    "fireworks:accounts/fireworks/models/llama": [{}, {"api": "chat"}, {"echo": False}],
    "deepseek:deepseek-chat": [{}, {"base_url": "https://api.deepseek.com/beta", "prefill": "prefix"}],
    "cerebras:llama3.1-8b": [{}, {"api": "completions"}],
    "hyperbolic:llama-405b-base": [{}],
    "ollama:llama3.1": [{}],
    "llamacpp:model": [{}, {"api": "completions"}],
    "lmstudio:model": [{}],
    "mistral:mistral-small": [{}],
    "xai:grok-4": [{}],
    "openai-compatible:m@https://host.example/api/v1": [
        {},
        {"api": "completions", "top_logprobs": 1, "echo": True},
        {"prefill": "always"},
        {"prefill": "flags", "extra_body": {"seed": 7}},
    ],
    "vllm:meta-llama/Llama-3.1-8B": [
        {},
        {"api": "chat", "extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    ],
    "sglang:meta-llama/Llama-3.1-8B": [{}, {"api": "chat"}],
    "anthropic:claude-haiku-5-5": [
        {"samples": 2},
        {"samples": 2, "estimate": "stated"},
        {"samples": 1, "cache_control": False, "thinking": True, "max_tokens": 300},
    ],
    "openai-decisions:gpt-6-luna": [{}],
    "perplexity:pplx-decider-v1.2": [{}],
    "gemini:gemini-2.5-flash": [{}, {"top_logprobs": 5, "thinking": True}],
    "gemini:tunedModels/mine": [{}],
}


async def requests_of(
    spec: str, options: Mapping[str, Any], http: httpx2.AsyncClient
) -> list[tuple[str, str, Request]]:
    """The model's identity, what asked, and the request, in order and each once: label forms, answers inside, texts.

    The embedded model answers, at `http`. What an answer is worth does not matter here, nor whether it can be read.
    """
    (endpoint, readers), asked = open_endpoint(spec, options), dict[str, tuple[str, Request]]()

    class Noting:
        def __init__(self, what: str) -> None:
            self.what = what

        async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
            for each in requests:
                asked.setdefault(json.dumps([each.endpoint, each.body, each.sample]), (self.what, each))
            if endpoint.capabilities.batches:
                return Answers(tuple(response.body for response in await endpoint.send(requests)))
            paths = [each.endpoint if each.endpoint.startswith("/") else f"/v1/{each.endpoint}" for each in requests]
            answers = [await http.post(path, json=dict(each.body)) for path, each in zip(paths, requests, strict=True)]
            if any(answer.status_code != 200 for answer in answers):
                raise ProviderError("the embedded model takes no such request")
            return Answers(tuple(answer.json() for answer in answers))

    for name, prompt in PROMPTS.items():
        with suppress(IcmError):
            await readers.labels.read([prompt], Noting(name))
            if readers.inside is not None and prompt.turns:
                await readers.inside.read_inside([prompt], Noting(name))
    if readers.text is not None:
        with suppress(IcmError):
            await readers.text.write(["Why? é"], Noting("text"), Sampling(max_tokens=3, temperature=1.0, samples=2))
    await endpoint.close()
    return [(endpoint.identity, what, each) for what, each in asked.values()]


async def entries(root: str) -> list[dict[str, Any]]:
    """All cases as they are in the file."""
    async with httpx2.AsyncClient(base_url=root) as http:
        found = [
            _entry(f"{spec} {json.dumps(options)} {what}", identity, request)
            for spec, sets in MODELS.items()
            for options in sets
            for identity, what, request in await requests_of(spec, options, http)
        ]
    local, reader = "huggingface/tiny@0123456789abcdef", ReadsForms(PocketEndpoint())
    noted: list[Request] = []

    class Noting:
        async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
            noted.extend(requests)
            return Answers(({"text": ""},) * len(requests))

    for chat in (False, True):
        await WritesText(PocketEndpoint(), chat=chat).write(["Why? é"], Noting(), Sampling(3, 1.0, 2))
    return [
        *found,
        *(_entry("huggingface text", local, each) for each in noted),
        *(_entry(f"huggingface {what}", local, reader.request(each)) for what, each in PROMPTS.items()),
        *(
            _entry(f"huggingface inside {what}", local, reader.request_inside(each))
            for what, each in PROMPTS.items()
            if each.turns
        ),
    ]


def _entry(case: str, identity: str, request: Request) -> dict[str, Any]:
    shaped = {"identity": identity, "endpoint": request.endpoint, "sample": request.sample, "body": request.body}
    return {"case": case, "key": cache_key(identity, request), **json.loads(json.dumps(shaped))}


def _kept() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else []
    return found


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")
    with serve(dialect="vllm") as server:
        yield server.root


async def test_no_key_of_a_request_has_changed(root: str) -> None:
    now, kept = await entries(root), _kept()
    assert sorted(each["case"] for each in now) == sorted(each["case"] for each in kept)
    by_key = {(each["case"], each["key"]): each for each in now}
    changed = [each for each in kept if by_key.get((each["case"], each["key"])) != each]
    assert not changed, f"not asked any more: {changed[:3]}"


def test_a_key_is_the_hash_of_what_stands_beside_it() -> None:
    for each in _kept():
        shaped = {name: each[name] for name in ("identity", "endpoint", "sample", "body")}
        assert _hash(shaped) == each["key"], each["case"]


def _hash(shaped: Mapping[str, Any]) -> str:
    text = json.dumps({"schema": 1, **shaped}, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


@given(st.text(st.characters()) | st.text(st.characters(max_codepoint=0x80)) | st.integers() | st.lists(st.text()))
@example("".join(map(chr, range(0x7F))))
@example("\x7f")
@example("\ud800")
@example('"prompt":"')
def test_a_key_is_that_of_the_whole_text_of_a_prompt(prompt: object) -> None:
    body = {"prompt": prompt, "a": {"prompt": prompt}, "z": 0.0}
    shaped = {"identity": "here", "endpoint": "completions", "sample": 1, "body": body}
    assert cache_key("here", Request(body, "completions", sample=1)) == _hash(shaped)


def test_every_case_asks_something_and_no_two_requests_share_a_key() -> None:
    kept = _kept()
    assert {each["case"].split(" ")[0] for each in kept} == {*MODELS, "huggingface"}
    assert len({each["key"] for each in kept}) == len({json.dumps([*each.values()][2:]) for each in kept})


if __name__ == "__main__":
    os.environ |= dict.fromkeys(KEY_VARIABLES, "of-the-test")
    with serve(dialect="vllm") as running:
        made, kept_before = asyncio.run(entries(running.root)), _kept()
    known = {(each["case"], each["key"]) for each in kept_before}
    whole = [*kept_before, *(each for each in made if (each["case"], each["key"]) not in known)]
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in whole)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
