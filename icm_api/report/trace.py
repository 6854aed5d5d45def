"""The steps of a run as series that can be drawn: U, P, I, acceptance, temperature, label balance, cost by move.

Reads `trace.jsonl` a line at a time, since a long run's is large. Draws nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_api.errors import RunError
from icm_api.types import Label

MOST_POINTS = 2000
"""Steps that are drawn; of more, as many evenly spaced ones."""
ANEW = ("seed", "challenge")
"""Moves that begin anew: their labels replace all before them."""
RELABELINGS = ("relabel", "round", "sweep")
"""Moves that change labels there are; others add labels, or begin anew, and are always accepted."""
_NUMBERS = ("step", "restart", "temperature", "utility", "mutual_predictability", "inconsistency", "labelled")


@dataclass(slots=True)
class Move:
    """What one kind of move came to.

    Attributes:
        name: as the trace has it.
        steps: that made it.
        accepted: of them.
        requests, prompt_tokens: asked for in these steps.
    """

    name: str
    steps: int = 0
    accepted: int = 0
    requests: int = 0
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """All steps of a run, S of them, and K labels.

    Attributes:
        series: per number of a trace line its values, each of shape (S,).
        relabelings: whether the step proposed to change labels there are, shape (S,).
        accepted: whether its proposal became the labeling, shape (S,).
        drawn: positions of the steps to draw, ascending, D of them.
        balance: how many examples had each label after each drawn step, shape (D, K); None where the lines don't add
            up to the number of labelled examples that they state.
        moves: per kind of move, in order of first use.
        changes: per example how often its label was changed, beginnings anew apart; examples never changed left out.
    """

    series: Mapping[str, NDArray[np.float64]]
    relabelings: NDArray[np.bool_]
    accepted: NDArray[np.bool_]
    drawn: NDArray[np.int64]
    balance: NDArray[np.int64] | None
    moves: tuple[Move, ...]
    changes: Mapping[str, int]

    @property
    def size(self) -> int:
        """S."""
        return len(self.accepted)

    def begins(self) -> NDArray[np.int64]:
        """Positions at which the search began anew, the first apart."""
        return np.flatnonzero(np.diff(self.series["restart"]) != 0) + 1

    def best(self, size: int) -> int | None:
        """Position of the first step with the largest U of all complete labelings; None where none was complete."""
        complete = np.flatnonzero(self.series["labelled"] == size)
        return int(complete[np.argmax(self.series["utility"][complete])]) if len(complete) else None


@dataclass(slots=True)
class _Reader:
    """What is gathered while lines go by."""

    labels: Sequence[Label]
    drawn: frozenset[int]
    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _NUMBERS})
    relabelings: list[bool] = field(default_factory=list)
    accepted: list[bool] = field(default_factory=list)
    moves: dict[str, Move] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)
    balance: list[list[int]] = field(default_factory=list)
    adds_up: bool = True
    current: dict[str, Label] = field(default_factory=dict)
    counts: Counter[Label] = field(default_factory=Counter)
    asked: tuple[int, int] = (0, 0)

    def add(self, at: int, line: Mapping[str, Any]) -> None:
        for name in _NUMBERS:
            self.columns[name].append(float(line[name]))
        self.relabelings.append(line["move"] in RELABELINGS)
        self.accepted.append(bool(line["accepted"]))
        self._count_move(line)
        if line["accepted"]:
            self._follow(line)
        self.adds_up = self.adds_up and len(self.current) == line["labelled"]
        if at in self.drawn:
            self.balance.append([self.counts[label] for label in self.labels])

    def _count_move(self, line: Mapping[str, Any]) -> None:
        move = self.moves.setdefault(line["move"], Move(line["move"]))
        asked = (int(line["requests"]), int(line["prompt_tokens"]))
        move.steps += 1
        move.accepted += bool(line["accepted"])
        move.requests += asked[0] - self.asked[0]
        move.prompt_tokens += asked[1] - self.asked[1]
        self.asked = asked

    def _follow(self, line: Mapping[str, Any]) -> None:
        anew = line["move"] in ANEW
        if anew:
            self.current.clear()
            self.counts.clear()
        for key, label in zip(line["examples"], line["new"], strict=True):
            before = self.current.pop(key, None)
            if before is not None:
                self.counts[before] -= 1
            if label is not None:
                self.current[key] = label
                self.counts[label] += 1
            if not anew and before is not None and before != label:
                self.changes[key] += 1


def read_trace(path: Path, labels: Sequence[Label]) -> Trace:
    """The trace of a run.

    Args:
        path: of `trace.jsonl`.
        labels: the label set, in the order in which label balance is given.

    Raises:
        RunError: the file is missing, empty or damaged; which line.
    """
    try:
        with path.open("rb") as stream:
            total = sum(1 for _ in stream)
        if not total:
            raise RunError(f"{path} is empty: go on with the run by icm-api resume")
        drawn = evenly(total, MOST_POINTS)
        reader = _Reader(labels, frozenset(drawn.tolist()))
        for at, line in _lines(path):
            reader.add(at, line)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    return Trace(
        {name: np.array(values) for name, values in reader.columns.items()},
        np.array(reader.relabelings),
        np.array(reader.accepted),
        drawn,
        np.array(reader.balance, dtype=np.int64) if reader.adds_up else None,
        tuple(reader.moves.values()),
        dict(reader.changes),
    )


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open("rb") as stream:
        for at, raw in enumerate(stream):
            try:
                line = json.loads(raw)
                missing = [name for name in (*_NUMBERS, "move", "accepted", "examples", "new") if name not in line]
            except (ValueError, TypeError) as error:
                raise RunError(f"{path}:{at + 1}: not a step of a run: {error}") from error
            if missing:
                raise RunError(f"{path}:{at + 1}: not a step of a run: no {missing[0]!r}")
            yield at, line


def evenly(total: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the positions 0..total-1, evenly spaced, both ends included.

    Example:
        >>> evenly(3, 5).tolist(), evenly(9, 3).tolist()
        ([0, 1, 2], [0, 4, 8])
    """
    if total <= most:
        return np.arange(total)
    return np.unique(np.linspace(0, total - 1, most).round().astype(np.int64))


def accepted_by_window(trace: Trace, windows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the proposed relabelings that were accepted, in windows of equally many steps.

    Returns:
        Edges of the windows as steps, shape (W + 1,), and shares, shape (W,); NaN where nothing was proposed.
    """
    count = max(1, min(windows, trace.size))
    edges = np.unique(np.linspace(0, trace.size, count + 1).round().astype(np.int64))
    shares = []
    for low, high in pairwise(edges):
        proposed = trace.relabelings[low:high]
        taken = trace.accepted[low:high] & proposed
        shares.append(taken.sum() / proposed.sum() if proposed.any() else np.nan)
    first = trace.series["step"][0]
    return edges + first, np.array(shares, dtype=np.float64)
