"""Reward models of labels that ICM found, beside golden, noisy and random ones: the embedded world, five seeds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.rewarding import Rewarded, World, rewarded, table

SEEDS = 5


def report() -> Iterator[str]:
    """The figures, a line each."""
    yield f"reward models in the embedded world, seeds 0 to {SEEDS - 1}: mean (smallest to largest)"
    yield from table([_measured(World.of(seed)) for seed in range(SEEDS)])


def _measured(world: World) -> dict[str, Rewarded]:
    with TemporaryDirectory() as place:
        return asyncio.run(rewarded(world, Path(place)))
