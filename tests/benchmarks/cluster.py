"""Batches on the workers of a Ray cluster: how long 16 of them take with one worker and with two, and without Ray.

The server answers at once with made-up logprobs, 50 ms late, so that what is waited for is what is measured. A run is
timed from when its first batch is given out. `python -m tests.benchmarks cluster` needs pip install 'icm-api[ray]'.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

from icm_api.config import load_config
from icm_api.runs import Watch, run_config
from icm_api.testing import Faults, serve
from tests.worlds import write_world

LATENCY = 0.05
BATCHES = 16
_SIZE, _OVERLAP = 12, 4
_SEARCH = 'engine = "gibbs"\nrestarts = 1\nrounds = 1\n'


def write_config(folder: Path, spec: str, executor: str = "") -> Path:
    """So many batches that a model of the loopback server is asked about.

    Args:
        folder: for all files.
        spec: of the model.
        executor: of the run; empty for this process.
    """
    config = write_world(folder, "comparisons", _OVERLAP + BATCHES * (_SIZE - _OVERLAP), _SEARCH)
    text = config.read_text().replace('provider = "pocket"', f'provider = "{spec}"')
    chosen = f'executor = "{executor}"\n' if executor else ""
    config.write_text(
        f"{text}{chosen}\n[batches]\nsize = {_SIZE}\noverlap = {_OVERLAP}\n\n[diagnostics]\nenabled = false\n\n"
        "[budget]\nrequests = 100000\n"
    )
    return config


def warmed(workers: int) -> None:
    """A cluster of so many workers in this process, each of which has imported what it needs."""
    import ray

    ray.init("local", num_cpus=workers, logging_level="error", log_to_driver=False, include_dashboard=False)

    def start() -> None:
        import icm_api.runs.pieces  # noqa: F401

        sleep(1.0)

    ray.get([ray.remote(start).remote() for _ in range(workers)])


def measured(folder: Path, spec: str, workers: int) -> dict[str, Any]:
    """One run in this process; 0 workers: without Ray."""
    config = load_config(write_config(folder, spec, "ray" if workers else ""))
    if workers:
        warmed(workers)
    began: list[float] = []
    result = asyncio.run(run_config(config, Watch(on_model=lambda model: began.append(perf_counter()))))
    took = perf_counter() - began[0]
    labels = sha256((folder / "run" / "labels.jsonl").read_bytes()).hexdigest()
    return {"seconds": took, "batches": len(result.about["batches"]), "labels": labels}


def compared(workers: Sequence[int] = (0, 1, 2)) -> dict[int, dict[str, Any]]:
    """The same run with each number of workers, in a process of its own, and how many requests the server got.

    Args:
        workers: numbers; 0 is without Ray.
    """
    found = {}
    with serve(instant=True, dialect="vllm", faults=Faults(("slow",), 0.0, latency=(LATENCY, LATENCY))) as server:
        for number in workers:
            before = sum(server.log.requests.values())
            with TemporaryDirectory() as folder:
                spec = f"vllm:{server.model}@{server.url}"
                command = [sys.executable, "-m", "tests.benchmarks.cluster", folder, spec, str(number)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=240)
            found[number] = json.loads(done.stdout.splitlines()[-1])
            found[number]["requests"] = sum(server.log.requests.values()) - before
    return found


def report() -> Iterator[str]:
    """The figures, a line each."""
    found = compared()
    yield f"{BATCHES} batches at {1000 * LATENCY:.0f} ms an answer"
    for number, each in found.items():
        name = f"{number} Ray worker{'s' * (number > 1)}" if number else "this process"
        share = f"  {each['seconds'] / found[1]['seconds']:.2f} of one worker's time" if number > 1 else ""
        yield f"  {name:<14} {each['seconds']:6.1f} s  {each['requests']:,} requests{share}"
    alike = len({each["labels"] for each in found.values()}) == 1
    yield "  the labels are the same bytes" if alike else "  THE LABELS DIFFER"


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
