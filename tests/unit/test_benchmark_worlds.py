"""The synthetic worlds of the benchmarks: they depend on text alone, and say the same over the wire."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from math import comb

import pytest

from icm_api.config import SearchSettings
from icm_api.evaluation import name_settling
from icm_api.evaluation.null import made_up
from icm_api.model import open_model
from icm_api.runs import run
from icm_api.testing import serve
from icm_api.types import LabelDistribution, Labeling, Prompt, Turn, Verbalizer
from tests.benchmarks.worlds.families import WORLDS, World
from tests.benchmarks.worlds.learner import Learner, Mind
from tests.benchmarks.worlds.learning import Criterion, Tables, learned
from tests.benchmarks.worlds.measuring import comfort_of, measure
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


@pytest.mark.parametrize("name", ["topics follow gold", pytest.param("four classes", marks=pytest.mark.slow)])
async def test_the_wire_says_what_the_learner_says(name: str) -> None:
    world = WORLDS[name]
    asked = prompts_of(world)
    with serve(backend=WorldBackend(Learner(world.mind))) as server:
        async with open_model("vllm:world", options={"base_url": server.url}) as model:
            over_the_wire = list(await model.label_distributions(asked))
    for here, there in zip(await read(world.mind, asked), over_the_wire, strict=True):
        assert there.logprobs == pytest.approx(here.logprobs, abs=1e-4)


def test_a_text_that_names_nothing_has_an_answer_too() -> None:
    learner = Learner(WORLDS["plain"].mind)
    assert len(learner.read_text("")) == len(learner.read_text("Is this so?")) == 2


@pytest.mark.parametrize("settles", ["names", pytest.param("uncertain", marks=pytest.mark.slow)])
async def test_answers_to_a_queue_do_not_lower_a_good_run_s_verdict(settles: str) -> None:
    """As zero-shot has to be asked anew then, judging must not be left with a null of a few examples."""
    sample = WORLDS["belief noise"].sample(32, seed=0)
    before = await run(sample.dataset, sample.task, sample.model, search=SearchSettings(seed=0))
    uncertain = sorted((row for row in before.examples if row.review), key=lambda row: row.review or 0)
    asked = name_settling(before.examples, 3) if settles == "names" else uncertain[:10]
    given = Labeling({row.id: sample.gold[row.id] for row in asked})
    after = await run(sample.dataset, sample.task, sample.model, search=SearchSettings(seed=0), fixed=given)
    assert before.verdict == after.verdict == "coherent, unchecked"
    assert after.about["diagnosis"]["measures"]["null"]["examples"] >= 20


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


async def test_a_run_is_measured_and_a_world_without_knowledge_is_not_ahead_of_its_null() -> None:
    known, unknown = await measure("plain", 16, 3), await measure("nothing", 16, 3)
    assert known["gold_accuracy"] > 0.8
    nulls = [row["diagnosis"]["measures"]["null"] for row in (known, unknown)]
    assert nulls[0]["ahead"] > 0.3
    assert nulls[1]["ahead"] < 0.2
    assert known == await measure("plain", 16, 3)


@pytest.mark.parametrize(
    ("world", "estimator"), [("plain", "shared"), ("whims", "joint"), ("exclusive, nothing", "shared")]
)
async def test_judging_takes_at_most_a_tenth_of_what_the_default_search_takes(world: str, estimator: str) -> None:
    found = await measure(world, 64, 0)
    assert found["estimator"] == estimator
    assert 0 < found["requests"] <= 0.1
    assert 0 < found["tokens"] <= 0.1


def made(world: str, value: float, accuracy: float, *, wrong: bool = False) -> dict[str, object]:
    scores = {"gold_accuracy": accuracy, "gold_balanced": accuracy}
    return {"world": world, "wrong": wrong, "value": value, "verdict": "salient", "size": 32, **scores}


def test_thresholds_are_in_the_middle_of_those_that_misjudge_least() -> None:
    judge: tuple[Criterion, ...] = (("value", lambda row: float(row["value"]), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),)
    rows = [made("good", 0.65, 0.95) for _ in range(6)] + [made("bad", 0.15, 0.5) for _ in range(6)]
    assert learned(Tables.of(rows, judge), judge) == (0.4,)
    # What a coherent wrong concept looks like has no say.
    confused = [*rows, *(made("wrong", 0.65, 0.5, wrong=True) for _ in range(6))]
    assert learned(Tables.of(confused, judge), judge) == (0.4,)
    false, lost = Tables.of(confused, judge).rates((0.4,))
    assert (false.tolist(), lost.tolist()) == ([0, 0, 1], [0, 0, 0])
    # Sixteen of 32 labels are right: 16 of 20 drawn are, if they are all drawn and four of the others.
    checked = Tables.of(confused, judge).checked((0.4,))
    assert checked == pytest.approx([0, 0, comb(16, 4) / comb(32, 20)], abs=1e-12)


@pytest.mark.parametrize(
    ("accuracy", "balanced", "false", "lost"),
    [(0.9, 0.9, False, True), (0.9, 0.55, True, False), (0.7, 0.7, False, False)],
)
def test_comfort_is_false_below_sixty_percent_and_lost_above_eighty_five(
    accuracy: float, balanced: float, false: bool, lost: bool
) -> None:
    row = {"gold_accuracy": accuracy, "gold_balanced": balanced, "verdict": "salient"}
    assert comfort_of(row).false == false
    assert comfort_of(row, given=False).lost == lost
    for answer, given in (("by the prior, weakly", True), ("unsettled", False)):
        answered = {**row, "verdict": "in words", "diagnosis": {"coherent": "coherent", "named": {"answer": answer}}}
        assert comfort_of(answered).given == given
