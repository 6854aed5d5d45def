"""Large data sets end to end: what the rest costs per row, in memory, CPU time and requests, and how often it is right.

Cost is measured against a server in another process that answers at once with made-up logprobs, one question a request
and in lists of prompts: each size runs in a process of its own, so that its peak of memory is its own. Requests are all
that this process sends over HTTP, whatever they ask. How often labels are right is measured on three worlds of the
embedded model. `python -m tests.benchmarks size` takes 1,000 and 10,000 rows; `size 100000` others.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

from icm_api.config import load_config
from icm_api.pocket.world import make_claims
from icm_api.runs import FinishedRun, Watch, run_config
from tests.benchmarks.throughput import instant_server
from tests.hosted import counted
from tests.worlds import write_world

SIZES = (1_000, 10_000)
CORE = 200
WORLDS = ("comparisons", "sums", "facts")
# How rows are asked about: what it is called -> the server's dialect, and the model there with its options.
WAYS = {
    "one by one": ("openai", 'provider = "openai-compatible:{model}@{url}"', 'api = "completions"\ntop_logprobs = 5\n'),
    "in lists": ("vllm", 'provider = "vllm:{model}@{url}"', ""),
}
_ROW = "Is it so that number {at} of the rows of this file is larger than {other}?"


def write_rows(path: Path, size: int) -> None:
    """So many rows, two to a group."""
    with path.open("w", encoding="utf-8") as file:
        for at in range(size):
            row = {"id": f"row-{at}", "text": _ROW.format(at=at, other=at * 7919 % size), "group": f"pair-{at // 2}"}
            file.write(json.dumps(row) + "\n")


def measured(folder: Path, url: str, model: str, way: str, size: int) -> dict[str, Any]:
    """One run in this process: what the core took, and what the rest did."""
    write_rows(folder / "rows.jsonl", size)
    _, provider, options = WAYS[way]
    config = folder / "config.toml"
    config.write_text(
        f'[data]\npath = "rows.jsonl"\n\n[model]\n{provider.format(model=model, url=url)}\n\n'
        f'[model.options]\n{options}\n[search]\nengine = "bootstrap"\nrestarts = 1\nrounds = 1\n\n'
        f"[core]\nsize = {CORE}\n\n[diagnostics]\nenabled = false\n\n[client]\nconcurrency = 32\n\n"
        '[cache]\nfolder = "cache"\n'
    )
    core: dict[str, float] = {}

    def opened(llm: Any) -> None:
        # It is heard when the search begins, and again when the rest does.
        core.update(seconds=perf_counter(), cpu=process_time(), requests=sent.total())

    with counted() as sent:
        result = asyncio.run(run_config(load_config(config), Watch(on_model=opened)))
    rest = size - len(result.examples)
    return {
        "rows": size,
        "rest": rest,
        "cpu_ms": 1000 * (process_time() - core["cpu"]) / rest,
        "wall_ms": 1000 * (perf_counter() - core["seconds"]) / rest,
        "requests": (sent.total() - core["requests"]) / rest,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def costs(sizes: Sequence[int]) -> Iterator[str]:
    """What rows of the rest cost, by each way to ask and at each size."""
    yield f"a row of the rest, with a core of {CORE}: CPU, time, requests; peak of memory of the whole run"
    for way, (dialect, _, _) in WAYS.items():
        with instant_server(dialect) as (url, model):
            for size in sizes:
                with TemporaryDirectory() as folder:
                    command = [sys.executable, "-m", "tests.benchmarks.size", folder, url, model, way, str(size)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                found = json.loads(done.stdout.splitlines()[-1])
                yield (
                    f"  {way:<10} {size:>9,} rows  {found['cpu_ms']:6.2f} ms CPU  {found['wall_ms']:6.2f} ms  "
                    f"{found['requests']:.3f} requests  {found['memory']:6.0f} MB"
                )


def right(task: str, size: int = 160, core: int = 64) -> tuple[float, float]:
    """Share of the labels that are right, in the core and in the rest."""
    with TemporaryDirectory() as folder:
        config = write_world(Path(folder), task, size, "restarts = 2")
        config.write_text(f"{config.read_text()}\n[core]\nsize = {core}\n\n[diagnostics]\nenabled = false\n")
        asyncio.run(run_config(load_config(config)))
        run = FinishedRun.open(Path(folder) / "run")
        gold = {claim.id: str(claim.truth) for claim in make_claims(task, size, seed=5)}
        inside = run.result.labeling
        outside = {row.id: row.label for row in run.whole.result.examples if row.id not in inside}
        a, b = (sum(gold[key] == label for key, label in each.items()) / len(each) for each in (inside, outside))
        return a, b


def report(sizes: Sequence[int] = SIZES) -> Iterator[str]:
    """The figures, a line each."""
    yield from costs(sizes)
    yield "labels that are right, in the core and in the rest"
    for task in WORLDS:
        inside, outside = right(task)
        yield f"  {task:<12} {inside:.1%}  {outside:.1%}"


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))))
