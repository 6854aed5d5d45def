"""`python -m tests.benchmarks worlds`: the default search and its judge in every world, a table row each, never pooled.

Comfort is a verdict "coherent" with names that are not unsettled. It is false if under 60% of the labels are right, of
all or of each label on average, and lost if over 85% are (75% of each label) and it was not given. "Checked": of all
runs, the share with false comfort whose labels would pass a check of 20. The cost of judging is in requests and in
tokens, as shares of the search's.

`--json FILE` appends one line per run with all that a judge could use, from which `learning` proposes thresholds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean

from tests.benchmarks.worlds import learning
from tests.benchmarks.worlds.families import LEARNED, LEFT_OUT, WORLDS
from tests.benchmarks.worlds.learning import passing
from tests.benchmarks.worlds.measuring import Numbers, comfort_of, measure

_FAMILIES = {"learned": LEARNED, "left-out": LEFT_OUT}
_PROCESSES = 2
_COLUMNS = (
    "world",
    "family",
    "n",
    "estimator",
    "accuracy",
    "false comfort",
    "checked",
    "lost comfort",
    "cost of judging",
)
HEADER = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}"
NOTE = "*: holds a coherent wrong concept, or names it wrongly: nothing but gold tells."


def line(rows: Sequence[Numbers]) -> str:
    """A row of the table.

    Args:
        rows: the runs of one world, one per seed and size.
    """
    sizes: dict[int, list[Numbers]] = {}
    for row in rows:
        sizes.setdefault(row["asked_size"], []).append(row)
    parts = zip(*map(_cells, sizes.values()), strict=True)
    name = rows[0]["world"] + (" *" if rows[0]["wrong"] else "")
    return f"| {' | '.join([name, rows[0]['half'], *('; '.join(part) for part in parts)])} |"


def _cells(rows: Sequence[Numbers]) -> tuple[str, ...]:
    """Of one world and size."""
    comforts = [comfort_of(row) for row in rows]
    bad, good = sum(each.bad for each in comforts), sum(each.good for each in comforts)
    false, lost = sum(each.false for each in comforts), sum(each.lost for each in comforts)
    passed = sum(passing(row) for row, each in zip(rows, comforts, strict=True) if each.false) / len(rows)
    return (
        str(rows[0]["asked_size"]),
        rows[0]["estimator"],
        f"{fmean(row['gold_accuracy'] for row in rows):.2f}",
        f"{false} of {bad}" if bad else "-",
        f"{passed:.1%}" if bad else "-",
        f"{lost} of {good}" if good else "-",
        f"{fmean(row['requests'] for row in rows):.1%}, {fmean(row['tokens'] for row in rows):.1%}",
    )


def _run(job: tuple[str, int, int]) -> Numbers:
    return asyncio.run(measure(*job))


def report(argv: Sequence[str]) -> None:
    """Print the table as it comes.

    Args:
        argv: what follows the benchmark's name.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks worlds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--worlds", nargs="+", choices=tuple(WORLDS), metavar="WORLD")
    parser.add_argument("--families", choices=tuple(_FAMILIES))
    parser.add_argument("--json", type=Path, help="append a line per run to this file")
    parser.add_argument("--learn", type=Path, metavar="FILE", help="run nothing: learn thresholds from such lines")
    parser.add_argument("--table", type=Path, metavar="FILE", help="run nothing: print the table of such lines")
    given = parser.parse_args(argv)
    if given.learn:
        learning.report(given.learn)
        return
    print(f"{NOTE}\n\n{HEADER}", flush=True)
    if given.table:
        worlds: dict[str, list[Numbers]] = {}
        for text in given.table.read_text(encoding="utf-8").splitlines():
            row = json.loads(text)
            worlds.setdefault(row["world"], []).append(row)
        print("\n".join(map(line, worlds.values())))
        return
    names = given.worlds or [world.name for world in _FAMILIES.get(given.families, tuple(WORLDS.values()))]
    with ProcessPoolExecutor(_PROCESSES) as processes:
        for name in names:
            seeds = range(given.first, given.first + given.seeds)
            jobs = [(name, size, seed) for size in given.sizes for seed in seeds]
            rows = list(processes.map(_run, jobs))
            print(line(rows), flush=True)
            if given.json:
                with given.json.open("a") as stream:
                    stream.writelines(json.dumps(row) + "\n" for row in rows)
