"""What an estimator of mutual predictability is. It measures; the statistic and alpha are the objective's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, LabelDistribution, Labeling, Model, Usage


@dataclass(frozen=True, slots=True)
class Estimate:
    """Per labelled example, the distribution given the others; how it was got, and how uncertain it is.

    Attributes:
        distributions: id -> distribution, for every labelled example.
        method: the estimator's name.
        standard_error: of the mean log p(y_i), where the estimator draws at random; None where it is exact.
        costs: per distinct request, by its key, what it cost.
    """

    distributions: Mapping[str, LabelDistribution]
    method: str
    standard_error: float | None = None
    costs: Mapping[str, Usage] = field(default_factory=dict)


class Estimator(Protocol):
    """Estimates log p(y_i | x_i, D without i) for every labelled i."""

    @property
    def name(self) -> str: ...

    async def estimate(
        self, labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, scorer: Model
    ) -> Estimate: ...

    def requests(self, labelled: int) -> int:
        """The most requests that one estimate takes with this many labelled examples."""
        ...
