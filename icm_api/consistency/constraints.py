"""The constraints that come with the library: factories of functions from a data set to relations.

They read groups, answers, fields and metadata; they see no label of any example and ask no model. A constraint
of your own is a plain function `def mine(data, labels): yield Relation(...)`, called by its `__name__`.

A key such as `by` means the example's answer if it is "answer", its group if it is "group", else the field
and then the metadata of that name. Equal numbers are equal (3, 3.0 and "3"); examples without a value are
skipped. Examples without a group share none. All constraints raise ConfigError, when they are compiled, for a
label outside the label set and for a key that no example has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, product
from typing import TypeAlias

from icm_api.errors import ConfigError
from icm_api.types import Constraint, Dataset, Example, Label, Relation


class AbsentKeyError(ConfigError):
    """No example has the key that a constraint reads. Of a part of a data set that is no mistake."""


_Relate: TypeAlias = Callable[[Dataset, tuple[Label, ...]], Iterator[Relation]]


def mutually_exclusive(label: Label, *, by: str = "answer", weight: float = 1.0) -> Constraint:
    """Within a group, two examples that differ in `by` cannot both have the label.

    Args:
        label: of which one answer per group is possible.
        by: key of what the examples claim.
        weight: of each relation.

    Example:
        >>> data = Dataset([Example("a", {}, "q", "3"), Example("b", {}, "q", "4"), Example("c", {}, "q", "4")])
        >>> [relation.ids for relation in mutually_exclusive("True")(data, ("True", "False"))]
        [('a', 'b'), ('a', 'c')]
    """
    name = f"mutually_exclusive({label!r}, by={by!r}{_shown(weight)})"

    def relate(dataset: Dataset, labels: tuple[Label, ...]) -> Iterator[Relation]:
        having, _ = _split(name, label, labels)
        values = _values(name, dataset, by)
        for group in _groups(dataset):
            for one, other in combinations([key for key in group if key in values], 2):
                if values[one] != values[other]:
                    yield Relation((one, other), ((having, having),), weight, name)

    return _named(name, relate)


def equivalent(*, by: str = "answer", weight: float = 1.0) -> Constraint:
    """Within a group, two examples that are equal in `by` have the same label.

    Args:
        by: key of what the examples claim.
        weight: of each relation.
    """
    name = f"equivalent(by={by!r}{_shown(weight)})"

    def relate(dataset: Dataset, labels: tuple[Label, ...]) -> Iterator[Relation]:
        unequal = tuple(_split(name, label, labels) for label in labels)
        values = _values(name, dataset, by)
        for group in _groups(dataset):
            for same in _bucketed((values[key], key) for key in group if key in values).values():
                for pair in combinations(same, 2):
                    yield Relation(pair, unequal, weight, name)

    return _named(name, relate)


def implies(if_label: Label, then_label: Label, *, to: str = "implies", weight: float = 1.0) -> Constraint:
    """An example with `if_label` forces `then_label` on every example that its key `to` names.

    As all constraints, this one also works backwards: an example that lacks `then_label` cannot be implied by an
    example with `if_label`. An id that no example has, or an example that names itself, is a ConfigError when the
    constraint is compiled.

    Args:
        if_label: of the example that implies.
        then_label: of the examples that it implies.
        to: key that holds an id or a list of ids, of any group.
        weight: of each relation.
    """
    name = f"implies({if_label!r}, {then_label!r}, to={to!r}{_shown(weight)})"

    def relate(dataset: Dataset, labels: tuple[Label, ...]) -> Iterator[Relation]:
        having, _ = _split(name, if_label, labels)
        _, lacking = _split(name, then_label, labels)
        named = {example.id: value_of(example, to) for example in dataset}
        _check_present(name, to, any(value is not None for value in named.values()))
        for example_id, value in named.items():
            for target in value if isinstance(value, list | tuple) else [value]:
                if target is None:
                    continue
                target_id = _text(name, example_id, to, target)
                if target_id == example_id:
                    raise ConfigError(f"{name}: example {example_id!r} names itself; leave it out")
                yield Relation((example_id, target_id), ((having, lacking),), weight, name)

    return _named(name, relate)


def asymmetric(
    label: Label, *, first: str = "left", second: str = "right", total: bool = False, weight: float = 1.0
) -> Constraint:
    """Two examples that compare the same two things the other way round cannot both have the label.

    Things are looked up in the whole data set, not within groups: if one text can mean two things, as the
    same short reply to two prompts, let `first` and `second` name keys that hold unique ids. A thing compared
    with itself is skipped.

    Args:
        label: what says that the first thing wins.
        first: key of the first thing.
        second: key of the second thing.
        total: they cannot both lack the label either: every pair has a winner.
        weight: of each relation.
    """
    name = f"asymmetric({label!r}, first={first!r}, second={second!r}, total={total}{_shown(weight)})"

    def relate(dataset: Dataset, labels: tuple[Label, ...]) -> Iterator[Relation]:
        having, lacking = _split(name, label, labels)
        forbidden = ((having, having), (lacking, lacking)) if total else ((having, having),)
        pairs = _pairs(name, dataset, first, second)
        for (left, right), there in pairs.items():
            if left < right:
                for pair in product(there, pairs.get((right, left), ())):
                    yield Relation(pair, forbidden, weight, name)

    return _named(name, relate)


def exactly_one(label: Label, *, weight: float = 1.0) -> Constraint:
    """Within a group of two or more, exactly one example has the label.

    One relation per pair (not both) and one per group (not none), so that more examples with the label too many
    break more relations.

    Args:
        label: that one example of each group has.
        weight: of each relation.
    """
    name = f"exactly_one({label!r}{_shown(weight)})"

    def relate(dataset: Dataset, labels: tuple[Label, ...]) -> Iterator[Relation]:
        having, lacking = _split(name, label, labels)
        for group in _groups(dataset):
            for pair in combinations(group, 2):
                yield Relation(pair, ((having, having),), weight, name)
            if len(group) > 1:
                yield Relation(tuple(group), ((lacking,) * len(group),), weight, name)

    return _named(name, relate)


def transitive(label: Label, *, first: str = "left", second: str = "right", weight: float = 1.0) -> Constraint:
    """a over b and b over c force a over c; if only c over a was asked, the three cannot all be true.

    Things are looked up as in `asymmetric`. A relation exists only if examples compare all three pairs.

    Args:
        label: what says that the first thing wins.
        first: key of the first thing.
        second: key of the second thing.
        weight: of each relation.
    """
    name = f"transitive({label!r}, first={first!r}, second={second!r}{_shown(weight)})"

    def relate(dataset: Dataset, labels: tuple[Label, ...]) -> Iterator[Relation]:
        having, lacking = _split(name, label, labels)
        pairs = _pairs(name, dataset, first, second)
        beaten = _bucketed(pairs)
        for a, b in pairs:
            # If c is a there is no third pair, since nothing is compared with itself.
            for c in beaten.get(b, ()):
                forward, backward = pairs.get((a, c), ()), pairs.get((c, a), ())
                for chain in product(pairs[a, b], pairs[b, c], forward or backward):
                    yield Relation(chain, ((having, having, lacking if forward else having),), weight, name)

    return _named(name, relate)


def _named(name: str, relate: _Relate) -> Constraint:
    relate.__name__ = name
    return relate


def _shown(weight: float) -> str:
    return "" if weight == 1.0 else f", weight={weight:g}"


def _split(name: str, label: Label, labels: tuple[Label, ...]) -> tuple[frozenset[Label], frozenset[Label]]:
    """The label, and all others."""
    if label not in labels:
        raise ConfigError(f"{name}: {label!r} is none of the labels {list(labels)}; name one of these")
    return frozenset({label}), frozenset(labels) - {label}


def _bucketed(entries: Iterator[tuple[str, str]] | Mapping[tuple[str, str], object]) -> dict[str, list[str]]:
    buckets: dict[str, list[str]] = defaultdict(list)
    for key, value in entries:
        buckets[key].append(value)
    return dict(buckets)


def _groups(dataset: Dataset) -> list[list[str]]:
    """The ids of each group, in data set order."""
    return list(_bucketed((item.group, item.id) for item in dataset if item.group is not None).values())


def _pairs(name: str, dataset: Dataset, first: str, second: str) -> dict[tuple[str, str], list[str]]:
    """The examples that compare each ordered pair of different things."""
    lefts, rights = _values(name, dataset, first), _values(name, dataset, second)
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, left in lefts.items():
        if key in rights and rights[key] != left:
            pairs[left, rights[key]].append(key)
    return dict(pairs)


def _values(name: str, dataset: Dataset, key: str) -> dict[str, str]:
    """The value of a key, as text, for each example that has one."""
    found = ((example.id, value_of(example, key)) for example in dataset)
    values = {at: _text(name, at, key, value) for at, value in found if value is not None}
    _check_present(name, key, bool(values))
    return values


def value_of(example: Example, key: str) -> object:
    """What a constraint finds under a key of an example; None if nothing.

    Args:
        example: any.
        key: "answer", "group", or that of a field or of metadata.
    """
    if key == "answer":
        return example.answer
    if key == "group":
        return example.group
    return example.fields.get(key, example.metadata.get(key))


def _text(name: str, example_id: str, key: str, value: object) -> str:
    if not isinstance(value, str | int | float):
        what = f"{key!r} of example {example_id!r} is {value!r}"
        raise ConfigError(f"{name}: {what}; a value to compare is a text or a number")
    return compared(value)


def compared(value: str | float) -> str:
    """The text by which a value is compared, so that equal numbers are equal.

    Args:
        value: of a key.

    Example:
        >>> compared(3), compared(3.0), compared("3")
        ('3', '3', '3')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_present(name: str, key: str, present: bool) -> None:
    if not present:
        where = f"no example has {key!r}"
        raise AbsentKeyError(f"{name}: {where}, neither as a field nor in its metadata; name a key that is there")
