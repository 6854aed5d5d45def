"""Which examples are searched and which are held out, per seed; the searched ones as a file for a run; their gold.

Whole groups are held out, so that no held-out example has a relative among the demonstrations. What a person labelled
is never held out. Gold labels are read by `gold_of_splits` alone, once the searches are over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from logging import getLogger
from pathlib import Path

from icm_api.chance import draw
from icm_api.config import Config, DataSection
from icm_api.data import Gold, load_examples, load_fixed, load_gold_labels
from icm_api.errors import ConfigError, DataError, RunError
from icm_api.files import write_whole
from icm_api.runs import build_task, data_source, load_dataset
from icm_api.types import Dataset, Example, PromptTemplate

_ID, _GROUP, _ANSWER = "icm_id", "icm_group", "icm_answer"
"""Keys in the file of searched examples: names of their own, since texts may be called "id", "group" or "answer"."""

_LOG = getLogger(__name__)


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
    """The split of every seed, from `search.seed` on; the same whatever the order of the rows.

    Args:
        config: of the comparison.

    Raises:
        ConfigError: nothing is left to search or to hold out.
        DataError: a file cannot be read, or has a bad row; or an id in the data is what an example of `compare.test`
            is called here.
    """
    settings, dataset = config.compare, load_dataset(config).hashed()
    labels, path = build_task(config).verbalizer.labels, config.data.fixed
    fixed = frozenset() if path is None else frozenset(load_fixed(path, dataset, labels))
    seeds = range(config.search.seed, config.search.seed + settings.seeds)
    if settings.test is None:
        return tuple(split(dataset, settings.held_out, seed, fixed) for seed in seeds)
    loaded = load_examples(replace(data_source(config).elsewhere(str(settings.test)), limit=None))
    held_out = Dataset(replace(example, id=_held_out_id(example.id)) for example in loaded.hashed())
    if both := sorted(set(dataset.ids) & set(held_out.ids)):
        raise DataError(f"{config.data.path}: id {both[0]!r} is kept for an example of compare.test; rename it")
    _warn_of_overlap(dataset, held_out)
    return tuple(Split(seed, dataset, held_out, fixed) for seed in seeds)


def _warn_of_overlap(dataset: Dataset, held_out: Dataset) -> None:
    """Accuracy on examples that are among the demonstrations says little of others."""
    known = {_said(example): example.id for example in dataset}
    both = [known[said] for example in held_out if (said := _said(example)) in known]
    if both:
        _LOG.warning(
            "%d of %d examples of compare.test have the texts of examples in the data, such as %r: accuracy on them is "
            "too good; take them out of one of the two files",
            len(both),
            len(held_out),
            both[0],
        )


def _said(example: Example) -> tuple[tuple[str, str], ...]:
    """The texts of an example, whatever their capitals and spaces."""
    return tuple(sorted((name, " ".join(text.casefold().split())) for name, text in example.fields.items()))


def _held_out_id(example_id: str) -> str:
    """The id that an example of a test file goes by: the two files may number their rows alike."""
    return f"test: {example_id}"


def split(dataset: Dataset, amount: float, seed: int, fixed: Collection[str] = ()) -> Split:
    """Hold out whole groups at random, as many as fit into this share or number of the examples.

    Args:
        dataset: all examples.
        amount: to hold out: a share of them above 0 and below 1, or a whole number of them from 2 on.
        seed: of the choice.
        fixed: ids that stay.

    Returns:
        The split; both parts in the order of the data set.

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
    room, out = amount if amount >= 1 else amount * len(dataset), set[tuple[bool, str]]()
    for group in groups:
        if sizes[group] <= room:
            out.add(group)
            room -= sizes[group]
    parts = [[example for example in dataset if (_group(example) in out) is held] for held in (False, True)]
    if not all(parts):
        raise ConfigError(
            f"compare.held_out is {amount:g} of {len(dataset)} examples in {len(sizes)} groups: nothing is left to "
            f"{'hold out' if parts[0] else 'search'}; groups stay whole, so change it, or name a file as compare.test"
        )
    return Split(seed, Dataset(parts[0]), Dataset(parts[1]), frozenset(fixed))


def _group(example: Example) -> tuple[bool, str]:
    return (True, example.id) if example.group is None else (False, example.group)


def write_searched(config: Config, searched: Dataset, path: Path) -> DataSection:
    """Write the searched examples, texts and what constraints need, and say how a run reads them.

    Args:
        config: of the comparison.
        searched: the examples, in their order.
        path: the file to write, JSON Lines.

    Returns:
        The `[data]` of a run on that file.

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
    return DataSection(path=path, fixed=config.data.fixed, id=_ID, group=_GROUP, answer=_ANSWER)


def _row(example: Example, keys: Collection[str]) -> dict[str, object]:
    values = {**example.metadata, **example.fields}
    known = {_ID: example.id, _GROUP: example.group, _ANSWER: example.answer}
    return known | {key: values[key] for key in keys if key in values}


def gold_of_splits(
    config: Config,
    path: Path,
    splits: Sequence[Split],
    label_field: str | None = None,
    meanings: Mapping[str, str] | None = None,
) -> Gold:
    """The gold labels of all examples, searched and held out, read as the data are read and checked against them.

    Args:
        config: of the comparison.
        path: gold labels of the data, and of `compare.test` unless that has a file of its own.
        splits: the examples.
        label_field: key of the labels; by default "gold", else "label".
        meanings: what the files write -> the label that it means, as in `load_gold_labels`.

    Raises:
        DataError: a file cannot be read, has a bad row or a label outside the label set, or has no label for any of
            the examples; or data and test share ids, so that one file cannot have labels for both.
    """
    settings, searched = config.compare, splits[0].searched
    gold = _loaded(config, path, label_field, meanings)
    if settings.test is not None:
        if settings.test_gold is None:
            _check_apart(splits[0], path)
        of_test = gold if settings.test_gold is None else _loaded(config, settings.test_gold, label_field, meanings)
        of_data = {key: gold[key] for key in searched.ids if key in gold}
        gold = Gold(of_data | {_held_out_id(key): label for key, label in of_test.items()})
    for each in splits:
        _check(each.searched, gold, config.prompt.labels, "searched", path)
        _check(each.held_out, gold, config.prompt.labels, "held-out", settings.test_gold or path)
    return gold


def _loaded(config: Config, path: Path, label_field: str | None, meanings: Mapping[str, str] | None) -> Gold:
    source = data_source(config).elsewhere(str(path))
    return load_gold_labels(source, label_field=label_field, meanings=meanings).spelled(config.prompt.labels)


def _check_apart(one: Split, path: Path) -> None:
    for key in one.searched.ids:
        if _held_out_id(key) in one.held_out.ids:
            raise DataError(
                f"{path}: id {key!r} is in the data and in compare.test, so one file of gold labels cannot be for "
                "both; name the other's file as compare.test_gold"
            )


def _check(dataset: Dataset, gold: Gold, labels: Sequence[str], part: str, path: Path) -> None:
    known = [key for key in dataset.ids if key in gold]
    if not known:
        raise DataError(f"{path}: no gold label for any of the {len(dataset)} {part} examples, e.g. {dataset.ids[0]!r}")
    for key in known:
        if gold[key] not in labels:
            raise DataError(
                f"{path}: gold label {gold[key]!r} of id {key!r} is not in the label set {list(labels)}; write the "
                "gold labels as the configuration does"
            )
