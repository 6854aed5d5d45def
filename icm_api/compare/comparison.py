"""A finished comparison: its rows, what they come to over seeds, and how that is written down.

It prints and draws nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

from icm_api.compare.crossed import METHOD, OverSeeds
from icm_api.evaluation import Measure
from icm_api.evaluation.intervals import LEVEL

LABELS, HELD_OUT = "labels", "held_out"
"""What is measured: the labels that a method gives the searched examples, and what its demonstrations are worth."""
COLUMNS = ("row", "part", "metric", "mean", "low", "high", "seeds", "note")


@dataclass(frozen=True, slots=True)
class Cost:
    """Per seed, on average: what a row asks by itself, whether a cache answers or the model.

    Attributes:
        requests: asked, those to a server's tokenizer included.
        prompt_tokens: in them.
        money: by the prices given, no discount for prefixes that a server has; None where there are none.
    """

    requests: float
    prompt_tokens: float
    money: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One of the two things measured, of one row.

    Attributes:
        metrics: by name, over seeds.
        cost: of getting these labels, or of asking for the held-out ones.
        demonstrations: in a prompt for a held-out example, on average over seeds; None for `LABELS`.
        recovered: share of the gap from zero-shot to golden labels; None where it is not defined for the row.
    """

    metrics: Mapping[str, OverSeeds]
    cost: Cost
    demonstrations: float | None = None
    recovered: Measure | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One method.

    Attributes:
        method: its name in the configuration.
        title: for people.
        parts: `LABELS` and `HELD_OUT`, where they make sense and were asked.
        note: what else to know; why there are no numbers, where there are none.
    """

    method: str
    title: str
    parts: Mapping[str, Part]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One row's accuracy less another's, paired over seeds and examples."""

    row: str
    less: str
    part: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Point:
    """Agreement with gold after a step, over the examples that are labelled and have gold; None where none is."""

    seed: int
    step: int
    restart: int
    requests: int
    current: float | None
    best: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The baseline panel.

    Attributes:
        rows: in the order of the configuration.
        differences: between ICM and the rows that say what its search is worth.
        seeds: that were run.
        searched, held_out: examples with gold in each seed.
        model, chat: who was asked; no chat model, None.
        iterations: agreement with gold over ICM's steps.
        demonstrations: held-out accuracy by number of ICM-labelled demonstrations.
    """

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    seeds: tuple[int, ...]
    searched: tuple[int, ...]
    held_out: tuple[int, ...]
    model: str
    chat: str | None
    iterations: tuple[Point, ...] = ()
    demonstrations: tuple[tuple[int, OverSeeds], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a reader has to know of the rows."""
        return tuple(f"{row.title}: {row.note}" for row in self.rows if row.note)

    def row(self, method: str) -> Row | None:
        """The row of a method, where it has numbers."""
        return next((row for row in self.rows if row.method == method and row.parts), None)

    def table_csv(self) -> str:
        """Tidy: a line per row, part and metric."""
        lines = [
            *(line for row in self.rows for line in _row_lines(row, len(self.seeds))),
            *(
                (f"{each.row} - {each.less}", each.part, "accuracy", *_numbers(each.measure), len(self.seeds), "paired")
                for each in self.differences
            ),
        ]
        return _csv(COLUMNS, lines)

    def iterations_csv(self) -> str:
        """Agreement with gold after every step."""
        return _csv(Point.__slots__, (tuple(_shown(value) for value in asdict(at).values()) for at in self.iterations))

    def demonstrations_csv(self) -> str:
        """Held-out accuracy by number of demonstrations."""
        rows = ((_shown(count), *_numbers(found.measure())) for count, found in self.demonstrations)
        return _csv(("demonstrations", "mean", "low", "high"), rows)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values; null stands where a note says why."""
        return {
            "model": self.model,
            "chat": self.chat,
            "seeds": list(self.seeds),
            "searched": list(self.searched),
            "held_out": list(self.held_out),
            "interval": {"level": LEVEL, "method": METHOD},
            "rows": [_row_json(row) for row in self.rows],
            "differences": [
                {"row": each.row, "less": each.less, "part": each.part, "accuracy": _measure_json(each.measure)}
                for each in self.differences
            ],
            "demonstrations": [
                {"demonstrations": count, "accuracy": _measure_json(found.measure())}
                for count, found in self.demonstrations
            ],
            "notes": list(self.notes),
        }


def _row_lines(row: Row, seeds: int) -> Iterator[tuple[object, ...]]:
    if not row.parts:
        yield row.method, "", "", "", "", "", 0, row.note
    for name, part in row.parts.items():
        measures = {metric: found.measure() for metric, found in part.metrics.items()}
        if part.recovered is not None:
            measures["gap_recovered"] = part.recovered
        for metric, found in measures.items():
            yield row.method, name, metric, *_numbers(found), seeds, found.note
        costs = {**asdict(part.cost), "demonstrations": part.demonstrations}
        for metric, value in costs.items():
            if value is not None:
                yield row.method, name, metric, _shown(value), "", "", seeds, ""


def _row_json(row: Row) -> dict[str, Any]:
    parts = {
        name: {
            **{
                metric: {**_measure_json(found.measure()), "seeds": [_known(value) for value in found.seeds]}
                for metric, found in part.metrics.items()
            },
            "gap_recovered": None if part.recovered is None else _measure_json(part.recovered),
            "cost": asdict(part.cost),
            "demonstrations": part.demonstrations,
        }
        for name, part in row.parts.items()
    }
    return {"method": row.method, "title": row.title, "note": row.note, **parts}


def _measure_json(found: Measure) -> dict[str, Any]:
    return {"mean": found.value, "low": found.low, "high": found.high, "note": found.note}


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _numbers(found: Measure) -> tuple[object, ...]:
    return _shown(found.value), _shown(found.low), _shown(found.high)


def _shown(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return "" if value is None else value


def _csv(header: tuple[str, ...], rows: Any) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
