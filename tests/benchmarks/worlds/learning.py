"""Thresholds for "coherent" and "named by the prior", learned on some families of worlds and shown on the others.

`python -m tests.benchmarks worlds --json FILE`, then `python -m tests.benchmarks worlds --learn FILE`. A judge is a few
numbers of a run, each of which must reach a threshold. Of all thresholds on a grid, those count that misjudge least in
the worst worlds of the half learned on (families with a wrong concept have no say in what is false); of these, the one
in the middle is taken. Then the halves are exchanged, which shows how much the choice depends on the families.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_api.evaluation.null import lead_needed
from icm_api.evaluation.thresholds import NAMED
from tests.benchmarks.worlds.measuring import Numbers, comfort_of, promised

Array = NDArray[Any]
MOST_FALSE, MOST_LOST = 0.05, 0.15


def share(row: Numbers) -> float:
    """Information of the labels found as a share of the most that it could be."""
    return float(row["diagnosis"]["measures"]["null"]["share"])


def lead(row: Numbers) -> float:
    """By how many times what is needed the labels found are ahead of the null."""
    null = row["diagnosis"]["measures"]["null"]
    return float(null["ahead"]) / lead_needed(null["share"] - null["ahead"], null.get("units") or null["examples"])


def auroc(row: Numbers) -> float:
    """How well zero-shot log-odds order the labels found, or two of many that they exchange; one half if nothing is."""
    prior = row["diagnosis"]["measures"]["prior"]
    pair = prior.get("weakest_pair")
    if pair is not None and pair["auroc"] <= 1 - NAMED:
        return float(pair["auroc"])
    return 0.5 if prior["auroc"] is None else float(prior["auroc"])


def told(row: Numbers) -> float:
    """Share of what could be known that zero-shot predictions tell."""
    return float(row["diagnosis"]["measures"]["prior"]["information_alone"])


def passing(row: Numbers) -> float:
    """Probability that a check passes: 16 of 20 labels drawn at random, without replacement, are right."""
    size, asked, needed = int(row["size"]), 20, 16
    right = round(row["gold_accuracy"] * size)
    ways = sum(comb(right, hits) * comb(size - right, asked - hits) for hits in range(needed, asked + 1))
    return ways / comb(size, asked)


Criterion = tuple[str, Callable[[Numbers], float], Sequence[float]]
JUDGE: tuple[Criterion, ...] = (
    ("share", share, (0.2, 0.3, 0.4, 0.5, 0.6)),
    ("lead", lead, (0.0, 0.3, 0.5, 0.7, 0.85, 1.0, 1.3)),
    ("auroc", auroc, (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)),
    ("told", told, (-1.0, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2)),
)
"""Information in context as a share of the most that it could be, how far that is ahead of the null, and the prior."""
SHIPS: tuple[Criterion, ...] = (("promised", lambda row: float(promised(row)), (1.0,)),)


@dataclass(frozen=True, slots=True)
class Tables:
    """Runs of some worlds as arrays, one row per run.

    Attributes:
        values: per criterion of a judge, its number for every run, [criteria, runs].
        worlds: the place of each run's world in `names`.
        names: of the worlds.
        bad, good: what gold says of each run, see `measuring.Comfort`.
        wrong: whether the world holds a coherent wrong concept.
        passing: with which probability a check by a person passes.
    """

    values: Array
    worlds: Array
    names: tuple[str, ...]
    bad: Array
    good: Array
    wrong: Array
    passing: Array

    @classmethod
    def of(cls, rows: Sequence[Numbers], judge: Sequence[Criterion]) -> Tables:
        """Of runs and a judge."""
        comforts = [comfort_of(row) for row in rows]
        names = tuple(dict.fromkeys(row["world"] for row in rows))
        return cls(
            np.array([[measured(row) for row in rows] for _, measured, _ in judge]),
            np.array([names.index(row["world"]) for row in rows]),
            names,
            np.array([each.bad for each in comforts]),
            np.array([each.good for each in comforts]),
            np.array([row["wrong"] for row in rows]),
            np.array([passing(row) if row["size"] >= 20 else 0.0 for row in rows]),
        )

    def given(self, thresholds: Sequence[float]) -> Array:
        """Per run, whether all thresholds are reached."""
        return np.asarray(np.all(self.values >= np.array(thresholds)[:, None], axis=0))

    def checked(self, thresholds: Sequence[float]) -> Array:
        """Per world, false comfort that a passed check would confirm, as a share of all its runs."""
        confirmed = np.where(self.bad & self.given(thresholds), self.passing, 0.0)
        return self._count(confirmed) / self._count(np.ones(len(confirmed)))

    def rates(self, thresholds: Sequence[float]) -> tuple[Array, Array]:
        """Per world, false comfort as a share of all its runs, and lost comfort as a share of its good ones."""
        given = self.given(thresholds)
        runs, good = self._count(np.ones(len(given), dtype=bool)), self._count(self.good)
        return self._count(given & self.bad) / runs, self._count(~given & self.good) / np.maximum(good, 1)

    def loss(self, thresholds: Sequence[float]) -> float:
        """By how much the worlds exceed what is allowed; worlds with a wrong concept only by what is lost."""
        false, lost = self.rates(thresholds)
        wrong = self._count(self.wrong) > 0
        # A world with hardly a good run says little of what is lost.
        lost = np.where((self._count(self.good) >= 5) & ~wrong, lost, 0.0)
        over = np.maximum(np.where(wrong, 0.0, false) - MOST_FALSE, 0) * 3 + np.maximum(lost - MOST_LOST, 0)
        return float(over.sum())

    def _count(self, chosen: Array) -> Array:
        return np.bincount(self.worlds, chosen, len(self.names))


def learned(tables: Tables, judge: Sequence[Criterion]) -> tuple[float, ...]:
    """The thresholds in the middle of those that lose least.

    Args:
        tables: of the worlds to learn on.
        judge: what to choose thresholds of.
    """
    grid = list(product(*(values for _, _, values in judge)))
    losses = np.array([tables.loss(each) for each in grid])
    best = [each for each, loss in zip(grid, losses, strict=True) if loss <= losses.min() + 1e-9]
    places = np.array([[values.index(at) for at, (_, _, values) in zip(each, judge, strict=True)] for each in best])
    nearest = np.abs(places - np.median(places, axis=0)).sum(axis=1).argmin()
    return best[int(nearest)]


def shown(name: str, tables: Tables, thresholds: Sequence[float]) -> Iterator[str]:
    """What thresholds do in worlds that they were not learned on: the worst worlds, and how many are within bounds."""
    false, lost = tables.rates(thresholds)
    checked, good = tables.checked(thresholds), np.bincount(tables.worlds, tables.good, len(tables.names))
    wrong = np.bincount(tables.worlds, tables.wrong, len(tables.names)) > 0
    for kind, chosen in (("no wrong concept", ~wrong), ("a wrong concept", wrong)):
        at = np.flatnonzero(chosen)
        over = [f"{tables.names[one]} {false[one]:.0%}" for one in at if false[one] > MOST_FALSE]
        missed = [f"{tables.names[one]} {lost[one]:.0%} of {good[one]:.0f}" for one in at if lost[one] > MOST_LOST]
        yield f"    {name}, {kind}: {len(at)} worlds; false comfort above {MOST_FALSE:.0%}: {', '.join(over) or 'none'}"
        yield f"      lost comfort above {MOST_LOST:.0%}: {', '.join(missed) or 'none'}"
        yield f"      false comfort with a passed check, in the worst world: {checked[at].max():.1%}"


def lines(rows: Sequence[Numbers]) -> Iterator[str]:
    """Thresholds learned on one half and shown on the other, both ways; and the judge that ships.

    Args:
        rows: of runs, as `measuring.measure` gives them.
    """
    halves: dict[str, list[Numbers]] = defaultdict(list)
    for row in rows:
        halves[row["half"]].append(row)
    yield "the judge that ships"
    for half, part in halves.items():
        yield from shown(half, Tables.of(part, SHIPS), (1.0,))
    for own, other in (("learned", "left-out"), ("left-out", "learned")):
        thresholds = learned(Tables.of(halves[own], JUDGE), JUDGE)
        written = ", ".join(f"{one[0]} >= {at:g}" for one, at in zip(JUDGE, thresholds, strict=True))
        yield f"from the families {own}: {written}"
        yield from shown(own, Tables.of(halves[own], JUDGE), thresholds)
        yield from shown(other, Tables.of(halves[other], JUDGE), thresholds)


def report(path: Path) -> None:
    """Print what is learned from a file of runs.

    Args:
        path: JSON Lines, a run each.
    """
    with path.open(encoding="utf-8") as stream:
        for line in lines([json.loads(each) for each in stream]):
            print(line)
