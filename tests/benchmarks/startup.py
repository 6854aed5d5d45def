"""CPU time of `icm-api --help`, of `plan`, `probe` and `run` on 8 examples, and of what they import.

User and system time of fresh processes, the median of alternating runs. The ratio is what counts: it does not depend on
how fast the machine is. `run` and `probe` ask a server on this machine, in another process; nothing is kept of it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from icm_api.testing import serve
from tests.worlds import write_world

ROUNDS = 7
_CLI = ("-m", "icm_api.cli.main")
_ALL = "import icm_api; [getattr(icm_api, name) for name in icm_api.__all__]; import icm_api.compare, icm_api.report"
_EVERYTHING = "importing everything"
COMMANDS = {
    "python alone": ("-c", "pass"),
    "import icm_api": ("-c", "import icm_api"),
    "import openai": ("-c", "import openai"),
    "icm-api --help": (*_CLI, "--help"),
    "icm-api run --help": (*_CLI, "run", "--help"),
    _EVERYTHING: ("-c", _ALL),
}


def cpu_seconds(arguments: Sequence[str]) -> float:
    """User and system time of one Python process, in seconds."""
    # Installed files are compiled, whatever is said of files that are worked on.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def commands_on(folder: Path, url: str, model: str) -> dict[str, Sequence[str]]:
    """Verbs on a small world in a folder; `{turn}` stands for the number of the round."""
    pocket, hosted = write_world(folder / "pocket", size=8), write_world(folder / "hosted", size=8)
    spec = f"vllm:{model}@{url}"
    hosted.write_text(hosted.read_text().replace('provider = "pocket"', f'provider = "{spec}"'))
    return {
        "plan, pocket": (*_CLI, "plan", str(pocket)),
        "plan, hosted": (*_CLI, "plan", str(hosted)),
        "probe, hosted": (*_CLI, "probe", spec),
        "run, pocket": (*_CLI, "run", str(pocket), "--out", str(folder / "pocket-{turn}")),
        "run, hosted": (*_CLI, "run", str(hosted), "--out", str(folder / "hosted-{turn}")),
    }


def measure(commands: Mapping[str, Sequence[str]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median CPU time of each command in seconds; the first round warms the files and is not counted."""
    times = [
        {name: cpu_seconds([each.format(turn=turn) for each in words]) for name, words in commands.items()}
        for turn in range(rounds + 1)
    ]
    return {name: median(each[name] for each in times[1:]) for name in commands}


def report() -> list[str]:
    """The figures, a line each."""
    with TemporaryDirectory() as folder, serve(dialect="vllm") as server:
        found = measure({**COMMANDS, **commands_on(Path(folder), server.url, server.model)})
    return [
        f"{name:<22}{seconds * 1000:7.0f} ms  {seconds / found[_EVERYTHING]:5.2f}" for name, seconds in found.items()
    ]
