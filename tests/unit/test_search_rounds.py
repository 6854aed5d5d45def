"""Calibrated rounds: what they find, that they do not collapse, and what is handed out of several ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from itertools import product
from math import log
from statistics import fmean

import pytest

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.consistency import asymmetric, equivalent, mutually_exclusive
from icm_api.errors import ConfigError
from icm_api.model import open_model
from icm_api.objective import Calibration, LeaveOneOut
from icm_api.search import Progress, Start, build_kernel, build_objective, search, search_labels, steps_of
from icm_api.search.rounds import ORDERS, Candidate, alike, choose
from icm_api.types import Constraint, Dataset, Example, LabelDistribution, Labeling, Prompt, PromptTemplate, Task
from tests.bayes import BayesModel, candidates, pairs
from tests.worlds import biased

PAIRS = (asymmetric("True", total=True),)
CANDIDATES = (mutually_exclusive("True"), equivalent())


def task(constraints: tuple[Constraint, ...] = ()) -> Task:
    return Task(PromptTemplate(separator="\n"), constraints=constraints)


@pytest.mark.parametrize(
    ("world", "constraints"),
    [(pairs(4), PAIRS), (candidates(2, 4), CANDIDATES), (pairs(4), ())],
    ids=["pairs", "candidates", "unconstrained"],
)
async def test_it_finds_what_brute_force_finds_in_19_of_20_seeds(
    world: tuple[Dataset, dict[str, bool]], constraints: tuple[Constraint, ...]
) -> None:
    dataset, truth = world
    model = BayesModel(truth)
    objective = build_objective(dataset, model, task(constraints), SearchSettings())
    ways = product(objective.labels, repeat=len(dataset))
    best = max([(await objective(Labeling(dict(zip(dataset.ids, way, strict=True))))).value for way in ways])
    found = [await search(objective, SearchSettings(seed=seed)) for seed in range(20)]
    assert sum(one.score.value >= best - 0.5 for one in found) >= 19, [one.score.value - best for one in found]


@pytest.mark.parametrize(
    "name", ["facts", *(pytest.param(name, marks=pytest.mark.slow) for name in ("comparisons", "sums"))]
)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
async def test_without_constraints_it_finds_the_truth_where_all_alike_has_the_larger_u(name: str, seed: int) -> None:
    dataset, gold = biased(name, 32, seed)
    async with open_model("pocket") as model:
        objective = build_objective(dataset, model, task(), SearchSettings())
        found = (await search(objective, SearchSettings(seed=seed))).score
        # As what is handed out is scored: another estimator's P is on another scale.
        exact = replace(objective, estimator=LeaveOneOut())
        alike = [await exact(Labeling(dict.fromkeys(dataset.ids, label))) for label in objective.labels]
    assert max(one.mutual_predictability for one in alike) > found.mutual_predictability - 0.02
    assert max(one.information for one in alike if one.information is not None) <= 0
    assert found.information is not None
    assert found.information > 0.3
    assert fmean(found.labeling[key] == label for key, label in gold.items()) >= 0.9


@pytest.mark.parametrize("start", ["zero-shot", "random"])
async def test_what_is_handed_out_is_never_worth_less_than_what_it_started_from(start: str) -> None:
    dataset, _ = biased("facts", 24, 5)
    settings = SearchSettings(seed=5).changed(start=start)
    steps: list[Progress] = []
    async with open_model("pocket") as model:
        objective = build_objective(dataset, model, task(), settings)
        found = await search(objective, settings, on_step=steps.append)
        orders = [
            objective,
            *(objective.reordered(draw(5, -at, "order of demonstrations")) for at in range(1, ORDERS)),
        ]

        async def worth(labeling: Labeling) -> float:
            return fmean([objective.worth(await order(labeling)) for order in orders])

        begun = [step.state.labeling for step in steps if step.info.kind == "begin"]
        handed = await worth(found.score.labeling)
        assert handed >= max([await worth(labeling) for labeling in begun[:1]]) - 1e-9
    assert steps[-1].info.move == "choose"
    assert steps[-1].state.step <= steps_of(settings, len(dataset))


class DeafModel(BayesModel):
    """It knows of each text alone, leans to True, and draws lots as soon as it is shown anything."""

    def __init__(self, truth: Mapping[str, bool], lean: float) -> None:
        super().__init__(truth)
        self._lean = lean

    def _answer(self, prompt: Prompt) -> LabelDistribution:
        known = self._truth[prompt.query]
        chance = sha256(prompt.text.encode()).digest()[0] / 255
        true = 0.4 + 0.2 * chance if prompt.turns else (0.6 if known else 0.25) + self._lean + 0.1 * chance
        return LabelDistribution(("True", "False"), (log(true), log(1 - true)), 1.0, "exact")


@pytest.mark.parametrize(("rare", "lean"), [(3, 0.1), (12, 0.1), (12, 0.29)])
@pytest.mark.parametrize("seed", range(3))
async def test_where_the_context_says_nothing_the_answers_to_each_text_alone_are_handed_out(
    rare: int, lean: float, seed: int
) -> None:
    """Raw ones; but calibrated ones where the model leans so far to one label that it gives it to everything."""
    truth = {f"text {at}": at >= rare for at in range(24)}
    dataset = Dataset(tuple(Example(str(at), {"text": text}) for at, text in enumerate(truth)))
    settings = SearchSettings(seed=seed)
    found = await search(build_objective(dataset, DeafModel(truth, lean), task(), settings), settings)
    assert [found.score.labeling[example.id] == "True" for example in dataset] == list(truth.values())


async def test_the_ends_are_those_of_the_chains_and_not_the_one_chosen() -> None:
    dataset, _ = biased("facts", 16, 0)
    steps: list[Progress] = []
    async with open_model("pocket") as model:
        objective = build_objective(dataset, model, task(), SearchSettings())
        found = await search(objective, SearchSettings(), on_step=steps.append)
    assert steps[-1].info.kind == "choose"
    for restart, end in enumerate(found.ends):
        assert end == [step for step in steps[:-1] if step.info.restart == restart][-1].state.labeling
    assert len(set(found.ends)) > 1, "all chains ended alike: no test"


async def test_a_chain_that_comes_to_where_another_ended_is_over() -> None:
    came = settled = 0
    async with open_model("pocket") as model:
        for seed in range(4):
            dataset, _ = biased("sums", 32, seed)
            steps: list[Progress] = []
            objective = build_objective(dataset, model, task(), SearchSettings())
            ends = (await search(objective, SearchSettings(seed=seed), on_step=steps.append)).ends
            for restart in range(len(ends)):
                own = [each.state.labeling for each in steps[:-1] if each.info.restart == restart]
                # What a chain begins with may be alike to an end: it has a round at least.
                at = [any(alike(each, known) for known in ends[:restart]) for each in own[1:]]
                assert not any(at[:-1])
                came += at[-1]
                settled += restart > 0 and not at[-1]
    assert came, "no chain came to where another ended: no test"
    assert settled, "no second chain ended elsewhere: no test"


async def test_no_more_is_asked_than_planned_and_fixed_labels_stay() -> None:
    dataset, truth = pairs(5)
    model = BayesModel(truth)
    first = dataset.ids[0]
    fixed = Labeling({first: "False" if truth[first] else "True"})
    settings = SearchSettings(seed=1)
    objective = build_objective(dataset, model, task(PAIRS), settings)
    found = await search(objective, settings, Start(fixed))
    assert found.score.labeling[first] == fixed[first]
    kernel = build_kernel(objective, settings, Start(fixed))
    assert found.usage.requests <= kernel.most_requests(steps_of(settings, len(dataset)))


async def test_same_seed_same_steps_and_another_seed_other_orders() -> None:
    dataset, truth = candidates(2, 4)

    async def taken(seed: int) -> tuple[list[tuple[object, ...]], set[str]]:
        model, steps = BayesModel(truth), list[Progress]()
        await search_labels(dataset, model, task=task(CANDIDATES), seed=seed, on_step=steps.append)
        return [(step.info, step.usage) for step in steps], set(model.asked)

    assert await taken(3) == await taken(3)
    assert (await taken(3))[1] != (await taken(4))[1]


async def test_it_begins_at_the_labels_given_to_start_from() -> None:
    dataset, truth = pairs(4)
    model, steps = BayesModel(truth), list[Progress]()
    wrong = Labeling({key: "False" if right else "True" for key, right in truth.items()})
    await search_labels(dataset, model, task=task(PAIRS), start=wrong, on_step=steps.append)
    assert steps[0].state.labeling == wrong


def test_a_witness_has_to_be_ahead_by_more_than_orders_differ() -> None:
    own, other = Labeling({"a": "T"}), Labeling({"a": "F"})
    ahead_by_chance = [(Candidate(own, False), [0.3, 0.4, 0.3]), (Candidate(other, True), [0.5, 0.3, 0.3])]
    assert choose(ahead_by_chance) == own
    ahead = [(Candidate(own, False), [0.3, 0.4, 0.3]), (Candidate(other, True), [0.5, 0.6, 0.5])]
    assert choose(ahead) == other
    only_witnesses = [(Candidate(own, True), [0.1]), (Candidate(other, True), [0.2])]
    assert choose(only_witnesses) == other


def test_a_calibration_that_the_settings_name_is_the_only_one() -> None:
    dataset, truth = pairs(2)
    objective = build_objective(dataset, BayesModel(truth), task(), SearchSettings())
    chains = {
        name: build_kernel(objective, SearchSettings(calibration=name), Start()).chains  # type: ignore[attr-defined]
        for name in ("none", "batch")
    }
    assert [chain.calibration for chain in chains["none"]] == [Calibration("none")] * 4
    assert [chain.witness for chain in chains["batch"]] == [False, True, True, True]
    with pytest.raises(ConfigError):
        SearchSettings().changed(calibration="other")


def test_a_prior_of_other_labels_is_refused_before_anything_is_asked() -> None:
    dataset, truth = pairs(2)
    model = BayesModel(truth)
    objective = build_objective(dataset, model, task(), SearchSettings())
    with pytest.raises(ConfigError, match="prior has shares of"):
        build_kernel(objective, SearchSettings(prior={"True": 0.5, "Other": 0.5}))
    assert not model.asked
