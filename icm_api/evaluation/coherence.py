"""How coherent a labeling is in units that can be compared between labelings, data sets and label balances.

U and P favour lopsided labels: of labels that are all alike, each is easy to foretell. What is measured here is
how much the others' labels tell beyond the mere shares of the labels. Nothing is asked of a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, log

from icm_api.types import Label, Labeling, Score


def label_entropy(labeling: Mapping[str, Label]) -> float:
    """H of the label shares, in nats per example: what guessing by shares alone costs; 0 where all are alike.

    Example:
        >>> round(label_entropy({"a": "True", "b": "False"}), 4), label_entropy({"a": "True"})
        (0.6931, 0.0)
    """
    size = len(labeling)
    # max, since -fsum of one share of 1 is -0.0.
    return max(0.0, -fsum(count / size * log(count / size) for count in Counter(labeling.values()).values()))


@dataclass(frozen=True, slots=True)
class Coherence:
    """What one labeling of n examples comes to.

    Attributes:
        labeling: the labeling.
        utility: U(D), as the run's objective has it.
        predictability: mean log p(y_i | x_i, the others), nats per example, whatever the objective's statistic.
        entropy: H of its label shares, nats per example.
        inconsistency: I(D).
    """

    labeling: Labeling
    utility: float
    predictability: float
    entropy: float
    inconsistency: float

    @property
    def gain(self) -> float:
        """Nats per example that the other labels tell beyond the shares of the labels: P + H."""
        return self.predictability + self.entropy

    @property
    def share(self) -> float:
        """Share of the label entropy that the other labels explain, 1 + P / H; 0 where all labels are alike.

        McFadden's pseudo R squared of the leave-one-out predictions (McFadden, 1974): 1 where every label is
        foretold with certainty, 0 where the shares of the labels foretell as well, below 0 where they do better.
        """
        return 1 + self.predictability / self.entropy if self.entropy else 0.0

    @property
    def majority(self) -> float:
        """Share of the commonest label."""
        return max(Counter(self.labeling.values()).values()) / len(self.labeling)

    def as_json(self) -> dict[str, float]:
        """The numbers, without the labels."""
        return {
            "utility": self.utility,
            "predictability": self.predictability,
            "label_entropy": self.entropy,
            "gain": self.gain,
            "share_explained": self.share,
            "inconsistency": self.inconsistency,
            "majority": self.majority,
        }


def coherence(score: Score) -> Coherence:
    """Of a scored labeling that labels at least one example."""
    predictability = fsum(score.logprobs.values()) / len(score.logprobs)
    return Coherence(score.labeling, score.utility, predictability, label_entropy(score.labeling), score.inconsistency)


CORE = 2 / 3
"""Of the groups, by which `core_share` judges."""


def core_share(score: Score, groups: Sequence[Sequence[str]]) -> float:
    """Share explained of the groups whose labels are foretold best, two thirds of them.

    The best part is chosen by what it is then measured by, so it is too high: of labels of noise, too. What it can
    tell is that a low share is the work of some examples and not of all.

    Args:
        score: complete over the groups.
        groups: a partition of the examples.
    """

    def foretold(group: Sequence[str]) -> float:
        return fsum(score.logprobs[key] for key in group) / len(group)

    best = sorted(groups, key=foretold, reverse=True)[: max(1, round(CORE * len(groups)))]
    ids = [key for group in best for key in group]
    predictability = fsum(score.logprobs[key] for key in ids) / len(ids)
    entropy = label_entropy({key: score.labeling[key] for key in ids})
    return 1 + predictability / entropy if entropy else 0.0
