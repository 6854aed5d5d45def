"""Bootstrap, folds and gibbs as engines: what they find, what a step asks for, when a restart ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from icm_api.config import SearchSettings
from icm_api.config.presets import ENGINE_NAMES
from icm_api.consistency import asymmetric, equivalent, mutually_exclusive
from icm_api.errors import ConfigError
from icm_api.objective import Objective
from icm_api.search import ENGINES, Progress, Start, build_kernel, build_objective, search, search_labels, steps_of
from icm_api.search.align import align, most_confident, most_probable
from icm_api.search.folds import Folds
from icm_api.types import (
    Answers,
    Constraint,
    Dataset,
    Example,
    LabelDistribution,
    Labeling,
    Prompt,
    PromptTemplate,
    Task,
    Usage,
)
from tests import bayes
from tests.bayes import BayesModel, candidates, pairs

ROUNDS = ("bootstrap", "folds", "gibbs")
PAIRS = (asymmetric("True", total=True),)
CANDIDATES = (mutually_exclusive("True"), equivalent())


class Counted(BayesModel):
    """Every prompt costs a request, also one that was asked before."""

    count = 0

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        found = await super().label_distributions(prompts)
        self.count += len(prompts)
        return Answers(found.values, {f"request {self.count - at}": Usage(1) for at in range(len(prompts))})


def task(constraints: tuple[Constraint, ...] = ()) -> Task:
    return Task(PromptTemplate(separator="\n"), constraints=constraints)


def settings(engine: str, **given: object) -> SearchSettings:
    return SearchSettings.model_validate({"engine": engine, "folds": 2, **given})


def objective(model: BayesModel, dataset: Dataset, constraints: tuple[Constraint, ...] = ()) -> Objective:
    return build_objective(dataset, model, task(constraints), SearchSettings())


async def best_of_all(utility: Objective) -> float:
    ways = product(utility.labels, repeat=len(utility.dataset))
    return max([(await utility(Labeling(dict(zip(utility.dataset.ids, way, strict=True))))).utility for way in ways])


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=pytest.mark.slow if name == "gibbs" else ()) for name in ROUNDS]
)
@pytest.mark.parametrize(
    ("world", "constraints"),
    [(pairs(4), PAIRS), (candidates(2, 4), CANDIDATES), (pairs(4), ())],
    ids=["pairs", "candidates", "unconstrained"],
)
async def test_every_engine_finds_what_brute_force_finds_in_19_of_20_seeds(
    engine: str, world: tuple[Dataset, dict[str, bool]], constraints: tuple[Constraint, ...]
) -> None:
    dataset, truth = world
    model = BayesModel(truth)
    best = await best_of_all(objective(model, dataset, constraints))
    results = [
        await search_labels(dataset, model, task=task(constraints), settings=settings(engine), seed=seed)
        for seed in range(20)
    ]
    assert sum(result.utility >= best - 0.5 for result in results) >= 19, [r.utility - best for r in results]


@pytest.mark.parametrize(
    "engine", [pytest.param(each, marks=pytest.mark.slow if each == "gibbs" else ()) for each in ROUNDS]
)
async def test_restarts_from_random_labels_find_what_zero_shot_predictions_lead_away_from(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero-shot, this model believes the opposite of the truth, and stays with it once it has said it."""
    monkeypatch.setattr(bayes, "PRIORS", {"truth": 0.3, "opposite": 0.5, "always": 0.1, "coin": 0.1})
    dataset, truth = pairs(4)
    model = BayesModel(truth)
    best = await best_of_all(objective(model, dataset, PAIRS))
    one: list[bool] = []
    many: list[bool] = []
    for seed in range(20):
        for restarts, found in ((1, one), (10, many)):
            given = settings(engine, restarts=restarts, seed_labels=2, seed=seed, initial_temperature=0.3)
            result = await search_labels(dataset, model, task=task(PAIRS), settings=given)
            found.append(result.utility >= best - 0.5)
    assert sum(one) <= 2, "the first restart finds it: no test"
    assert sum(many) >= 18


@pytest.mark.parametrize("engine", ROUNDS)
async def test_same_seed_same_steps_and_another_seed_others(engine: str) -> None:
    dataset, truth = pairs(8)

    async def steps(seed: int) -> list[object]:
        seen: list[Progress] = []
        await search_labels(
            dataset, BayesModel(truth), task=task(PAIRS), settings=settings(engine, seed=seed), on_step=seen.append
        )
        return [(p.info, p.usage) for p in seen]

    assert await steps(0) == await steps(0)
    assert await steps(0) != await steps(1)


@pytest.mark.parametrize("engine", ROUNDS)
async def test_the_best_labeling_of_all_rounds_and_restarts_wins_and_every_restart_says_its_own_best(
    engine: str,
) -> None:
    dataset, truth = candidates(4, 3)
    seen: list[Progress] = []
    given = settings(engine, seed=2)
    found = await search(objective(BayesModel(truth), dataset, CANDIDATES), given, on_step=seen.append)
    assert found.score.utility == max(p.info.score.utility for p in seen)
    for restart, labeling in enumerate(found.ends):
        scores = [p.info.score for p in seen if p.info.restart == restart]
        best = max(score.utility for score in scores)
        assert best == pytest.approx(max(score.utility for score in scores if score.labeling == labeling))
    assert len(found.ends) == given.restarts


async def test_annealings_restarts_say_their_best_too_and_challengers_are_none() -> None:
    dataset, truth = pairs(6)
    found = await search(objective(BayesModel(truth), dataset, PAIRS), SearchSettings(engine="anneal", restarts=3))
    assert found.state.restart > 2
    assert len(found.ends) == 3
    assert all(len(labeling) == len(dataset) for labeling in found.ends)


@pytest.mark.parametrize(
    "given", [{"engine": name} for name in ENGINES] + [{"preset": "paper"}, {"preset": "reference"}]
)
async def test_accepted_are_the_proposals_that_changed_the_labeling(given: dict[str, str]) -> None:
    """To begin anew and to choose between ends are no proposals, whichever engine does it."""
    dataset, truth = pairs(6)
    seen: list[Progress] = []
    search_settings = SearchSettings.model_validate({"seed": 2, "restarts": 1 if "preset" in given else 2, **given})
    found = await search(objective(BayesModel(truth), dataset, PAIRS), search_settings, on_step=seen.append)
    infos = [progress.info for progress in seen]
    changed = [each for each in infos if each.kind in ("grow", "relabel") and each.accepted and each.old != each.new]
    assert found.state.accepted == len(changed)
    assert len(changed) < len(infos)


def step_requests(engine: str, progress: Progress, size: int) -> int:
    """What a step asks for, by hand: pairs have two legal labelings, and so three beginnings."""
    moved = bool(progress.info.examples) and progress.info.accepted
    if progress.info.move == "seed":
        return 2 * size
    update = {"bootstrap": 0, "folds": size, "gibbs": 3 * size // 2}[engine]
    return update + size * moved


@pytest.mark.parametrize("engine", ROUNDS)
async def test_a_step_asks_for_exactly_what_it_says_and_never_more_than_planned(engine: str) -> None:
    dataset, truth = pairs(5)
    model, seen = Counted(truth), list[Progress]()
    given = settings(engine, seed=4, rounds=6)
    await search(objective(model, dataset, PAIRS), given, on_step=seen.append)
    asked = [after.usage.requests for after in seen]
    each = [now - before for before, now in zip([0, *asked], asked, strict=False)]
    assert each == [step_requests(engine, progress, len(dataset)) for progress in seen]
    assert {progress.info.move for progress in seen} == {"seed", "round" if engine == "bootstrap" else "sweep"}
    planned = build_kernel(objective(model, dataset, PAIRS), given).most_requests(steps_of(given, len(dataset)))
    assert asked[-1] <= planned


@pytest.mark.parametrize(
    ("engine", "requests"),
    # Of 10 examples in 5 pairs, 43 steps after the first, 4 restarts: every step scores. Bootstrapping asks most where
    # all 4 restarts begin, the others where one restart goes on for ever.
    [("bootstrap", 44 * 10 + 4 * 10), ("folds", 44 * 10 + 10 + 43 * 10), ("gibbs", 44 * 10 + 10 + 43 * 15)],
)
def test_the_plan_is_the_most_that_the_steps_can_ask(engine: str, requests: int) -> None:
    dataset, truth = pairs(5)
    given = settings(engine)
    assert steps_of(given, len(dataset)) == 43
    assert build_kernel(objective(BayesModel(truth), dataset, PAIRS), given).most_requests(43) == requests


class CopiesTheOther(BayesModel):
    """Two examples, each of which gets the other's label: all at once, they swap for ever."""

    def _answer(self, prompt: Prompt) -> LabelDistribution:
        said = prompt.turns[0].answer == " True" if prompt.turns else prompt.query == "a"
        p = 0.9 if said else 0.1
        return LabelDistribution(("True", "False"), (log(p), log(1 - p)), 1.0, "exact")


async def test_bootstrapping_that_takes_turns_between_two_labelings_ends_the_restart() -> None:
    dataset = Dataset([Example("a", {"text": "a"}), Example("b", {"text": "b"})])
    seen: list[Progress] = []
    given = settings("bootstrap", restarts=1, rounds=50)
    await search(objective(CopiesTheOther({}), dataset), given, on_step=seen.append)
    news = [dict(zip(p.info.examples, p.info.new, strict=True)) for p in seen]
    assert [(p.info.move, p.info.accepted, new) for p, new in zip(seen, news, strict=True)] == [
        ("seed", True, {"a": "True", "b": "False"}),
        ("round", True, {"a": "False", "b": "True"}),
        ("round", False, {"a": "True", "b": "False"}),
    ]


async def test_one_fold_after_the_other_does_not_take_turns() -> None:
    dataset = Dataset([Example("a", {"text": "a"}), Example("b", {"text": "b"})])
    found = await search(objective(CopiesTheOther({}), dataset), settings("folds", restarts=1))
    assert found.score.labeling["a"] == found.score.labeling["b"]


def reads(**true: float) -> dict[str, LabelDistribution]:
    return {key: LabelDistribution(("True", "False"), (log(p), log(1 - p)), 1.0, "exact") for key, p in true.items()}


def group_of(*names: str) -> Objective:
    dataset = Dataset(Example(name, {"text": name}, "g", name) for name in names)
    return objective(BayesModel({}), dataset, (mutually_exclusive("True"),))


def test_the_most_confident_example_wins_where_the_most_probable_labeling_is_another() -> None:
    """Three of which at most one is True: c is surest, of being False; a and b are both rather True."""
    utility, predicted = group_of("a", "b", "c"), reads(a=0.9, b=0.8, c=0.6)
    assert dict(align(utility, predicted, Labeling(), most_confident)) == {"a": "True", "b": "False", "c": "False"}
    predicted = reads(a=0.6, b=0.7, c=0.69)
    by_hand = max(
        (way for way in product(("True", "False"), repeat=3) if way.count("True") <= 1),
        key=lambda way: sum(predicted[key].logprob(label) for key, label in zip("abc", way, strict=True)),
    )
    assert tuple(align(utility, predicted, Labeling(), most_probable)[key] for key in "abc") == by_hand


@given(st.lists(st.floats(0.01, 0.99), min_size=2, max_size=4), st.booleans())
def test_both_rules_keep_every_relation_and_only_one_lets_the_surest_have_its_way(p: list[float], sure: bool) -> None:
    names = [f"x{at}" for at in range(len(p))]
    utility, predicted = group_of(*names), reads(**dict(zip(names, p, strict=True)))
    labels = align(utility, predicted, Labeling(), most_confident if sure else most_probable)
    assert not utility.relations.broken(labels)
    surest = max(utility.dataset.ids, key=lambda key: max(predicted[key].logprobs))
    if sure:
        assert labels[surest] == predicted[surest].best


def test_labels_of_others_are_held_against_even_where_they_leave_nothing_legal() -> None:
    utility = group_of("a", "b")
    context = Labeling({"a": "True"})
    for rule in (most_probable, most_confident):
        assert align(utility, reads(b=0.9), context, rule)["b"] == "False"
        three = align(group_of("a", "b", "c"), reads(b=0.95, c=0.6), context, rule)
        assert dict(three) == {"a": "True", "b": "False", "c": "False"}
    total = objective(BayesModel(pairs(1)[1]), pairs(1)[0], (*PAIRS, equivalent(by="group")))
    for rule in (most_probable, most_confident):
        labels = align(total, reads(**{"0>1": 0.2, "1>0": 0.7}), Labeling(), rule)
        assert sorted(labels) == ["0>1", "1>0"]


@given(st.integers(1, 9), st.integers(1, 5), st.integers(2, 6), st.integers(0, 5))
def test_folds_part_the_free_examples_and_keep_groups_whole(questions: int, each: int, folds: int, began: int) -> None:
    dataset, truth = candidates(questions, each)
    fixed = Labeling({"q0=0": "True"})
    free = len(dataset) - 1
    if folds > free:
        return
    start = Start(fixed)
    update = Folds(objective(BayesModel(truth), dataset, CANDIDATES), settings("folds", folds=folds), start)
    split = update.split(began)
    assert sorted(key for fold in split for key in fold) == sorted(start.free(dataset))
    assert all(fold == sorted(fold, key=update.objective.dataset.position) for fold in split)
    largest = max(1, len(dataset) // folds)
    assert max(map(len, split)) - min(map(len, split)) <= largest or len(split) < folds
    if each <= largest:
        where = {key: at for at, fold in enumerate(split) for key in fold}
        for question in range(questions):
            assert len({where[key] for key in where if key.startswith(f"q{question}=")}) <= 1


async def test_examples_of_a_fold_are_asked_in_one_context_without_any_label_of_the_fold() -> None:
    dataset, truth = pairs(4)
    model = BayesModel(truth)
    utility = objective(model, dataset, PAIRS)
    update = Folds(utility, settings("folds", folds=4), Start())
    state, _ = await build_kernel(utility, settings("folds", folds=4)).init()
    asked: list[Prompt] = []

    class Kept(BayesModel):
        async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
            asked.extend(prompts)
            return await super().label_distributions(prompts)

    spied = objective(Kept(truth), dataset, PAIRS)
    await Folds(spied, settings("folds", folds=4), Start())(state)
    folds = [list(fold) for fold in update.split(0)]
    assert [prompt.query for prompt in asked] == [key for fold in folds for key in fold]
    for fold in folds:
        shown = {tuple(turn.text for turn in prompt.turns) for prompt in asked if prompt.query in fold}
        assert shown == {tuple(key for key in utility.dataset.ids if key not in fold)}


def test_nonsense_is_refused_with_what_to_do() -> None:
    dataset, truth = pairs(2)
    with pytest.raises(ConfigError, match=r"search\.folds is 5, and there are 4 examples"):
        build_kernel(objective(BayesModel(truth), dataset), settings("folds", folds=5))
    with pytest.raises(ValidationError, match='preset = "paper" is a way to anneal'):
        settings("bootstrap", preset="paper")
    with pytest.raises(ValidationError, match='moves = "single" is a way to anneal'):
        settings("gibbs", moves="single")
    for key, value in (("folds", 1), ("rounds", 0)):
        with pytest.raises(ValidationError):
            SearchSettings.model_validate({key: value})
    with pytest.raises(
        ConfigError, match=r"search\.engine: unknown engine 'anneall'; did you mean 'anneal'\? known: rounds, anneal"
    ):
        build_kernel(objective(BayesModel(truth), dataset), settings("anneall"))


@pytest.mark.parametrize("key", ["calibration", "prior"])
def test_a_calibration_that_an_engine_would_not_hear_is_refused(key: str) -> None:
    given: dict[str, Any] = {key: {"calibration": "centres", "prior": {"True": 0.7, "False": 0.3}}[key]}
    with pytest.raises(ValidationError, match=f'{key}: engine = "folds" calibrates only .* add start = "zero-shot"'):
        SearchSettings(engine="folds", **given)
    assert SearchSettings(engine="folds", start="zero-shot", **given).start == "zero-shot"
    assert SearchSettings(**given).engine == "rounds"


async def test_an_engine_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up engine needs a row and nothing else: a search of its name, its steps, and a result."""
    plain = ENGINES["bootstrap"]
    row = replace(plain, name="twice", steps=lambda settings, size: 2 * plain.steps(settings, size))
    monkeypatch.setattr("icm_api.search.engines.ENGINES", {**ENGINES, "twice": row})
    dataset, truth = pairs(3)
    given = SearchSettings(engine="twice", restarts=2, rounds=3)
    assert steps_of(given, 6) == 2 * steps_of(SearchSettings(engine="bootstrap", restarts=2, rounds=3), 6)
    found = await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=given)
    assert found.about["search"]["engine"] == "twice"
    assert set(found.labeling) == set(dataset.ids)


def test_every_key_that_a_row_names_is_a_setting() -> None:
    known = SearchSettings.model_fields.keys()
    assert all(engine.settings <= known for engine in ENGINES.values())


def test_a_configuration_may_name_every_engine() -> None:
    assert tuple(ENGINES) == ENGINE_NAMES


def test_budgets_count_rounds_and_a_given_number_wins() -> None:
    assert steps_of(settings("anneal"), 10) == 300
    assert steps_of(settings("bootstrap", restarts=3, rounds=5), 10) == 17
    assert steps_of(settings("gibbs", steps=7), 1000) == 7


def test_gibbs_begins_at_temperature_1_unless_told_otherwise_and_annealing_at_10() -> None:
    assert (settings("gibbs").initial_temperature, settings("anneal").initial_temperature) == (1.0, 10.0)
    assert settings("gibbs", initial_temperature=2.0).initial_temperature == 2.0


@pytest.mark.parametrize("engine", ROUNDS)
@pytest.mark.parametrize("steps", [1, 2, 5])
async def test_every_engine_labels_every_example_whatever_the_budget(engine: str, steps: int) -> None:
    dataset, truth = candidates(3, 3)
    given = settings(engine, steps=steps)
    result = await search_labels(dataset, BayesModel(truth), task=task(CANDIDATES), settings=given)
    assert [example.id for example in result.examples] == list(dataset.ids)
    assert result.steps <= steps
