"""What is asked about each example, and what holds between examples: a task and its relations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TypeAlias

from icm_api.errors import ConfigError
from icm_api.types.dataset import Dataset
from icm_api.types.examples import Label
from icm_api.types.prompting import PromptTemplate, Verbalizer


@dataclass(frozen=True, slots=True)
class Relation:
    """Label combinations that some examples cannot have together.

    Attributes:
        ids: two or more distinct examples.
        forbidden: patterns, each with one set of labels per id. A labeling breaks the relation if it labels
            all ids and some pattern's sets contain all their labels.
        weight: what the relation adds to I(D) when broken; finite, above 0.
        constraint: the name of what made it; `compile_relations` fills in an empty one.

    Raises:
        ConfigError: an attribute is not as described.

    Example:
        >>> exclusive = Relation(("a", "b"), ((frozenset({"True"}), frozenset({"True"})),))
        >>> exclusive.is_broken({"a": "True", "b": "True"}), exclusive.is_broken({"a": "True"})
        (True, False)
    """

    ids: tuple[str, ...]
    forbidden: tuple[tuple[frozenset[Label], ...], ...]
    weight: float = 1.0
    constraint: str = ""

    def __post_init__(self) -> None:
        where = f"a relation of {self.constraint or 'a constraint'} over {list(self.ids)}"
        if len(self.ids) < 2 or len(set(self.ids)) != len(self.ids):
            raise ConfigError(f"{where} needs two or more distinct ids")
        if not self.forbidden:
            raise ConfigError(f"{where} forbids nothing; give it a pattern, or don't make it")
        for pattern in self.forbidden:
            if len(pattern) != len(self.ids) or not all(pattern):
                raise ConfigError(f"{where} has the pattern {pattern}; it needs one non-empty set per id")
        if not (isfinite(self.weight) and self.weight > 0):
            raise ConfigError(f"{where} has weight {self.weight}; a weight is finite and above 0")

    def is_broken(self, labeling: Mapping[str, Label]) -> bool:
        """Whether a labeling, complete or partial, has one of the forbidden combinations."""
        # Plain loops, since searches spend their time here. No pattern holds None, which stands for unlabelled.
        for pattern in self.forbidden:
            for key, names in zip(self.ids, pattern, strict=True):
                if labeling.get(key) not in names:
                    break
            else:
                return True
        return False


Constraint: TypeAlias = Callable[[Dataset, tuple[Label, ...]], Iterable[Relation]]
"""From a data set and its label set to relations. The library's constraints are such functions, and so are a user's."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked about each example, and what holds between examples.

    Attributes:
        template: how an example is shown.
        verbalizer: the label set, and how labels are written.
        constraints: functions from a data set to relations.
    """

    template: PromptTemplate = field(default_factory=PromptTemplate)
    verbalizer: Verbalizer = field(default_factory=lambda: Verbalizer.plain(("True", "False")))
    constraints: Sequence[Constraint] = ()
