"""A search's agreement with gold over its steps, from its trace; and how many demonstrations a curve tries.

Replays what the trace says was accepted; asks no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf

from icm_api.data import Gold
from icm_api.runs import TraceStep, replay
from icm_api.types import Labeling


@dataclass(frozen=True, slots=True)
class Moment:
    """A search after a step.

    Attributes:
        step: its number.
        restart: the restart it belongs to.
        requests: asked for by then.
        labeling: where the search stood.
        best: the complete labeling that it would have handed out; None before the first.
    """

    step: int
    restart: int
    requests: int
    labeling: Labeling
    best: Labeling | None


@dataclass(frozen=True, slots=True)
class Point:
    """Agreement with gold after a step, over the examples that are labelled and have gold; None where none is."""

    seed: int
    step: int
    restart: int
    requests: int
    current: float | None
    best: float | None


def moments(steps: Iterable[TraceStep], size: int) -> Iterator[Moment]:
    """Every step of a finished search.

    Args:
        steps: of its trace.
        size: examples in its data set.

    Raises:
        RunError: a line of the trace is damaged; which one.
    """
    best, most = None, -inf
    for step, labels in replay(steps):
        current = Labeling(labels)
        if len(current) == size and step.utility > most:
            best, most = current, step.utility
        yield Moment(step.step, step.restart, step.requests, current, best)


def over_iterations(steps: Iterable[TraceStep], size: int, gold: Gold, seed: int) -> list[Point]:
    """Agreement with gold after every step of a search, of its labels and of the best ones so far."""
    return [
        Point(seed, at.step, at.restart, at.requests, _agreement(at.labeling, gold), _agreement(at.best, gold))
        for at in moments(steps, size)
    ]


def _agreement(labeling: Labeling | None, gold: Gold) -> float | None:
    known = [label == gold[key] for key, label in (labeling or {}).items() if key in gold]
    return sum(known) / len(known) if known else None


def doubling(most: int) -> tuple[int, ...]:
    """0, 1, 2, 4, ... up to and with `most`.

    Example:
        >>> doubling(6), doubling(1)
        ((0, 1, 2, 4, 6), (0, 1))
    """
    counts = [0]
    while (following := max(1, 2 * counts[-1])) < most:
        counts.append(following)
    return (*counts, most)
