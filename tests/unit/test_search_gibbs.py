"""Gibbs sampling against a joint distribution written out: its conditionals exactly, the chain by its frequencies."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from math import exp, fsum, log, pi

import pytest

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.consistency import mutually_exclusive
from icm_api.objective import Objective
from icm_api.search import Start, State, build_objective
from icm_api.search.gibbs import Gibbs, block_logprobs, draw_way
from icm_api.types import (
    Answers,
    Capabilities,
    Dataset,
    Example,
    Label,
    LabelDistribution,
    Labeling,
    Prompt,
    PromptTemplate,
    Task,
)

NAMES = ("a", "b", "c", "d", "e")
"""a, b and c answer one question, of which at most one is True; d and e stand alone: 4 * 2 * 2 legal labelings."""
TRUE_FALSE = ("True", "False")
SWEEPS = 6000
INSIDE = -0.8


class JointModel:
    """Answers with the exact conditionals of one joint distribution over the labels of five examples.

    Every label leans to one side and every two depend on each other, so that no shortcut is right by accident.
    """

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        alone = {name: rng.gauss(0, 0.3) for name in NAMES}
        # Most of all inside the group, where a sampler of blocks could go wrong.
        coupled = {
            (one, two): rng.gauss(0, 0.3) + (INSIDE if {one, two} <= {"a", "b", "c"} else 0.0)
            for one, two in combinations(NAMES, 2)
        }
        self.log_joint: dict[tuple[Label, ...], float] = {}
        for way in product(TRUE_FALSE, repeat=len(NAMES)):
            sign = {name: 1 if label == "True" else -1 for name, label in zip(NAMES, way, strict=True)}
            self.log_joint[way] = fsum(sign[name] * lean for name, lean in alone.items()) + fsum(
                sign[one] * sign[two] * strength for (one, two), strength in coupled.items()
            )
        self._memory: dict[str, LabelDistribution] = {}

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context_window=10**6, method="exact", deterministic=True)

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        for prompt in prompts:
            if prompt.text not in self._memory:
                shown = {turn.text: turn.answer.strip() for turn in prompt.turns}
                mass = [self.mass({**shown, prompt.query: label}) for label in TRUE_FALSE]
                logs = tuple(log(each / sum(mass)) for each in mass)
                self._memory[prompt.text] = LabelDistribution(TRUE_FALSE, logs, 1.0, "exact")
        return Answers(tuple(self._memory[prompt.text] for prompt in prompts))

    def mass(self, shown: Mapping[str, Label]) -> float:
        """The joint's weight, summed over all that is not shown."""
        return fsum(
            exp(weight)
            for way, weight in self.log_joint.items()
            if all(label == shown.get(name, label) for name, label in zip(NAMES, way, strict=True))
        )

    def target(self, temperature: float, fixed: Mapping[str, Label]) -> dict[tuple[Label, ...], float]:
        """The joint to the power 1/T, over the legal labelings that have the fixed labels."""
        weights = {
            way: exp(weight / temperature)
            for way, weight in self.log_joint.items()
            if way[:3].count("True") <= 1
            and all(fixed.get(name, label) == label for name, label in zip(NAMES, way, strict=True))
        }
        return {way: weight / fsum(weights.values()) for way, weight in weights.items()}


def utility_of(model: JointModel) -> Objective:
    dataset = Dataset(
        Example(name, {"text": name}, "q" if name in "abc" else name, name if name in "abc" else "x") for name in NAMES
    )
    task = Task(PromptTemplate(separator="\n"), constraints=(mutually_exclusive("True"),))
    return build_objective(dataset, model, task, SearchSettings())


def sampler(model: JointModel, temperature: float, fixed: Labeling) -> Gibbs:
    given = SearchSettings(engine="gibbs", initial_temperature=temperature, minimum_temperature=temperature, cooling=0)
    return Gibbs(utility_of(model), given, Start(fixed))


async def frequencies(gibbs: Gibbs) -> dict[tuple[Label, ...], float]:
    """How often each labeling stands at the end of a sweep."""
    labeling = Labeling(dict.fromkeys(NAMES, "False")).assign(gibbs.start.fixed)
    score = await gibbs.objective(labeling)
    counts: Counter[tuple[Label, ...]] = Counter()
    for step in range(SWEEPS):
        labeling = await gibbs(State(replace(score, labeling=labeling), step=step))
        counts[tuple(labeling[name] for name in NAMES)] += 1
    return {way: count / SWEEPS for way, count in counts.items()}


def total_variation(found: Mapping[tuple[Label, ...], float], target: Mapping[tuple[Label, ...], float]) -> float:
    return fsum(abs(found.get(way, 0.0) - target.get(way, 0.0)) for way in {*found, *target}) / 2


def expected_variation(target: Mapping[tuple[Label, ...], float]) -> float:
    """Of `SWEEPS` independent draws: half the sum of sqrt(2/pi) standard errors."""
    return fsum((2 / pi * p * (1 - p) / SWEEPS) ** 0.5 for p in target.values()) / 2


@pytest.mark.parametrize(
    ("temperature", "fixed"),
    [
        pytest.param(1.0, {}, id="T=1", marks=pytest.mark.slow),
        pytest.param(0.5, {}, id="T=0.5", marks=pytest.mark.slow),
        pytest.param(2.0, {}, id="T=2", marks=pytest.mark.slow),
        pytest.param(1.0, {"b": "True"}, id="a fixed candidate is right", marks=pytest.mark.slow),
        pytest.param(1.0, {"d": "True", "a": "False"}, id="two fixed, one of the group", marks=pytest.mark.slow),
    ],
)
async def test_long_run_frequencies_are_the_joints(temperature: float, fixed: dict[str, Label]) -> None:
    model = JointModel(seed=1)
    target = model.target(temperature, fixed)
    found = await frequencies(sampler(model, temperature, Labeling(fixed)))
    assert set(found) <= set(target), "an illegal labeling, or a fixed label that moved"
    # Sweeps that follow each other are alike, and scatter more than independent draws.
    assert total_variation(found, target) < 5 * expected_variation(target)


async def product_of_leave_one_out(
    objective: Objective, block: Sequence[str], labeling: Labeling
) -> list[tuple[Mapping[str, Label], float]]:
    """The wrong block conditional: each member given the present labels of the others of its block."""
    read = await objective.conditionals(block, labeling)
    legal = objective.relations.legal_labelings(block, labeling.without(block), 64)
    return [(way, fsum(read[key].logprob(way[key]) for key in block)) for way in legal or ()]


async def twice_as_sure(
    objective: Objective, block: Sequence[str], labeling: Labeling
) -> list[tuple[Mapping[str, Label], float]]:
    """The wrong temperature: twice the log p."""
    return [(way, 2 * logprob) for way, logprob in await block_logprobs(objective, block, labeling)]


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [product_of_leave_one_out, twice_as_sure])
async def test_the_same_bound_finds_out_a_wrong_sampler(
    wrong: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_api.search.gibbs.block_logprobs", wrong)
    model = JointModel(seed=1)
    target = model.target(1.0, {})
    found = await frequencies(sampler(model, 1.0, Labeling()))
    assert total_variation(found, target) > 7 * expected_variation(target)


@pytest.mark.parametrize("seed", range(3))
async def test_a_blocks_probabilities_are_the_joints_conditionals_whatever_the_others_are(seed: int) -> None:
    model = JointModel(seed)
    objective = utility_of(model)
    for others in product(TRUE_FALSE, repeat=2):
        labeling = Labeling({"a": "True", "b": "False", "c": "False", "d": others[0], "e": others[1]})
        ways = await block_logprobs(objective, ("a", "b", "c"), labeling)
        assert [tuple(way.values()).count("True") <= 1 for way, _ in ways] == [True] * 4
        context = {"d": others[0], "e": others[1]}
        for way, logprob in ways:
            assert exp(logprob) == pytest.approx(model.mass({**way, **context}) / model.mass(context))


async def test_where_only_one_labeling_is_legal_nothing_is_asked() -> None:
    model = JointModel(0)
    gibbs = sampler(model, 1.0, Labeling({"a": "True", "d": "True", "e": "True"}))
    state = State(await gibbs.objective(Labeling(dict.fromkeys(NAMES, "False")).assign(gibbs.start.fixed)))
    model._memory.clear()
    labeling = await gibbs(state)
    assert (labeling["b"], labeling["c"], len(model._memory)) == ("False", "False", 0)


def test_a_labeling_is_drawn_in_proportion_to_p_to_the_power_1_over_t() -> None:
    ways = [({"a": "True"}, log(0.8)), ({"a": "False"}, log(0.2))]
    for temperature, share in ((1.0, 0.8), (0.5, 0.64 / 0.68), (1e-9, 1.0), (1e9, 0.5)):
        drawn = [draw_way(ways, temperature, draw(0, n, "x"))["a"] == "True" for n in range(4000)]
        assert sum(drawn) / 4000 == pytest.approx(share, abs=0.03)
