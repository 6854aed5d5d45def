"""What constraints come to on a data set: what they reach, how many labelings stay legal, whether they contradict.

Reads no gold label and asks no model: it is a check to make before a search. The more labelings a constraint
rules out, the more it decides by itself, with nothing elicited from a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from icm_api.consistency.relations import Relations, compile_relations, constraint_name
from icm_api.types import Constraint, Dataset, Label
from icm_api.wording import count_of

_SHOWN_IDS = 8
_LARGEST_SHOWN = 1_000_000


@dataclass(frozen=True, slots=True)
class ConstraintAudit:
    """One constraint: its name, how many relations it yields, and how many examples they name."""

    name: str
    relations: int
    examples: int


@dataclass(frozen=True, slots=True)
class ComponentAudit:
    """One group of examples that relations connect.

    Attributes:
        ids: its examples, two or more, in data set order.
        legal: how many labelings of all of them break no relation; None where more than the audit's limit.
        constraints: names of the constraints that connect them.
    """

    ids: tuple[str, ...]
    legal: int | None
    constraints: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """What `audit` found.

    Attributes:
        labels: the label set.
        examples: how many there are.
        relations: how many all constraints yield together, identical ones counted once.
        limit: legal labelings are counted up to this many.
        constraints: one per constraint, as given.
        components: every connected group of two or more examples, in data set order; of an audit in parts only those
            of which no labeling is legal.
        unreached: examples that no relation names.
        groups: of an audit in parts, how many groups there are of each (size, legal labelings); else empty.
    """

    labels: tuple[Label, ...]
    examples: int
    relations: int
    limit: int
    constraints: tuple[ConstraintAudit, ...]
    components: tuple[ComponentAudit, ...]
    unreached: tuple[str, ...]
    groups: Mapping[tuple[int, int | None], int] = field(default_factory=dict)

    @classmethod
    def of_parts(cls, parts: Iterable[Audit]) -> Audit:
        """What audits of the parts of a data set say together, if no relation reaches from one part into another.

        Args:
            parts: under the same labels, constraints and limit; one at a time, at least one.
        """
        total: Audit | None = None
        for part in parts:
            part = replace(part, groups=Counter(part._counted()), components=part.contradictions)
            total = part if total is None else total._with(part)
        assert total is not None
        return total

    def _with(self, part: Audit) -> Audit:
        constraints = (
            replace(one, relations=one.relations + other.relations, examples=one.examples + other.examples)
            for one, other in zip(self.constraints, part.constraints, strict=True)
        )
        return replace(
            self,
            examples=self.examples + part.examples,
            relations=self.relations + part.relations,
            constraints=tuple(constraints),
            components=self.components + part.components,
            unreached=self.unreached + part.unreached,
            groups=Counter(self.groups) + Counter(part.groups),
        )

    def _counted(self) -> Mapping[tuple[int, int | None], int]:
        return self.groups or Counter((len(found.ids), found.legal) for found in self.components)

    @property
    def silent(self) -> tuple[str, ...]:
        """Names of the constraints that yield no relation at all."""
        return tuple(found.name for found in self.constraints if not found.relations)

    @property
    def contradictions(self) -> tuple[ComponentAudit, ...]:
        """The groups of which no labeling is legal, so that every complete labeling breaks a relation."""
        return tuple(found for found in self.components if found.legal == 0)

    @property
    def histogram(self) -> tuple[tuple[int, int | None, int], ...]:
        """How many groups there are of each (size, legal labelings): (size, legal, groups), small ones first."""
        counted = self._counted()
        ranked = sorted(counted, key=lambda kind: (kind[0], self.limit + 1 if kind[1] is None else kind[1]))
        return tuple((size, legal, counted[size, legal]) for size, legal in ranked)

    def lines(self) -> list[str]:
        """For a terminal: what the constraints come to, in words."""
        return [
            f"{count_of(self.examples, 'example')}, labels {' | '.join(self.labels)}, "
            f"{count_of(self.relations, 'relation')}",
            *(_constraint_line(found) for found in self.constraints),
            *(self._histogram_line(*row) for row in self.histogram),
            *self._unreached_lines(),
            *(
                f"contradiction: no labeling of {_shown(found.ids)} is legal under "
                f"{' and '.join(found.constraints)}; drop or mend one of them"
                for found in self.contradictions
            ),
        ]

    def as_json(self) -> dict[str, object]:
        """The same as JSON values. `legal` is null where it is more than `limit`."""
        return {
            "labels": list(self.labels),
            "examples": self.examples,
            "relations": self.relations,
            "limit": self.limit,
            "constraints": [
                {"name": found.name, "relations": found.relations, "examples": found.examples}
                for found in self.constraints
            ],
            "silent": list(self.silent),
            "groups": [
                {"size": size, "legal": legal, "possible": self._possible(size), "groups": groups}
                for size, legal, groups in self.histogram
            ],
            "unreached": list(self.unreached),
            "contradictions": [
                {"ids": list(found.ids), "constraints": list(found.constraints)} for found in self.contradictions
            ],
        }

    def _possible(self, size: int) -> str:
        """All labelings of a group, legal or not; a power where the number would be too long to read."""
        few = size < _LARGEST_SHOWN.bit_length() and len(self.labels) ** size <= _LARGEST_SHOWN
        return f"{len(self.labels) ** size:,}" if few else f"{len(self.labels)}^{size}"

    def _histogram_line(self, size: int, legal: int | None, groups: int) -> str:
        ways = f"more than {self.limit:,}" if legal is None else f"{legal:,}"
        return f"{count_of(groups, 'group')} of {size}: {ways} of {self._possible(size)} labelings legal"

    def _unreached_lines(self) -> list[str]:
        if not self.unreached:
            return []
        return [f"no constraint reaches {count_of(len(self.unreached), 'example')}: {_shown(self.unreached)}"]


def audit(
    dataset: Dataset, labels: tuple[Label, ...], constraints: Iterable[Constraint], *, limit: int = 10_000
) -> Audit:
    """Say what constraints come to on a data set, before anything is searched or paid for.

    Args:
        dataset: the examples.
        labels: the label set, in its fixed order.
        constraints: the library's or your own.
        limit: count the legal labelings of a group up to this many.

    Raises:
        ConfigError: a constraint names an id, a label or a key that there is not.

    Example:
        >>> from icm_api.consistency import mutually_exclusive
        >>> from icm_api.types import Example
        >>> data = Dataset([Example("a", {}, "q", "3"), Example("b", {}, "q", "4"), Example("c", {}, "p", "4")])
        >>> print(*audit(data, ("True", "False"), [mutually_exclusive("True")]).lines(), sep="\\n")
        3 examples, labels True | False, 1 relation
        mutually_exclusive('True', by='answer'): 1 relation over 2 examples
        1 group of 2: 3 of 4 labelings legal
        no constraint reaches 1 example: c
    """
    given = tuple(constraints)
    relations = compile_relations(dataset, labels, given)
    components = []
    counted: dict[object, int | None] = {}
    for group in relations.components:
        if len(group) > 1:
            # In large data most groups are alike but for their ids.
            if (shape := _shape(relations, group)) not in counted:
                found = relations.legal_labelings(group, {}, limit)
                counted[shape] = None if found is None else len(found)
            made = dict.fromkeys(relations[at].constraint for key in group for at in relations.touching(key))
            components.append(ComponentAudit(group, counted[shape], tuple(made)))
    return Audit(
        labels=labels,
        examples=len(dataset),
        relations=len(relations),
        limit=limit,
        constraints=tuple(
            _audit_one(dataset, labels, constraint, relations if len(given) == 1 else None) for constraint in given
        ),
        components=tuple(components),
        unreached=tuple(key for key in dataset.ids if not relations.touching(key)),
    )


def _shape(relations: Relations, group: Sequence[str]) -> object:
    """What the number of legal labelings depends on: which members are related, and how."""
    at = {key: position for position, key in enumerate(group)}
    touching = dict.fromkeys(index for key in group for index in relations.touching(key))
    return len(group), tuple((tuple(at[key] for key in relations[n].ids), relations[n].forbidden) for n in touching)


def _audit_one(
    dataset: Dataset, labels: tuple[Label, ...], constraint: Constraint, alone: Relations | None
) -> ConstraintAudit:
    if alone is None:
        # A relation may carry another name than the function that made it.
        alone = compile_relations(dataset, labels, [constraint])
    reached = {key for relation in alone for key in relation.ids}
    return ConstraintAudit(constraint_name(constraint), len(alone), len(reached))


def _constraint_line(found: ConstraintAudit) -> str:
    if not found.relations:
        return f"{found.name}: no relation at all; it never fires on this data set, check its keys and the groups"
    return f"{found.name}: {count_of(found.relations, 'relation')} over {count_of(found.examples, 'example')}"


def _shown(ids: tuple[str, ...]) -> str:
    rest = len(ids) - _SHOWN_IDS
    return ", ".join(ids[:_SHOWN_IDS]) + (f" and {rest:,} more" if rest > 0 else "")
