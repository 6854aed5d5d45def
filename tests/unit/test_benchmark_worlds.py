"""The synthetic worlds of the benchmarks: they depend on text alone, and say the same over the wire."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from icm_api.evaluation.null import made_up
from icm_api.model import open_model
from icm_api.testing import serve
from icm_api.types import LabelDistribution, Prompt, Turn, Verbalizer
from tests.benchmarks.worlds.families import WORLDS, World
from tests.benchmarks.worlds.learner import Learner, Mind
from tests.benchmarks.worlds.wire import WorldBackend


def prompts_of(world: World, count: int = 3) -> list[Prompt]:
    """Each of some examples asked about, after all others with their gold labels."""
    sample = world.sample(12, seed=1)
    verbalizer, template = sample.task.verbalizer, sample.task.template
    turns = {x.id: Turn(template.render(x), verbalizer.written(sample.gold[x.id])) for x in sample.dataset}
    return [
        Prompt("", tuple(turns[key] for key in turns if key != x.id), turns[x.id].text, verbalizer, template.separator)
        for x in list(sample.dataset)[:count]
    ]


async def read(mind: Mind, prompts: list[Prompt]) -> list[LabelDistribution]:
    return list(await Learner(mind).label_distributions(prompts))


@pytest.mark.parametrize("name", ["four classes", "topics follow gold"])
async def test_the_wire_says_what_the_learner_says(name: str) -> None:
    world = WORLDS[name]
    asked = prompts_of(world)
    with serve(backend=WorldBackend(Learner(world.mind))) as server:
        async with open_model("vllm:world", options={"base_url": server.url}) as model:
            over_the_wire = list(await model.label_distributions(asked))
    for here, there in zip(await read(world.mind, asked), over_the_wire, strict=True):
        assert there.logprobs == pytest.approx(here.logprobs, abs=1e-4)


async def test_inside_a_prompt_is_what_a_prompt_that_ends_there_says() -> None:
    mind = WORLDS["plain"].mind
    (prompt,) = prompts_of(WORLDS["plain"], 1)
    (inside,) = await Learner(mind).read_inside([prompt])
    shorter = replace(prompt, turns=prompt.turns[:5], query=prompt.turns[5].text)
    assert inside[5] == (await read(mind, [shorter]))[0]
    assert len(inside) == len(prompt.turns)


@pytest.mark.parametrize("world", WORLDS.values(), ids=list(WORLDS))
def test_a_seed_decides_everything_and_gold_is_a_function_of_the_text(world: World) -> None:
    one, again, other = world.sample(32, 0), world.sample(32, 0), world.sample(32, 1)
    assert list(one.dataset) == list(again.dataset)
    assert one.gold == again.gold
    assert list(one.dataset) != list(other.dataset)
    for example in one.dataset:
        number = example.fields["text"].split("#")[1]
        assert one.gold[example.id] == world.mind.labels[world.mind.gold(number)]


def test_groups_and_shares_are_what_the_world_says() -> None:
    sample = WORLDS["exclusive"].sample(64, 0)
    right = Counter(x.group for x in sample.dataset if sample.gold[x.id] == "True")
    assert max(right.values()) == 1
    assert Counter(WORLDS["75:25"].sample(64, 0).gold.values()) == {"True": 48, "False": 16}


async def test_gold_in_context_is_learned_with_any_names_and_made_up_words_mean_nothing() -> None:
    mind = replace(Mind(), prior=0.0, belief=0.0, whim=0.0, order=0.0, lean=0.0, base_rate=0.0)
    prompts = prompts_of(World("clear", "test", mind), 12)
    swapped = [
        replace(p, turns=tuple(replace(t, answer={" True": " False", " False": " True"}[t.answer]) for t in p.turns))
        for p in prompts
    ]
    for one, other in zip(await read(mind, prompts), await read(mind, swapped), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs[::-1], abs=1e-5)
        assert max(one.logprobs) > -0.2
    nonsense = [
        replace(p, query=made_up(p.query), turns=tuple(replace(t, text=made_up(t.text)) for t in p.turns))
        for p in prompts
    ]
    for each in await read(mind, nonsense):
        assert each.logprobs == pytest.approx((-0.693147, -0.693147), abs=1e-5)


def test_a_prompt_is_read_from_its_text_alone() -> None:
    learner = Learner(Mind())
    turns = (Turn("#0000000001", " True"), Turn("#0000000002", " False"))
    prompt = Prompt("Is it so?", turns, "#0000000003", Verbalizer.plain(["True", "False"]), "\n\n")
    (one,) = asyncio.run(learner.label_distributions([prompt]))
    assert learner.read_text(prompt.text) == list(one.logprobs)
