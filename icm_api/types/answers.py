"""What a model answers and what that costs, the score of a labeling, and the protocol of a model that the core needs.

Nothing here computes a probability or talks to a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, log
from typing import Generic, Protocol, TypeAlias, TypeVar, overload, runtime_checkable

from icm_api.types.examples import Label, Labeling
from icm_api.types.prompting import Prompt

_T = TypeVar("_T")


def logsumexp(values: Sequence[float]) -> float:
    """log of the sum of exponentials, without overflow.

    Example:
        >>> round(logsumexp([-1000.0, -1000.0]), 6)
        -999.306853
    """
    top = max(values)
    return top if not isfinite(top) else top + log(sum(exp(value - top) for value in values))


@dataclass(frozen=True, slots=True)
class LabelDistribution:
    """log p(label | prompt), normalised over the label set.

    Attributes:
        labels: the label set, in the verbalizer's order.
        logprobs: natural logarithms, one per label, that exponentiate and sum to 1.
        coverage: probability that the model gave to all labels together before normalising, in [0, 1]. It is 0 if the
            answer says nothing of any label: then no label is more probable than another. None if it is not known, as
            the server normalises.
        method: how it was read, e.g. "exact".
        intervals: per label the smallest and largest probability possible, where the model left some form
            out of its answer; empty where every form was read.
        standard_error: of the probabilities, where they were sampled; else None.
        instead: what the model would write, with its probability, if that is mostly no label; else empty.
    """

    labels: tuple[Label, ...]
    logprobs: tuple[float, ...]
    coverage: float | None
    method: str
    intervals: Mapping[Label, tuple[float, float]] = field(default_factory=dict)
    standard_error: float | None = None
    instead: Mapping[str, float] = field(default_factory=dict)

    @property
    def unknown(self) -> bool:
        """Whether the answer says nothing of any label."""
        return self.coverage == 0

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


Predictions: TypeAlias = Mapping[str, LabelDistribution]
"""id -> what the model predicts for that example: a distribution over the label set."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of a model: requests answered, and the tokens in their prompts and replies.

    In answers and results, each prompt of a list counts as a request, and each question to a decision endpoint, so that
    the count does not depend on which of them a cache had. What was sent counts what went over HTTP.
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


@dataclass(frozen=True, slots=True)
class Answers(Sequence[_T], Generic[_T]):
    """What a model answered, in the order of the questions, with what the answers cost.

    Attributes:
        values: one per question.
        costs: per distinct request that the answers rest on, by its key, what it cost when it was answered, whether a
            cache answers it now or the model did. `cached_tokens` is 0 in it: what a server has in its prefix cache
            depends on timing.

    Example:
        >>> answers = Answers(("True", "False"), {"k1": Usage(1, 10), "k2": Usage(1, 12)})
        >>> list(answers), answers.usage.prompt_tokens
        (['True', 'False'], 22)
    """

    values: Sequence[_T]
    costs: Mapping[str, Usage] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | Sequence[_T]:
        return self.values[index]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def usage(self) -> Usage:
        """What all distinct requests cost together."""
        return sum(self.costs.values(), Usage())


class Tally:
    """What one piece of work asked of a model: each distinct request once, however often it was asked.

    A search has a tally of its own, so that what it asked for does not depend on who else uses the model.

    Example:
        >>> tally = Tally()
        >>> tally.add({"k1": Usage(1, 10)})
        >>> judging = tally.part()
        >>> judging.add({"k1": Usage(1, 10), "k2": Usage(1, 12)})
        >>> tally.usage.prompt_tokens, judging.usage.prompt_tokens
        (10, 12)
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._usage = Usage()

    @property
    def usage(self) -> Usage:
        """Requests and tokens by now."""
        return self._usage

    def add(self, costs: Mapping[str, Usage]) -> None:
        """Count those requests that were not counted before.

        Args:
            costs: per request, by its key, what it cost: see `Answers`.
        """
        for key, usage in costs.items():
            if key not in self._seen:
                self._seen.add(key)
                self._usage += usage

    def part(self) -> Tally:
        """A tally that starts at zero and leaves out what this one has counted or will count."""
        other = Tally()
        other._seen = self._seen
        return other


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do, and how exactly.

    Attributes:
        context_window: the most tokens a prompt and its label may have together.
        method: how label logprobs are read, best first of what the provider can: "exact", "exact_ids", "top_k",
            "prompt_logprobs", "token_walk", "decisions", "sampled", "stated".
        deterministic: the same request always gives the same numbers.
        batches: it takes many requests at once and gains by it; else they are sent one by one, concurrently.
        top_logprobs: the most alternatives that an answer can list; None where that is no limit.
        prompt_logprobs: can score marked positions inside a prompt.
        generates: can generate text.
        requests_per_prompt: how many requests one prompt takes, where every label is one token.
        options: of those that its provider takes, what may bring more of the probability onto the labels.
        together: the most requests that may travel as one, see `Request.group`.
        alike: only requests about equal demonstrations travel as one, so that each context takes one of its own.
        at_once: prompts that are best asked about in one call, as they go as one batch job; 1 if that gains nothing.
    """

    context_window: int
    method: str
    deterministic: bool
    batches: bool = False
    top_logprobs: int | None = None
    prompt_logprobs: bool = False
    generates: bool = False
    requests_per_prompt: int = 1
    options: tuple[str, ...] = ()
    together: int = 1
    alike: bool = False
    at_once: int = 1


class Model(Protocol):
    """What the core needs of a language model: label distributions after prompts, and token counts."""

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do, and how exactly."""
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens the model sees in this text."""
        ...

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        """The model's distribution over each prompt's labels, in the order of the prompts, and what it cost.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        ...


@runtime_checkable
class ReadsInside(Model, Protocol):
    """A model that also gives label distributions inside a prompt."""

    async def read_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        """Per prompt and turn, the distribution over labels given all that stands before the turn's answer.

        Raises:
            CapabilityError: this model cannot.
            ProviderError: the model gave no usable logprobs.
        """
        ...


@dataclass(frozen=True, slots=True)
class Score:
    """U(D) and what it is made of, for one labeling (paper, section 2).

    Attributes:
        labeling: D, the labeling that this is the score of.
        utility: U(D) = alpha * P(D) - I(D).
        value: what the search maximises: U(D), or alpha * J(D) - I(D) if the statistic is information.
        mutual_predictability: P(D), by the statistic of the objective.
        inconsistency: I(D), the weight of all broken relations.
        logprobs: per labelled example, log p(y_i | x_i, all the others), in nats.
        distributions: per labelled example, the model's distribution over all labels given all the others; empty if
            the estimator gives only log p(y_i).
        broken: which relations are broken, by their position.
        method: the estimator of P(D).
        information: J(D), in nats per example: how much more probable the labels are given their own texts than on
            average over all texts; None if it is not what is maximised.
        standard_error: of P(D), if the estimator is random; None if it is exact.
        usage: requests and tokens that the estimate rests on, whether they were asked for before or not.
    """

    labeling: Labeling
    utility: float
    value: float
    mutual_predictability: float
    inconsistency: float
    logprobs: Mapping[str, float]
    distributions: Mapping[str, LabelDistribution]
    broken: frozenset[int]
    method: str
    information: float | None = None
    standard_error: float | None = None
    usage: Usage = field(default_factory=Usage)
