"""The bars of a comparison, as `comparison.json` has them. Measures nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from icm_api.errors import RunError

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True, slots=True)
class ComparedBar:
    """One way to get labels, and accuracy on held-out examples with it: mean and, where there are any, limits."""

    name: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """The bars of a comparison.

    Attributes:
        bars: in its order; rows that have no accuracy on held-out examples are left out.
        seeds: how many it ran.
        model: which it asked.
        notes: what else a reader has to know.
    """

    bars: tuple[ComparedBar, ...]
    seeds: int
    model: str
    notes: tuple[str, ...]


def read_comparison(folder: Path) -> Compared:
    """The bars of a finished comparison.

    Raises:
        RunError: the file is missing, is no comparison, or has a bad row; which one.
    """
    path = folder / COMPARISON_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing: {folder} is not the folder of a finished comparison") from error
    except (OSError, ValueError) as error:
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
