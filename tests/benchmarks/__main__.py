"""Every benchmark, printed: `python -m tests.benchmarks`, or some by name: `python -m tests.benchmarks prefix`.

`real` needs real models, and runs only if it is named: `python -m tests.benchmarks real --help`.
"""

from __future__ import annotations

import sys

from tests.benchmarks import engines, extraction, panel, prefix, real, recovery, startup, throughput, verdicts

REPORTS = {
    "engines": engines.report,
    "extraction": extraction.report,
    "panel": panel.report,
    "prefix": prefix.report,
    "recovery": recovery.report,
    "startup": startup.report,
    "throughput": throughput.report,
    "verdicts": verdicts.report,
}

if sys.argv[1:2] == ["real"]:
    real.report(sys.argv[2:])
else:
    for name in sys.argv[1:] or REPORTS:
        for line in REPORTS[name]():
            print(line, flush=True)
