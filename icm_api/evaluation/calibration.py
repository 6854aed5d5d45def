"""How sure to be of each label: probabilities scaled by one temperature, an abstain threshold, and measures of fit.

The temperature comes from labels that a person gave, by maximum likelihood (Guo et al. 2017), or, without any, from
how often repeated predictions agree. The second says how stable the model is, not how often it is right: mistakes
that all repetitions share go unseen, so that accuracy can be any amount below the confidence. It therefore
never makes the model surer than it was. Nothing is asked of a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, fsum

from icm_api.types import Label, LabelDistribution, Labeling, Score, logsumexp

LEGAL = "legal labelings"
COLDEST, HOTTEST = 0.5, 20.0
"""Limits of a fitted temperature. If all labels given are the most probable ones, the likelihood rises all the way
to T = 0, which would call everything certain because of a few answers: log-odds are doubled at most."""
_HALVINGS = 60
BINS = 10


@dataclass(frozen=True, slots=True)
class Temperature:
    """What log p is divided by, before it is normalised again.

    Attributes:
        value: above 0; above 1 makes less sure.
        source: "given labels", "legal labelings" (the posterior over those of related examples, which needs no
            temperature), "agreement" (how stable the model is, which is no calibration), or "none".
        evidence: labels given, or predictions compared.
        agreement: share of repeated predictions that agree, in (0, 1), if that is the source; else None.
    """

    value: float = 1.0
    source: str = "none"
    evidence: int = 0
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One example's label, as sure as the evidence allows.

    Attributes:
        id: of the example.
        label: found; None if its probability is below the threshold: "don't know".
        probability: of the label found, scaled.
        probabilities: of every label, scaled, in label order.
    """

    id: str
    label: Label | None
    probability: float
    probabilities: Mapping[Label, float]


def scaled(read: LabelDistribution, temperature: float) -> LabelDistribution:
    """The distribution with log p divided by a temperature, normalised again.

    Args:
        read: the distribution.
        temperature: above 0; above 1 makes less sure.

    Example:
        >>> from math import log
        >>> read = LabelDistribution(("T", "F"), (log(0.9), log(0.1)), 1.0, "exact")
        >>> round(scaled(read, 2.0).probability("T"), 9), round(scaled(read, 1.0).probability("T"), 9)
        (0.75, 0.9)
    """
    raw = [value / temperature for value in read.logprobs]
    total = logsumexp(raw)
    # Bounds on single labels don't carry over.
    return replace(read, logprobs=tuple(value - total for value in raw), intervals={})


def temperature_of_labels(read: Sequence[tuple[LabelDistribution, Label]]) -> Temperature:
    """The temperature under which labels that a person gave are most probable.

    Args:
        read: per given label, the model's distribution for it given all others (never itself), and the label. Other
            given labels may be in its context, so with few of them this is somewhat too sure.

    Returns:
        The maximum of sum of log p_T(y_i), inside [COLDEST, HOTTEST]; 1 if there are no labels. The likelihood is
        concave in 1 / T, and its slope, sum of log p(y_i) - mean of log p under p_T, is 0 at the maximum.
    """
    if not read:
        return Temperature()

    def slope(inverse: float) -> float:
        return fsum(one.logprob(label) - _mean_logprob(one, inverse) for one, label in read)

    inverse = _root(slope, 1 / HOTTEST, 1 / COLDEST)
    return Temperature(1 / inverse, "given labels", len(read))


def temperature_of_agreement(reads: Mapping[str, LabelDistribution], repeats: Sequence[Labeling]) -> Temperature:
    """The temperature under which mean confidence is how often repeated predictions agree, and at least 1.

    Args:
        reads: per example the model's distribution.
        repeats: predictions made again: other orders, other restarts, a second opinion.

    Returns:
        T with mean of max p_T = (agreements + 1) / (predictions + 2), Laplace's rule, since a few agreements don't
        make certainty; inside [1, HOTTEST]. 1 if nothing was repeated.
    """
    pairs = [(read.best, repeat[key]) for repeat in repeats for key, read in reads.items() if key in repeat]
    if not pairs:
        return Temperature()
    agreement = (sum(one == other for one, other in pairs) + 1) / (len(pairs) + 2)

    def excess(inverse: float) -> float:
        return agreement - fsum(exp(max(scaled(read, 1 / inverse).logprobs)) for read in reads.values()) / len(reads)

    return Temperature(1 / _root(excess, 1 / HOTTEST, 1.0), "agreement", len(pairs), agreement)


def _mean_logprob(read: LabelDistribution, inverse: float) -> float:
    weights = scaled(read, 1 / inverse)
    return fsum(exp(weight) * value for weight, value in zip(weights.logprobs, read.logprobs, strict=True))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a falling function, by bisection; the nearer end if it is not inside."""
    if falling(high) >= 0:
        return high
    if falling(low) <= 0:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def calibrated(score: Score, temperature: Temperature, abstain_below: float = 0.0) -> tuple[Calibrated, ...]:
    """Every label found with its scaled probability; a label less probable than the threshold is left open.

    Args:
        score: of the labels found.
        temperature: fitted, or `Temperature()`.
        abstain_below: in [0, 1]; 0 leaves no label open.

    Returns:
        One row per labelled example, in the order of the score.

    Raises:
        ValueError: a threshold outside [0, 1].
    """
    if not 0 <= abstain_below <= 1:
        raise ValueError(f"abstain_below is {abstain_below}: it is a probability, from 0 to 1")
    rows = []
    for key, read in score.distributions.items():
        one, label = scaled(read, temperature.value), score.labeling[key]
        probability = one.probability(label)
        probabilities = {name: one.probability(name) for name in one.labels}
        rows.append(Calibrated(key, label if probability >= abstain_below else None, probability, probabilities))
    return tuple(rows)


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS) -> float:
    """Mean over examples of |accuracy - mean confidence| of their bin, bins of equal mass (Nixon et al. 2019).

    Sorted by confidence, bin b of B holds the examples from n * b // B to n * (b + 1) // B. With few examples it is
    biased upwards, since an accuracy of few is never near its confidence.

    Args:
        confidences: per example the probability of the label found, shape (n,), in [0, 1].
        correct: per example whether it is right, shape (n,).
        bins: B, at least 1.

    Returns:
        In [0, 1].

    Raises:
        ValueError: nothing to measure, lengths that differ, or no bin.

    Example:
        >>> round(expected_calibration_error([0.6, 0.6, 0.9, 0.9], [True, False, True, True], bins=2), 9)
        0.1
    """
    size = _checked(confidences, correct)
    if bins < 1:
        raise ValueError(f"{bins} bins: at least one is needed")
    rows = sorted(zip(confidences, correct, strict=True))
    edges = [size * at // bins for at in range(bins + 1)]
    gaps = [abs(fsum(confidence - hit for confidence, hit in rows[low:high])) for low, high in pairwise(edges)]
    return fsum(gaps) / size


def brier(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """Mean of (confidence - correct) squared (Brier, 1950); 0 is best, always saying one half gives 0.25.

    Args:
        confidences: per example the probability of the label found, shape (n,), in [0, 1].
        correct: per example whether it is right, shape (n,).

    Returns:
        In [0, 1].

    Raises:
        ValueError: nothing to measure, or lengths that differ.

    Example:
        >>> brier([1.0, 0.5], [True, False])
        0.125
    """
    size = _checked(confidences, correct)
    return fsum((value - hit) ** 2 for value, hit in zip(confidences, correct, strict=True)) / size


def _checked(confidences: Sequence[float], correct: Sequence[bool]) -> int:
    if len(confidences) != len(correct) or not confidences:
        raise ValueError(f"{len(confidences)} confidences for {len(correct)} answers: as many of both, at least one")
    return len(confidences)
