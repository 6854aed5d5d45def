"""Calibration: the bias that all predictions share is taken off, so that the rest decides.

A language model says some labels more readily than others whatever it is asked, and in its own context that bias feeds
itself until every label is alike. Calibrated predictions hold each label's log p against a centre that is estimated
from the predictions themselves, with no label known. The same values serve zero-shot answers, rounds and baselines.

Sources: batch calibration, Zhou et al. 2024 (arXiv 2309.17249), equation 5; the centre between class means, Han et al.
2023 (arXiv 2205.10183), there by a Gaussian mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum, log
from types import MappingProxyType
from typing import TypeAlias

from icm_api.errors import ConfigError
from icm_api.types import Label, LabelDistribution, Predictions, logsumexp

Centre: TypeAlias = tuple[float, ...]
"""Per label, in label order, the log p that counts as neither for nor against it, in nats."""

_ITERATIONS = 100


def no_centre(reads: Sequence[LabelDistribution]) -> Centre:
    """Zero for every label: predictions stay what they are.

    Args:
        reads: distributions over one label set, at least one.
    """
    return (0.0,) * len(reads[0].labels)


def batch_centre(reads: Sequence[LabelDistribution]) -> Centre:
    """Log of the mean probability of each label: right if the classes are about equally frequent.

    Args:
        reads: distributions over one label set, at least one.

    Example:
        >>> from math import exp, log
        >>> reads = [LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.7)]
        >>> [round(exp(value), 6) for value in batch_centre(reads)]
        [0.8, 0.2]
    """
    columns = zip(*(read.logprobs for read in reads), strict=True)
    return tuple(logsumexp(column) - log(len(reads)) for column in columns)


def class_centre(reads: Sequence[LabelDistribution]) -> Centre:
    """The centre between the means of the classes predicted with it: for two labels, 2-means over the log-odds.

    Every class counts alike however many examples it has, so that unequal shares move the centre little. It begins at
    `batch_centre`, which it also falls back to if a class stays without an example.

    Args:
        reads: distributions over one label set, at least one.

    Example:
        >>> from math import log
        >>> reads = [LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.9, 0.9, 0.6)]
        >>> centre = class_centre(reads)
        >>> [read.logprobs[0] - centre[0] > read.logprobs[1] - centre[1] for read in reads]
        [True, True, True, False]
    """
    labels = range(len(reads[0].labels))
    centre = fallback = batch_centre(reads)
    before: list[int] = []
    for _ in range(_ITERATIONS):
        classes = [max(labels, key=lambda at: read.logprobs[at] - centre[at]) for read in reads]
        if len(set(classes)) < len(labels):
            return fallback
        if classes == before:
            break
        before = classes
        means = [_mean([read for read, found in zip(reads, classes, strict=True) if found == at]) for at in labels]
        centre = tuple(fsum(column) / len(means) for column in zip(*means, strict=True))
    return centre


def _mean(reads: Sequence[LabelDistribution]) -> Centre:
    return tuple(fsum(column) / len(reads) for column in zip(*(read.logprobs for read in reads), strict=True))


CENTRES: Mapping[str, Callable[[Sequence[LabelDistribution]], Centre]] = MappingProxyType(
    {"none": no_centre, "batch": batch_centre, "centres": class_centre}
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How predictions are calibrated.

    Attributes:
        method: a name in `CENTRES`.
        prior: the share of each label in the data, if it is known; only its ratios count. None if not.

    Raises:
        ConfigError: an unknown method, or a share that is not above 0.

    Example:
        >>> from math import log
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.6)}
        >>> [found.best for found in Calibration("batch")(read).values()]
        ['T', 'F']
    """

    method: str = "batch"
    prior: Mapping[Label, float] | None = None

    def __post_init__(self) -> None:
        if self.method not in CENTRES:
            raise ConfigError(f"unknown calibration {self.method!r}; known: {', '.join(CENTRES)}")
        for label, share in (self.prior or {}).items():
            if not share > 0:
                raise ConfigError(f"prior: the share of {label!r} must be above 0, got {share:g}")

    def check(self, labels: Sequence[Label]) -> None:
        """Refuse a prior of other labels, before anything is asked.

        Args:
            labels: the label set.

        Raises:
            ConfigError: the prior lacks a label, or has one too many.
        """
        if self.prior is not None and set(self.prior) != set(labels):
            raise ConfigError(f"prior has shares of {sorted(self.prior)}, and the labels are {list(labels)}")

    def __call__(self, predictions: Predictions) -> Predictions:
        """The same examples, each distribution with the centre taken off and normalised again.

        Args:
            predictions: distributions over one label set; may be empty.

        Raises:
            ConfigError: the prior lacks a label.
        """
        if not predictions or (self.method == "none" and self.prior is None):
            return predictions
        shifts = self.shifts(list(predictions.values()))
        return {key: shifted(read, shifts) for key, read in predictions.items()}

    def shifts(self, reads: Sequence[LabelDistribution]) -> Sequence[float]:
        """What is added to the log p of each label, in label order, in nats, before it is normalised again.

        Args:
            reads: distributions over one label set, at least one.

        Raises:
            ConfigError: the prior lacks a label.
        """
        centre = CENTRES[self.method](reads)
        return [prior - value for prior, value in zip(self._log_prior(reads[0].labels), centre, strict=True)]

    def _log_prior(self, labels: Sequence[Label]) -> Sequence[float]:
        if self.prior is None:
            return (0.0,) * len(labels)
        self.check(labels)
        return [log(self.prior[label]) for label in labels]


def shifted(read: LabelDistribution, shifts: Sequence[float]) -> LabelDistribution:
    """A distribution with something added to the log p of each label, normalised again.

    Args:
        read: the distribution.
        shifts: per label, in label order, in nats.
    """
    raw = [value + shift for value, shift in zip(read.logprobs, shifts, strict=True)]
    total = logsumexp(raw)
    return replace(read, logprobs=tuple(value - total for value in raw), intervals={})


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Several predictions of the same examples as one: their log p summed and normalised again.

    Args:
        parts: at least one; the same ids and label set in each.

    Example:
        >>> from math import log
        >>> one = {"a": LabelDistribution(("T", "F"), (log(0.8), log(0.2)), 1.0, "exact")}
        >>> round(pooled([one, one])["a"].probability("T"), 4)
        0.9412
    """
    first = parts[0]
    zero = (0.0,) * len(next(iter(first.values())).labels) if first else ()
    return {
        key: shifted(
            replace(read, logprobs=zero),
            [fsum(column) for column in zip(*(part[key].logprobs for part in parts), strict=True)],
        )
        for key, read in first.items()
    }


def shares(predictions: Predictions) -> dict[Label, float]:
    """The share of the examples of which each label is the most probable one, in label order.

    Args:
        predictions: of at least one example.
    """
    best = [read.best for read in predictions.values()]
    labels = next(iter(predictions.values())).labels
    return {label: best.count(label) / len(best) for label in labels}
