"""A part of a data set, chosen by whole groups, so that related examples stay together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from icm_api.datasets.pairs import rank
from icm_api.errors import ConfigError
from icm_api.types import Dataset, Example


def sampled(examples: Iterable[Example], limit: int | None, seed: int) -> Dataset:
    """At most `limit` examples: whole groups at random, as many as fit; the order of the file is kept.

    Groups are taken in an order that depends on the seed and their names alone; one that no longer fits is passed
    over. An example without a group is one of its own.

    Raises:
        ConfigError: the limit is smaller than every group.

    Example:
        >>> data = [Example(key, {}, group) for key, group in (("a", "p"), ("b", "q"), ("c", "q"), ("d", None))]
        >>> sampled(data, 3, seed=0).ids, sampled(data, 3, seed=1).ids
        (('b', 'c', 'd'), ('a', 'b', 'c'))
    """
    data = Dataset(examples)
    if limit is None or len(data) <= limit:
        return data
    sizes = Counter(_group(example) for example in data)
    taken: set[tuple[str, str]] = set()
    left = limit
    for group in sorted(sizes, key=lambda group: rank(f"sample {seed}", *group)):
        if sizes[group] <= left:
            taken.add(group)
            left -= sizes[group]
    if not taken:
        raise ConfigError(f"data.limit is {limit}, but the smallest group has {min(sizes.values())} examples; raise it")
    return Dataset(example for example in data if _group(example) in taken)


def _group(example: Example) -> tuple[str, str]:
    """A name for the example's group; no group is called like the id of an example without one."""
    return ("id", example.id) if example.group is None else ("group", example.group)
