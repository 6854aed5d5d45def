"""An independent second opinion on a labeling: what the model finds when it starts from nothing but itself.

A short bootstrap (Shrivastava et al. 2026): zero-shot predictions, made legal, become the demonstrations of the
next round. No label that a person gave, no random seed label and no label found takes part, so agreement with
it is evidence. Judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum, sqrt

from icm_api.objective import Objective
from icm_api.search.align import Predictions, align, most_probable
from icm_api.types import LabelDistribution, Labeling, logsumexp


@dataclass(frozen=True, slots=True)
class Chain:
    """Where a bootstrap ended.

    Attributes:
        labeling: complete.
        rounds: taken; fewer than asked for where a round changed nothing.
        debiased: every round's predictions were set off against their mean, see `debiased`.
    """

    labeling: Labeling
    rounds: int
    debiased: bool


async def zero_shot(objective: Objective) -> Predictions:
    """The model's prediction for every example with no demonstrations; n requests."""
    ids = objective.dataset.ids
    return await objective.conditionals(ids, Labeling())


async def bootstrap_chain(objective: Objective, first: Predictions, rounds: int, *, debias: bool) -> Chain:
    """Predict, make legal, and again with that as demonstrations; n requests for every round after the first.

    Args:
        objective: gives predictions and relations.
        first: zero-shot predictions.
        rounds: at most; at least 1.
        debias: set predictions off against their mean before labels are read off them.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    ids, predictions, labeling = objective.dataset.ids, first, Labeling()
    for number in range(1, rounds + 1):
        if number > 1:
            predictions = await objective.conditionals(ids, labeling)
        found = align(objective, debiased(predictions) if debias else predictions, Labeling(), most_probable)
        if found == labeling:
            return Chain(labeling, number, debias)
        labeling = found
    return Chain(labeling, rounds, debias)


def debiased(predictions: Predictions) -> Predictions:
    """Predictions relative to the mean log p of each label (batch calibration, Zhou et al. 2024, section 3).

    A model that says True to everything still says it more readily to some examples; with that bias taken off,
    the labels come out about balanced, which is wrong where the truth is not.

    Example:
        >>> from math import log
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.6)}
        >>> [found.best for found in debiased(read).values()]
        ['T', 'F']
    """
    reads = list(predictions.values())
    means = [fsum(values) / len(reads) for values in zip(*(read.logprobs for read in reads), strict=True)]
    return {key: _shifted(read, means) for key, read in predictions.items()}


def _shifted(read: LabelDistribution, means: Sequence[float]) -> LabelDistribution:
    raw = [value - mean for value, mean in zip(read.logprobs, means, strict=True)]
    total = logsumexp(raw)
    return replace(read, logprobs=tuple(value - total for value in raw), intervals={})


def opinion_spread(predictions: Predictions) -> float:
    """How differently the model sees the examples: standard deviation of its log-odds, in nats.

    For more than two labels, the root of 2 / (K - 1) times the summed variances of the log p of each label, each
    set off against the mean over labels; with two labels that is the standard deviation of the log-odds. What
    is common to all examples, such as a bias to one label, leaves it alone.

    Example:
        >>> from math import log
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.25, 0.75)}
        >>> round(opinion_spread(read) / log(3), 6)
        1.0
    """
    centred = [
        [value - fsum(read.logprobs) / len(read.logprobs) for value in read.logprobs] for read in predictions.values()
    ]
    variances = 0.0
    for values in zip(*centred, strict=True):
        mean = fsum(values) / len(values)
        variances += fsum((value - mean) ** 2 for value in values) / len(values)
    return sqrt(2 * variances / (len(centred[0]) - 1))
