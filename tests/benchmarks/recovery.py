"""How often each preset ends at the labeling that brute force finds best, on sets of up to 10 examples.

Sets are of the pocket world's tasks, the model is the embedded one. A search has found the best labeling when
its U is within 0.5 of the best U of all 2^n complete labelings. All presets have the same budget of steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import product

from icm_api.client import Client, open_provider
from icm_api.config import SearchSettings
from icm_api.consistency import Constraint, asymmetric, equivalent, mutually_exclusive
from icm_api.objective import Objective
from icm_api.pocket.world import make_claims
from icm_api.prompts import PromptTemplate
from icm_api.search import Task, build_objective, search_labels
from icm_api.types import Dataset, Example, Labeling

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


async def best_utility(objective: Objective) -> float:
    """U of the best complete labeling, by trying all."""
    ids = objective.dataset.ids
    return max(
        [
            (await objective(Labeling(dict(zip(ids, labels, strict=True))))).utility
            for labels in product(objective.labels, repeat=len(ids))
        ]
    )


async def found(case: str, preset: str, model: Client, seeds: int = SEEDS) -> tuple[int, int]:
    """In how many seeds a preset found the best labeling, and its requests over all seeds."""
    name, size, constraints = CASES[case]
    dataset = dataset_of(name, size, seed=0)
    task = Task(PromptTemplate(separator="\n"), constraints=constraints)
    best = await best_utility(build_objective(dataset, model, task, SearchSettings()))
    hits, before = 0, model.usage.requests
    for seed in range(seeds):
        settings = SearchSettings(preset=preset, seed=seed)  # type: ignore[arg-type]
        result = await search_labels(dataset, model, task=task, settings=settings)
        score = await build_objective(dataset, model, task, SearchSettings())(result.labeling)
        hits += score.utility >= best - TOLERANCE
    return hits, model.usage.requests - before


async def _table() -> list[str]:
    rows = [f"best labeling by brute force found (U within {TOLERANCE}), of {SEEDS} seeds"]
    rows.append(f"  {'set':<32}{'default':>10}{'paper':>10}{'reference':>10}")
    for case in CASES:
        counts = []
        for preset in ("default", "paper", "reference"):
            async with open_provider("pocket") as model:
                counts.append((await found(case, preset, model))[0])
        rows.append(f"  {case:<32}" + "".join(f"{count:>10}" for count in counts))
    return rows


def report() -> Iterator[str]:
    """The figures, a line each."""
    yield from asyncio.run(_table())
