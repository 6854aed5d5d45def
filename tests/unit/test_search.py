"""The search as a whole and its parts, against brute force and on a model in closed form."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.consistency.constraints import asymmetric, equivalent, mutually_exclusive
from icm_api.objective import Objective
from icm_api.search import Progress, build_objective, consistency_fix, search_labels
from icm_api.search.align import units
from icm_api.search.anneal import legal_options, sampling_weights
from icm_api.search.component_anneal import _draw_units
from icm_api.search.kernel import acceptance_probability, logarithmic
from icm_api.types import Constraint, Dataset, Labeling, PromptTemplate, Score, Task
from tests.bayes import BayesModel, candidates, pairs

PAIRS = (asymmetric("True", total=True),)
CANDIDATES = (mutually_exclusive("True"), equivalent())


def task(constraints: tuple[Constraint, ...] = ()) -> Task:
    return Task(PromptTemplate(separator="\n"), constraints=constraints)


def objective(model: BayesModel, dataset: Dataset, constraints: tuple[Constraint, ...]) -> Objective:
    return build_objective(dataset, model, task(constraints), SearchSettings())


def gold(truth: dict[str, bool]) -> Labeling:
    return Labeling({text: str(label) for text, label in truth.items()})


async def brute_force(utility: Objective) -> Score:
    """The best complete labeling of all."""
    scores = [
        await utility(Labeling(dict(zip(utility.dataset.ids, labels, strict=True))))
        for labels in product(utility.labels, repeat=len(utility.dataset))
    ]
    return max(scores, key=lambda score: score.utility)


@pytest.mark.parametrize(
    ("dataset", "truth", "constraints"),
    [(*pairs(4), PAIRS), (*candidates(2, 4), CANDIDATES), (*pairs(4), ())],
    ids=["pairs", "candidates", "unconstrained"],
)
async def test_default_finds_what_brute_force_finds(
    dataset: Dataset, truth: dict[str, bool], constraints: tuple[Constraint, ...]
) -> None:
    model = BayesModel(truth)
    best = await brute_force(objective(model, dataset, constraints))
    found = [await search_labels(dataset, model, task=task(constraints), seed=seed) for seed in range(20)]
    near = sum(result.utility >= best.utility - 0.5 for result in found)
    assert near >= 19, [result.utility - best.utility for result in found]


@pytest.mark.parametrize("preset", ["default", "paper", "reference"])
@pytest.mark.parametrize("steps", [1, 3, 40])
async def test_every_preset_labels_every_example_whatever_the_budget(preset: str, steps: int) -> None:
    dataset, truth = pairs(12)
    settings = SearchSettings.model_validate({"preset": preset, "steps": steps})
    result = await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=settings)
    assert [example.id for example in result.examples] == list(dataset.ids)


async def test_what_comes_back_is_the_best_complete_labeling_seen_not_the_last() -> None:
    dataset, truth = pairs(6)
    seen: list[Progress] = []
    settings = SearchSettings(
        engine="anneal", steps=300, seed=3, initial_temperature=1000.0, minimum_temperature=1000.0
    )
    result = await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=settings, on_step=seen.append)
    complete = [p.info.score for p in seen if len(p.info.score.labeling) == len(dataset)]
    assert result.utility == max(score.utility for score in complete)
    assert any(score.utility < result.utility for score in complete[1:]), "the last was also the best: no test"


async def test_the_score_returned_is_that_of_the_labels_returned() -> None:
    dataset, truth = candidates(4, 3)
    model = BayesModel(truth)
    result = await search_labels(dataset, model, task=task(CANDIDATES), seed=1)
    score = await objective(model, dataset, CANDIDATES)(result.labeling)
    assert (result.utility, result.inconsistency) == (score.utility, score.inconsistency)


@pytest.mark.parametrize("preset", ["default", "paper", "reference"])
async def test_same_seed_same_steps_and_another_seed_others(preset: str) -> None:
    dataset, truth = pairs(8)

    async def steps(seed: int) -> list[object]:
        seen: list[Progress] = []
        # Two chains from zero-shot predictions that agree leave nothing to chance.
        given = {"start": "random"} if preset == "default" else {}
        settings = SearchSettings.model_validate({"preset": preset, "steps": 30, "seed": seed, **given})
        await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=settings, on_step=seen.append)
        return [(p.info, p.usage) for p in seen]

    assert await steps(0) == await steps(0)
    assert await steps(0) != await steps(1)


async def test_defect_1_a_fresh_search_uses_no_score_of_an_earlier_one() -> None:
    """Scores are the prompts' own: the same step of another data set asks other questions."""
    (one, truth), (two, other) = pairs(4), candidates(2, 4)
    first, second = BayesModel(truth | other), BayesModel(truth | other)
    await search_labels(one, first, task=task(PAIRS))
    reused = await search_labels(two, first, task=task(CANDIDATES))
    fresh = await search_labels(two, second, task=task(CANDIDATES))
    assert reused.examples == fresh.examples


@pytest.mark.parametrize("preset", ["default", "paper"])
async def test_defect_2_a_refused_proposal_leaves_labeling_and_score_as_they_were(preset: str) -> None:
    dataset, truth = pairs(6)
    refused: list[tuple[Progress, Progress]] = []
    for seed in range(8):
        seen: list[Progress] = []
        settings = SearchSettings.model_validate(
            {"engine": "anneal", "preset": preset, "steps": 60, "initial_temperature": 0.05, "seed": seed}
        )
        await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=settings, on_step=seen.append)
        refused += [(a, b) for a, b in pairwise(seen) if not b.info.accepted]
    assert refused, "nothing was refused: no test"
    for before, after in refused:
        assert after.state.score == before.state.score


async def test_defect_8_a_repair_is_kept_only_where_u_rises() -> None:
    """Everything about the model speaks for both labels of the pair, so that repairing costs more than it saves."""
    dataset, _ = pairs(4)
    everything = dict.fromkeys(dataset.ids, True)
    utility = objective(BayesModel(everything, noise=0.001), dataset, PAIRS)
    broken = await utility(Labeling(dict.fromkeys(dataset.ids, "True")))
    assert broken.inconsistency == 4
    fixed = await consistency_fix(utility, broken, random.Random(0))
    assert fixed.labeling == broken.labeling
    assert fixed.utility == broken.utility


async def test_defect_8_every_legal_option_is_tried_and_the_best_kept_both_false_included() -> None:
    dataset, _ = candidates(2, 3)
    truth = dict.fromkeys(dataset.ids, False) | {"q1=0": True}  # No candidate of q0 is right.
    utility = objective(BayesModel(truth), dataset, (mutually_exclusive("True"),))
    labels = gold(truth).assign({"q0=0": "True", "q0=1": "True"})
    start = await utility(labels)
    [conflict] = start.broken
    options = [labels.assign(way) for way in legal_options(utility, labels, conflict)]
    group = [tuple(option[key] for key in ("q0=0", "q0=1", "q0=2")) for option in options]
    assert sorted(group) == sorted(way for way in product(("True", "False"), repeat=3) if way.count("True") <= 1)
    fixed = await consistency_fix(utility, start, random.Random(0))
    assert fixed.labeling == gold(truth)
    assert fixed.utility == max([(await utility(option)).utility for option in options])


async def test_fix_never_touches_the_labeling_it_was_given() -> None:
    dataset, truth = pairs(4)
    utility = objective(BayesModel(truth), dataset, PAIRS)
    labeling = gold(truth).assign({"0>1": "True"})
    before, score = dict(labeling), await utility(labeling)
    fixed = await consistency_fix(utility, score, random.Random(0))
    assert fixed.labeling != labeling
    assert dict(labeling) == before
    assert dict(score.labeling) == before
    assert fixed.inconsistency == 0


@given(st.floats(-1e308, 1e308), st.floats(0.01, 10))
def test_defect_10_acceptance_cannot_overflow(change: float, temperature: float) -> None:
    assert 0.0 <= acceptance_probability(change, temperature) <= 1.0


def test_the_schedule_is_the_papers() -> None:
    from math import log

    schedule = logarithmic(10.0, 0.01, 0.99)
    assert [schedule(n) for n in (1, 2, 50)] == [10 / (1 + 0.99 * log(n)) for n in (1, 2, 50)]
    assert logarithmic(10.0, 3.0, 0.99)(50) == 3.0


def test_related_unlabelled_examples_are_drawn_first_and_labelled_ones_can_come_again() -> None:
    dataset, truth = pairs(3)
    relations = objective(BayesModel(truth), dataset, PAIRS).relations
    weights = sampling_weights(dataset, relations, Labeling({"0>1": "True"}), 100.0)
    assert weights == [1.0, 100.0, 1.0, 1.0, 1.0, 1.0]


def test_units_are_the_groups_and_large_groups_fall_apart() -> None:
    dataset, truth = candidates(2, 3)
    relations = objective(BayesModel(truth), dataset, CANDIDATES).relations
    found = units(dataset, relations, 3)
    assert [sorted(unit) for unit in found] == [["q0=0", "q0=1", "q0=2"], ["q1=0", "q1=1", "q1=2"]]
    assert units(dataset, relations, 2) == [(key,) for key in dataset.ids]


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_drawn_units_are_distinct_and_enough(seed: int, examples: int) -> None:
    left = [("a", "b"), ("c",), ("d", "e", "f"), ("g",)]
    drawn = _draw_units(left, [1.0, 100.0, 1.0, 1.0], examples, random.Random(seed))
    assert len(set(drawn)) == len(drawn)
    size = sum(map(len, drawn))
    assert size >= min(examples, 7)
    assert size - len(drawn[-1]) < examples


def test_draws_are_functions_of_seed_step_and_purpose() -> None:
    one: Callable[[], float] = draw(1, 2, "x").random
    assert one() == draw(1, 2, "x").random()
    assert len({draw(s, n, p).random() for s in (0, 1) for n in (0, 1) for p in "xy"}) == 8


async def test_growth_does_not_wait_while_two_labelings_take_turns() -> None:
    """At a high temperature a worse labeling was once accepted, its better inverse proposed, and so on for ever."""
    dataset, truth = pairs(32)
    result = await search_labels(dataset, BayesModel(truth), task=task(PAIRS), seed=0)
    assert result.labeling == gold(truth)
