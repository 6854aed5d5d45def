"""The most contested examples with what speaks for and against their labels, and the relations that are broken.

All follows from the labels found and the relations between examples; no label is changed, and no model asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log

from icm_api.consistency import Relations
from icm_api.report.text import Excerpt, excerpt, shortened
from icm_api.result import LabelledExample, Result
from icm_api.types import Dataset, Label, Relation
from icm_api.wording import count_of

MOST_LISTED = 50
SURE = 0.95
"""Labels at least this probable are not contested, unless a relation that they are part of is broken."""
_TEXT, _SHORT = 1200, 160
_MATES = 6
_LARGEST = 14.0
"""Probabilities are kept to six places, so a margin beyond this many nats is known to be that large, and no more."""


@dataclass(frozen=True, slots=True)
class Member:
    """An example, in short: its label found, p of it, and the beginning of its texts."""

    id: str
    label: Label
    probability: float
    text: str


@dataclass(frozen=True, slots=True)
class Binding:
    """A relation that a contested example is part of.

    Attributes:
        constraint: the kind of constraint that made it.
        others: the other examples that it relates, some of them if there are many; `left`, how many are not listed.
        state: "broken" now, "would break" under the most probable other label, else "holds".
    """

    constraint: str
    others: tuple[Member, ...]
    left: int
    state: str


@dataclass(frozen=True, slots=True)
class ContestedExample:
    """An example whose label is little ahead of another, or behind it.

    Attributes:
        row: its line of `labels.jsonl`.
        texts: name and beginning of each field; empty if the data are not at hand.
        other: the most probable other label.
        why: what makes it contested, in sentences.
        mates: others of its group; `mates_left`, how many are not listed; `mates_counts`, all of them by label.
        bindings: relations that it is part of, those that decide first; `bindings_left`, how many are not listed.
    """

    row: LabelledExample
    texts: tuple[tuple[str, Excerpt], ...]
    other: Label
    why: tuple[str, ...]
    mates: tuple[Member, ...]
    mates_left: int
    mates_counts: Mapping[Label, int]
    bindings: tuple[Binding, ...]
    bindings_left: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """A broken relation: its weight, and the examples whose labels break it; `left`, how many are not listed."""

    constraint: str
    weight: float
    members: tuple[Member, ...]
    left: int


def _other_label(row: LabelledExample) -> Label:
    """The most probable label beside the label found; the first in label order if several are equally probable."""
    return max((label for label in row.probabilities if label != row.label), key=lambda label: row.probabilities[label])


def margin(row: LabelledExample) -> float:
    """log p of the label found, less log p of the most probable other label.

    Args:
        row: of the example.

    Returns:
        Nats; infinite if one of the two is 0 to six places.
    """
    label, other = row.probability, row.probabilities[_other_label(row)]
    if not label or not other:
        return inf if label else -inf
    return log(label) - log(other)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for and against labels: a result, and if the data are at hand, texts and relations.

    Attributes:
        result: of the run.
        dataset: its examples, or None.
        relations: between them, or None.
        changes: per example how often the search changed its label.
    """

    result: Result
    dataset: Dataset | None
    relations: Relations | None
    changes: Mapping[str, int]

    def broken(self) -> tuple[int, ...]:
        """Positions of the broken relations, ascending."""
        return () if self.relations is None else tuple(sorted(self.relations.broken(self.result.labeling)))


def conflicts(evidence: Evidence) -> tuple[tuple[Conflict, ...], int]:
    """The first 50 broken relations, and how many there are in all.

    Args:
        evidence: labels and relations.
    """
    relations, rows = evidence.relations, {row.id: row for row in evidence.result.examples}
    broken = evidence.broken()
    listed = []
    for at in broken[:MOST_LISTED]:
        assert relations is not None
        relation = relations[at]
        members = tuple(_member(evidence.dataset, rows[key]) for key in relation.ids[:_MATES])
        listed.append(Conflict(relation.constraint, relation.weight, members, len(relation.ids) - len(members)))
    return tuple(listed), len(broken)


def contested_examples(evidence: Evidence) -> tuple[ContestedExample, ...]:
    """The examples whose labels are least ahead of another label, least ahead first.

    Args:
        evidence: labels, texts and relations.

    Returns:
        At most 50, none of them sure and in no conflict.
    """
    in_conflict: set[str] = set()
    for at in evidence.broken():
        assert evidence.relations is not None
        in_conflict.update(evidence.relations[at].ids)
    rows = [row for row in evidence.result.examples if row.probability < SURE or row.id in in_conflict]
    rows.sort(key=margin)
    by_group: dict[str, list[LabelledExample]] = defaultdict(list)
    wanted = {row.group for row in rows[:MOST_LISTED]}
    for row in evidence.result.examples:
        if row.group is not None and row.group in wanted:
            by_group[row.group].append(row)
    known = {row.id: row for row in evidence.result.examples}
    return tuple(_contested(row, evidence, known, by_group) for row in rows[:MOST_LISTED])


def _contested(
    row: LabelledExample,
    evidence: Evidence,
    known: Mapping[str, LabelledExample],
    by_group: Mapping[str, Sequence[LabelledExample]],
) -> ContestedExample:
    group = by_group[row.group] if row.group is not None else ()
    mates = [mate for mate in group if mate.id != row.id]
    counts = {label: sum(mate.label == label for mate in mates) for label in row.probabilities}
    other = _other_label(row)
    bindings = list(_bindings(row, other, evidence, known))
    bindings.sort(key=lambda binding: ("broken", "would break", "holds").index(binding.state))
    dataset = evidence.dataset
    fields = dataset.get(row.id).fields if dataset is not None else {}
    return ContestedExample(
        row,
        tuple((name, excerpt(text, _TEXT)) for name, text in fields.items()),
        other,
        tuple(_why(row, other, bindings, evidence.changes.get(row.id, 0))),
        tuple(_member(dataset, mate) for mate in mates[:_MATES]),
        max(0, len(mates) - _MATES),
        {label: count for label, count in counts.items() if count},
        tuple(bindings[:_MATES]),
        max(0, len(bindings) - _MATES),
    )


def _bindings(
    row: LabelledExample, other: Label, evidence: Evidence, known: Mapping[str, LabelledExample]
) -> Iterator[Binding]:
    relations = evidence.relations
    for at in () if relations is None else relations.touching(row.id):
        assert relations is not None
        relation = relations[at]
        others = [known[key] for key in relation.ids if key != row.id]
        members = tuple(_member(evidence.dataset, each) for each in others[:_MATES])
        state = _state(relation, {row.id: row.label, **{each.id: each.label for each in others}}, row.id, other)
        yield Binding(relation.constraint, members, len(others) - len(members), state)


def _state(relation: Relation, labels: Mapping[str, Label], key: str, other: Label) -> str:
    if relation.is_broken(labels):
        return "broken"
    return "would break" if relation.is_broken({**labels, key: other}) else "holds"


def _why(row: LabelledExample, other: Label, bindings: Sequence[Binding], changes: int) -> Iterator[str]:
    ahead = margin(row)
    size = f"{abs(ahead):.2f}" if abs(ahead) < _LARGEST else f"more than {_LARGEST:g}"
    if ahead < 0:
        yield f"Given all other labels, the model finds {other} more probable than {row.label}, by {size} nats."
    else:
        yield f"Given all other labels, {row.label} is {size} nats ahead of {other}."
    if row.fixed:
        yield "A person gave this label; no search changes it."
    broken = sum(binding.state == "broken" for binding in bindings)
    held = sum(binding.state == "would break" for binding in bindings)
    if broken:
        yield f"It stands in {count_of(broken, 'broken relation')}: a label in each is wrong, or the relation is."
    if held:
        yield f"{other} would break {count_of(held, 'relation')} that {row.label} keeps."
    elif ahead < 0 and not row.fixed:
        yield "No relation speaks against the other label: what it would do to the predictions of other examples does."
    if row.abstained:
        yield "It is left open, since its calibrated probability is below the run's threshold."
    if row.coverage is not None and row.coverage < 0.5:
        yield f"Only {row.coverage:.0%} of the model's probability was on the labels: it was to say something else."
    if changes:
        yield f"The search changed its label {count_of(changes, 'time')}."


def _member(dataset: Dataset | None, row: LabelledExample) -> Member:
    text = "" if dataset is None else " · ".join(dataset.get(row.id).fields.values())
    return Member(row.id, row.label, row.probability, shortened(text, _SHORT))
