"""A finished comparison: its rows and their means over seeds; its files, written here and read here.

It prints and draws nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from icm_api.compare.crossed import METHOD, OverSeeds
from icm_api.errors import RunError
from icm_api.evaluation import Measure
from icm_api.evaluation.intervals import LEVEL
from icm_api.files import write_whole

LABELS, HELD_OUT = "labels", "held_out"
"""What is measured: the labels that a method gives the searched examples, and what its demonstrations are worth."""
_COMPARISON_FILE = "comparison.json"
_COLUMNS = ("row", "part", "metric", "mean", "low", "high", "seeds", "note")


@dataclass(frozen=True, slots=True)
class Cost:
    """Per seed, on average: what a row asks by itself, whether a cache answers or the model.

    Attributes:
        requests: asked, those to a server's tokenizer included.
        prompt_tokens: in them.
        money: in the currency of the prices, no discount for prefixes that a server has; None if prices are not known.
    """

    requests: float
    prompt_tokens: float
    money: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One of the two things measured, of one row.

    Attributes:
        metrics: over seeds, by name: accuracy, balanced_accuracy, auroc, calibration_error.
        cost: of getting these labels, or of asking for the held-out ones.
        demonstrations: in a prompt for a held-out example, on average over seeds; None for `LABELS`.
        recovered: share of the gap from zero-shot to golden labels; None if zero-shot or golden labels were not asked.
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
        parts: `LABELS` and `HELD_OUT`, those that make sense and were asked.
        note: what else to know; why there are no numbers, if there are none.
    """

    method: str
    title: str
    parts: Mapping[str, Part]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One row's accuracy less another's, paired over seeds and examples.

    Attributes:
        row, less: names of the two methods.
        part: `LABELS` or `HELD_OUT`.
        measure: the difference of the means, in [-1, 1], with the 2.5% and 97.5% quantiles of its draws.
    """

    row: str
    less: str
    part: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class Point:
    """Agreement with gold after a step of a search, over the examples that are labelled and have gold.

    Attributes:
        seed: of the search.
        step, restart: where in the search.
        requests: asked for by then.
        current: share of right labels at that step, in [0, 1]; None if no labelled example has gold.
        best: likewise of the best complete labels so far; None before the first.
    """

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
        set_aside: examples that no row has an answer for, by id, and why.
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
    set_aside: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a reader has to know of the rows."""
        told = [f"{row.title}: {row.note}" for row in self.rows if row.note]
        if self.set_aside:
            first, why = next(iter(self.set_aside.items()))
            others = len(self.set_aside) - 1
            more = f", and {others} more: see set_aside in {_COMPARISON_FILE}" if others else ""
            told.append(f"set aside, and left out of every row: {first!r} ({why}){more}")
        return tuple(told)

    def row(self, method: str) -> Row | None:
        """The row of a method; None if it has no numbers."""
        return next((row for row in self.rows if row.method == method and row.parts), None)

    def save(self, folder: Path) -> list[Path]:
        """Write `table.csv`, `comparison.json`, and what there is of `iterations.csv` and `demonstrations.csv`.

        `table.csv` is tidy: a line per row, part and metric, with mean, limits and number of seeds.

        Args:
            folder: of the comparison.

        Returns:
            The files written.

        Raises:
            StorageError: a file cannot be written.
        """
        files = {
            "table.csv": _csv(_COLUMNS, self._table()),
            _COMPARISON_FILE: json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n",
        }
        if self.iterations:
            points = (tuple(map(_shown, asdict(at).values())) for at in self.iterations)
            files["iterations.csv"] = _csv(Point.__slots__, points)
        if self.demonstrations:
            curve = ((count, *_numbers(found.measure())) for count, found in self.demonstrations)
            files["demonstrations.csv"] = _csv(("demonstrations", "mean", "low", "high"), curve)
        for name, text in files.items():
            write_whole(folder / name, text)
        return [folder / name for name in files]

    def _table(self) -> Iterator[tuple[object, ...]]:
        for row in self.rows:
            yield from _row_lines(row, len(self.seeds))
        for each in self.differences:
            numbers = _numbers(each.measure)
            yield f"{each.row} - {each.less}", each.part, "accuracy", *numbers, len(self.seeds), "paired"

    def as_json(self) -> dict[str, Any]:
        """All but the iterations as plain values, as `comparison.json` has them; a note says why a number is null."""
        return {
            "model": self.model,
            "chat": self.chat,
            "seeds": list(self.seeds),
            "searched": list(self.searched),
            "held_out": list(self.held_out),
            "set_aside": dict(self.set_aside),
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


def _csv(header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class ComparedBar:
    """One way to get labels, and accuracy on held-out examples with them.

    Attributes:
        name: for people.
        mean: over seeds, in [0, 1].
        low, high: 95% limits; None if there are none.
    """

    name: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """The bars of a comparison, as read back.

    Attributes:
        bars: in the order of its rows; rows that have no accuracy on held-out examples are left out.
        seeds: how many were run.
        model: who was asked.
        notes: what else a reader has to know.
    """

    bars: tuple[ComparedBar, ...]
    seeds: int
    model: str
    notes: tuple[str, ...]


def read_comparison(folder: Path) -> Compared:
    """The bars of a finished comparison.

    Args:
        folder: of the comparison.

    Raises:
        RunError: the file is missing, is no comparison, or has a bad row; which row.
    """
    path = folder / _COMPARISON_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: {folder} is not the folder of a finished comparison") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    try:
        rows, seeds, model, notes = found["rows"], found["seeds"], found["model"], found["notes"]
        bars = tuple(bar for number, row in enumerate(rows, 1) for bar in _bar(row, f"{path}: row {number}"))
        return Compared(bars, len(seeds), str(model), tuple(map(str, notes)))
    except (KeyError, TypeError) as error:
        raise RunError(f"{path}: not a comparison: {error!r}") from error


def _bar(row: Mapping[str, Any], where: str) -> Iterator[ComparedBar]:
    try:
        measure = row["held_out"]["accuracy"] if "held_out" in row else None
        if measure is None or measure["mean"] is None:
            return
        low, high = (None if measure[key] is None else _number(measure[key]) for key in ("low", "high"))
        bar = ComparedBar(str(row["title"]), _number(measure["mean"]), low, high)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{where}: not a row of a comparison: {error!r}") from error
    yield bar


def _number(value: Any) -> float:
    if not isfinite(number := float(value)):
        raise ValueError(f"{value} is not finite")
    return number
