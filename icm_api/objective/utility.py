"""U(D) = alpha * P(D) - I(D): the one number that every search maximises.

P(D) comes from an estimator and is summed up by one of three statistics; I(D) is the weight of the relations
that the labeling breaks. This file neither decides what to try next nor talks to a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum, inf
from types import MappingProxyType

from icm_api.consistency import Relations
from icm_api.errors import ConfigError
from icm_api.objective.estimator import Estimator
from icm_api.objective.leave_one_out import LeaveOneOut, context_prompts
from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, Label, LabelDistribution, Labeling, Model, Prompt, Score, Tally, Usage, logsumexp

Statistic = Callable[[Sequence[tuple[LabelDistribution, Label]]], float]


def mean_logprob(read: Sequence[tuple[LabelDistribution, Label]]) -> float:
    """Mean of log p(y_i | x_i, D without i). At most 0; does not fall merely because D grows."""
    return fsum(distribution.logprob(label) for distribution, label in read) / len(read)


def sum_logprob(read: Sequence[tuple[LabelDistribution, Label]]) -> float:
    """The paper's formula (section 2.1), the sum. Every added label lowers it, since log p <= 0."""
    return fsum(distribution.logprob(label) for distribution, label in read)


def mean_logodds(read: Sequence[tuple[LabelDistribution, Label]]) -> float:
    """The published code's: mean of log p(y_i) - log p(not y_i). Unbounded above; the label set is binary."""
    return fsum(_logodds(distribution, label) for distribution, label in read) / len(read)


def _logodds(distribution: LabelDistribution, label: Label) -> float:
    others = [p for name, p in zip(distribution.labels, distribution.logprobs, strict=True) if name != label]
    return distribution.logprob(label) - logsumexp(others)


STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {"mean_logprob": mean_logprob, "sum_logprob": sum_logprob, "mean_logodds": mean_logodds}
)


@dataclass(frozen=True, slots=True)
class Objective:
    """U(D) for labelings of one data set, one model, one set of relations (paper, section 2).

    Attributes:
        dataset: the examples.
        prompts: turns an example and its demonstrations into a prompt.
        scorer: the model.
        relations: what the constraints came to.
        alpha: weight of P(D) against I(D).
        statistic: a name in `STATISTICS`.
        estimator: how P(D) is estimated.
        tally: what was asked of the model through this objective.

    Raises:
        ConfigError: an unknown statistic, or `mean_logodds` on more than two labels.
    """

    dataset: Dataset
    prompts: PromptBuilder
    scorer: Model
    relations: Relations
    alpha: float = 50.0
    statistic: str = "mean_logprob"
    estimator: Estimator = field(default_factory=LeaveOneOut)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise ConfigError(f"unknown statistic {self.statistic!r}; known: {', '.join(STATISTICS)}")
        if self.statistic == "mean_logodds" and len(self.labels) != 2:
            raise ConfigError(f"mean_logodds needs two labels, there are {len(self.labels)}: use mean_logprob")

    @property
    def labels(self) -> tuple[Label, ...]:
        """The label set."""
        return self.prompts.verbalizer.labels

    async def __call__(self, labeling: Labeling, near: Score | None = None) -> Score:
        """The score of a labeling, complete or partial. P of the empty labeling is 0.

        Args:
            labeling: D.
            near: the score of a labeling that differs little; only relations that touch the difference are
                looked at again. The result is the same without it.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        estimate = await self.estimator.estimate(labeling, self.dataset, self.prompts, self.scorer)
        self.tally.add(estimate.costs)
        broken = self.broken(labeling, near)
        distributions = estimate.distributions
        read = [(distributions[example_id], labeling[example_id]) for example_id in distributions]
        predictability = STATISTICS[self.statistic](read) if read else 0.0
        inconsistency = self.relations.weight(broken)
        return Score(
            labeling=labeling,
            utility=self.alpha * predictability - inconsistency,
            mutual_predictability=predictability,
            inconsistency=inconsistency,
            distributions=distributions,
            broken=broken,
            method=estimate.method,
            standard_error=estimate.standard_error,
            usage=sum(estimate.costs.values(), Usage()),
        )

    def broken(self, labeling: Labeling, near: Score | None = None) -> frozenset[int]:
        """Which relations a labeling breaks; costs what the difference to `near` touches."""
        if near is None:
            return self.relations.broken(labeling)
        return self.relations.broken_after(near.broken, labeling, changed_ids(near.labeling, labeling))

    async def predict(self, ids: Sequence[str], labeling: Labeling) -> Sequence[LabelDistribution]:
        """log p(y | x_i, labeling without i) for each id; one request per id.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        return await self.read(context_prompts(ids, labeling, self.dataset, self.prompts))

    async def read(self, prompts: Sequence[Prompt]) -> Sequence[LabelDistribution]:
        """The model's distribution after each prompt, counted in the tally.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        answers = await self.scorer.label_distributions(prompts)
        self.tally.add(answers.costs)
        return answers

    def best_legal(
        self, ids: Sequence[str], distributions: Sequence[LabelDistribution], fixed: Labeling, limit: int
    ) -> Mapping[str, Label] | None:
        """The labels for `ids` with the largest sum of log p among those that break no relation.

        Args:
            ids: the examples to label together.
            distributions: the model's distribution for each of them.
            fixed: labels of other examples, which relations are held against.
            limit: give up beyond this many legal labelings.

        Returns:
            The labels; None where nothing is legal or there are more than `limit` ways.
        """
        legal = self.relations.legal_labelings(ids, fixed, limit)
        best, most = None, -inf
        for labels in legal or ():
            fit = fsum(read.logprob(labels[at]) for at, read in zip(ids, distributions, strict=True))
            if fit > most:
                best, most = labels, fit
        return best


def changed_ids(before: Labeling, after: Labeling) -> frozenset[str]:
    """The ids whose label differs between two labelings, unlabelled counting as a label of its own.

    Example:
        >>> sorted(changed_ids(Labeling({"a": "1", "b": "1"}), Labeling({"b": "2", "c": "1"})))
        ['a', 'b', 'c']
    """
    return frozenset(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
