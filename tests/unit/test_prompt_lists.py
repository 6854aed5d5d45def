"""Many prompts in one completions request, over real HTTP: the same answers, keys and counts as one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from icm_api.config import ClientSettings
from icm_api.errors import ProviderError, RequestError
from icm_api.model import Meter
from icm_api.model.client.cache import ResponseCache
from icm_api.model.endpoints.lists import parted
from icm_api.model.open import open_endpoint
from icm_api.model.request import Request
from icm_api.testing import Faults, Server, serve
from icm_api.types import Answers, LabelDistribution, Prompt, Turn, Usage, Verbalizer
from tests.models import as_model

TWO = Verbalizer.plain(["True", "False"])
TURNS = (Turn("27>82", " False"), Turn("82>27", " True"), Turn("15>16", " False"))
_TEXT = "/v1/completions"


def prompts(count: int) -> list[Prompt]:
    """Prompts without a common beginning, of several lengths."""
    return [
        Prompt("", (*TURNS[: 1 + at % 3], Turn(f"{at}>5", " True")), f"{at}>{2 * at}", TWO, "\n") for at in range(count)
    ]


async def asked(
    server: Server, provider: str, *, cache: Path | None = None, count: int = 40, **options: Any
) -> tuple[Answers[LabelDistribution], Meter]:
    meter = Meter()
    kept = None if cache is None else ResponseCache(cache)
    settings = ClientSettings(retry_seconds=5)
    opened = open_endpoint(f"{provider}:{server.model}@{server.url}", options)
    async with as_model(opened, kept, meter=meter, settings=settings) as model:
        return await model.label_distributions(prompts(count)), meter


@pytest.mark.parametrize(
    ("provider", "dialect", "options"),
    [
        ("vllm", "vllm", {}),
        ("fireworks", "fireworks", {}),
        ("openai-compatible", "openai", {"api": "completions", "prompt_list": 64}),
    ],
)
async def test_a_list_says_what_single_requests_say_under_the_same_keys(
    provider: str, dialect: str, options: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIREWORKS_API_KEY", "of-the-test")
    with serve(dialect=dialect) as server:
        alone, one_by_one = await asked(server, provider, **{**options, "prompt_list": 1})
        before = server.log.requests[_TEXT]
        together, in_lists = await asked(server, provider, cache=tmp_path, **options)
        assert before == 40
        assert server.log.requests[_TEXT] - before == 1
        assert list(together) == list(alone)
        # As the server counts them; per answer they are counted alike below.
        assert one_by_one.sent.requests - in_lists.sent.requests == 40 - 1
        assert in_lists.sent.prompt_tokens == one_by_one.sent.prompt_tokens
        assert in_lists.sent.completion_tokens == one_by_one.sent.completion_tokens
        assert together.costs.keys() == alone.costs.keys()
        # What lists brought into the cache answers single requests.
        again, nothing = await asked(server, provider, cache=tmp_path, **{**options, "prompt_list": 1})
    assert list(again) == list(alone)
    assert nothing.sent == Usage()


async def test_positions_inside_prompts_come_in_lists_too() -> None:
    marked = [Prompt("", TURNS[at:] + TURNS[:at], "", TWO, "\n") for at in range(3)]
    found = []
    with serve() as server:
        for most in (1, 64):
            opened = open_endpoint(f"vllm:{server.model}@{server.url}", {"prompt_list": most})
            async with as_model(opened) as model:
                found.append(list(await model.read_inside(marked)))
        assert server.log.requests[_TEXT] == 4
    assert found[0] == found[1]


@pytest.mark.slow
async def test_faults_that_pass_change_no_number_of_a_list() -> None:
    with serve() as server:
        sound, _ = await asked(server, "vllm", prompt_list=5)
    faults = Faults(("429-ms", "500", "cut", "truncated-json"), rate=0.5, retry_after=0.02)
    with serve(faults=faults) as faulty:
        found, _ = await asked(faulty, "vllm", prompt_list=5)
        assert faulty.log.faults
    assert list(found) == list(sound)


@pytest.mark.parametrize("fault", ["filter", "400", "null-logprobs"])
async def test_one_prompt_that_a_server_will_not_answer_costs_no_other_its_answer(fault: str, tmp_path: Path) -> None:
    refused = prompts(40)[17].query
    with serve(faults=Faults((fault,), said=f'{refused}"', times=None)) as server:
        with pytest.raises(ProviderError) as caught:
            await asked(server, "openai-compatible", cache=tmp_path, count=40, api="completions", prompt_list=32)
        sent = server.log.requests[_TEXT]
    with closing(ResponseCache(tmp_path)) as cache:
        kept = len(cache)
    # The last is a fault of a whole answer, of which all prompts in the list have their share.
    assert [each.query for each in caught.value.unanswered] == [refused]
    assert kept == 39
    assert sent < 15


async def test_a_server_that_takes_the_first_prompt_alone_is_noticed() -> None:
    answer = {"choices": [{"index": 0, "text": " True"}], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    requests = [Request({"prompt": text}, tokens=9, completion_tokens=1) for text in "ab"]
    with pytest.raises(RequestError, match=r"list of 2 prompts.*prompt_list = 1") as caught:
        parted(answer, requests, "m")
    assert caught.value.kind == "broken_answer"


@pytest.mark.parametrize("indices", [[0, 0], [1, 2], [None, None], ["0", "1"]])
def test_answers_that_name_no_prompt_belong_to_none(indices: Sequence[object]) -> None:
    answer = {"choices": [{"index": index, "text": " a"} for index in indices]}
    with pytest.raises(RequestError):
        parted(answer, [Request({"prompt": text}) for text in "ab"], "m")


def test_each_prompt_gets_its_own_answer_in_any_order_and_its_share_of_the_tokens() -> None:
    """Together's shape, where an echoed prompt is beside the choices."""
    answer = {
        "id": "x",
        "choices": [{"index": at, "text": f" {at}"} for at in (2, 0, 1)],
        "prompt": [{"text": text} for text in "abc"],
        "usage": {"prompt_tokens": 100, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 50}},
    }
    requests = [
        Request({"prompt": text}, tokens=tokens, completion_tokens=1)
        for text, tokens in zip("abc", (10, 20, 70), strict=True)
    ]
    parts, doubt = parted(answer, requests, "m")
    bodies = [body for body, _ in parts]
    assert not doubt
    assert [body["choices"] for body in bodies] == [[{"index": 0, "text": f" {at}"}] for at in range(3)]
    assert [body["prompt"] for body in bodies] == [[{"text": text}] for text in "abc"]
    assert [usage for _, usage in parts] == [Usage(1, 10, 1, 5), Usage(1, 20, 1, 10), Usage(1, 70, 1, 35)]
    of_list = {"prompts": 3, "prompt_tokens": 100, "completion_tokens": 3, "cached_tokens": 50}
    assert all(body["usage"]["of_list"] == of_list for body in bodies)
    assert json.loads(json.dumps(bodies)) == bodies


def test_shares_add_up_whatever_the_lengths_and_an_absent_count_is_estimated() -> None:
    requests = [Request({"prompt": "a"}, tokens=tokens, completion_tokens=1) for tokens in (3, 3, 1)]
    choices = [{"index": at, "text": ""} for at in range(3)]
    parts, _ = parted({"choices": choices, "usage": {"prompt_tokens": 11, "completion_tokens": 2}}, requests, "m")
    total = sum((usage for _, usage in parts), Usage())
    assert total == Usage(3, 11, 2)
    parts, doubt = parted({"choices": choices}, requests, "m")
    assert [usage.prompt_tokens for _, usage in parts] == [3, 3, 1]
    assert "prompt tokens" in doubt
