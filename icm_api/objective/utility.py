"""U(D) = alpha * P(D) - I(D), and the one number that a search maximises: U(D), or alpha * J(D) - I(D).

P(D) is estimated by an estimator and summed up by one of three statistics; J(D) is `information`; I(D) is the weight of
the relations that the labeling breaks. Nothing here decides what to try next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import expm1, fsum, log
from random import Random
from types import MappingProxyType

from icm_api.consistency import Relations
from icm_api.errors import ConfigError
from icm_api.objective.estimator import Estimate, Estimator, Lengths
from icm_api.objective.information import explained, information
from icm_api.objective.leave_one_out import LeaveOneOut, context_prompts
from icm_api.prompts import PromptBuilder
from icm_api.types import (
    Dataset,
    Label,
    LabelDistribution,
    Labeling,
    Model,
    Predictions,
    Prompt,
    Score,
    Tally,
    Usage,
    logsumexp,
)

Statistic = Callable[[Estimate, Labeling], float]


def mean_logprob(estimate: Estimate, labeling: Labeling) -> float:
    """Mean of log p(y_i | x_i, D without i), nats per example. At most 0; does not fall merely because D grows.

    Args:
        estimate: of at least one labelled example.
        labeling: that it is the estimate of.
    """
    return fsum(estimate.logprobs.values()) / len(estimate.logprobs)


def sum_logprob(estimate: Estimate, labeling: Labeling) -> float:
    """The paper's formula (section 2.1), the sum in nats. Every added label lowers it, since log p <= 0.

    Args:
        estimate: of at least one labelled example.
        labeling: that it is the estimate of.
    """
    return fsum(estimate.logprobs.values())


def mean_logodds(estimate: Estimate, labeling: Labeling) -> float:
    """The published code's statistic: mean of log p(y_i) - log p(other label), nats per example; two labels only.

    Args:
        estimate: of at least one labelled example.
        labeling: that it is the estimate of.
    """
    odds = (
        value - _other(value, estimate.distributions.get(key), labeling[key])
        for key, value in estimate.logprobs.items()
    )
    return fsum(odds) / len(estimate.logprobs)


def _other(logprob: float, read: LabelDistribution | None, label: Label) -> float:
    """log p of the other one of two labels, which is 1 - p if nothing else is known of it."""
    if read is None:
        return log(max(-expm1(logprob), SMALLEST))
    return logsumexp([value for name, value in zip(read.labels, read.logprobs, strict=True) if name != label])


SMALLEST = 1e-300
"""A probability that rounding has made 0 is not."""
STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {"mean_logprob": mean_logprob, "sum_logprob": sum_logprob, "mean_logodds": mean_logodds}
)
INFORMATION = "information"
"""The statistic that maximises J(D); P(D) is then the mean log p."""


@dataclass(frozen=True, slots=True)
class Objective:
    """U(D) for labelings of one data set, one model, one set of relations (paper, section 2).

    Attributes:
        dataset: the examples.
        prompts: turns an example and its demonstrations into a prompt.
        model: whom to ask.
        relations: made by the task's constraints.
        alpha: weight of P(D) against I(D).
        statistic: a name in `STATISTICS`, or "information", which maximises J(D) instead of P(D).
        estimator: how P(D) is estimated.
        tally: what was asked of the model through this objective.

    Raises:
        ConfigError: an unknown statistic, or `mean_logodds` on more than two labels.
    """

    dataset: Dataset
    prompts: PromptBuilder
    model: Model
    relations: Relations
    alpha: float = 50.0
    statistic: str = "mean_logprob"
    estimator: Estimator = field(default_factory=LeaveOneOut)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        known = (*STATISTICS, INFORMATION)
        if self.statistic not in known:
            raise ConfigError(f"unknown statistic {self.statistic!r}; known: {', '.join(known)}")
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

        Returns:
            U, P and I, with log p(y_i) per labelled example, and distributions if they came with it.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        estimate = await self.estimator.estimate(labeling, self.dataset, self.prompts, self.model)
        self.tally.add(estimate.costs)
        reads = estimate.distributions
        if self.statistic == INFORMATION and len(reads) < len(labeling):
            reads = await self.conditionals(tuple(estimate.logprobs), labeling)
        statistic = STATISTICS.get(self.statistic, mean_logprob)
        predictability = statistic(estimate, labeling) if estimate.logprobs else 0.0
        return self._score(labeling, estimate, reads, predictability, self.broken(labeling, near))

    def _score(
        self,
        labeling: Labeling,
        estimate: Estimate,
        reads: Predictions,
        predictability: float,
        broken: frozenset[int],
    ) -> Score:
        inconsistency = self.relations.weight(broken)
        utility = self.alpha * predictability - inconsistency
        # Annealing scores thousands of labelings, and has no use for it.
        gained = information(reads, labeling, self.relations) if self.statistic == INFORMATION else None
        value = utility if gained is None else self.alpha * gained - inconsistency
        return Score(
            labeling=labeling,
            utility=utility,
            value=value,
            mutual_predictability=predictability,
            inconsistency=inconsistency,
            logprobs=estimate.logprobs,
            distributions=reads,
            broken=broken,
            method=estimate.method,
            information=gained,
            standard_error=estimate.standard_error,
            usage=sum(estimate.costs.values(), Usage()),
        )

    def reordered(self, rng: Random) -> Objective:
        """The same objective with the demonstrations of every prompt in another order.

        Demonstrations are ordered by place in the data set, so that the data set in another order gives other contexts.

        Args:
            rng: all chance comes from here.
        """
        examples = list(self.dataset)
        rng.shuffle(examples)
        return replace(self, dataset=Dataset(examples))

    def broken(self, labeling: Labeling, near: Score | None = None) -> frozenset[int]:
        """Positions of the relations that a labeling breaks.

        Args:
            labeling: complete or partial.
            near: the score of a labeling that differs little: only relations that touch the difference are looked at.
        """
        if near is None:
            return self.relations.broken(labeling)
        return self.relations.broken_after(near.broken, labeling, _changed_ids(near.labeling, labeling))

    async def conditionals(
        self, ids: Sequence[str], labeling: Labeling, near: Score | None = None
    ) -> dict[str, LabelDistribution]:
        """log p(y | x_i, labeling without i) of every label y, for each id: what the other labels would be worth.

        Args:
            ids: labelled or not; an example's own label is never in its prompt.
            labeling: the demonstrations.
            near: a score. If it is of this labeling, its distributions are used, and only the others are asked for.

        Returns:
            Per id a distribution over the label set; one request for each that was not known.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        known = near.distributions if near is not None and near.labeling == labeling else {}
        missing = [key for key in ids if key not in known]
        together = self.model.capabilities.alike
        asked_for = context_prompts(missing, labeling, self.dataset, self.prompts, together=together)
        read = await self.read(asked_for) if missing else ()
        asked = dict(zip(missing, read, strict=True))
        return {key: known[key] if key in known else asked[key] for key in ids}

    async def conditionals_each(self, questions: Sequence[tuple[str, Labeling]]) -> Sequence[LabelDistribution]:
        """As `conditionals`, but each id is asked for given a labeling of its own.

        Args:
            questions: an id, and the labeling that gives its demonstrations.

        Returns:
            One distribution over the label set per question; one request each, all at once.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        asked = [context_prompts([key], labeling, self.dataset, self.prompts)[0] for key, labeling in questions]
        return await self.read(asked)

    def requests(self, labelled: int) -> int:
        """The most requests of one score and its distributions.

        Args:
            labelled: examples that the labeling labels.
        """
        further = 0 if self.estimator.gives_distributions else labelled
        return self.estimator.requests(labelled, self.prompts.stretches(self.dataset)) + further

    def usage(self, lengths: Lengths) -> Usage:
        """What one score and its distributions are likely to ask for, before any cache of answers.

        Args:
            lengths: of the labelled examples.
        """
        found = self.estimator.usage(lengths)
        return found if self.estimator.gives_distributions else found + LeaveOneOut().usage(lengths)

    async def completed(self, score: Score) -> Score:
        """The score with a distribution for every labelled example, asked for if it did not come with log p(y_i).

        Args:
            score: by this objective.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        if len(score.distributions) == len(score.labeling):
            return score
        reads = await self.conditionals(tuple(score.logprobs), score.labeling, near=score)
        return replace(score, distributions=reads)

    def worth(self, score: Score) -> float:
        """What labelings at hand are compared by: what is maximised, with J as the share that is explained.

        Args:
            score: by this objective.
        """
        if self.statistic != INFORMATION:
            return score.value
        return self.alpha * explained(score.distributions, score.labeling, self.relations) - score.inconsistency

    async def read(self, prompts: Sequence[Prompt]) -> Sequence[LabelDistribution]:
        """The model's distribution after each prompt, counted in the tally.

        Args:
            prompts: any; in the order of the answers.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        answers = await self.model.label_distributions(prompts)
        self.tally.add(answers.costs)
        return answers


def _changed_ids(before: Labeling, after: Labeling) -> frozenset[str]:
    """The ids whose label differs between two labelings, unlabelled counting as a label of its own."""
    return frozenset(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
