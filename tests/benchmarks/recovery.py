"""How often each preset ends at the labeling that brute force finds best, on sets of up to 10 examples.

Sets are of the pocket world's tasks, the model is the embedded one. A search has found the best labeling when
its U is within 0.5 of the best U of all 2^n complete labelings. All presets have the same budget of steps.
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
from icm_api.types import Constraint, Dataset, Example, Labeling, PromptTemplate, Task

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


async def best_value(objective: Objective) -> float:
    """The largest value of all complete labelings, by trying all."""
    ids = objective.dataset.ids
    return max(
        [
            (await objective(Labeling(dict(zip(ids, labels, strict=True))))).value
            for labels in product(objective.labels, repeat=len(ids))
        ]
    )


async def found(case: str, preset: Preset, model: LanguageModel, seeds: int = SEEDS) -> int:
    """In how many seeds a preset found the best labeling."""
    name, size, constraints = CASES[case]
    dataset = dataset_of(name, size, seed=0)
    task = Task(PromptTemplate(separator="\n"), constraints=constraints)
    objective = build_objective(dataset, model, task, SearchSettings())
    best = await best_value(objective)
    hits = 0
    for seed in range(seeds):
        result = await search_labels(dataset, model, task=task, settings=SearchSettings(preset=preset, seed=seed))
        # Whatever a preset maximises, its labels are judged by what the default does.
        hits += (await objective(result.labeling)).value >= best - TOLERANCE
    return hits


async def _table() -> list[str]:
    rows = [f"best labeling by brute force found (value within {TOLERANCE}), of {SEEDS} seeds"]
    rows.append(f"  {'set':<32}{'default':>10}{'paper':>10}{'reference':>10}")
    for case in CASES:
        counts = []
        for preset in get_args(Preset):
            async with open_model("pocket") as model:
                counts.append(await found(case, preset, model))
        rows.append(f"  {case:<32}" + "".join(f"{count:>10}" for count in counts))
    return rows


def report() -> Iterator[str]:
    """The figures, a line each."""
    yield from asyncio.run(_table())
