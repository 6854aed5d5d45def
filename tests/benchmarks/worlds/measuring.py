"""One run in a world: the default search, its judge, and every number of it that a judge could use.

Gold is seen by the columns named after it and by nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, log
from statistics import fmean, pstdev
from typing import Any

from icm_api.chance import draw
from icm_api.config import DiagnosticsSettings, SearchSettings
from icm_api.evaluation.bootstrap import opinion_spread
from icm_api.evaluation.coherence import agreement_renamed
from icm_api.evaluation.distance import agreement
from icm_api.evaluation.null import null_of
from icm_api.objective import Calibration, Objective, information_terms
from icm_api.runs.judging import Trail, judged, with_zero_shot
from icm_api.search import Found, build_objective, result_of, search
from icm_api.types import Label, Labeling, Predictions
from tests.benchmarks.worlds.families import LEARNED, WORLDS
from tests.benchmarks.worlds.nulls import NULLS, null_run

Numbers = dict[str, Any]
ORDERS = 2


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
    labels, gold = found.score.labeling, sample.gold
    row: Numbers = {
        "world": name,
        "family": world.family,
        "half": "learned" if world in LEARNED else "left-out",
        "wrong": world.wrong,
        "size": len(sample.dataset),
        "seed": seed,
        "classes": len(objective.labels),
        "ordinal": world.mind.ordinal,
        "constraints": len(objective.relations),
        "statistic": objective.statistic,
        "gold_accuracy": agreement(labels, gold),
        "gold_balanced": _balanced(labels, gold),
        "gold_renamed": agreement_renamed(gold, labels, objective.labels),
        "gold_off_by": fmean(
            abs(objective.labels.index(labels[key]) - objective.labels.index(gold[key])) for key in gold
        ),
        "verdict": diagnosis["verdict"],
        "diagnosis": {key: value for key, value in diagnosis.items() if key not in ("reasons", "advice")},
        "search_requests": found.usage.requests,
        "judge_requests": diagnosis["measures"]["requests"],
    }
    return row | await _statistics(found, trail.labelings, seed)


async def _statistics(found: Found, path: Sequence[Labeling], seed: int) -> Numbers:
    objective = replace(found.objective, tally=found.objective.tally.part())
    labels, zero_shot = found.score.labeling, await objective.conditionals(objective.dataset.ids, Labeling())
    row = _of("context", found.score.distributions, labels, objective) | _of("alone", zero_shot, labels, objective)
    others = [objective.reordered(draw(seed, at, "order of demonstrations")) for at in range(ORDERS)]
    orders = [(await other(labels)).distributions for other in others]
    worth = [_information(reads, labels, objective) for reads in (found.score.distributions, *orders)]
    row |= {
        "order_flips": fmean(
            reads[key].best != found.score.distributions[key].best for reads in orders for key in labels
        ),
        "order_deviation": pstdev(worth),
        "majority": max(Counter(labels.values()).values()) / len(labels),
        "entropy": _entropy(labels),
        "drift": _towards(path, labels),
        "moved": 1 - agreement(path[0], labels),
        "ends_agree": fmean(agreement(end, labels) for end in found.ends),
        "witness": agreement(found.ends[-1], labels),
        "witness_renamed": agreement_renamed(labels, found.ends[-1], objective.labels),
    }
    shipped = await null_of(objective, found.score, seed)
    row["null_shipped"] = None if shipped is None else shipped.as_json()
    for name, null in NULLS.items():
        for key, value in (await null_run(objective, null, seed)).items():
            row[f"null_{name}_{key}"] = value
    return row


def _of(name: str, reads: Predictions, labels: Labeling, objective: Objective) -> Numbers:
    """What predictions say of the labels, raw and calibrated; nats per example, as they are and as shares."""
    row: Numbers = {}
    for way in ("none", "batch", "centres"):
        terms = information_terms(Calibration(way)(reads), labels, objective.relations)
        given, average = (fsum(column) / len(labels) for column in zip(*terms, strict=True))
        row |= {f"{name}_{way}_nats": given - average, f"{name}_{way}_sure": given, f"{name}_{way}_guess": -average}
        row[f"{name}_{way}_agrees"] = fmean(read.best == labels[key] for key, read in Calibration(way)(reads).items())
    return row | {
        f"{name}_auroc": auroc(reads, labels),
        f"{name}_spread": opinion_spread(reads),
        f"{name}_majority": max(Counter(read.best for read in reads.values()).values()) / len(reads),
    }


def _information(reads: Predictions, labels: Labeling, objective: Objective) -> float:
    return fsum(term.information for term in information_terms(reads, labels, objective.relations)) / len(labels)


def auroc(reads: Predictions, labels: Mapping[str, Label]) -> float | None:
    """Share of pairs of differently labelled examples that the log-odds of their two labels order rightly.

    Args:
        reads: a distribution per example.
        labels: of the same examples.

    Returns:
        In [0, 1], ties half, the mean over pairs of labels; None if all labels are alike.
    """
    by_label: dict[Label, list[str]] = {}
    for key, label in labels.items():
        by_label.setdefault(label, []).append(key)
    means = []
    names = sorted(by_label)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            odds = {
                key: reads[key].logprob(one) - reads[key].logprob(other) for key in (*by_label[one], *by_label[other])
            }
            wins = [(odds[a] > odds[b]) + (odds[a] == odds[b]) / 2 for a in by_label[one] for b in by_label[other]]
            means.append(fmean(wins))
    return fmean(means) if means else None


def _entropy(labels: Mapping[str, Label]) -> float:
    counts = Counter(labels.values()).values()
    return -fsum(count / len(labels) * log(count / len(labels)) for count in counts)


def _towards(path: Sequence[Labeling], labels: Labeling) -> float:
    """By how much the share of the commonest label has grown since the search began."""
    label, count = Counter(labels.values()).most_common(1)[0]
    first = next(labeling for labeling in path if labeling)
    return count / len(labels) - Counter(first.values())[label] / len(first)


def _balanced(labels: Mapping[str, Label], gold: Mapping[str, Label]) -> float:
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
