"""How probable each label is if relations are to hold: the posterior over the legal labelings of each component.

The probability of a component's labels is the product of what the model says of each, normalised over the labelings
that break no relation. Predictions of single examples know nothing of that, and so are less sure than they could be
where relations decide, and surer where relations contradict them.
"""

from __future__ import annotations

from dataclasses import replace
from math import fsum, log

from icm_api.consistency import MOST_WAYS, Relations
from icm_api.types import Label, LabelDistribution, Predictions, logsumexp

_LEAST = 1e-12
"""A label that no legal labeling has is as improbable as this, so that its log p is a number."""


def legal_posterior(predictions: Predictions, relations: Relations) -> Predictions:
    """Each label's probability under the posterior over legal labelings of its component.

    Args:
        predictions: a distribution per example; of examples that no relation names they stay as they are, and so they
            do in a component of which no labeling is legal, or more than are enumerated.
        relations: what is legal.

    Returns:
        The same examples.
    """
    found = dict(predictions)
    for component in relations.components:
        ids = [key for key in component if key in predictions]
        ways = relations.legal_labelings(ids, {}, MOST_WAYS) if len(ids) > 1 else None
        if ways:
            weights = [fsum(predictions[key].logprob(way[key]) for key in ids) for way in ways]
            for key in ids:
                found[key] = _marginal(
                    predictions[key], [(way[key], one) for way, one in zip(ways, weights, strict=True)]
                )
    return found


def _marginal(read: LabelDistribution, ways: list[tuple[Label, float]]) -> LabelDistribution:
    total = logsumexp([weight for _, weight in ways])
    values = []
    for label in read.labels:
        having = [weight for own, weight in ways if own == label]
        values.append(max(logsumexp(having) - total, log(_LEAST)) if having else log(_LEAST))
    whole = logsumexp(values)
    # Bounds on single labels don't carry over.
    return replace(read, logprobs=tuple(value - whole for value in values), intervals={})
