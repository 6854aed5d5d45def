"""SGLang's exact scores against the embedded model behind real HTTP."""

from dataclasses import replace

import pytest

from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.model import open_model
from icm_api.model.client.entries import cache_key
from icm_api.model.reading.sglang import Generate
from icm_api.testing import Faults, serve
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


@pytest.mark.parametrize("verbalizer", [ONE_TOKEN, TWO_TOKENS, LONG])
async def test_every_label_of_a_base_model_is_exact(verbalizer: Verbalizer) -> None:
    with serve(dialect="sglang") as running:
        readings = await scored(f"sglang:m@{running.url}", {}, prompts(verbalizer))
        assert set(running.log.requests) == {"/tokenize", "/generate"}
    for reading, wanted in zip(readings, await oracle(prompts(verbalizer)), strict=True):
        assert reading.method == "exact_ids"
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)


SILENT = replace(get_dialect("sglang"), extensions=frozenset())
"""As SGLang was before its answers could hold the ids of a prompt."""


@pytest.mark.parametrize("dialect", [get_dialect("sglang"), SILENT])
async def test_the_ids_of_a_prompt_come_with_the_first_answer_or_are_asked_for(dialect: Dialect) -> None:
    with serve(dialect=dialect, record=99) as running:
        readings = await scored(f"sglang:m@{running.url}", {}, prompts(LONG))
        bodies = [str(each.body) for each in running.requests if each.path == "/tokenize"]
    for reading, wanted in zip(readings, await oracle(prompts(LONG)), strict=True):
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)
    whole = [body for body in bodies if prompts()[0].turns[0].text in body]
    assert len(whole) == (len(prompts()) if dialect is SILENT else 0)


async def test_what_else_an_answer_shall_hold_is_no_part_of_its_key() -> None:
    endpoint, questions = questions_of("sglang:m")
    own = Generate(questions)
    plain, whole = (own.exact(prompts()[0], [1, 2], None, each) for each in (False, True))
    assert (plain.more, whole.more) == ({}, {"return_prompt_token_ids": True})
    assert cache_key(endpoint.identity, whole) == cache_key(endpoint.identity, plain)
    await endpoint.close()


@pytest.mark.parametrize(("verbalizer", "method"), [(ONE_TOKEN, "top_k"), (TWO_TOKENS, "token_walk")])
async def test_chat_models_are_read_from_the_likeliest_tokens(verbalizer: Verbalizer, method: str) -> None:
    with serve(dialect="sglang") as running:
        readings = await scored(f"sglang:m@{running.url}", {"api": "chat"}, prompts(verbalizer))
    for reading, wanted in zip(readings, await oracle(prompts(verbalizer)), strict=True):
        assert reading.method == method
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)


@pytest.mark.parametrize("fault", ["null-logprobs", "-9999", "nan", "zeros", "all-equal"])
async def test_made_up_numbers_are_refused(fault: str) -> None:
    with serve(dialect="sglang", faults=Faults((fault,), times=None)) as running:
        with pytest.raises(LogprobsUnavailableError, match="sglang/127"):
            await scored(f"sglang:m@{running.url}", {}, prompts())
        with pytest.raises(LogprobsUnavailableError):
            await scored_inside(f"sglang:m@{running.url}", {}, prompts())


async def test_an_abort_is_named() -> None:
    with (
        serve(dialect="sglang", faults=Faults(("refusal",), times=None)) as running,
        pytest.raises(RequestError) as caught,
    ):
        await scored(f"sglang:m@{running.url}", {}, prompts())
    assert caught.value.kind == "refused"


async def test_answers_inside_a_prompt_and_what_they_cost() -> None:
    whole = prompts()[0]
    with serve(dialect="sglang") as running:
        (inside,) = await scored_inside(f"sglang:m@{running.url}", {}, [whole])
        provider, questions = questions_of(f"sglang:m@{running.url}")
        (response,) = await provider.send([Generate(questions).exact(whole, [1, 2], None)])
        assert running.log.requests == {"/generate": 2}
        assert response.usage.prompt_tokens > response.usage.cached_tokens > 0
        await provider.close()
    for reading, wanted in zip(inside, await oracle(before_each_answer(whole)), strict=True):
        assert dict(reading.forms) == pytest.approx(dict(wanted), abs=CLOSE)


async def test_chat_has_no_prompt_logprobs() -> None:
    async with open_model("sglang:m", options={"api": "chat"}) as model:
        with pytest.raises(CapabilityError, match="inside a prompt"):
            await model.read_inside(prompts())
