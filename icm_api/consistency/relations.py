"""Relations between examples, and I(D): the weight of those that a labeling breaks (paper, section 2).

Relations are indexed by example, so that a changed label costs only the relations that it touches. Constraints, which
make them, are in `icm_api.consistency.constraints`. Nothing here chooses between legal labelings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, product
from math import fsum, prod
from typing import TypeAlias, overload

from icm_api.errors import ConfigError
from icm_api.types import Constraint, Dataset, Label, Labeling, Relation

MOST_WAYS = 64
"""The labelings of a component are enumerated if there are at most this many."""
MOST_RELATIONS = 1_000_000
"""More take gigabytes, and come of examples that have one group by mistake."""


class Relations(Sequence[Relation]):
    """All relations of a data set, found by position, by example and by connected component.

    Built by `compile_relations`. Methods that take an id raise KeyError if the data set does not have it.

    Args:
        relations: in the order of their positions.
        ids: of all examples, in data set order.
        labels: the label set, in its fixed order.
    """

    __slots__ = ("_component", "_labels", "_neighbours", "_relations", "_touching")

    def __init__(self, relations: Iterable[Relation], ids: Sequence[str], labels: tuple[Label, ...]) -> None:
        self._relations = tuple(relations)
        self._labels = labels
        touching: dict[str, list[int]] = {key: [] for key in ids}
        for at, relation in enumerate(self._relations):
            for key in relation.ids:
                touching[key].append(at)
        self._touching = {key: tuple(positions) for key, positions in touching.items()}
        self._neighbours = {
            key: frozenset(other for at in positions for other in self._relations[at].ids) - {key}
            for key, positions in touching.items()
        }
        self._component = _components(ids, self._relations)

    @overload
    def __getitem__(self, index: int) -> Relation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Relation]: ...
    def __getitem__(self, index: int | slice) -> Relation | Sequence[Relation]:
        return self._relations[index]

    def __len__(self) -> int:
        return len(self._relations)

    def among(self, ids: Sequence[str]) -> Relations:
        """Those that name none but these examples, over these examples alone.

        Args:
            ids: in data set order.
        """
        known = frozenset(ids)
        held = (relation for relation in self._relations if known.issuperset(relation.ids))
        return Relations(held, ids, self._labels)

    def touching(self, example_id: str) -> tuple[int, ...]:
        """Positions of the relations that name this example, ascending."""
        return self._touching[example_id]

    def neighbours(self, example_id: str) -> frozenset[str]:
        """The other examples that share a relation with this one."""
        return self._neighbours[example_id]

    def component(self, example_id: str) -> tuple[str, ...]:
        """The examples that chains of relations connect to this one, itself included, in data set order."""
        return self._component[example_id]

    @property
    def components(self) -> tuple[tuple[str, ...], ...]:
        """All connected components, single examples included, in data set order of their first members."""
        return tuple(members for key, members in self._component.items() if key == members[0])

    def rule_out_alike(self) -> bool:
        """Whether they forbid that one label is everywhere: each label, for more than half of the examples.

        Then a labeling with all labels alike cannot win, whatever a model says of it.
        """
        size = len(self._component)
        for label in self._labels:
            alike = dict.fromkeys(self._component, label)
            breaking = {key for at in self.broken(alike) for key in self._component[self._relations[at].ids[0]]}
            if 2 * len(breaking) <= size:
                return False
        return True

    def broken(self, labeling: Mapping[str, Label]) -> frozenset[int]:
        """Positions of the relations that a labeling breaks; looks at all of them.

        Args:
            labeling: complete or partial.
        """
        labels = dict(labeling)
        return frozenset(at for at, relation in enumerate(self._relations) if relation.is_broken(labels))

    def broken_after(
        self, broken: frozenset[int], labeling_after: Mapping[str, Label], changed: Iterable[str]
    ) -> frozenset[int]:
        """`broken(labeling_after)`, looking only at the relations that touch a change.

        Args:
            broken: positions of what the labeling before broke.
            labeling_after: the labeling now.
            changed: every example whose label differs, or that is labelled in only one of the two.
        """
        touched = frozenset(at for key in changed for at in self._touching[key])
        return (broken - touched) | {at for at in touched if self._relations[at].is_broken(labeling_after)}

    def weight(self, broken: Iterable[int]) -> float:
        """I(D): the weight of the relations at these positions, rounded once, so that order cannot matter.

        Args:
            broken: as `broken` gives them.
        """
        return fsum(self._relations[at].weight for at in broken)

    def legal_labelings(
        self, ids: Sequence[str], fixed: Mapping[str, Label], limit: int
    ) -> tuple[Labeling, ...] | None:
        """Every way to label `ids` that breaks no relation between them, or between them and `fixed`.

        Relations that name none of `ids`, or an example that is neither among them nor in `fixed`, do not
        count. Connected parts are enumerated apart, by backtracking; a part that is hard to satisfy can take
        time exponential in its size.

        Args:
            ids: the examples to label.
            fixed: labels of other examples; those of `ids` themselves are ignored.
            limit: give up beyond this many.

        Returns:
            The labelings of exactly `ids`, in the order of the product of the label set over `ids`; empty
            if none is legal, None if more than `limit` are.
        """
        wanted = dict.fromkeys(ids)
        around = {other for key in wanted for other in self._neighbours[key] if other not in wanted}
        context = {other: fixed[other] for other in around if other in fixed}
        touched = dict.fromkeys(at for key in wanted for at in self._touching[key])
        held = [
            relation
            for relation in map(self._relations.__getitem__, touched)
            if all(key in wanted or key in context for key in relation.ids)
        ]
        parts = _connected_parts(wanted, held)
        order = [key for part in parts for key in part]
        checks = _checks(order, held, self._labels)
        # One more than the limit is enough to know that there are more; a part with none decides at once.
        ways = [list(islice(_backtrack(part, checks, self._labels, context), max(limit, 0) + 1)) for part in parts]
        if not all(ways):
            return ()
        if prod(map(len, ways)) > limit:
            return None
        rank = {label: at for at, label in enumerate(self._labels)}
        merged = [dict(zip(order, chain(*chosen), strict=True)) for chosen in product(*ways)]
        merged.sort(key=lambda labels: [rank[labels[key]] for key in wanted])
        return tuple(Labeling({key: labels[key] for key in wanted}) for labels in merged)


def _components(ids: Sequence[str], relations: Iterable[Relation]) -> dict[str, tuple[str, ...]]:
    """Each id's connected component, by union-find."""
    parent = {key: key for key in ids}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for relation in relations:
        for other in relation.ids[1:]:
            parent[root(other)] = root(relation.ids[0])
    members: dict[str, list[str]] = {}
    for key in ids:
        members.setdefault(root(key), []).append(key)
    whole = {top: tuple(found) for top, found in members.items()}
    return {key: whole[root(key)] for key in ids}


def _connected_parts(ids: Iterable[str], relations: Iterable[Relation]) -> list[list[str]]:
    """Connected parts, each breadth first, so that relations are complete early in the backtracking."""
    related: dict[str, dict[str, None]] = {key: {} for key in ids}
    for relation in relations:
        inside = [key for key in relation.ids if key in related]
        for key in inside:
            related[key].update(dict.fromkeys(inside))
    parts: list[list[str]] = []
    seen: set[str] = set()
    for start in related:
        part = [] if start in seen else [start]
        seen.add(start)
        for key in part:
            fresh = [other for other in related[key] if other not in seen]
            seen.update(fresh)
            part.extend(fresh)
        if part:
            parts.append(part)
    return parts


_Checks: TypeAlias = Mapping[tuple[str, Label], list[Relation]]


def _checks(order: Sequence[str], relations: Iterable[Relation], labels: Sequence[Label]) -> _Checks:
    """The relations that giving an id a label can complete and break, when ids are labelled in this order."""
    depth = {key: at for at, key in enumerate(order)}
    checks: dict[tuple[str, Label], list[Relation]] = {(key, label): [] for key in order for label in labels}
    for relation in relations:
        last = max((key for key in relation.ids if key in depth), key=depth.__getitem__)
        at = relation.ids.index(last)
        for label in frozenset().union(*(pattern[at] for pattern in relation.forbidden)):
            checks[last, label].append(relation)
    return checks


def _backtrack(
    order: Sequence[str], checks: _Checks, labels: Sequence[Label], context: Mapping[str, Label]
) -> Iterator[tuple[Label, ...]]:
    """The legal labelings of `order`. A loop, since a component can be longer than Python's stack is deep."""
    current = dict(context)
    untried = [iter(labels)]
    while untried:
        key = order[len(untried) - 1]
        label = next(untried[-1], None)
        if label is None:
            untried.pop()
            continue
        current[key] = label
        held = checks[key, label]
        failed = next((at for at, relation in enumerate(held) if relation.is_broken(current)), None)
        if failed is not None:
            # What failed is likely to fail next time too: to the front with it.
            held.insert(0, held.pop(failed))
            continue
        if len(untried) == len(order):
            yield tuple(current[each] for each in order)
        else:
            untried.append(iter(labels))


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
        constraints: whose order is the order of their relations.

    Raises:
        ConfigError: a relation names an id or a label that does not exist, or is made twice with two weights; or there
            are more than `MOST_RELATIONS`, as of a column of groups that is none.
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
            if len(found) > MOST_RELATIONS:
                raise _too_many(dataset, name)
            if first.weight != relation.weight:
                raise ConfigError(
                    f"constraint {relation.constraint}: the relation over {list(relation.ids)} comes with "
                    f"weight {first.weight} and with weight {relation.weight}; give it one weight, or give the "
                    "relations different constraint names to count both"
                )
    return Relations(found.values(), dataset.ids, labels)


def _too_many(dataset: Dataset, name: str) -> ConfigError:
    groups = Counter(example.group for example in dataset if example.group is not None)
    largest = "".join(f"; the largest group, {group!r}, has {size:,}" for group, size in groups.most_common(1))
    return ConfigError(
        f"constraint {name}: there are more than {MOST_RELATIONS:,} relations among {len(dataset):,} examples"
        f"{largest}. Name another column as [data] group, or leave the constraint out"
    )


def _check_names(relation: Relation, known: frozenset[str], allowed: frozenset[Label]) -> None:
    for key in relation.ids:
        if key not in known:
            raise ConfigError(f"constraint {relation.constraint}: no example has the id {key!r}")
    for label in frozenset().union(*(names for pattern in relation.forbidden for names in pattern)):
        if label not in allowed:
            raise ConfigError(f"constraint {relation.constraint}: {label!r} is none of the labels {sorted(allowed)}")
