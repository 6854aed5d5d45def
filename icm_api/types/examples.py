"""What is labelled, and how: examples and labelings. All are frozen, and none has a place for gold labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

Label: TypeAlias = str
"""A label's name, e.g. "True". How a model writes it is the business of `Verbalizer`."""

_EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Example:
    """One unlabelled example, x_i of the paper.

    Attributes:
        id: unique in its data set.
        fields: named texts that a prompt template shows to the model.
        group: examples that constraints may relate share one, e.g. the question that candidates answer.
        answer: what the example claims inside its group, e.g. the final answer of a solution.
        metadata: anything else; never shown to the model.
    """

    id: str
    fields: Mapping[str, str]
    group: str | None = None
    answer: str | None = None
    metadata: Mapping[str, object] = field(default_factory=lambda: _EMPTY)


class Labels(Mapping[str, Label]):
    """A mapping id -> label that never changes; labels of two kinds are never equal. Order is no part of it.

    Args:
        labels: by the ids of examples.
    """

    __slots__ = ("_hash", "_labels")

    def __init__(self, labels: Mapping[str, Label] | None = None) -> None:
        self._labels = dict(labels or {})
        self._hash: int | None = None

    def __getitem__(self, example_id: str) -> Label:
        return self._labels[example_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._labels == other._labels

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._labels.items()))
        return self._hash


class Labeling(Labels):
    """D of the paper without the texts: id -> label, from a search or a person.

    Example:
        >>> one = Labeling({"a": "True"})
        >>> two = one.assign({"b": "False"})
        >>> sorted(two), sorted(one), two.without(["a"]) == Labeling({"b": "False"})
        (['a', 'b'], ['a'], True)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Labeling({self._labels!r})"

    def assign(self, updates: Mapping[str, Label]) -> Labeling:
        """A new labeling in which the examples of `updates` have these labels."""
        return Labeling({**self._labels, **updates})

    def without(self, ids: Iterable[str]) -> Labeling:
        """A new labeling in which the examples `ids` are unlabelled."""
        gone = frozenset(ids)
        return Labeling({key: label for key, label in self._labels.items() if key not in gone})
