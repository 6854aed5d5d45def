"""The steps of a run as series that can be drawn: U, P, I, acceptance, temperature, label balance; and cost by stage.

It draws nothing, and reads no file: steps are what `FinishedRun.trace` gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from icm_api.result import Result
from icm_api.runs import TraceStep, replay
from icm_api.types import Label

MOST_POINTS = 2000
"""Steps that are drawn; of more, as many evenly spaced ones."""
_NUMBERS = ("step", "restart", "temperature", "value", "utility", "mutual_predictability", "inconsistency", "labelled")


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests and prompt tokens that a stage of the run asked for, whether a cache answered or the model."""

    name: str
    requests: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """All steps of a run, S of them, and K labels.

    Attributes:
        series: per number of a trace line its values, each of shape (S,).
        relabelings: whether the step proposed to change labels there are, shape (S,).
        accepted: whether it was a proposal that was taken and changed the labeling, shape (S,).
        drawn: positions of the steps to draw, ascending, D of them.
        balance: how many examples had each label after each drawn step, shape (D, K); None if the lines don't add
            up to the number of labelled examples that they state.
        chosen: whether the last step chose between the ends of all restarts.
        moves: requests and prompt tokens asked for by kind of move, in order of first use.
        changes: per example how often its label was changed, beginnings anew apart; examples never changed left out.
    """

    series: Mapping[str, NDArray[np.float64]]
    relabelings: NDArray[np.bool_]
    accepted: NDArray[np.bool_]
    drawn: NDArray[np.int64]
    balance: NDArray[np.int64] | None
    chosen: bool
    moves: Mapping[str, tuple[int, int]]
    changes: Mapping[str, int]

    @property
    def size(self) -> int:
        """S."""
        return len(self.accepted)

    def begins(self) -> NDArray[np.int64]:
        """Positions at which the search began anew, the first apart."""
        return np.flatnonzero(np.diff(self.series["restart"]) != 0) + 1

    def best(self, size: int) -> int | None:
        """Position of the step whose labels were handed out; None if none was complete.

        That is the last one if it chose, else the first of those with the largest value.

        Args:
            size: examples of the data set.
        """
        if self.chosen:
            return self.size - 1
        complete = np.flatnonzero(self.series["labelled"] == size)
        return int(complete[np.argmax(self.series["value"][complete])]) if len(complete) else None


@dataclass(slots=True)
class _Gathering:
    """What is gathered while steps go by."""

    labels: Sequence[Label]
    drawn: frozenset[int]
    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _NUMBERS})
    relabelings: list[bool] = field(default_factory=list)
    accepted: list[bool] = field(default_factory=list)
    moves: dict[str, tuple[int, int]] = field(default_factory=dict)
    changes: Counter[str] = field(default_factory=Counter)
    balance: list[list[int]] = field(default_factory=list)
    adds_up: bool = True
    chosen: bool = False
    asked: tuple[int, int] = (0, 0)

    def add(self, at: int, step: TraceStep, labels: Mapping[str, Label]) -> None:
        for name in _NUMBERS:
            self.columns[name].append(float(getattr(step, name)))
        self.relabelings.append(step.kind == "relabel")
        taken = step.accepted and step.kind in ("grow", "relabel")
        self.accepted.append(taken and step.old != step.new)
        self.chosen = step.kind == "choose"
        requests, tokens = self.moves.get(step.move, (0, 0))
        self.moves[step.move] = (
            requests + step.requests - self.asked[0],
            tokens + step.prompt_tokens - self.asked[1],
        )
        self.asked = (step.requests, step.prompt_tokens)
        if taken:
            for key, old, new in zip(step.examples, step.old, step.new, strict=True):
                self.changes[key] += old is not None and new is not None and old != new
        self.adds_up = self.adds_up and len(labels) == step.labelled
        if at in self.drawn:
            counts = Counter(labels.values())
            self.balance.append([counts[label] for label in self.labels])


def gathered(steps: Iterable[TraceStep], size: int, labels: Sequence[Label]) -> Trace:
    """The steps of a run as series.

    Args:
        steps: S of them, from the first.
        size: S, which says beforehand which of the steps are drawn.
        labels: the label set, in the order in which label balance is given.

    Raises:
        RunError: a line of the trace is damaged.
    """
    drawn = evenly(size, MOST_POINTS)
    found = _Gathering(labels, frozenset(drawn.tolist()))
    for at, (step, labelled) in enumerate(replay(steps)):
        found.add(at, step, labelled)
    return Trace(
        {name: np.array(values) for name, values in found.columns.items()},
        np.array(found.relabelings),
        np.array(found.accepted),
        drawn,
        np.array(found.balance, dtype=np.int64) if found.adds_up else None,
        found.chosen,
        found.moves,
        {key: times for key, times in found.changes.items() if times},
    )


def evenly(total: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the positions 0..total-1, evenly spaced, both ends included.

    Args:
        total: positions there are.
        most: positions to choose.

    Example:
        >>> evenly(3, 5).tolist(), evenly(9, 3).tolist()
        ([0, 1, 2], [0, 4, 8])
    """
    if total <= most:
        return np.arange(total)
    return np.unique(np.linspace(0, total - 1, most).round().astype(np.int64))


def accepted_by_window(trace: Trace, windows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the proposed relabelings that were accepted, in windows of equally many steps.

    Args:
        trace: S steps.
        windows: W, at most S.

    Returns:
        Edges of the windows as steps, shape (W + 1,), and shares, shape (W,); NaN if nothing was proposed in a window.
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


def stages(result: Result, trace: Trace) -> tuple[Stage, ...]:
    """What the search asked for, by kind of move, and what judging its labels asked for.

    Args:
        result: whose usage is the total. What it has beyond the last step of the trace is the judging.
        trace: of the search.
    """
    names = {"seed": "search: beginnings", "challenge": "search: challengers", "grow": "search: growth"}
    listed = [
        Stage(names.get(move, f"search: {move}"), requests, tokens) for move, (requests, tokens) in trace.moves.items()
    ]
    requests = result.usage.requests - sum(stage.requests for stage in listed)
    tokens = result.usage.prompt_tokens - sum(stage.prompt_tokens for stage in listed)
    if requests or tokens:
        listed.append(Stage("exact score, zero-shot and judging", requests, tokens))
    return tuple(listed)
