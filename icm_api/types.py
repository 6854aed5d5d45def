"""The values that everything else passes around: examples, labelings, prompts, distributions, scores.

All are frozen: a change is a new value. None of them has a place for gold labels. Nothing here computes a
probability, reads a file or talks to a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from types import MappingProxyType
from typing import TypeAlias, overload

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


class Dataset(Sequence[Example]):
    """The examples in file order, found by position or by id. Holds no label of any kind.

    Args:
        examples: with unique ids, at least one.

    Raises:
        ValueError: an id occurs twice.

    Example:
        >>> data = Dataset([Example("a", {"text": "1+1=2"}), Example("b", {"text": "1+1=3"})])
        >>> len(data), data.get("b").fields["text"], data.position("b")
        (2, '1+1=3', 1)
    """

    __slots__ = ("_examples", "_positions")

    def __init__(self, examples: Iterable[Example]) -> None:
        self._examples = tuple(examples)
        self._positions = {example.id: at for at, example in enumerate(self._examples)}
        if len(self._positions) != len(self._examples):
            twice = next(e.id for at, e in enumerate(self._examples) if self._positions[e.id] != at)
            raise ValueError(f"id {twice!r} occurs twice; ids must be unique")

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        return self._examples[index]

    def __len__(self) -> int:
        return len(self._examples)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, in file order."""
        return tuple(self._positions)

    def get(self, example_id: str) -> Example:
        """The example with this id. Raises KeyError where there is none."""
        return self._examples[self._positions[example_id]]

    def position(self, example_id: str) -> int:
        """Where in the file the example stands, from 0. Raises KeyError where there is none."""
        return self._positions[example_id]


class Labeling(Mapping[str, Label]):
    """D of the paper without the texts: a mapping id -> label that never changes. Order is no part of it.

    Example:
        >>> one = Labeling({"a": "True"})
        >>> two = one.assign({"b": "False"})
        >>> sorted(two), sorted(one), two.without(["a"]) == Labeling({"b": "False"})
        (['a', 'b'], ['a'], True)
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
        return isinstance(other, Labeling) and self._labels == other._labels

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._labels.items()))
        return self._hash

    def __repr__(self) -> str:
        return f"Labeling({self._labels!r})"

    def assign(self, updates: Mapping[str, Label]) -> Labeling:
        """A new labeling in which the examples of `updates` have these labels."""
        return Labeling({**self._labels, **updates})

    def without(self, ids: Iterable[str]) -> Labeling:
        """A new labeling in which the examples `ids` are unlabelled."""
        gone = frozenset(ids)
        return Labeling({key: label for key, label in self._labels.items() if key not in gone})


class Verbalizer:
    """How a model writes each label: label -> surface forms. The first form is the one demonstrations use.

    A form begins with the space that separates it from the prompt, since a prompt never ends in white space.

    Args:
        forms: per label, in a fixed order, one or more forms.

    Raises:
        ValueError: fewer than two labels, an empty form, or a form that begins another form (its
            probability would contain the other's).

    Example:
        >>> Verbalizer.plain(["True", "False"]).forms("True")
        (' True',)
    """

    __slots__ = ("_forms",)

    def __init__(self, forms: Mapping[Label, Sequence[str]]) -> None:
        self._forms = {label: tuple(dict.fromkeys(written)) for label, written in forms.items()}
        if len(self._forms) < 2:
            raise ValueError(f"a label set needs at least two labels, got {list(self._forms)}")
        for label, written in self._forms.items():
            if not written or not all(form.strip() for form in written):
                raise ValueError(f"label {label!r} has an empty surface form; give it some text")
        self._check_prefixes()

    def _check_prefixes(self) -> None:
        owners = [(form, label) for label, written in self._forms.items() for form in written]
        for form, label in owners:
            for longer, other in owners:
                if longer.startswith(form) and (longer, other) != (form, label):
                    raise ValueError(
                        f"form {form!r} of label {label!r} begins form {longer!r} of label {other!r}, so its "
                        "probability would contain the other's; use forms of which none begins another"
                    )

    @classmethod
    def plain(cls, labels: Iterable[Label]) -> Verbalizer:
        """Each label written as itself, after one space."""
        return cls({label: (f" {label}",) for label in labels})

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label set, in its fixed order, which also decides ties."""
        return tuple(self._forms)

    def forms(self, label: Label) -> tuple[str, ...]:
        """The surface forms of a label. Raises KeyError for a label outside the set."""
        return self._forms[label]

    def written(self, label: Label) -> str:
        """The form that demonstrations use."""
        return self._forms[label][0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verbalizer) and list(self._forms.items()) == list(other._forms.items())

    def __hash__(self) -> int:
        return hash(tuple(self._forms.items()))

    def __repr__(self) -> str:
        return f"Verbalizer({self._forms!r})"


@dataclass(frozen=True, slots=True)
class Turn:
    """One demonstration: the example's text, and its label as written (with the space that belongs to it)."""

    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to the model: which label follows `query`, after these demonstrations?

    Kept in parts, so that a chat model can be given turns, and shared beginnings can be found without
    comparing characters. `text` is what a base model reads; it never ends in white space.
    """

    instruction: str
    turns: tuple[Turn, ...]
    query: str
    verbalizer: Verbalizer
    separator: str = "\n\n"

    @property
    def segments(self) -> tuple[str, ...]:
        """The text in pieces that prompts with equal beginnings share: instruction, each turn, query."""
        head = (self.instruction + self.separator,) if self.instruction else ()
        turns = tuple(turn.text + turn.answer + self.separator for turn in self.turns)
        return (*head, *turns, self.query)

    @property
    def text(self) -> str:
        """The whole prompt as plain text."""
        return "".join(self.segments)


@dataclass(frozen=True, slots=True)
class LabelDistribution:
    """log p(label | prompt), normalised over the label set.

    Attributes:
        labels: the label set, in the verbalizer's order.
        logprobs: natural logarithms, one per label, that exponentiate and sum to 1.
        coverage: probability that the model gave to all labels together before normalising, in (0, 1].
        method: how it was read, e.g. "exact".
        intervals: per label the smallest and largest probability possible, where the model left some form
            out of its answer; empty where every form was read.
        standard_error: of the probabilities, where they were sampled; else None.
    """

    labels: tuple[Label, ...]
    logprobs: tuple[float, ...]
    coverage: float
    method: str
    intervals: Mapping[Label, tuple[float, float]] = field(default_factory=dict)
    standard_error: float | None = None

    def logprob(self, label: Label) -> float:
        """log p of one label. Raises ValueError for a label outside the set."""
        return self.logprobs[self.labels.index(label)]

    def probability(self, label: Label) -> float:
        """p of one label. Raises ValueError for a label outside the set."""
        return exp(self.logprob(label))

    @property
    def best(self) -> Label:
        """The most probable label; the first in label order where several are."""
        return self.labels[self.logprobs.index(max(self.logprobs))]


@dataclass(frozen=True, slots=True)
class Score:
    """U(D) and what it is made of, for one labeling (paper, section 2).

    Attributes:
        labeling: D, the labeling that this is the score of.
        utility: U(D) = alpha * P(D) - I(D).
        mutual_predictability: P(D), by the statistic of the objective.
        inconsistency: I(D), the weight of all broken relations.
        distributions: per labelled example, the model's distribution given all the others.
        broken: which relations are broken, by their position.
        method: the estimator of P(D).
        standard_error: of P(D), where the estimator is random; None where it is exact.
    """

    labeling: Labeling
    utility: float
    mutual_predictability: float
    inconsistency: float
    distributions: Mapping[str, LabelDistribution]
    broken: frozenset[int]
    method: str
    standard_error: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of a model: requests answered, and the tokens in their prompts and replies.

    `cached_tokens` are those prompt tokens that the server says it had in a prefix cache, 0 where it says nothing.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.requests - other.requests,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
            self.cached_tokens - other.cached_tokens,
        )
