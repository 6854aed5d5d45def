"""What a model finds if it starts from nothing but itself: zero-shot predictions, and a bootstrap from them.

No label that a person gave, no random seed label and no label found takes part (Shrivastava et al. 2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, sqrt

from icm_api.objective import Objective, shifted
from icm_api.search.align import align, most_probable
from icm_api.types import Labeling, Predictions


@dataclass(frozen=True, slots=True)
class Chain:
    """The outcome of a bootstrap.

    Attributes:
        labeling: complete.
        rounds: taken; fewer than asked for if a round changed nothing.
        debiased: every round's predictions were taken relative to their mean, see `debiased`.
    """

    labeling: Labeling
    rounds: int
    debiased: bool


async def zero_shot(objective: Objective) -> Predictions:
    """The model's prediction for every example with no demonstrations; n requests.

    Args:
        objective: gives the predictions.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    ids = objective.dataset.ids
    return await objective.conditionals(ids, Labeling())


async def bootstrap_chain(objective: Objective, first: Predictions, rounds: int, *, debias: bool) -> Chain:
    """Predict, make legal, and again with those labels as demonstrations; n requests per round after the first.

    Args:
        objective: gives predictions and relations.
        first: zero-shot predictions.
        rounds: at most; at least 1.
        debias: take predictions relative to their mean, see `debiased`.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    predictions, labeling = first, Labeling()
    for number in range(1, rounds + 1):
        if number > 1:
            predictions = (await objective.completed(await objective(labeling))).distributions
        found = align(objective, debiased(predictions) if debias else predictions, Labeling(), most_probable)
        if found == labeling:
            return Chain(labeling, number, debias)
        labeling = found
    return Chain(labeling, rounds, debias)


def debiased(predictions: Predictions) -> Predictions:
    """Predictions relative to the mean log p of each label (batch calibration, Zhou et al. 2024, section 3).

    A model that says True to everything still says it more readily to some examples; without that bias,
    the labels are about balanced, which is wrong if the truth is not.

    Args:
        predictions: of at least one example.

    Returns:
        The same examples, each distribution divided by the mean and normalised again.

    Example:
        >>> from math import log
        >>> from icm_api.types import LabelDistribution
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.6)}
        >>> [found.best for found in debiased(read).values()]
        ['T', 'F']
    """
    reads = list(predictions.values())
    shifts = [-fsum(values) / len(reads) for values in zip(*(read.logprobs for read in reads), strict=True)]
    return {key: shifted(read, shifts) for key, read in predictions.items()}


def opinion_spread(predictions: Predictions) -> float:
    """How differently the model sees the examples: standard deviation of its log-odds, in nats.

    For K labels, the root of 2 / (K - 1) times the summed variances of the log p of each label, less its mean over
    labels; with two labels that is the standard deviation of the log-odds. A bias to one label that all examples
    share does not change it.

    Args:
        predictions: of at least one example.

    Example:
        >>> from math import log
        >>> from icm_api.types import LabelDistribution
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
