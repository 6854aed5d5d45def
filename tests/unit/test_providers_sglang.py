"""SGLang's exact scores against the embedded model behind real HTTP."""

import pytest

from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.model import open_model
from icm_api.model.reading.sglang import Generate
from icm_api.testing import Faults, serve
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
