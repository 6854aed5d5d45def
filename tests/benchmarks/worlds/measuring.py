"""One run in a world: the default search, its judge, and what the judge measured.

Gold is seen by the columns named after it and by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from icm_api.config import DiagnosticsSettings, SearchSettings
from icm_api.evaluation.coherence import agreement_renamed
from icm_api.evaluation.distance import agreement
from icm_api.runs.judging import Trail, judged, with_zero_shot
from icm_api.search import build_objective, result_of, search
from icm_api.types import Label
from tests.benchmarks.worlds.families import LEARNED, WORLDS

Numbers = dict[str, Any]


async def measure(name: str, size: int, seed: int) -> Numbers:
    """One world, size and seed, as a row of plain values.

    Args:
        name: of the world.
        size: about how many examples.
        seed: of the data set and of the search.
    """
    world = WORLDS[name]
    sample = world.sample(size, seed)
    settings, trail = SearchSettings(seed=seed), Trail()
    objective = build_objective(sample.dataset, sample.model, sample.task, settings)
    found = await search(objective, settings, on_step=lambda progress: trail.add(progress.state.labeling))
    result = await with_zero_shot(found, result_of(found, settings), settings)
    result = await judged(found, result, trail, DiagnosticsSettings(), seed)
    diagnosis = result.about["diagnosis"]
    labels, gold, measures = found.score.labeling, sample.gold, diagnosis["measures"]
    return {
        "world": name,
        "family": world.family,
        "half": "learned" if world in LEARNED else "left-out",
        "wrong": world.wrong,
        "size": len(sample.dataset),
        "asked_size": size,
        "seed": seed,
        "estimator": objective.estimator.name,
        "gold_accuracy": agreement(labels, gold),
        "gold_balanced": balanced(labels, gold),
        "gold_renamed": agreement_renamed(gold, labels, objective.labels),
        "verdict": diagnosis["verdict"],
        "diagnosis": diagnosis,
        "requests": measures["requests"] / found.usage.requests,
        "tokens": measures["tokens"] / found.usage.prompt_tokens,
    }


def balanced(labels: Mapping[str, Label], gold: Mapping[str, Label]) -> float:
    """Share of the labels that are right, of the examples of each gold label on average.

    Args:
        labels: found, of all examples.
        gold: what is so.
    """
    return fmean(
        fmean(labels[key] == label for key, own in gold.items() if own == label) for label in set(gold.values())
    )


@dataclass(frozen=True, slots=True)
class Comfort:
    """What the first line of a verdict promises, and whether it may.

    Attributes:
        given: the labels are called coherent or better, and named.
        bad: under 60% of them are right, or of the labels of each class on average.
        good: over 85% of them are right, and over 75% of the labels of each class on average.
    """

    given: bool
    bad: bool
    good: bool

    @property
    def false(self) -> bool:
        """Comfort that misleads."""
        return self.given and self.bad

    @property
    def lost(self) -> bool:
        """No comfort for a good run."""
        return self.good and not self.given


def promised(row: Mapping[str, Any]) -> bool:
    """Whether the judge calls the labels coherent or better, and named; in one word, or in an answer to each question.

    Args:
        row: of a run.
    """
    diagnosis = row.get("diagnosis", {})
    if "coherent" not in diagnosis:
        return bool(row["verdict"] == "salient")
    return bool(diagnosis["coherent"] == "coherent" and diagnosis["named"]["answer"] != "unsettled")


BAD, GOOD, GOOD_BALANCED = 0.6, 0.85, 0.75


def comfort_of(row: Mapping[str, Any], given: bool | None = None) -> Comfort:
    """Comfort given by the judge that ships, or by another one.

    Args:
        row: of a run.
        given: by another judge; None for the one that ships.
    """
    said = promised(row) if given is None else given
    accuracy, balanced = row["gold_accuracy"], row["gold_balanced"]
    return Comfort(said, min(accuracy, balanced) < BAD, accuracy > GOOD and balanced > GOOD_BALANCED)
