"""What a plan rests on: how far relations leave labels open, and what judging takes of what it may."""

from __future__ import annotations

from math import log

import pytest

from icm_api.config import DiagnosticsSettings, SearchSettings
from icm_api.consistency import MOST_WAYS, asymmetric, mutually_exclusive
from icm_api.evaluation import likely_of_judging
from icm_api.model import LanguageModel, open_model
from icm_api.objective import Objective
from icm_api.runs import Watch, run
from icm_api.runs.planning import planned
from icm_api.runs.rates import measured_lengths, stated_rates
from icm_api.search import Asked, Progress, Start, build_objective
from icm_api.search.forecast import SETTLED, course_of, left_open
from icm_api.types import Constraint, Dataset, Example, Labeling, PromptTemplate, Task, Usage
from tests.bayes import BayesModel
from tests.benchmarks.engines import CONSTRAINTS
from tests.benchmarks.recovery import dataset_of

ONE_TRUE = mutually_exclusive("True")


def objective_of(groups: dict[str, int], *constraints: Constraint) -> Objective:
    """So many claims a group, each with another answer."""
    dataset = Dataset(
        Example(f"{name}{at}", {"text": f"{name} {at}"}, name, str(at))
        for name, count in groups.items()
        for at in range(count)
    )
    return build_objective(dataset, BayesModel({}), Task(constraints=constraints), SearchSettings())


@pytest.mark.parametrize(
    ("groups", "constraints", "left"),
    [
        ({"a": 1, "b": 2}, (), 1.0),
        ({"a": 1, "b": 1}, (ONE_TRUE,), 1.0),
        # Of three answers none or one is true: 4 ways of 8.
        ({"a": 3, "b": 3}, (ONE_TRUE,), log(4) / log(8)),
        ({"a": 3, "b": 1}, (ONE_TRUE,), log(4 * 2) / log(16)),
        # 101 ways are more than are counted.
        ({"a": 100}, (ONE_TRUE,), log(MOST_WAYS) / (100 * log(2))),
    ],
)
def test_what_relations_leave_open(groups: dict[str, int], constraints: tuple[Constraint, ...], left: float) -> None:
    assert left_open(objective_of(groups, *constraints), Start()) == pytest.approx(left)


def test_labels_of_a_person_leave_less_open() -> None:
    objective = objective_of({"a": 3, "b": 3}, ONE_TRUE)
    some, true = Labeling({"a0": "False"}), Labeling({"a0": "True"})
    # Of five free labels, three ways of the two beside a false one; and one way if it is true.
    assert left_open(objective, Start(some)) == pytest.approx(log(3 * 4) / (5 * log(2)))
    assert left_open(objective, Start(true)) == pytest.approx(log(4) / (5 * log(2)))
    assert left_open(objective, Start(Labeling(dict.fromkeys(objective.dataset.ids, "False")))) == 0


async def test_the_more_is_open_the_longer_a_search_is_likely_to_take() -> None:
    dataset, found = dataset_of("comparisons", 24, 0), []
    async with open_model("pocket") as model:
        for constraints in ((asymmetric("True", total=True),), (asymmetric("True"),), ()):
            task = Task(PromptTemplate(separator="\n"), constraints=constraints)
            objective = build_objective(dataset, model, task, SearchSettings())
            found.append((course_of(objective, Start()), await _requests(objective, SearchSettings(), model)))
    courses, requests = zip(*found, strict=True)
    assert courses[0] == SETTLED
    assert list(requests) == sorted(requests)
    assert len(set(requests)) == 3


async def _requests(objective: Objective, settings: SearchSettings, model: LanguageModel) -> int:
    plan = await planned(objective, settings, DiagnosticsSettings(), Start(), model)
    return int(plan["requests"])


@pytest.mark.parametrize("engine", ["rounds", "bootstrap"])
@pytest.mark.parametrize("task", sorted(CONSTRAINTS))
async def test_judging_is_likely_to_take_what_it_takes_after_such_a_search(task: str, engine: str) -> None:
    dataset, settings, steps = dataset_of(task, 20, 101), SearchSettings(engine=engine), list[Progress]()
    asked = Task(PromptTemplate(separator="\n"), constraints=CONSTRAINTS[task])
    async with open_model("pocket") as model:
        result = await run(dataset, asked, model, search=settings, watch=Watch(on_step=steps.append))
        objective = build_objective(dataset, model, asked, settings)
        rates = await stated_rates(objective, model)

        def usage(each: Asked) -> Usage:
            return rates.wave(each, objective, measured_lengths(objective, model, noise=each.noise)).usage

        ordered = engine == "rounds"
        likely = likely_of_judging(objective, DiagnosticsSettings(), steps[-1].usage, usage, ordered=ordered)
        one = usage(Asked(len(dataset), scores=1.0, waits=1.0))
    taken = result.about["diagnosis"]["measures"]
    total = sum((usage(each) for each in likely), Usage())
    # Whether the second opinion's labels were scored by the search is not known.
    assert abs(total.requests - taken["requests"]) <= one.requests
    assert abs(total.prompt_tokens - taken["tokens"]) <= one.prompt_tokens


@pytest.mark.parametrize("seed", [100, 101])
@pytest.mark.parametrize("task", ["comparisons", "sums"])
async def test_a_search_that_relations_settle_keeps_to_its_plan(task: str, seed: int) -> None:
    settings = SearchSettings(seed=seed)
    asked = Task(PromptTemplate(separator="\n"), constraints=CONSTRAINTS[task])
    dataset = dataset_of(task, 20, seed)
    async with open_model("pocket") as model:
        objective = build_objective(dataset, model, asked, settings)
        plan = await planned(objective, settings, DiagnosticsSettings(), Start(), model)
        result = await run(dataset, asked, model, search=settings)
    assert result.usage.requests == pytest.approx(plan["requests"], rel=0.25)
    assert result.usage.prompt_tokens == pytest.approx(plan["prompt_tokens"], rel=0.25)
