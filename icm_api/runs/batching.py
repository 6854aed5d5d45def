"""Cuts what is searched into batches of whole units that share some examples. How they are searched is in `batches`."""

from __future__ import annotations

from dataclasses import dataclass

from icm_api.config import BatchesSection
from icm_api.errors import ConfigError
from icm_api.runs.core import Unit
from icm_api.types import Dataset, Example


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch.

    Attributes:
        shared: examples that are in all batches.
        dataset: all its examples, the shared ones included.
    """

    shared: tuple[str, ...]
    dataset: Dataset


def cut_batches(dataset: Dataset, unit: Unit, settings: BatchesSection) -> tuple[Batch, ...]:
    """The batches of a data set: whole units in the order of their hashes, the first of them shared by all.

    Args:
        dataset: what is searched.
        unit: of an example.
        settings: `[batches]`.

    Raises:
        ConfigError: the examples are too few for two batches.
    """
    units: dict[int, list[Example]] = {}
    for example in dataset:
        units.setdefault(unit(example), []).append(example)
    ordered = [units[key] for key in sorted(units)]
    shared: list[Example] = []
    while ordered and len(shared) < settings.shared:
        shared += ordered.pop(0)
    own = max(1, settings.size - len(shared))
    count = settings.count or -(-sum(map(len, ordered)) // own)
    if count < 2 or len(ordered) < count:
        raise ConfigError(
            f"batches: {len(dataset)} examples in {len(units)} groups make no two batches of {settings.size} with "
            f"{len(shared)} in both: lower batches.size, or leave [batches] out"
        )
    members: list[list[Example]] = [[] for _ in range(count)]
    for each in ordered:
        # The smallest so far, so that groups of any size come out even.
        min(members, key=len).extend(each)
    names = tuple(example.id for example in shared)
    return tuple(
        Batch(names, Dataset(sorted([*shared, *more], key=lambda example: dataset.position(example.id))))
        for more in members
    )
