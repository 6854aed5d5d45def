"""What a provider can do besides scoring labels, through the client; and a clear error for what it cannot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from icm_api.errors import CapabilityError
from icm_api.model import open_model
from icm_api.testing import Server, serve
from icm_api.types import Prompt, Turn, Verbalizer

TWO = Verbalizer.plain(["True", "False"])
TURNS = (Turn("27>82", " False"), Turn("82>27", " True"), Turn("15>16", " False"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


async def test_positions_inside_a_prompt_are_scored_as_the_next_token_after_the_same_text(server: Server) -> None:
    async with open_model(f"vllm:pocket@{server.url}") as model, open_model("pocket") as exact:
        [inside] = await model.read_inside([Prompt("", TURNS, "", TWO, "\n")])
        asked = [Prompt("", TURNS[:at], turn.text, TWO, "\n") for at, turn in enumerate(TURNS)]
        assert model.capabilities.prompt_logprobs
        assert exact.capabilities.prompt_logprobs
        [same] = await exact.read_inside([Prompt("", TURNS, "", TWO, "\n")])
        assert list(same) == list(await exact.label_distributions(asked))
        for turn, one, other in zip(TURNS, inside, await exact.label_distributions(asked), strict=True):
            label = turn.answer.strip()
            assert one.probability(label) == pytest.approx(other.probability(label), abs=1e-3)


async def test_text_is_generated_as_often_as_asked(server: Server) -> None:
    async with open_model(f"openai-compatible:pocket@{server.url}") as model:
        [replies] = await model.generate(["27>82"], max_tokens=1, samples=3)
    assert len(replies) == 3
    assert {reply.strip() for reply in replies} <= {"True", "False"}


async def test_positions_that_a_provider_cannot_score_are_a_clear_error(server: Server) -> None:
    async with open_model(f"openai-compatible:m@{server.url}") as model:
        assert not model.capabilities.prompt_logprobs
        with pytest.raises(CapabilityError, match=r"openai-compatible.*positions inside a prompt; .*vllm"):
            await model.read_inside([Prompt("", TURNS, "", TWO, "\n")])


async def test_text_that_a_provider_cannot_write_is_a_clear_error() -> None:
    async with open_model("pocket") as model:
        with pytest.raises(CapabilityError, match=r"pocket.*writes no text; openai"):
            await model.generate(["27>82"], max_tokens=1)
