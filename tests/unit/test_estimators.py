"""An estimator that knows only log p(y_i) drives every engine, the judge and the result, to the same labels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from icm_api.config import SearchSettings
from icm_api.consistency import asymmetric, equivalent, mutually_exclusive
from icm_api.evaluation import Judged, diagnose
from icm_api.objective import Estimate, LeaveOneOut, Objective
from icm_api.prompts import PromptBuilder
from icm_api.search import Found, build_objective, result_of, search
from icm_api.types import Constraint, Dataset, Labeling, Model, PromptTemplate, Task
from tests.bayes import BayesModel, candidates, pairs

WORLDS: dict[str, tuple[tuple[Dataset, dict[str, bool]], tuple[Constraint, ...]]] = {
    "pairs": (pairs(5), (asymmetric("True", total=True),)),
    "candidates": (candidates(4, 3), (mutually_exclusive("True"), equivalent())),
}
ENGINES: tuple[dict[str, Any], ...] = (
    {"engine": "anneal", "steps": 40},
    {"preset": "paper", "steps": 30},
    {"preset": "reference", "steps": 30},
    {"engine": "bootstrap"},
    {"engine": "folds", "folds": 2},
    {"engine": "gibbs", "rounds": 3, "restarts": 1},
)


class Alone(LeaveOneOut):
    """Leave-one-out that keeps what it read of the other labels to itself."""

    name = "alone"
    gives_distributions = False

    async def estimate(self, labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, model: Model) -> Estimate:
        found = await super().estimate(labeling, dataset, prompts, model)
        return replace(found, distributions={}, method=self.name)


async def found_by(world: str, settings: SearchSettings, *, alone: bool) -> tuple[Objective, Found]:
    (dataset, truth), constraints = WORLDS[world]
    task = Task(PromptTemplate(separator="\n"), constraints=constraints)
    objective = build_objective(dataset, BayesModel(truth), task, settings)
    if alone:
        objective = replace(objective, estimator=Alone())
    return objective, await search(objective, settings)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("given", ENGINES, ids=lambda given: "-".join(map(str, given.values())))
async def test_every_engine_the_judge_and_the_result_work_with_it(given: dict[str, Any], world: str) -> None:
    settings = SearchSettings.model_validate({"seed": 3, "exact": 0, **given})
    objective, whole = await found_by(world, settings, alone=False)
    other, alone = await found_by(world, settings, alone=True)
    assert alone.score.labeling == whole.score.labeling
    assert alone.score.utility == pytest.approx(whole.score.utility)
    assert (whole.score.method, alone.score.method) == ("leave_one_out", "alone")
    rows = [result_of(each, settings).examples for each in (whole, alone)]
    assert rows[0] == rows[1]
    verdicts = [
        await diagnose(each, Judged(found.score, found.ends)) for each, found in ((objective, whole), (other, alone))
    ]
    assert verdicts[0].verdict == verdicts[1].verdict
    assert verdicts[0].measures.margins == verdicts[1].measures.margins


async def test_conditionals_are_asked_for_only_where_they_are_not_known() -> None:
    (dataset, truth), constraints = WORLDS["pairs"]
    task = Task(PromptTemplate(separator="\n"), constraints=constraints)
    model = BayesModel(truth)
    objective = build_objective(dataset, model, task, SearchSettings())
    labeling = Labeling({key: "True" if truth[key] else "False" for key in dataset.ids[:6]})
    score = await objective(labeling)
    asked = len(model.asked)
    known = await objective.conditionals(dataset.ids[:6], labeling, near=score)
    assert known == score.distributions
    assert len(model.asked) == asked
    more = await objective.conditionals(dataset.ids, labeling, near=score)
    assert len(model.asked) == asked + len(dataset) - 6
    assert list(more) == list(dataset.ids)
    assert score.logprobs == {key: more[key].logprob(label) for key, label in labeling.items()}


async def test_the_log_odds_of_two_labels_follow_from_one() -> None:
    (dataset, truth), constraints = WORLDS["pairs"]
    task = Task(PromptTemplate(separator="\n"), constraints=constraints)
    objective = build_objective(dataset, BayesModel(truth), task, SearchSettings(statistic="mean_logodds"))
    labeling = Labeling(dict.fromkeys(dataset.ids, "True"))
    whole = await objective(labeling)
    alone = await replace(objective, estimator=Alone())(labeling)
    assert alone.mutual_predictability == pytest.approx(whole.mutual_predictability)
    assert math.isfinite(alone.mutual_predictability)
