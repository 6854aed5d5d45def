"""From constraints to relations: runs the constraints, checks what they yield, and counts each relation once.

A constraint is any function from a data set and its label set to relations; those that come with the library
are in `icm_api.consistency.constraints`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from icm_api.consistency.relations import Relations
from icm_api.errors import ConfigError
from icm_api.types import Constraint, Dataset, Label, Relation


def constraint_name(constraint: Constraint) -> str:
    """What a constraint is called in messages: its `__name__`."""
    return str(getattr(constraint, "__name__", type(constraint).__name__))


def compile_relations(dataset: Dataset, labels: tuple[Label, ...], constraints: Iterable[Constraint]) -> Relations:
    """Run the constraints, check what they yield, and index it.

    Relations of constraints with one name that have the same patterns over the same ids, in any order, count
    once, so a pair that is found from both ends, or by a constraint given twice, is one relation.

    Args:
        dataset: the examples.
        labels: the label set, in its fixed order.
        constraints: in the order in which their relations shall stand.

    Raises:
        ConfigError: a relation names an id or a label that there is not, or comes twice with two weights.
    """
    known, allowed = frozenset(dataset.ids), frozenset(labels)
    found: dict[tuple[str, object], Relation] = {}
    for constraint in constraints:
        name = constraint_name(constraint)
        for made in constraint(dataset, labels):
            relation = made if made.constraint else replace(made, constraint=name)
            _check_names(relation, known, allowed)
            patterns = frozenset(frozenset(zip(relation.ids, pattern, strict=True)) for pattern in relation.forbidden)
            first = found.setdefault((relation.constraint, patterns), relation)
            if first.weight != relation.weight:
                raise ConfigError(
                    f"constraint {relation.constraint}: the relation over {list(relation.ids)} comes with "
                    f"weight {first.weight} and with weight {relation.weight}; give it one weight, or give the "
                    "relations different constraint names to count both"
                )
    return Relations(found.values(), dataset.ids, labels)


def _check_names(relation: Relation, known: frozenset[str], allowed: frozenset[Label]) -> None:
    for key in relation.ids:
        if key not in known:
            raise ConfigError(f"constraint {relation.constraint}: no example has the id {key!r}")
    for label in frozenset().union(*(names for pattern in relation.forbidden for names in pattern)):
        if label not in allowed:
            raise ConfigError(f"constraint {relation.constraint}: {label!r} is none of the labels {sorted(allowed)}")
