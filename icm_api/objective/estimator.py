"""What an estimator of mutual predictability is. It measures; the statistic and alpha belong to the objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, LabelDistribution, Labeling, Model, Usage


@dataclass(frozen=True, slots=True)
class Estimate:
    """log p(y_i) per labelled example; how it was got, how uncertain it is, and what it cost.

    Attributes:
        logprobs: id -> log p(y_i | x_i, the others), in nats, for every labelled example.
        method: the estimator's name.
        distributions: id -> distribution over all labels, for every labelled example, if it came with the answer;
            else empty.
        standard_error: of the mean log p(y_i), if the estimator draws at random; None if it is exact.
        costs: per distinct request, by its key, what it cost.
    """

    logprobs: Mapping[str, float]
    method: str
    distributions: Mapping[str, LabelDistribution] = field(default_factory=dict)
    standard_error: float | None = None
    costs: Mapping[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of the texts that prompts are made of, in data set order.

    Attributes:
        head: of what every prompt begins with, and of its frame.
        shown: per example, as a demonstration with its label.
        asked: per example, as the question.
        window: the most of a prompt; demonstrations that do not fit are left out.
    """

    head: int
    shown: tuple[int, ...]
    asked: tuple[int, ...]
    window: int

    def part(self, size: int) -> Lengths:
        """Of so many of the examples, taken evenly.

        Args:
            size: how many, at most those that there are.

        Example:
            >>> Lengths(5, (10, 20, 30, 40), (8, 18, 28, 38), 1000).part(2).shown
            (10, 30)
        """
        taken = [at * len(self.shown) // size for at in range(size)]
        return replace(self, shown=tuple(self.shown[at] for at in taken), asked=tuple(self.asked[at] for at in taken))

    def prompt(self, shown: float, asked: float) -> float:
        """Tokens of a prompt.

        Args:
            shown: of its demonstrations together.
            asked: of its question.
        """
        return min(self.window, self.head + shown + asked)


class Estimator(Protocol):
    """Estimates log p(y_i | x_i, D without i) for every labelled i."""

    @property
    def name(self) -> str:
        """What results say of how P(D) was estimated."""
        ...

    @property
    def gives_distributions(self) -> bool:
        """Whether the distribution over all labels comes with every log p(y_i), at no further request."""
        ...

    @property
    def orders(self) -> int:
        """In how many orders, or choices, of the demonstrations one estimate asks."""
        ...

    async def estimate(self, labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, model: Model) -> Estimate:
        """Ask the model.

        Args:
            labeling: complete or partial.
            dataset: holds its examples.
            prompts: turns an example and its demonstrations into a prompt.
            model: whom to ask.

        Returns:
            log p(y_i) for exactly the examples that the labeling labels.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        ...

    def requests(self, labelled: int, stretches: int) -> int:
        """The most requests that one estimate takes.

        Args:
            labelled: examples that the labeling labels.
            stretches: the most prompts that show all of them, one after another in any order.
        """
        ...

    def usage(self, lengths: Lengths) -> Usage:
        """What one estimate is likely to ask for, before any cache of answers.

        Args:
            lengths: of the labelled examples.

        Returns:
            Requests, prompt tokens, and those of them that a prefix cache has read before within the estimate; no
            reply tokens, of which the endpoint knows.
        """
        ...
