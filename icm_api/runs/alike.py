"""The audit of many groups that no relation connects: most are alike but for their ids, and each kind is done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from icm_api.consistency import (
    AbsentKeyError,
    Audit,
    ComponentAudit,
    ConstraintAudit,
    audit,
    compared,
    constraint_name,
    value_of,
)
from icm_api.types import Constraint, Dataset, Example, Label

_LIMIT = 10_000
_TEXTS = (str, int, float)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What constraints do to a group, whatever the ids of its examples: these are positions in it here."""

    relations: int
    constraints: tuple[tuple[int, int], ...]
    groups: Mapping[tuple[int, int | None], int]
    contradictions: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...]
    unreached: tuple[int, ...]


def audit_alike(
    groups: Iterable[Sequence[Example]],
    labels: tuple[Label, ...],
    constraints: Sequence[Constraint],
    keys: Sequence[str],
) -> Audit:
    """The same as `audit` of all groups together, with components as an audit in parts has them.

    Args:
        groups: of examples; one without a group stands alone.
        labels: the label set.
        constraints: that relate examples within a group, and look at nothing but which values of `keys` are equal.
        keys: that they read.

    Raises:
        ConfigError: a value is neither a text nor a number.
    """
    kinds: dict[object, _Kind] = {}
    count: Counter[object] = Counter()
    examples, unreached, components = 0, list[str](), list[ComponentAudit]()
    for group in groups:
        examples += len(group)
        if len(group) == 1:
            unreached.append(group[0].id)
            continue
        kind = _kind(group, keys)
        found = kinds.get(kind)
        if found is None:
            found = kinds[kind] = _audited(group, labels, constraints)
        count[kind] += 1
        unreached += [group[at].id for at in found.unreached]
        components += [
            ComponentAudit(tuple(group[at].id for at in places), 0, names) for places, names in found.contradictions
        ]
    return Audit(
        labels=labels,
        examples=examples,
        relations=sum(kinds[kind].relations * times for kind, times in count.items()),
        limit=_LIMIT,
        constraints=tuple(
            ConstraintAudit(
                constraint_name(constraint),
                *(sum(kinds[kind].constraints[at][of] * times for kind, times in count.items()) for of in (0, 1)),
            )
            for at, constraint in enumerate(constraints)
        ),
        components=tuple(components),
        unreached=tuple(unreached),
        groups=_summed(kinds, count),
    )


def _summed(kinds: Mapping[object, _Kind], count: Mapping[object, int]) -> Counter[tuple[int, int | None]]:
    total: Counter[tuple[int, int | None]] = Counter()
    for kind, times in count.items():
        for shape, number in kinds[kind].groups.items():
            total[shape] += number * times
    return total


def _kind(group: Sequence[Example], keys: Sequence[str]) -> object:
    """What two groups have in common if they are alike: their size, and which values are equal in them."""
    found: list[object] = [len(group)]
    for key in keys:
        first: dict[str, int] = {}
        for example in group:
            value = value_of(example, key)
            if value is None:
                found.append(None)
            elif isinstance(value, _TEXTS):
                found.append(first.setdefault(compared(value), len(first)))
            else:
                # Of no other kind, so that it is looked at, and refused.
                found.append(example.id)
    return tuple(found)


def _audited(group: Sequence[Example], labels: tuple[Label, ...], constraints: Sequence[Constraint]) -> _Kind:
    dataset = Dataset(group)
    reading = [constraint for constraint in constraints if _reads(constraint, dataset, labels)]
    found = audit(dataset, labels, reading, limit=_LIMIT)
    own = dict(zip(map(id, reading), found.constraints, strict=True))
    none = ConstraintAudit("", 0, 0)
    counted = (own.get(id(constraint), none) for constraint in constraints)
    return _Kind(
        found.relations,
        tuple((each.relations, each.examples) for each in counted),
        Counter((len(each.ids), each.legal) for each in found.components),
        tuple((tuple(map(dataset.position, each.ids)), each.constraints) for each in found.contradictions),
        tuple(map(dataset.position, found.unreached)),
    )


def _reads(constraint: Constraint, dataset: Dataset, labels: tuple[Label, ...]) -> bool:
    """Whether there is something for it to read in a group."""
    try:
        next(iter(constraint(dataset, labels)), None)
        return True
    except AbsentKeyError:
        return False
