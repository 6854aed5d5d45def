"""How often each preset ends at the labeling that brute force finds best, on sets of up to 10 examples.

Sets are of the pocket world's tasks, the model is the embedded one. A search has found the best labeling when its value
(alpha * J - I, or U if constraints rule all-alike out) is within 0.5 of the best of all 2^n complete labelings. The
labeling of the largest value is not always the one that is right, so that labels as right as it are counted too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import product
from typing import get_args

from icm_api.config import Preset, SearchSettings
from icm_api.consistency import asymmetric, equivalent, mutually_exclusive
from icm_api.model import LanguageModel, open_model
from icm_api.objective import Objective
from icm_api.pocket.world import make_claims
from icm_api.search import build_objective, search_labels
from icm_api.types import Constraint, Dataset, Example, Labeling, PromptTemplate, Score, Task

SEEDS = 20
TOLERANCE = 0.5
CASES: dict[str, tuple[str, int, tuple[Constraint, ...]]] = {
    "comparisons, 10": ("comparisons", 10, (asymmetric("True", total=True),)),
    "comparisons, 8, no constraint": ("comparisons", 8, ()),
    "sums, 8": ("sums", 8, (mutually_exclusive("True"), equivalent())),
    "facts, 10": ("facts", 10, (mutually_exclusive("True"),)),
}


def dataset_of(task: str, size: int, seed: int) -> Dataset:
    """Claims of the pocket world as examples."""
    return Dataset(
        Example(c.id, {"text": c.text, "left": c.left, "right": c.right}, c.group, c.answer)
        for c in make_claims(task, size, seed)
    )


async def best_labeling(objective: Objective) -> Score:
    """The complete labeling with the largest value, by trying all."""
    ids = objective.dataset.ids
    ways = product(objective.labels, repeat=len(ids))
    scores = [await objective(Labeling(dict(zip(ids, labels, strict=True)))) for labels in ways]
    return max(scores, key=lambda score: score.value)


async def found(case: str, preset: Preset, model: LanguageModel, seeds: int = SEEDS) -> tuple[int, int]:
    """In how many seeds a preset found the best labeling, and in how many one that is at least as right."""
    name, size, constraints = CASES[case]
    dataset = dataset_of(name, size, seed=0)
    gold = {claim.id: str(claim.truth) for claim in make_claims(name, size, 0)}
    task = Task(PromptTemplate(separator="\n"), constraints=constraints)
    objective = build_objective(dataset, model, task, SearchSettings())
    best = await best_labeling(objective)

    def right(labeling: Labeling) -> int:
        return sum(labeling[key] == label for key, label in gold.items())

    hits = as_right = 0
    for seed in range(seeds):
        result = await search_labels(dataset, model, task=task, settings=SearchSettings(preset=preset, seed=seed))
        # Whatever a preset maximises, its labels are judged by what the default does.
        hits += (await objective(result.labeling)).value >= best.value - TOLERANCE
        as_right += right(result.labeling) >= right(best.labeling)
    return hits, as_right


async def _table() -> list[str]:
    rows = [f"of {SEEDS} seeds: value within {TOLERANCE} of the best by brute force / at least as many labels right"]
    rows.append(f"  {'set':<32}{'default':>10}{'paper':>10}{'reference':>10}")
    for case in CASES:
        counts = []
        for preset in get_args(Preset):
            async with open_model("pocket") as model:
                counts.append("{} / {}".format(*await found(case, preset, model)))
        rows.append(f"  {case:<32}" + "".join(f"{count:>10}" for count in counts))
    return rows


def report() -> Iterator[str]:
    """The figures, a line each."""
    yield from asyncio.run(_table())
