"""The price of a label: configurations of this library beside the published search, each on the same rows and learner.

The published search is given twice: as it sends, and `once`, with nothing paid for twice, as if it had a cache by
prompt. `key of gold` takes TruthfulQA's relations from gold labels as its code does; without, there are none. U is
exact, averaged over three orders, less broken pairs of our relations; agreement is with what the learner's beliefs are
about, and an example without a label does not agree. Figures are per example; as the published search leaves examples
without a label, its tokens over ours are given for each label found, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from icm_api.types import Usage
from tests.benchmarks.price.learner import MINDS
from tests.benchmarks.price.published import STEPS
from tests.benchmarks.price.rows import SETS, Rows, rows_of
from tests.benchmarks.price.ruler import Price, exact_utility
from tests.benchmarks.price.ways import BY_GOLD, ONCE, PUBLISHED, WAYS, Reenacted, check, ours, published


@dataclass(frozen=True, slots=True)
class Cell:
    """One configuration on one set, learner and seed: figures a label, and what the labels are worth."""

    size: int
    price: Price
    utility: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Asked:
    """Which cells to compute.

    Attributes:
        name: of the set.
        mind: of the learner.
        size: examples asked for.
        seed: of rows and search.
        steps: of the published search.
        way: its name, or that of a published search.
    """

    name: str
    mind: str
    size: int
    seed: int
    steps: int
    way: str


_FIGURES: tuple[Callable[[Price], float], ...] = (
    lambda price: price.usage.requests,
    lambda price: price.usage.prompt_tokens,
    lambda price: price.new_tokens,
    lambda price: 1000 * price.money,
)
"""An example each; and the wall, which is not divided."""
HEADER = (
    f"  {'':<32}{'requests':>9}{'tokens':>11}{'new':>10}{'USD/1,000':>11}{'wall s':>9}{'U':>8}{'+-':>5}{'agrees':>8}"
    f"{'labelled':>10}   published, as sent, over this: requests, tokens, new, money, wall; tokens if each prompt was "
    "paid once; tokens a label found"
)


def line(name: str, of: Mapping[str, Sequence[Cell]]) -> str:
    """A line of the table: means over seeds, per example but for the wall and what the labels are worth.

    Args:
        name: of the configuration.
        of: the cells of all of them, a seed each. Ratios are over the seeds that both have.
    """
    cells = of[name]
    requests, tokens, new, money, wall = _means(cells)
    worth = [each.utility for each in cells]
    said = (
        f"  {name:<32}{requests:>9,.2f}{tokens:>11,.0f}{new:>10,.0f}{money:>11.2f}{wall:>9.1f}{fmean(worth):>8.1f}"
        f"{stdev(worth) if len(worth) > 1 else 0:>5.1f}{fmean(each.agreement for each in cells):>8.1%}"
        f"{fmean(len(each.price.labels) / each.size for each in cells):>10.1%}"
    )
    if PUBLISHED not in of or name.startswith(PUBLISHED):
        return said
    both = min(len(cells), len(of[PUBLISHED]))
    mine, theirs, once = (_means(of[each][:both]) for each in (name, PUBLISHED, f"{PUBLISHED}{ONCE}"))
    ratios = [other / own for own, other in zip(mine, theirs, strict=True)]
    found = _tokens_a_label(of[PUBLISHED][:both]) / _tokens_a_label(cells[:both])
    return f"{said}   {'  '.join(f'{ratio:,.1f}' for ratio in ratios)}; {once[1] / mine[1]:,.1f}; {found:,.1f}"


def _means(cells: Sequence[Cell]) -> list[float]:
    found = [fmean(figure(each.price) / each.size for each in cells) for figure in _FIGURES]
    return [*found, fmean(each.price.wall for each in cells)]


def _tokens_a_label(cells: Sequence[Cell]) -> float:
    """Prompt tokens for each label found."""
    return fmean(each.price.usage.prompt_tokens / len(each.price.labels) for each in cells)


@dataclass(frozen=True)
class Kept:
    """Cells that were computed before, in a file with a line for each question of `Asked`.

    Attributes:
        path: of the file, which need not exist; None to keep nothing.
        check: measures how long a request of the published search takes, in seconds beyond latency.
    """

    path: Path | None
    check: Callable[[], float]
    _known: dict[Asked, dict[str, Cell]] = field(default_factory=dict)
    _each: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        lines = self.path.read_text().splitlines() if self.path is not None and self.path.exists() else ()
        for line in map(json.loads, lines):
            if "each" in line:
                self._each.append(line["each"])
            else:
                self._known[Asked(**line["asked"])] = {name: _cell(read) for name, read in line["cells"].items()}

    @property
    def each(self) -> float:
        """How long a request of the published search takes, measured once."""
        if not self._each:
            self._each.append(self.check())
            self._write({"each": self._each[0]})
        return self._each[0]

    def cells(self, asked: Asked, rows: Rows) -> Mapping[str, Cell]:
        """By name what was kept, or is computed now: two cells for a published search, else one."""
        if asked not in self._known:
            prices = asyncio.run(_prices(asked, rows, 0.0 if asked.way in WAYS else self.each))
            learner = rows.learner(MINDS[asked.mind])
            found = {
                name: Cell(
                    len(rows.dataset),
                    price,
                    exact_utility(rows, learner, price.labels),
                    rows.agreement(price.labels),
                )
                for name, price in prices.items()
            }
            self._known[asked] = found
            self._write({"asked": asdict(asked), "cells": {name: asdict(cell) for name, cell in found.items()}})
        return self._known[asked]

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _cell(read: Mapping[str, Any]) -> Cell:
    price = Price(**{**read["price"], "usage": Usage(**read["price"]["usage"])})
    return Cell(**{**read, "price": price})


async def _prices(asked: Asked, rows: Rows, each: float) -> dict[str, Price]:
    learner = rows.learner(MINDS[asked.mind])
    if asked.way in WAYS:
        return {asked.way: await ours(rows, learner, WAYS[asked.way], asked.seed)}
    how = Reenacted(asked.seed, asked.steps, asked.way == BY_GOLD, each)
    return dict(zip((asked.way, f"{asked.way}{ONCE}"), await published(rows, learner, how), strict=True))


def table(name: str, mind: str, size: int, given: argparse.Namespace, kept: Kept) -> Iterator[str]:
    """One set, learner and size: a line for every configuration."""
    cells: dict[str, list[Cell]] = {}
    for seed in range(given.seeds):
        rows = rows_of(name, given.data, size, seed)
        if not seed:
            yield f"{rows.name}, {len(rows.dataset)} rows, learner: {mind}, {given.seeds} seeds"
        for way in given.ways:
            largest = WAYS[way].largest if way in WAYS else None
            if (largest is None or size <= largest) and (way != BY_GOLD or name == "truthfulqa"):
                for named, cell in kept.cells(Asked(name, mind, size, seed, given.steps, way), rows).items():
                    cells.setdefault(named, []).append(cell)
    yield HEADER
    for named in cells:
        yield line(named, cells)


def report(argv: list[str]) -> None:
    """Print the tables as they come."""
    names = (PUBLISHED, BY_GOLD, *WAYS)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks price")
    parser.add_argument("--data", type=Path, help="folder with TruthfulQA.csv and example_model_solutions.jsonl")
    parser.add_argument("--kept", type=Path, help="file of figures: what it has is not computed again")
    parser.add_argument("--sets", nargs="*", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--learners", nargs="*", choices=tuple(MINDS), default=tuple(MINDS))
    parser.add_argument("--sizes", nargs="*", type=int, default=(64, 128, 256))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the published search")
    parser.add_argument("--ways", nargs="*", choices=names, default=names)
    given = parser.parse_args(argv)

    def checked() -> float:
        found = asyncio.run(check(given.data))
        for said in found.lines():
            print(said, flush=True)
        return found.each

    kept = Kept(given.kept, checked)
    for size in given.sizes:
        for name in given.sets:
            for mind in given.learners:
                for said in table(name, mind, size, given, kept):
                    print(said, flush=True)
