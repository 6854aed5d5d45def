"""What a provider can do besides scoring labels, through the client; and a clear error for what it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from icm_api.errors import CapabilityError
from icm_api.model import open_model
from icm_api.model.inside import InsideCheck, check_inside
from icm_api.testing import ECHOES, WORDS_ALONE, Faults, Server, serve
from icm_api.types import Prompt, Turn, Usage, Verbalizer

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


async def test_text_that_a_provider_cannot_write_is_a_clear_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-test")
    async with open_model(f"openai-decisions:m@{server.url}") as model:
        with pytest.raises(CapabilityError, match=r"decisions.*writes no text; openai"):
            await model.generate(["27>82"], max_tokens=1)


# Labels inside a prompt against labels that come next

ECHOING = {"vllm": "vllm", "sglang": "sglang", "fireworks": "fireworks", "openai": "openai-compatible"}
OPTIONS = {"openai": {"api": "completions", "echo": True}}
MANY = Verbalizer({"True": [" True", " true"], "False": [" False"]})


async def checked(dialect: str, verbalizer: Verbalizer, *kinds: str, **options: Any) -> InsideCheck:
    faults = Faults(kinds, times=None) if kinds else None
    with serve(dialect=dialect, faults=faults) as running:
        given = {**OPTIONS.get(dialect, {}), **options}
        async with open_model(f"{ECHOING[dialect]}:m@{running.url}", options=given) as model:
            return await check_inside(model, [Prompt("", TURNS, "", verbalizer, "\n")])


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREWORKS_API_KEY", "of-the-test")


@pytest.mark.parametrize("dialect", ECHOING)
async def test_a_sound_echo_agrees_with_what_comes_next(dialect: str) -> None:
    for verbalizer, kinds in ((TWO, ()), (MANY, ()), (TWO, (WORDS_ALONE,))):
        found = await checked(dialect, verbalizer, *kinds)
        assert found.agrees, found.trouble
        assert found.difference < 1e-3
        assert found.compared >= 2 * len(TURNS)
        assert not found.trouble
        assert sum(found.costs.values(), Usage()).requests == len(found.costs) > len(TURNS)


@pytest.mark.parametrize("dialect", ["vllm", "sglang", "fireworks"])
@pytest.mark.parametrize("kind", ECHOES)
async def test_an_echo_with_wrong_numbers_does_not(dialect: str, kind: str) -> None:
    for verbalizer in (TWO, MANY):
        found = await checked(dialect, verbalizer, kind)
        assert not found.agrees
        assert found.trouble


async def test_models_on_this_machine_agree_with_themselves() -> None:
    async with open_model("pocket") as model:
        found = await check_inside(model, [Prompt("", TURNS, "", MANY, "\n")] * 2)
    assert (found.agrees, found.difference) == (True, 0)


async def test_what_can_not_be_checked_does_not_agree() -> None:
    nothing = await checked("openai", TWO, top_logprobs=1)
    assert not nothing.agrees
    assert "read from an echo too" in nothing.trouble
    async with open_model("openai-compatible:m@http://127.0.0.1:9/v1") as model:
        unable = await check_inside(model, [Prompt("", TURNS, "", TWO, "\n")])
    assert not unable.agrees
    assert "can't read positions" in unable.trouble
