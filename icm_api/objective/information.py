"""Information: how much more probable each label is given its own text than it is on average over the texts.

J(D) = mean over i of log p(y_i | x_i, D without i) - log q(y_i), with q(k) = mean over j of p(k | x_j, D without j), in
nats per example: the pointwise mutual information of labels and texts, over the batch. P(D) alone is largest when every
label is alike, since a language model in a one-sided context predicts that label everywhere; J of such a labeling is
about 0, because q is then 1. For unrelated examples J = P + H(label shares) + KL(label shares || q).

Related examples are taken together: p and q of a component's labels are their products over its examples, normalised
over its legal labelings, so that what the relations settle counts as no information from the model. The examples of a
component with more legal labelings than are enumerated count one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum
from typing import NamedTuple

from icm_api.consistency import MOST_WAYS, Relations
from icm_api.objective.calibration import batch_centre
from icm_api.types import Label, Labeling, Predictions, logsumexp


class Term(NamedTuple):
    """One component's part, in nats.

    Attributes:
        given_text: log p of its labels given their texts and all other labels.
        on_average: log q of its labels, the same on average over all texts.
    """

    given_text: float
    on_average: float

    @property
    def information(self) -> float:
        """What the texts say of the labels."""
        return self.given_text - self.on_average


def information(predictions: Predictions, labeling: Labeling, relations: Relations | None = None) -> float:
    """J(D) of a labeling, in nats per example; 0 of none.

    Args:
        predictions: a distribution per labelled example, given all other labels.
        labeling: complete or partial.
        relations: what connects examples; None if nothing does.

    Returns:
        About 0 if all labels are alike, and at most what the labels cost if they are guessed by their shares.

    Example:
        >>> from math import log
        >>> from icm_api.types import LabelDistribution
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.1)}
        >>> round(information(read, Labeling({0.9: "T", 0.1: "F"})), 4)
        0.5878
        >>> information(read, Labeling({0.9: "T", 0.1: "T"})) < 0
        True
    """
    terms = information_terms(predictions, labeling, relations)
    return fsum(term.information for term in terms) / len(labeling) if terms else 0.0


UNEXPLAINED = 0.1
"""Nats per example on top of what labels cost to guess, so that a label of few examples is not easily explained."""


def explained(predictions: Predictions, labeling: Labeling, relations: Relations | None = None) -> float:
    """J(D) as a share of what the labels cost if they are guessed, so that even classes have no advantage; below 1.

    J itself is at most the entropy of the label shares: where one label has 90% of the examples, J of the truth is
    below J of many labelings that are more even and less right. Annealing towards a share would find labels that next
    to no example has, so it compares labelings that are at hand, and is not what a search maximises.

    Args:
        predictions: a distribution per labelled example, given all other labels.
        labeling: complete or partial.
        relations: what connects examples; None if nothing does.

    Example:
        >>> from math import log
        >>> from icm_api.types import LabelDistribution
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.1)}
        >>> round(explained(read, Labeling({0.9: "T", 0.1: "F"})), 4)
        0.7411
    """
    terms = information_terms(predictions, labeling, relations)
    if not terms:
        return 0.0
    guessed = -fsum(term.on_average for term in terms) / len(labeling)
    return fsum(term.information for term in terms) / len(labeling) / (guessed + UNEXPLAINED)


def information_terms(
    predictions: Predictions, labeling: Labeling, relations: Relations | None = None
) -> Sequence[Term]:
    """The terms of J(D), not yet divided by the number of examples: one per component.

    Args:
        predictions: a distribution per labelled example, given all other labels.
        labeling: complete or partial.
        relations: what connects examples; None if nothing does.
    """
    if not labeling:
        return ()
    reads = {key: predictions[key] for key in labeling}
    average = dict(zip(next(iter(reads.values())).labels, batch_centre(list(reads.values())), strict=True))
    components = ((key,) for key in labeling) if relations is None else relations.components
    terms = []
    for component in components:
        ids = [key for key in component if key in labeling]
        ways = relations.legal_labelings(ids, {}, MOST_WAYS) if relations is not None and len(ids) > 1 else None
        if ids:
            terms.append(_term(reads, average, {key: labeling[key] for key in ids}, ways or ()))
    return terms


def _term(
    reads: Predictions, average: Mapping[Label, float], labels: Mapping[str, Label], ways: Sequence[Labeling]
) -> Term:
    def given_text(way: Mapping[str, Label]) -> float:
        return fsum(reads[key].logprob(label) for key, label in way.items())

    def on_average(way: Mapping[str, Label]) -> float:
        return fsum(average[label] for label in way.values())

    totals = (logsumexp([one(way) for way in ways]) if ways else 0.0 for one in (given_text, on_average))
    with_text, without = totals
    return Term(given_text(labels) - with_text, on_average(labels) - without)
