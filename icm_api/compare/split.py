"""Which examples are searched and which are held out, per seed; and the searched ones as a file for a run.

Whole groups are held out, so that no held-out example has a relative among the demonstrations. What a person labelled
is never held out. Reads no gold label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from icm_api.chance import draw
from icm_api.config import Config, DataSection
from icm_api.data import load_examples, load_fixed
from icm_api.errors import ConfigError, RunError
from icm_api.result import write_whole
from icm_api.runs import build_task, data_source, load_dataset
from icm_api.types import Dataset, Example, PromptTemplate

SEARCHED_FILE = "searched.jsonl"
ID, GROUP, ANSWER = "icm_id", "icm_group", "icm_answer"
"""Keys in that file; under names of their own, since texts may be called "id", "group" or "answer"."""


@dataclass(frozen=True, slots=True)
class Split:
    """The examples of one seed.

    Attributes:
        seed: of the split, and of the searches on it.
        searched: examples to label.
        held_out: examples that no search sees.
        fixed: ids among the searched ones that a person labelled.
    """

    seed: int
    searched: Dataset
    held_out: Dataset
    fixed: frozenset[str] = frozenset()


def load_splits(config: Config) -> tuple[Split, ...]:
    """The split of every seed.

    Raises:
        ConfigError: nothing is left to search or to hold out.
        DataError: a file cannot be read, or has a bad row.
    """
    settings, dataset = config.compare, load_dataset(config)
    labels, path = build_task(config).verbalizer.labels, config.data.fixed
    fixed = frozenset() if path is None else frozenset(load_fixed(path, dataset, labels))
    seeds = range(config.search.seed, config.search.seed + settings.seeds)
    if settings.test is not None:
        held_out = load_examples(replace(data_source(config), path=str(settings.test), limit=None))
        return tuple(Split(seed, dataset, _renamed(held_out), fixed) for seed in seeds)
    return tuple(split(dataset, settings.held_out, seed, fixed) for seed in seeds)


def held_out_id(example_id: str) -> str:
    """The id that an example of a test file goes by: the two files may number their rows alike."""
    return f"test: {example_id}"


def _renamed(dataset: Dataset) -> Dataset:
    return Dataset(replace(example, id=held_out_id(example.id)) for example in dataset)


def split(dataset: Dataset, share: float, seed: int, fixed: Collection[str] = ()) -> Split:
    """Hold out whole groups at random, as many as fit into this share of the examples.

    Args:
        dataset: all examples.
        share: of them to hold out, above 0 and below 1.
        seed: of the choice.
        fixed: ids that stay.

    Raises:
        ConfigError: not even one group fits, or none is left.

    Example:
        >>> data = Dataset(Example(f"{at}", {}, f"group {at // 2}") for at in range(8))
        >>> found = split(data, 0.5, seed=0)
        >>> found.searched.ids, found.held_out.ids
        (('0', '1', '4', '5'), ('2', '3', '6', '7'))
    """
    sizes = Counter(_group(example) for example in dataset)
    staying = {_group(example) for example in dataset if example.id in fixed}
    groups = [group for group in sizes if group not in staying]
    draw(seed, 0, "held out").shuffle(groups)
    room, out = share * len(dataset), set[tuple[bool, str]]()
    for group in groups:
        if sizes[group] <= room:
            out.add(group)
            room -= sizes[group]
    parts = [[example for example in dataset if (_group(example) in out) is held] for held in (False, True)]
    if not all(parts):
        raise ConfigError(
            f"compare.held_out is {share:g} of {len(dataset)} examples in {len(sizes)} groups: nothing is left to "
            f"{'hold out' if parts[0] else 'search'}; groups stay whole, so change it, or name a file as compare.test"
        )
    return Split(seed, Dataset(parts[0]), Dataset(parts[1]), frozenset(fixed))


def _group(example: Example) -> tuple[bool, str]:
    return (True, example.id) if example.group is None else (False, example.group)


def write_searched(config: Config, searched: Dataset, path: Path) -> DataSection:
    """Write the searched examples, texts and what constraints need, and say how a run reads them.

    Raises:
        RunError: the file is there with other examples: the data or the split changed since.
    """
    keys = (*PromptTemplate(config.prompt.template).fields, *(data_source(config).metadata or ()))
    text = "".join(json.dumps(_row(example, keys), ensure_ascii=False) + "\n" for example in searched)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise RunError(
            f"{path} holds other examples: the data, compare.held_out or compare.test changed since this comparison "
            "began; put back what changed, or choose another folder with --out"
        )
    write_whole(path, text)
    return DataSection(path=path, fixed=config.data.fixed, id=ID, group=GROUP, answer=ANSWER)


def _row(example: Example, keys: Collection[str]) -> dict[str, object]:
    values = {**example.metadata, **example.fields}
    known = {ID: example.id, GROUP: example.group, ANSWER: example.answer}
    return known | {key: values[key] for key in keys if key in values}
