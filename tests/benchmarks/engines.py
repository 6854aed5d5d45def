"""The engines side by side on the pocket world: what is maximised, agreement with gold, and what each of them costs.

32 claims a set, another set and another seed of the search in each of `SEEDS` searches; the model is the embedded one.
`bootstrap=` is bootstrapping with restarts until it has asked as much as annealing did on the same set. The value is
that of the labels at the end, by exact leave-one-out whatever an engine went by. Requests are distinct ones: a prompt
asked again is answered from memory. New tokens are those that a prefix cache of unlimited size has not yet met, over
the whole search. Gold is looked at after the search only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from statistics import fmean

from icm_api.config import SearchSettings
from icm_api.model import LanguageModel, open_model
from icm_api.objective import LeaveOneOut
from icm_api.pocket.model import PocketModel
from icm_api.pocket.world import make_claims
from icm_api.search import build_kernel, build_objective, iterate, steps_of
from icm_api.types import Answers, Capabilities, LabelDistribution, Prompt, PromptTemplate, ReadsInside, Task
from tests.benchmarks.prefix import new_tokens
from tests.benchmarks.recovery import CASES, TOLERANCE, dataset_of

SIZE, SEEDS = 32, 10
CONSTRAINTS = {name: constraints for name, _, constraints in CASES.values() if constraints}
ENGINES = ("rounds", "anneal", "bootstrap", "bootstrap=", "folds", "gibbs")
MOST_RESTARTS = 200
"""Of `bootstrap=`, which may have nothing new to ask long before it has asked as much as annealing."""


class Recorder:
    """A model whose distinct prompts are kept."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.prompts: dict[str, Prompt] = {}

    @property
    def capabilities(self) -> Capabilities:
        return self._model.capabilities

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        self.prompts.update((prompt.text, prompt) for prompt in prompts)
        return await self._model.label_distributions(prompts)

    async def read_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        assert isinstance(self._model, ReadsInside)
        self.prompts.update((prompt.text, prompt) for prompt in prompts)
        return await self._model.read_inside(prompts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One search: the value, accuracy, restarts, requests, tokens new to a cache."""

    value: float
    accuracy: float
    restarts: int
    requests: int
    new_tokens: int


async def outcome(task: str, engine: str, seed: int, requests: int) -> Outcome:
    """Search one set with one engine; `bootstrap=` until it has asked this many requests."""
    dataset = dataset_of(task, SIZE, seed)
    settings = SearchSettings.model_validate({"engine": engine.rstrip("="), "seed": seed})
    if engine.endswith("="):
        settings = settings.model_copy(update={"restarts": MOST_RESTARTS})
    async with open_model("pocket") as model:
        recorder = Recorder(model)
        objective = build_objective(
            dataset, recorder, Task(PromptTemplate(separator="\n"), constraints=CONSTRAINTS[task]), settings
        )
        kernel = build_kernel(objective, settings)
        async with aclosing(iterate(kernel, objective, steps_of(settings, len(dataset)))) as steps:  # type: ignore[type-var]
            async for state, _ in steps:  # noqa: B007
                if engine.endswith("=") and objective.tally.usage.requests >= requests:
                    break
        used, new = (
            objective.tally.usage.requests,
            new_tokens(list(recorder.prompts.values()), PocketModel.load().encode),
        )
        assert state.best is not None
        labels = state.best.labeling
        value = (await replace(objective, estimator=LeaveOneOut())(labels)).value
    correct = fmean(labels[claim.id] == str(claim.truth) for claim in make_claims(task, SIZE, seed))
    return Outcome(value, correct, state.restart + 1, used, new)


def table(task: str, seeds: int = SEEDS) -> Iterator[str]:
    """One task's figures, a line an engine, means over the seeds."""
    found: dict[str, list[Outcome]] = {}
    for engine in ENGINES:
        asked = [each.requests for each in found.get("anneal", ())]
        found[engine] = [asyncio.run(outcome(task, engine, seed, asked[seed] if asked else 0)) for seed in range(seeds)]
    most = [max(rows[seed].value for rows in found.values()) for seed in range(seeds)]
    yield f"{task}, {SIZE} claims, {seeds} seeds"
    yield f"  {'engine':<12}{'value':>8}{'best':>7}{'accuracy':>10}{'restarts':>10}{'requests':>10}{'new tokens':>12}"
    for engine, rows in found.items():
        best = sum(row.value >= top - TOLERANCE for row, top in zip(rows, most, strict=True))
        yield (
            f"  {engine:<12}{fmean(row.value for row in rows):>8.2f}{f'{best}/{seeds}':>7}"
            f"{fmean(row.accuracy for row in rows):>10.1%}{fmean(row.restarts for row in rows):>10.1f}"
            f"{fmean(row.requests for row in rows):>10,.0f}{fmean(row.new_tokens for row in rows):>12,.0f}"
        )


def report() -> Iterator[str]:
    """The figures, a line each; "best" is how often the value is within the tolerance of the best of all engines."""
    for task in CONSTRAINTS:
        yield from table(task)
