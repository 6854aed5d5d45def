"""vLLM's exact scores against the embedded model behind real HTTP."""

from dataclasses import replace
from typing import Any

import pytest

from icm_api.errors import CapabilityError, LogprobsUnavailableError
from icm_api.model import open_model
from icm_api.model.client.entries import cache_key
from icm_api.model.endpoints.lists import listed
from icm_api.model.reading.boundaries import WORDS
from icm_api.model.reading.exact_ids import (
    checked_forms,
    form_logprobs,
    ids_after,
    logprobs_by_id,
    questions,
    with_witness,
)
from icm_api.model.reading.label_tokens import Place, TokenLogprob
from icm_api.model.reading.reading import Below
from icm_api.model.reading.vllm import exact_request
from icm_api.pocket.model import PocketModel
from icm_api.testing import Faults, serve
from icm_api.testing.backend import Backend
from icm_api.testing.wire import Dialect, get_dialect
from icm_api.types import Verbalizer
from tests.unit.wire_helpers import (
    LONG,
    ONE_TOKEN,
    TWO_TOKENS,
    before_each_answer,
    oracle,
    prompts,
    questions_of,
    scored,
    scored_inside,
)

CLOSE = 2e-5


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("verbalizer", [ONE_TOKEN, TWO_TOKENS, LONG])
async def test_every_label_is_exact(api: str, verbalizer: Verbalizer) -> None:
    with serve(dialect="vllm") as running:
        readings = await scored(f"vllm:m@{running.url}", {"api": api}, prompts(verbalizer))
    for reading, wanted in zip(readings, await oracle(prompts(verbalizer)), strict=True):
        assert reading.method == "exact_ids"
        # Two ways to write a form are the same tokens to this server, and count once.
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)


@pytest.mark.parametrize("api", ["completions", "chat"])
async def test_one_token_labels_cost_one_request_a_prompt(api: str) -> None:
    with serve(dialect="vllm") as running:
        await scored(f"vllm:m@{running.url}", {"api": api}, prompts())
        asked = running.log.requests
    assert sum(count for path, count in asked.items() if path != "/tokenize") == len(prompts())


@pytest.mark.parametrize("asked", [ONE_TOKEN, TWO_TOKENS, LONG])
async def test_what_answers_cost_is_what_the_model_was_asked(asked: Verbalizer) -> None:
    """Who asked its tokenizer first makes no difference to what a run is said to have asked for."""
    with serve(dialect="vllm") as running:
        async with open_model(f"vllm:m@{running.url}", options={"prompt_list": 1}) as model:
            costs = (await model.label_distributions(prompts(asked))).usage
        sent = running.log.requests
    assert costs.requests == sum(count for path, count in sent.items() if path.endswith("completions"))


SILENT = replace(get_dialect("vllm"), extensions=get_dialect("vllm").extensions - {"return_token_ids"})
"""As vLLM was before its answers could hold the ids of a prompt."""


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("dialect", [get_dialect("vllm"), SILENT])
async def test_the_ids_of_a_prompt_come_with_the_first_answer_or_are_asked_for(api: str, dialect: Dialect) -> None:
    with serve(dialect=dialect, record=99) as running:
        readings = await scored(f"vllm:m@{running.url}", {"api": api}, prompts(LONG))
        bodies = [str(each.body) for each in running.requests if each.path == "/tokenize"]
    for reading, wanted in zip(readings, await oracle(prompts(LONG)), strict=True):
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)
    whole = [body for body in bodies if prompts()[0].turns[0].text in body]
    assert len(whole) == (len(prompts()) if dialect is SILENT else 0)


async def test_what_else_an_answer_shall_hold_is_no_part_of_its_key() -> None:
    endpoint, questions = questions_of("vllm:m")
    short, long = prompts()[0], replace(prompts()[0], query="1>2 " * 30_000)
    plain, whole, most = [
        exact_request(questions, each, [1, 2], None, whole=at > 0) for at, each in enumerate([short, short, long])
    ]
    assert whole.more == {"return_token_ids": True}
    assert cache_key(endpoint.identity, whole) == cache_key(endpoint.identity, plain)
    assert whole.group != plain.group
    assert listed([whole, whole]) == {**listed([plain, plain]), "return_token_ids": True}
    # So many ids would make a list's answer too large.
    assert most.more == {}
    await endpoint.close()


class Joining(Backend):
    """A tokenizer that has, for all that it says of common words, tokens of several words."""

    def encode(self, text: str) -> tuple[int, ...]:
        return super().encode(text)[: 5 if text == WORDS else None]


@pytest.mark.parametrize("backend", [Backend, Joining])
async def test_a_tokenizer_that_joins_words_is_asked_about_whole_prompts(backend: type[Backend]) -> None:
    asked = [*prompts(), replace(prompts()[0], query="8>3")]
    with serve(dialect="vllm", record=99, backend=backend(PocketModel.load())) as running:
        readings = await scored(f"vllm:m@{running.url}", {}, asked)
        texts = [each.body["prompt"] for each in running.requests if each.path == "/tokenize"]
    for reading, wanted in zip(readings, await oracle(asked), strict=True):
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)
    # They all end in a digit.
    short = [WORDS, "0", "0 True", "0 False"]
    whole = [prompt.text + form for prompt in asked for form in ("", " True", " False")]
    assert texts == short + (whole if backend is Joining else [])


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("fault", ["null-logprobs", "-9999", "nan", "zeros", "all-equal"])
async def test_made_up_numbers_are_refused(api: str, fault: str) -> None:
    with (
        serve(dialect="vllm", faults=Faults((fault,), times=None)) as running,
        pytest.raises(LogprobsUnavailableError, match="vllm/127"),
    ):
        await scored(f"vllm:m@{running.url}", {"api": api}, prompts())


async def test_a_server_that_ignores_the_ids_is_refused() -> None:
    with serve(dialect="openai") as running:
        provider, questions = questions_of(f"vllm:m@{running.url}")
        request = exact_request(questions, prompts()[0], [1, 2], None)
        body = {"choices": [{"logprobs": {"tokens": ["token_id:7"], "token_logprobs": [-1.0], "top_logprobs": None}}]}
        with pytest.raises(LogprobsUnavailableError, match="left out token id 1"):
            request.accept(body)
        await provider.close()


async def test_answers_inside_a_prompt() -> None:
    whole = prompts()[0]
    with serve(dialect="vllm") as running:
        (inside,) = await scored_inside(f"vllm:m@{running.url}", {}, [whole])
    for reading, wanted in zip(inside, await oracle(before_each_answer(whole)), strict=True):
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)


@pytest.mark.parametrize(("before", "whole"), [([1, 2], [1, 3]), ([1, 2], [1, 2]), ([1, 2], [1])])
def test_tokens_that_melt_into_what_is_before_are_refused(before: list[int], whole: list[int]) -> None:
    with pytest.raises(CapabilityError, match="shares a token"):
        ids_after(before, whole, "x")


@pytest.mark.parametrize("other", [(1, 2), (1,), (1, 2, 3)])
def test_forms_that_are_the_same_tokens_are_refused(other: tuple[int, ...]) -> None:
    with pytest.raises(CapabilityError, match="the beginning of"):
        checked_forms({" a": [(1, 2)], " b": [other]})


def test_shared_beginnings_are_asked_for_once() -> None:
    asked = questions({" ab": ((1, 2),), " ac": ((1, 3), (4,))})
    assert asked == {(): (1, 4), (1,): (2, 3)}


def test_ways_to_write_a_form_add_up() -> None:
    answers: dict[tuple[int, ...], Any] = {(): {1: -1.0, 2: -1.0, 3: Below(-9.0)}}
    read = form_logprobs({"a": ((1,), (2,)), "b": ((3,),), "c": ((1,), (3,))}, answers)
    assert read["a"] == pytest.approx(-1 + 0.6931472)
    assert (read["b"], read["c"]) == (Below(-9.0), -1.0)


def test_an_id_with_a_placeholder_is_bounded_by_what_the_others_leave() -> None:
    top = (TokenLogprob("", -0.1053605, id=1), TokenLogprob("", -9999.0, id=2))
    read = logprobs_by_id(Place(top[0], top), [1, 2])
    assert isinstance(read[2], Below)
    assert read[2].logprob == pytest.approx(-2.302585, abs=1e-5)


def test_a_witness_is_none_of_the_wanted() -> None:
    for ids in ([0], [1, 0], [5, 2]):
        assert len(set(with_witness(ids))) == len(ids) + 1
