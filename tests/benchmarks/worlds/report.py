"""`python -m tests.benchmarks worlds`: the default search and its judge in every world, a table row each, never pooled.

`--json FILE` appends one line per run with all that a judge could use, from which `learning` proposes thresholds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean

from tests.benchmarks.worlds import learning
from tests.benchmarks.worlds.families import LEARNED, LEFT_OUT, WORLDS
from tests.benchmarks.worlds.measuring import Numbers, comfort_of, measure

HEADER = f"{'world':<28}{'n':>4}  accuracy: least, mean, most   false comfort   lost comfort   judge/search   verdicts"
_FAMILIES = {"learned": LEARNED, "left-out": LEFT_OUT}
_PROCESSES = 2


def line(rows: Sequence[Numbers]) -> str:
    """A row of the table.

    Args:
        rows: the runs of one world and size, one per seed.
    """
    found = [row["gold_accuracy"] for row in rows]
    comforts = [comfort_of(row) for row in rows]
    bad, good = sum(each.bad for each in comforts), sum(each.good for each in comforts)
    false = f"{sum(each.false for each in comforts)} of {bad}" if bad else "-"
    lost = f"{sum(each.lost for each in comforts)} of {good}" if good else "-"
    cost = sum(row["judge_requests"] for row in rows) / sum(row["search_requests"] for row in rows)
    said = ", ".join(f"{count} {name}" for name, count in Counter(row["verdict"] for row in rows).most_common())
    return (
        f"{rows[0]['world'] + (' *' if rows[0]['wrong'] else ''):<28}{rows[0]['size']:>4}  "
        f"{min(found):>15.2f} {fmean(found):.2f} {max(found):.2f}{false:>18}{lost:>15}{cost:>15.0%}   {said}"
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
    given = parser.parse_args(argv)
    if given.learn:
        learning.report(given.learn)
        return
    names = given.worlds or [world.name for world in _FAMILIES.get(given.families, tuple(WORLDS.values()))]
    print(HEADER + "\n(*: holds a coherent wrong concept, or names it wrongly: nothing but gold tells)", flush=True)
    with ProcessPoolExecutor(_PROCESSES) as processes:
        for name in names:
            for size in given.sizes:
                jobs = [(name, size, seed) for seed in range(given.first, given.first + given.seeds)]
                rows = list(processes.map(_run, jobs))
                print(line(rows), flush=True)
                if given.json:
                    with given.json.open("a") as stream:
                        stream.writelines(json.dumps(row) + "\n" for row in rows)
