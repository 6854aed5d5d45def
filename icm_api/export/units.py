"""Which examples are exported, in which order, and on which side of a split: by ids alone, before any text is made.

A unit is what becomes one row: an example, or a pair of texts that was labelled in both orders. Random orders are by
a hash of the seed and the id, so that they are the same everywhere; a split takes whole groups.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from icm_api.data.pairs import FIRST, SECOND, rank
from icm_api.errors import ConfigError, DataError
from icm_api.export.rows import LabelledData, Options
from icm_api.result import LabelledExample
from icm_api.types import Example

TRAIN, VALIDATION = "train", "validation"
DISAGREE, LONELY = "pairs whose two orders disagree", "pairs of which one order is not among the examples"
LONG = "pairs whose replies go on for several turns, which the format cannot hold"


@dataclass(frozen=True, slots=True)
class Unit:
    """What becomes one row.

    Attributes:
        id: of the example, or of the pair.
        group: of the example, or of the pair's.
        members: ids of the examples it is made of; of a pair, first the example whose label says that its first text
            is the better one.
    """

    id: str
    group: str | None
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """The units to export, and why others are not: reason -> how many."""

    units: tuple[Unit, ...]
    left_out: Mapping[str, int]


def chosen_examples(data: LabelledData, options: Options, *, training: bool) -> Choice:
    """Every example that is sure enough, in data set order.

    Args:
        data: the labelled examples.
        options: `abstain_below` leaves out what is less sure; without it, the run's own threshold counts.
        training: whether the format is for training alone. Only then does the run's threshold leave examples out;
            elsewhere they stay, marked. A label that a person gave is never left out.
    """
    units, left_out = [], Counter[str]()
    for example in data.dataset:
        reason = _doubt(data.line(example.id), options.abstain_below, training=training)
        if reason:
            left_out["examples " + reason] += 1
        else:
            units.append(Unit(example.id, example.group, (example.id,)))
    return Choice(tuple(units), dict(left_out))


def chosen_pairs(data: LabelledData, options: Options, fits: Callable[[Example], bool] = lambda pair: True) -> Choice:
    """Every pair of texts whose two orders agree on the better text and are both sure enough, in data set order.

    Args:
        data: the labelled examples, each a pair of texts in one of its two orders.
        options: `abstain_below` leaves out what is less sure; without it, the run's own threshold counts.
        fits: whether the format can hold a pair.

    Raises:
        ConfigError: the labels are not "A" and "B".
        DataError: an example is no pair.
    """
    if set(data.verbalizer.labels) != {FIRST, SECOND}:
        raise ConfigError(
            f"pairs of texts are labelled {FIRST!r} (the first is better) and {SECOND!r}, and this run has the labels "
            f"{list(data.verbalizer.labels)}: export it as rows, e.g. --to csv"
        )
    orders: dict[tuple[str, ...], list[Example]] = defaultdict(list)
    for example in data.dataset:
        orders[tuple(sorted(_names(example)))].append(example)
    units, left_out = [], Counter[str]()
    for (name, _), examples in orders.items():
        lines = [data.line(example.id) for example in examples]
        doubts = [doubt for line in lines if (doubt := _doubt(line, options.abstain_below, training=True))]
        winners = {_names(each)[line.label == SECOND] for each, line in zip(examples, lines, strict=True)}
        reason = (
            LONELY if len(examples) != 2 else "pairs " + doubts[0] if doubts else DISAGREE if len(winners) != 1 else ""
        ) or ("" if fits(examples[0]) else LONG)
        if reason:
            left_out[reason] += 1
        else:
            members = sorted(examples, key=lambda each: data.line(each.id).label != FIRST)
            pair_id = name.rpartition("/")[0] or name
            units.append(Unit(pair_id, examples[0].group, tuple(each.id for each in members)))
    return Choice(tuple(units), dict(left_out))


def parted(units: Sequence[Unit], options: Options) -> dict[str, tuple[Unit, ...]]:
    """The units by the file they belong to, "train" and, with a split, "validation".

    Whole groups go to one side, so that nothing of the validation set was seen in training. Groups are taken in an
    order by hash; a group that no longer fits into the training set is passed over.

    Args:
        units: in data set order.
        options: the share for training, the order, and the seed of both.

    Raises:
        ConfigError: nothing would be left on one of the sides.

    Example:
        >>> units = [Unit(key, group, (key,)) for key, group in zip("abcd", ("p", "p", "q", None))]
        >>> {part: [unit.id for unit in some] for part, some in parted(units, Options(split=0.5)).items()}
        {'train': ['c', 'd'], 'validation': ['a', 'b']}
    """
    ordered = tuple(units)
    if options.shuffle:
        ordered = tuple(sorted(units, key=lambda unit: rank(f"export shuffle {options.seed}", unit.id)))
    if options.split is None:
        return {TRAIN: ordered}
    sizes = Counter(map(_group, units))
    room, taken = round(options.split * len(units)), set()
    for group in sorted(sizes, key=lambda group: rank(f"export split {options.seed}", *group)):
        if sizes[group] <= room:
            taken.add(group)
            room -= sizes[group]
    if not 0 < len(taken) < len(sizes):
        raise ConfigError(
            f"--split {options.split:g} leaves one side empty: {len(units)} rows in {len(sizes)} groups, the smallest "
            f"of {min(sizes.values())}, and groups stay whole; choose another share, or leave it out"
        )
    return {
        TRAIN: tuple(unit for unit in ordered if _group(unit) in taken),
        VALIDATION: tuple(unit for unit in ordered if _group(unit) not in taken),
    }


def any_fixed(data: LabelledData, units: Iterable[Unit]) -> int:
    """How many of the units have a label that a person gave.

    Args:
        data: the labels.
        units: the rows to count in.
    """
    return sum(any(data.line(member).fixed for member in unit.members) for unit in units)


def _doubt(line: LabelledExample, threshold: float | None, *, training: bool) -> str:
    """Why a label is not sure enough to be exported; "" if it is."""
    if line.fixed:
        return ""
    if threshold is not None:
        return f"less sure than {threshold:g}" if line.confidence < threshold else ""
    return "on which the run abstained" if training and line.abstained else ""


def _names(example: Example) -> tuple[str, str]:
    """The names of an example's two texts, first and second."""
    left, right = example.metadata.get("left"), example.metadata.get("right")
    if not isinstance(left, str) or not isinstance(right, str) or not {"first", "second"} <= example.fields.keys():
        raise DataError(f"example {example.id!r} is no pair of texts: it has the fields {list(example.fields)}")
    return left, right


def _group(unit: Unit) -> tuple[str, str]:
    """A name for the unit's group; no group is called like the id of a unit without one."""
    return ("id", unit.id) if unit.group is None else ("group", unit.group)
