"""Named by what? A division of the examples is coherent under any names: what says which label is which.

The zero-shot signal can: if the model, without any other label, tells the examples apart, and more often as the labels
say than the other way round, its prior names them. Labels that a person gave name them too. Nothing else does: shares,
coherence and a second opinion that starts from nothing are the same for a labeling and its inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import exp, fsum, sqrt
from statistics import fmean, stdev
from typing import Any

from icm_api.evaluation.clustered import student
from icm_api.evaluation.distance import places_of
from icm_api.evaluation.thresholds import NAMED, NAMING_SPREAD, STRONG_SPREAD, STRONGLY, TOLD
from icm_api.types import Dataset, Label, LabelDistribution, Labeling, Predictions

READ = 3
"""Examples of which both readings are shown."""
_EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Pair:
    """Two labels, and how zero-shot orders the examples that have them.

    Attributes:
        one: label.
        other: label.
        auroc: share of the pairs of their examples that the log-odds of the two labels order as they are, in [0, 1].
    """

    one: Label
    other: Label
    auroc: float


@dataclass(frozen=True, slots=True)
class Prior:
    """What the model says of the examples without any other label, beside the labels found.

    Attributes:
        spread: how differently it sees the examples, nats, see `opinion_spread`.
        auroc: share of pairs of differently labelled examples that its log-odds order as the labels do, in [0, 1];
            None if all labels are alike.
        alone: information of the labels found under calibrated zero-shot predictions, as a share of the most that it
            could be: log K per example, or log of the number of legal labelings per component.
        in_context: the same under calibrated predictions given all other labels.
        told: both of them, added up, as shares of what the labels cost to guess: at most 2. Where it is little, labels
            may fit the noise of the one or of the other.
        weakest: of three or more labels, the two whose examples are ordered worst; an exchange of two names hardly
            shows in the mean over all pairs.
    """

    spread: float
    auroc: float | None
    alone: float
    in_context: float
    told: float
    weakest: Pair | None = None

    @property
    def exchanged(self) -> Pair | None:
        """Two labels to which the model, asked about each text by itself, gives each other's name, of three or more."""
        return self.weakest if self.weakest is not None and self.weakest.auroc <= 1 - NAMED else None

    @property
    def names(self) -> bool:
        """Whether it names the labels."""
        ordered = self.auroc is not None and self.auroc >= NAMED and self.exchanged is None
        return ordered and self.spread >= NAMING_SPREAD and self.alone >= TOLD

    def as_json(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {
            "spread": self.spread,
            "auroc": self.auroc,
            "weakest_pair": None if self.weakest is None else asdict(self.weakest),
            "information_alone": self.alone,
            "information_in_context": self.in_context,
            "told": self.told,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """One example under both readings of the names.

    Attributes:
        id: of the example.
        text: the beginning of what is known of it.
        found: its label.
        exchanged: its label if the names are exchanged.
    """

    id: str
    text: str
    found: Label
    exchanged: Label

    def as_json(self) -> dict[str, str]:
        """For `summary.json`."""
        return {"id": self.id, "text": self.text, "found": self.found, "exchanged": self.exchanged}


@dataclass(frozen=True, slots=True)
class Naming:
    """What says which label is which.

    Attributes:
        answer: "by the prior, strongly", "by the prior, weakly", "by given labels" or "unsettled".
        says: why, in a sentence.
        readings: if it is unsettled, some examples under both readings.
    """

    answer: str
    says: str
    readings: tuple[Reading, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether anything names the labels."""
        return self.answer != UNSETTLED

    def as_json(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {"answer": self.answer, "says": self.says, "readings": [each.as_json() for each in self.readings]}


UNSETTLED = "unsettled"
_EXCHANGED = "the division may be a good one with the names exchanged, or be about something else than was asked"


def name(prior: Prior, given: int, readings: Sequence[Reading] = ()) -> Naming:
    """Decide what names the labels.

    Args:
        prior: the zero-shot signal beside the labels.
        given: how many labels a person gave.
        readings: examples under both readings, for labels that nothing names.

    Example:
        >>> name(Prior(spread=1.5, auroc=0.98, alone=0.4, in_context=0.8, told=1.2), given=0).answer
        'by the prior, strongly'
        >>> name(Prior(spread=0.1, auroc=0.98, alone=0.0, in_context=0.8, told=0.8), given=0).answer
        'unsettled'
    """
    if given:
        return Naming("by given labels", f"a person gave {given} of the labels")
    auroc, kept = prior.auroc, tuple(readings)
    if auroc is None:
        return Naming(UNSETTLED, "all labels are one and the same, so there is nothing to name")
    share = f"{auroc:.0%} of the pairs with different labels"
    if prior.spread < NAMING_SPREAD:
        alike = "without any other label the model sees nearly no difference between the examples"
        return Naming(UNSETTLED, f"{alike} (spread {prior.spread:.2f} nats): {_EXCHANGED}", kept)
    if auroc >= NAMED and prior.alone < TOLD:
        faint = (
            f"asked about each text by itself, the model orders {share} as the labels do, but that tells only "
            f"{max(prior.alone, 0):.0%} of what could be known of them"
        )
        return Naming(UNSETTLED, f"{faint}: {_EXCHANGED}", kept)
    if prior.names:
        strongly = auroc >= STRONGLY and prior.spread >= STRONG_SPREAD
        told = f"asked about each text by itself, the model already leans to these names: it orders {share} as they do"
        return Naming(f"by the prior, {'strongly' if strongly else 'weakly'}", told)
    pair = prior.exchanged
    if auroc >= NAMED and pair is not None:
        told = (
            f"asked about each text by itself, the model leans to most of these names, but gives {pair.one!r} and "
            f"{pair.other!r} each other's name (only {pair.auroc:.0%} of their pairs are ordered as the labels say): "
            "these two are probably exchanged"
        )
        return Naming(UNSETTLED, told, kept)
    if auroc <= 1 - NAMED:
        told = (
            f"asked about each text by itself, the model leans to the opposite names (only {share} are ordered as the "
            "labels say): the names are probably exchanged"
        )
        return Naming(UNSETTLED, told, kept)
    told = (
        f"asked about each text by itself, the model does not lean to these names (it orders {share} as they do): the "
        "division may be about something else than was asked"
    )
    return Naming(UNSETTLED, told, kept)


def auroc_of(predictions: Predictions, labels: Mapping[str, Label]) -> float | None:
    """Share of the pairs of differently labelled examples that the log-odds of their two labels order as they are.

    Args:
        predictions: a distribution per labelled example.
        labels: of examples. Of labels that are three or more numbers, their expected place orders the pairs.

    Returns:
        In [0, 1], ties half: the mean over pairs of labels, or over all pairs of examples if labels are numbers. None
        if all labels are alike.

    Example:
        >>> from math import log
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.6, 0.5)}
        >>> auroc_of(read, {0.9: "T", 0.6: "F", 0.5: "T"}), auroc_of(read, {0.9: "T"})
        (0.5, None)
    """
    by_label = _by_label(predictions, labels)
    if len(by_label) < 2:
        return None
    places = places_of(next(iter(by_label.values()))[0].labels)
    if places:

        def place(read: LabelDistribution) -> float:
            return fsum(exp(value) * places[label] for label, value in zip(read.labels, read.logprobs, strict=True))

        at = {label: [place(read) for read in reads] for label, reads in by_label.items()}
        counts = [
            (_wins(at[high], at[low]), len(at[high]) * len(at[low]))
            for low, high in combinations(sorted(at, key=places.__getitem__), 2)
        ]
        return fsum(won for won, _ in counts) / sum(pairs for _, pairs in counts)
    pairs = [_pair(one, other, by_label) for one, other in combinations(sorted(by_label), 2)]
    return fsum(pair.auroc for pair in pairs) / len(pairs)


def weakest_pair(predictions: Predictions, labels: Mapping[str, Label]) -> Pair | None:
    """The two labels whose examples zero-shot orders worst, by the log-odds of the two; labels may be numbers.

    Args:
        predictions: a distribution per labelled example.
        labels: of examples. A label of one example only says nothing here.

    Returns:
        None of fewer than three labels in the label set, whose order `auroc_of` tells, or if no two are left to order.

    Example:
        >>> from math import log
        >>> def read(*p): return LabelDistribution(("a", "b", "c"), tuple(map(log, p)), 1.0, "exact")
        >>> by_text = {1: read(0.8, 0.1, 0.1), 2: read(0.7, 0.2, 0.1), 3: read(0.1, 0.8, 0.1), 4: read(0.2, 0.7, 0.1)}
        >>> weakest_pair(by_text, {1: "a", 2: "a", 3: "b", 4: "b"}), weakest_pair(by_text, {1: "b", 2: "a", 3: "b"})
        (Pair(one='a', other='b', auroc=1.0), None)
    """
    by_label = _by_label(predictions, labels)
    often = sorted(label for label, reads in by_label.items() if len(reads) > 1)
    if len(often) < 2 or len(by_label[often[0]][0].labels) < 3:
        return None
    return min((_pair(one, other, by_label) for one, other in combinations(often, 2)), key=lambda pair: pair.auroc)


def _by_label(predictions: Predictions, labels: Mapping[str, Label]) -> dict[Label, list[LabelDistribution]]:
    found: dict[Label, list[LabelDistribution]] = {}
    for key, label in labels.items():
        found.setdefault(label, []).append(predictions[key])
    return found


def _pair(one: Label, other: Label, by_label: Mapping[Label, Sequence[LabelDistribution]]) -> Pair:
    odds = [[read.logprob(one) - read.logprob(other) for read in by_label[label]] for label in (one, other)]
    return Pair(one, other, _wins(*odds) / (len(odds[0]) * len(odds[1])))


def leaning_of(
    predictions: Predictions, found: Mapping[str, Label], other: Mapping[str, Label], home: Callable[[str], Hashable]
) -> float | None:
    """By how much each text alone makes the labels found more probable than others, at the least.

    Args:
        predictions: calibrated, without demonstrations.
        found: labels.
        other: labels of the same examples.
        home: what an example belongs to; related examples count as one.

    Returns:
        The lower limit of the mean difference of log p, in nats, where the two differ, with 97.5% confidence (Student's
        t): above 0 if the model clearly prefers the labels found. None if they differ in fewer than two places.

    Example:
        >>> from math import log
        >>> read = {key: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for key, p in
        ...         (("a", 0.9), ("b", 0.8), ("c", 0.9), ("d", 0.3))}
        >>> same = dict.fromkeys("abc", "T")
        >>> round(leaning_of(read, same, dict.fromkeys("abc", "F"), str), 2)
        0.76
        >>> leaning_of(read, same, {**same, "a": "F"}, str)
    """
    differing = [key for key, label in found.items() if other[key] != label]
    ahead: dict[Hashable, float] = {}
    for key in differing:
        read, at = predictions[key], home(key)
        ahead[at] = ahead.get(at, 0.0) + read.logprob(found[key]) - read.logprob(other[key])
    if len(ahead) < 2:
        return None
    error = stdev(ahead.values()) / sqrt(len(ahead))
    return fmean(ahead.values()) - student(len(ahead) - 1) * error


def _wins(above: Sequence[float], below: Sequence[float]) -> float:
    """Pairs of which the first is larger, ties half; n log n."""
    ranked = sorted([(value, 0) for value in below] + [(value, 1) for value in above])
    won, smaller, at = 0.0, 0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        ones = sum(side for _, side in ranked[at:end])
        won += ones * (smaller + (end - at - ones) / 2)
        smaller += end - at - ones
        at = end
    return won


def readings_of(dataset: Dataset, found: Labeling, exchanged: Labeling, surest: Sequence[str]) -> tuple[Reading, ...]:
    """A few examples under the labels found, and under the labels with other names.

    Args:
        dataset: of the texts.
        found: the labels.
        exchanged: the same division under other names.
        surest: ids, the one that the model is surest of first; of each label at least one is shown if there is room.
    """
    by_label: dict[Label, list[str]] = {}
    for key in surest:
        by_label.setdefault(found[key], []).append(key)
    turns = [keys[turn] for turn in range(READ) for keys in by_label.values() if turn < len(keys)]
    return tuple(
        Reading(key, excerpt(" · ".join(dataset.get(key).fields.values())), found[key], exchanged[key])
        for key in turns[:READ]
    )


def excerpt(text: str) -> str:
    """The beginning of a text in one line, without what a terminal would take for a command.

    Args:
        text: any.

    Example:
        >>> excerpt("one\\ntwo \\x1b[31mthree")
        'one two [31mthree'
    """
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * _EXCERPT]).split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 3] + "..."
