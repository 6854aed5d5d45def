"""Reward models of labels that ICM found, beside golden and noisy ones.

`python -m tests.benchmarks rewards` takes the embedded world, five seeds; `rewards real` a real model and reviews:
`rewards real --help`. With `--work FOLDER` what was answered and trained is kept, and not paid for again.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from icm_api.compare.crossed import Block
from tests.real import reviews
from tests.real.models import MODELS, folder_of
from tests.rewarding import Rewarded, World, rewarded, table

SEEDS = 5


def report(argv: list[str] | None = None) -> Iterator[str]:
    """The figures, a line each.

    Args:
        argv: what follows `rewards real`; None for the embedded world.
    """
    if argv is not None:
        yield from _real(argv)
        return
    yield f"reward models in the embedded world, seeds 0 to {SEEDS - 1}: mean (smallest to largest)"
    yield from table([_measured(World.of(seed)) for seed in range(SEEDS)])


def _measured(world: World) -> dict[str, Rewarded]:
    with TemporaryDirectory() as place:
        return asyncio.run(rewarded(world, Path(place)))


def real_options(name: str) -> argparse.ArgumentParser:
    """The options that `rewards real` and `assistant real` share.

    Args:
        name: of the benchmark.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.benchmarks {name} real")
    parser.add_argument("model", nargs="?", choices=tuple(MODELS), default="smollm2-135m-instruct")
    parser.add_argument("--folder", type=Path, help="of a model for transformers, in place of a name")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for what is answered and trained, which is kept")
    return parser


@contextmanager
def working_in(folder: Path | None) -> Iterator[Path]:
    """The folder given, or one that is removed afterwards."""
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory() as place:
        yield Path(place)


def _real(argv: list[str]) -> Iterator[str]:
    given = real_options("rewards").parse_args(argv)
    folder = given.folder or folder_of(given.model)
    right: dict[str, list[float]] = {}
    blocks: dict[str, list[Block]] = {}
    with working_in(given.work) as place:
        for seed in range(given.seeds):
            drawn = reviews.Reviews.of(seed)
            found = asyncio.run(reviews.rewards(drawn, f"huggingface:{folder}", place / f"rewards-{seed}"))
            for kind, (share, spec) in found.items():
                right.setdefault(kind, []).append(share)
                blocks.setdefault(kind, []).append(asyncio.run(reviews.scored(drawn, spec)))
            told = ", ".join(f"{kind} {reviews.ordered_rightly(some[-1:]).mean:.0%}" for kind, some in blocks.items())
            yield f"{folder.name}, seed {seed}: {told}"
    sizes = f"{reviews.PAIRS} pairs to learn from, {len(drawn.held_out)} reviews held out, seeds 0 to {given.seeds - 1}"
    yield f"{folder.name}: {sizes}"
    yield from reviews.table(right, blocks)
