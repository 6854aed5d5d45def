"""Every benchmark, printed: `python -m tests.benchmarks`, or some by name: `python -m tests.benchmarks prefix`.

`real`, and `real` after `assistant`, `estimators`, `rewards` or `training`, need real models; `worlds` and `price` take
from minutes to hours. They
run only if they are named, and have options: `python -m tests.benchmarks real --help`. `size` takes numbers of rows.
`cluster` needs pip install 'icm-api[ray]', and runs only if it is named.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping

from tests.benchmarks import (
    assistant,
    assistant_real,
    cluster,
    coverage,
    engines,
    estimators,
    extraction,
    faults,
    panel,
    plans,
    prefix,
    real,
    recovery,
    rewards,
    size,
    startup,
    throughput,
    training,
    verdicts,
)
from tests.benchmarks.price.table import report as price
from tests.benchmarks.worlds import report as worlds

REPORTS = {
    "assistant": assistant.report,
    "coverage": coverage.report,
    "engines": engines.report,
    "estimators": estimators.report,
    "extraction": extraction.report,
    "faults": faults.report,
    "panel": panel.report,
    "plans": plans.report,
    "prefix": prefix.report,
    "recovery": recovery.report,
    "rewards": rewards.report,
    "size": size.report,
    "startup": startup.report,
    "throughput": throughput.report,
    "training": training.report,
    "verdicts": verdicts.report,
}

REAL: Mapping[str, Callable[[list[str]], Iterator[str]]] = {
    "assistant": assistant_real.report,
    "estimators": lambda argv: estimators.report(["real", *argv]),
    "rewards": rewards.report,
    "training": training.report,
}

NAMED = {"price": price, "real": real.report, "worlds": worlds.report}

if sys.argv[1:2] and sys.argv[1] in NAMED:
    NAMED[sys.argv[1]](sys.argv[2:])
elif sys.argv[2:3] == ["real"] and sys.argv[1] in REAL:
    for line in REAL[sys.argv[1]](sys.argv[3:]):
        print(line, flush=True)
elif sys.argv[1:2] == ["size"] and sys.argv[2:]:
    for line in size.costs([int(rows) for rows in sys.argv[2:]]):
        print(line, flush=True)
else:
    for name in sys.argv[1:] or REPORTS:
        for line in (cluster.report if name == "cluster" else REPORTS[name])():
            print(line, flush=True)
