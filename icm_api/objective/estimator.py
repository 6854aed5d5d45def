"""What an estimator of mutual predictability is. It measures; the statistic and alpha belong to the objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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

    def requests(self, labelled: int) -> int:
        """The most requests that one estimate takes.

        Args:
            labelled: examples that the labeling labels.
        """
        ...
