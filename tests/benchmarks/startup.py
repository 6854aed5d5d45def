"""CPU time of `icm-api --help`, of one verb's help and of `import icm_api`, against importing everything.

User and system time of fresh processes, the median of alternating runs. The ratio is what counts: it does not depend on
how fast the machine is.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

ROUNDS = 7
_CLI = ("-m", "icm_api.cli.main")
_ALL = "import icm_api; [getattr(icm_api, name) for name in icm_api.__all__]; import icm_api.compare, icm_api.report"
COMMANDS = {
    "python alone": ("-c", "pass"),
    "import icm_api": ("-c", "import icm_api"),
    "icm-api --help": (*_CLI, "--help"),
    "icm-api run --help": (*_CLI, "run", "--help"),
    "importing everything": ("-c", _ALL),
}


def cpu_seconds(arguments: Sequence[str]) -> float:
    """User and system time of one Python process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """The median CPU time of each command in seconds; the first round warms the files and is not counted."""
    times = [{name: cpu_seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(rounds + 1)]
    return {name: median(each[name] for each in times[1:]) for name in COMMANDS}


def report() -> list[str]:
    """The figures, a line each."""
    found = measure()
    everything = found["importing everything"]
    return [f"{name:<22}{seconds * 1000:7.0f} ms  {seconds / everything:5.2f}" for name, seconds in found.items()]
