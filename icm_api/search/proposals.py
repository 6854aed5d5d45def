"""Which example to look at next, and which examples to move together.

Draws only: no label is chosen here and nothing is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from icm_api.consistency import Relations
from icm_api.types import Dataset, Labeling


def sampling_weights(dataset: Dataset, relations: Relations, labeling: Labeling, related_weight: float) -> list[float]:
    """Weight of each example in data set order (paper, Algorithm 1, step "sample x_i").

    An unlabelled example that a relation ties to a labelled one weighs `related_weight`, all others 1;
    labelled examples can be drawn again.
    """
    return [
        related_weight
        if example_id not in labeling and any(other in labeling for other in relations.neighbours(example_id))
        else 1.0
        for example_id in dataset.ids
    ]


def seed_ids(ids: Sequence[str], count: int, rng: Random) -> list[str]:
    """K of these examples, to label at random, in the order drawn; all where there are no more than K."""
    return rng.sample(ids, min(count, len(ids)))


def units(dataset: Dataset, relations: Relations, limit: int) -> list[tuple[str, ...]]:
    """Examples that are labelled together: connected groups of relations while small, else one by one.

    Args:
        limit: a group with more members than this falls apart into single examples.

    Returns:
        A partition of the ids, in data set order of each unit's first member.
    """
    found: dict[tuple[str, ...], None] = {}
    for example_id in dataset.ids:
        group = relations.component(example_id)
        found[group if len(group) <= limit else (example_id,)] = None
    return list(found)


def draw_units(
    candidates: Sequence[tuple[str, ...]], weights: Sequence[float], examples: int, rng: Random
) -> list[tuple[str, ...]]:
    """Units drawn by weight without replacement, until they hold at least this many examples."""
    left = list(zip(candidates, weights, strict=True))
    drawn: list[tuple[str, ...]] = []
    while left and sum(map(len, drawn)) < examples:
        at = rng.choices(range(len(left)), [weight for _, weight in left])[0]
        drawn.append(left.pop(at)[0])
    return drawn
