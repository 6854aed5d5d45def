"""How coherent a labeling is, in units that can be compared; and other labelings to compare it with.

U and P favour lopsided labels: of labels that are all alike, each is easy to predict. What is measured here is
how much the labels of the others tell beyond the mere shares of the labels. Nothing is asked of a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations
from math import fsum, inf, log
from random import Random

from icm_api.consistency import MOST_WAYS, Relations
from icm_api.types import Label, Labeling, Score, logsumexp


def label_entropy(labeling: Mapping[str, Label]) -> float:
    """H of the label shares, in nats per example: what guessing by shares alone costs; 0 if all are alike.

    Args:
        labeling: of at least one example.

    Example:
        >>> round(label_entropy({"a": "True", "b": "False"}), 4), label_entropy({"a": "True"})
        (0.6931, 0.0)
    """
    size = len(labeling)
    # max, since -fsum of one share of 1 is -0.0.
    return max(0.0, -fsum(count / size * log(count / size) for count in Counter(labeling.values()).values()))


@dataclass(frozen=True, slots=True)
class Coherence:
    """How coherent one labeling of n examples is.

    Attributes:
        labeling: the labeling.
        utility: U(D) by the run's objective.
        value: what labelings are compared by, see `Objective.worth`. U has a liking for labels in uneven shares.
        predictability: mean log p(y_i | x_i, the others), nats per example, whatever the objective's statistic; of
            related examples normalised over their legal labelings.
        entropy: what guessing by the label shares costs, nats per example: H of the shares if nothing is related.
        inconsistency: I(D).
    """

    labeling: Labeling
    utility: float
    value: float
    predictability: float
    entropy: float
    inconsistency: float

    @property
    def gain(self) -> float:
        """Nats per example that the other labels tell beyond the shares of the labels: P + H."""
        return self.predictability + self.entropy

    @property
    def share(self) -> float:
        """Share of the label entropy that the other labels explain, 1 + P / H; 0 if all labels are alike.

        McFadden's pseudo R squared of the predictions from the others (McFadden, 1974): 1 if every label is
        predicted with certainty, 0 if the shares of the labels predict as well, below 0 if they predict better.
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
            "value": self.value,
            "predictability": self.predictability,
            "label_entropy": self.entropy,
            "gain": self.gain,
            "share_explained": self.share,
            "inconsistency": self.inconsistency,
            "majority": self.majority,
        }


def coherence(
    score: Score, relations: Relations | None = None, given: Collection[str] = (), value: float | None = None
) -> Coherence:
    """How coherent a scored labeling is.

    Related examples are taken together: the probability of a component's labels, by the predictions and by the shares
    of the labels alike, is normalised over its legal labelings, so that what relations settle does not count.

    Args:
        score: of a labeling that labels at least one example; with distributions if examples are related.
        relations: what connects examples; None if nothing does.
        given: ids whose labels a person gave. They need not be what the model would say, so they count only if there
            are no others.
        value: what the labeling is compared by; the score's own if it is None.
    """
    free = [key for key in score.logprobs if key not in given] or list(score.logprobs)
    predicted, guessed = _predicted(score, relations, free), _guessed(score, relations, free)
    value = score.value if value is None else value
    return Coherence(score.labeling, score.utility, value, predicted, guessed, score.inconsistency)


def over_orders(scores: Sequence[Score]) -> Score:
    """One labeling's score with its predictions averaged over several orders of the demonstrations.

    Where a model listens to the last labels shown, single orders make single labels look badly predicted.

    Args:
        scores: of the same labeling, complete, the first in the data set's own order.

    Returns:
        The first score with the mean log p of every label, normalised.
    """
    first, reads = scores[0], {}
    for key, own in first.distributions.items():
        columns = zip(*(score.distributions[key].logprobs for score in scores), strict=True)
        means = [fsum(column) / len(scores) for column in columns]
        total = logsumexp(means)
        reads[key] = replace(own, logprobs=tuple(value - total for value in means))
    logprobs = {key: read.logprob(first.labeling[key]) for key, read in reads.items()}
    return replace(first, logprobs=logprobs, distributions=reads)


def _predicted(score: Score, relations: Relations | None, ids: Sequence[str]) -> float:
    """Mean log p of these labels given the others, nats per example."""

    def by_model(key: str, label: Label) -> float:
        return score.distributions[key].logprob(label) if key in score.distributions else score.logprobs[key]

    return legal_logprob(score.labeling, ids, relations, by_model) / len(ids)


def _guessed(score: Score, relations: Relations | None, ids: Sequence[str]) -> float:
    """What guessing these labels by their shares costs, nats per example."""
    counts = Counter(score.labeling[key] for key in ids)
    shares = {label: log(count / len(ids)) for label, count in counts.items()}
    cost = legal_logprob(score.labeling, ids, relations, lambda _, label: shares.get(label, -inf))
    # max, since a sum of one share of 1 is -0.0.
    return max(0.0, -cost / len(ids))


def legal_logprob(
    labeling: Mapping[str, Label],
    ids: Sequence[str],
    relations: Relations | None,
    logprob: Callable[[str, Label], float],
) -> float:
    """Log p of labels, those of a component normalised over its legal labelings with the same labels elsewhere; nats.

    Args:
        labeling: complete over the components of `ids`.
        ids: the examples that count.
        relations: what is legal; None if nothing connects examples.
        logprob: of a label of one example, taken by itself.
    """
    if relations is None:
        return fsum(logprob(key, labeling[key]) for key in ids)
    wanted, total = frozenset(ids), []
    for component in dict.fromkeys(map(relations.component, ids)):
        members = [key for key in component if key in wanted]
        own = fsum(logprob(key, labeling[key]) for key in members)
        around = {key: labeling[key] for key in component if key not in wanted and key in labeling}
        ways = relations.legal_labelings(members, around, MOST_WAYS) if len(component) > 1 else None
        # Labels that break a relation are none of the legal ones.
        legal = any(all(way[key] == labeling[key] for key in members) for way in ways or ())
        weights = [fsum(logprob(key, label) for key, label in way.items()) for way in ways or ()]
        total.append(own - logsumexp(weights) if legal else own)
    return fsum(total)


CORE = 2 / 3
"""The share of the components that `core_share` looks at."""


def core_share(score: Score, components: Sequence[Sequence[str]], relations: Relations | None = None) -> float:
    """Share explained of the two thirds of the components whose labels are predicted best.

    The best part is chosen by what it is then measured by, so the share is too high, also for labels of noise. What it
    shows is whether a low share is due to some examples only.

    Args:
        score: complete over the components.
        components: a partition of the examples.
        relations: what is legal, as for `coherence`.

    Returns:
        1 + P / H of that part; 0 if its labels are all alike.
    """
    ranked = sorted(components, key=lambda component: _predicted(score, relations, component), reverse=True)
    best = ranked[: max(1, round(CORE * len(components)))]
    ids = [key for component in best for key in component]
    guessed = _guessed(score, relations, ids)
    return 1 + _predicted(score, relations, ids) / guessed if guessed else 0.0


MOST_LABELS = 6
"""Renamings are all tried up to this many labels (6! = 720)."""


def rename(labeling: Mapping[str, Label], names: Mapping[Label, Label]) -> Labeling:
    """The same division under other names.

    Args:
        labeling: complete or partial.
        names: the new name of every label.

    Example:
        >>> rename({"a": "True", "b": "False"}, {"True": "False", "False": "True"})
        Labeling({'a': 'False', 'b': 'True'})
    """
    return Labeling({key: names[label] for key, label in labeling.items()})


def renamings(labels: Sequence[Label], most: int, rng: Random) -> list[dict[Label, Label]]:
    """Ways to name the labels otherwise.

    Args:
        labels: the label set, two or more.
        most: ways to draw; of two labels there is one.
        rng: all chance comes from here.

    Returns:
        From the old names to the new ones.
    """
    if len(labels) <= MOST_LABELS:
        others = list(islice(permutations(labels), 1, None))
        return [dict(zip(labels, other, strict=True)) for other in rng.sample(others, min(most, len(others)))]
    drawn = {tuple(rng.sample(labels, len(labels))) for _ in range(most)} - {tuple(labels)}
    return [dict(zip(labels, other, strict=True)) for other in sorted(drawn)]


def agreement_renamed(one: Mapping[str, Label], other: Mapping[str, Label], labels: Sequence[Label]) -> float:
    """Agreement after the renaming of `other` that agrees best: 1 if both divide the examples alike.

    For two labels that is agreement or 1 - agreement, whichever is larger. Beyond `MOST_LABELS` labels it is
    a lower bound: names are matched one by one, most frequent pair first.

    Args:
        one: a labeling.
        other: a labeling with at least one example in common.
        labels: the label set.

    Returns:
        In [0, 1].
    """
    return best_naming([(one[key], other[key]) for key in one if key in other], labels)[1]


def best_naming(pairs: Sequence[tuple[Label, Label]], labels: Sequence[Label]) -> tuple[Mapping[Label, Label], float]:
    """Which label of the second stands for which of the first, one for one, such that most pairs agree.

    Args:
        pairs: labels of the same examples by two labelings, at least one.
        labels: the label set. Of more than `MOST_LABELS`, the most frequent pairs are matched first.

    Returns:
        Second label -> first label, and the share of the pairs that agree then. With equal shares the labels keep their
        names.

    Example:
        >>> best_naming([("A", "B"), ("A", "B"), ("B", "A"), ("B", "B")], ("A", "B"))
        ({'B': 'A', 'A': 'B'}, 0.75)
    """
    counts = Counter(pairs)
    if len(labels) <= MOST_LABELS:
        # The first of them keeps all names.
        ways = [dict(zip(way, labels, strict=True)) for way in permutations(labels)]
    else:
        ways = [dict(zip(labels, labels, strict=True)), _most_frequent_first(counts, labels)]
    agreed = [sum(counts[first, second] for second, first in way.items()) for way in ways]
    best = agreed.index(max(agreed))
    return ways[best], agreed[best] / len(pairs)


def _most_frequent_first(counts: Counter[tuple[Label, Label]], labels: Sequence[Label]) -> dict[Label, Label]:
    naming: dict[Label, Label] = {}
    taken: set[Label] = set()
    for (first, second), _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if second not in naming and first not in taken:
            naming[second] = first
            taken.add(first)
    naming |= {label: label for label in labels if label not in naming and label not in taken}
    left = [label for label in labels if label not in naming.values()]
    return naming | dict(zip((label for label in labels if label not in naming), left, strict=True))


def shuffled(labeling: Labeling, relations: Relations, rng: Random) -> Labeling:
    """The labels in other places: moved inside each component, or exchanged between components of one label.

    A component with different labels gets another of its legal labelings with the same label counts; if there is no
    other, any legal one, so that what the constraints settle does not count as coherence. Components whose labels are
    all alike, single examples among them, exchange labels with others of their size.

    Args:
        labeling: complete.
        relations: what is legal, and the components.
        rng: all chance comes from here.
    """
    moved: dict[str, Label] = {}
    alike: dict[int, list[tuple[str, ...]]] = {}
    for component in relations.components:
        if len({labeling[key] for key in component}) == 1:
            alike.setdefault(len(component), []).append(component)
        else:
            moved.update(_other_way(labeling, relations, component, rng))
    for same_size in alike.values():
        labels = [labeling[component[0]] for component in same_size]
        rng.shuffle(labels)
        for component, label in zip(same_size, labels, strict=True):
            moved.update(dict.fromkeys(component, label))
    return Labeling({key: moved[key] for key in labeling})


def _other_way(labeling: Labeling, relations: Relations, ids: tuple[str, ...], rng: Random) -> Mapping[str, Label]:
    own = Labeling({key: labeling[key] for key in ids})
    legal = relations.legal_labelings(ids, {}, MOST_WAYS) or ()
    same_counts = [way for way in legal if Counter(way.values()) == Counter(own.values())]
    for ways in (same_counts, legal):
        if any(way != own for way in ways):
            return rng.choice(ways)
    return dict(zip(ids, rng.sample(list(own.values()), len(ids)), strict=True))
