"""Means over seeds with 95% intervals that count both the seeds and the examples, and paired differences.

Seeds are drawn with replacement, and so are the groups of examples, 2,000 times; a group drawn twice counts twice in
every seed that has it. (Owen, 2007, Annals of Applied Statistics 1: the "pigeonhole" bootstrap of crossed factors,
which errs on the wide side.) Groups drawn anew within each seed would take the same examples, asked under three seeds,
for three times as many. All methods see the same draws, so that differences between methods are paired. With few seeds
the part of the interval that comes from them is somewhat too narrow; with one there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from icm_api.compare.measuring import Answer
from icm_api.data import Gold
from icm_api.evaluation import Interval, Measure, Undefined, gap_recovered, wilson_interval
from icm_api.evaluation.calibration import BINS
from icm_api.evaluation.intervals import LEVEL
from icm_api.evaluation.resampling import (
    Floats,
    Matched,
    accuracies,
    aurocs,
    balanced_accuracies,
)
from icm_api.types import Label

METHOD = "seeds and groups drawn with replacement, a group alike in all seeds; percentiles of 2,000 draws"
RESAMPLES = 2000
SEED = 0
MOST_UNDEFINED = 0.1
"""Share of the draws that may leave a metric undefined."""
_CELLS_AT_ONCE = 1_000_000
_Group: TypeAlias = tuple[bool, str]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The answers of one method to the examples of one seed that have gold.

    Attributes:
        matched: as evaluation counts them; groups are numbered within the block.
        confidence: p of the label given, per example, shape (n,).
        groups: the name of each group, by its number; G of them.
    """

    matched: Matched
    confidence: Floats
    groups: tuple[_Group, ...]


_Metric: TypeAlias = Callable[[Block, Floats], Floats]
"""Multiplicities of the block's groups, shape (B, G), to B values; NaN if undefined."""


def block(answers: Sequence[Answer], gold: Gold, labels: Sequence[Label]) -> Block:
    """The answers that have a gold label, as arrays.

    Args:
        answers: of one method to the examples of one seed.
        gold: labels by id.
        labels: the label set, K labels.

    Raises:
        KeyError: a gold label is not in the label set.
    """
    rows = [answer for answer in answers if answer.id in gold]
    numbers: dict[_Group, int] = {}
    keys = [(True, row.id) if row.group is None else (False, row.group) for row in rows]
    place = {label: at for at, label in enumerate(labels)}
    matched = Matched(
        tuple(labels),
        np.array([place[gold[row.id]] for row in rows], dtype=np.int64),
        np.array([row.label == gold[row.id] for row in rows], dtype=np.bool_),
        np.array([[row.probabilities[label] for label in labels] for row in rows], dtype=np.float64),
        np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64),
        len(answers) - len(rows),
        0,
    )
    confidence = np.array([row.probabilities[row.label] for row in rows], dtype=np.float64)
    return Block(matched, confidence, tuple(numbers))


def _calibration_errors(one: Block, draws: Floats) -> Floats:
    """Expected calibration error over ten bins of equal mass, an example counted as often as its group is drawn.

    With whole multiplicities it is `evaluation.expected_calibration_error` of the examples so repeated.
    """
    matched = one.matched
    order = np.lexsort((matched.correct, one.confidence))
    weights = draws[:, matched.groups[order]]
    excess = weights * (one.confidence - matched.correct)[order]
    counts, sums = (np.pad(np.cumsum(each, axis=1), ((0, 0), (1, 0))) for each in (weights, excess))
    sizes = counts[:, -1]
    edges = np.floor(sizes[:, None] * np.arange(BINS + 1) / BINS)
    found = np.full(len(draws), np.nan)
    for at in np.flatnonzero(sizes):
        found[at] = np.abs(np.diff(np.interp(edges[at], counts[at], sums[at]))).sum() / sizes[at]
    return found


METRICS: Mapping[str, _Metric] = MappingProxyType(
    {
        "accuracy": lambda one, draws: accuracies(one.matched, draws),
        "balanced_accuracy": lambda one, draws: balanced_accuracies(one.matched, draws),
        "auroc": lambda one, draws: aurocs(one.matched, draws),
        "calibration_error": _calibration_errors,
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class OverSeeds:
    """A metric over seeds.

    Attributes:
        seeds: its value in each seed; NaN if undefined.
        draws: its mean over seeds in each draw, shape (2000,); NaN if undefined.
        groups: distinct groups over all seeds.
        share: whether it is a share of right answers, whose limits are known if it is 0 or 1.
    """

    seeds: tuple[float, ...]
    draws: Floats
    groups: int
    share: bool = False

    @property
    def mean(self) -> float:
        """Over seeds; NaN if one of them has none."""
        return float(np.mean(self.seeds))

    def measure(self) -> Measure:
        """The mean with its interval, or why there is none.

        Returns:
            The mean over seeds; its limits are the 2.5% and 97.5% quantiles of the draws. Undefined if a seed does not
            define the metric.
        """
        value = self.mean
        if np.isnan(value):
            return Undefined("gold has one label only among the examples of a seed; two are needed")
        return _limits(value, self.draws, self.groups, share=self.share)


def over_seeds(name: str, blocks: Sequence[Block]) -> OverSeeds:
    """A metric of one method in each seed, and in 2,000 draws of seeds and groups.

    Args:
        name: of `METRICS`.
        blocks: a seed each.
    """
    metric = METRICS[name]
    values = tuple(float(metric(one, np.ones((1, one.matched.group_count)))[0]) for one in blocks)
    names = {group: at for at, group in enumerate(dict.fromkeys(key for one in blocks for key in one.groups))}
    places = [np.array([names[key] for key in one.groups], dtype=np.int64) for one in blocks]
    found = []
    for seeds, groups in _draws(len(blocks), len(names), sum(len(one.confidence) for one in blocks)):
        each = np.stack([metric(one, groups[:, place]) for one, place in zip(blocks, places, strict=True)], axis=1)
        # A seed that is not drawn may be undefined.
        found.append(np.where(seeds > 0, seeds * each, 0.0).sum(axis=1) / len(blocks))
    return OverSeeds(values, np.concatenate(found), len(names), name == "accuracy")


def _draws(seeds: int, groups: int, size: int) -> Iterator[tuple[Floats, Floats]]:
    """Multiplicities of seeds and of groups, some draws at a time so that memory stays small."""
    of_seeds, of_groups = np.random.default_rng([SEED, seeds]), np.random.default_rng(SEED)
    rows = max(1, _CELLS_AT_ONCE // max(size, groups))
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        yield _counts(of_seeds, count, seeds), _counts(of_groups, count, groups)


def _counts(rng: np.random.Generator, rows: int, kinds: int) -> Floats:
    drawn = rng.integers(0, kinds, (rows, kinds)) + np.arange(rows)[:, None] * kinds
    return np.bincount(drawn.ravel(), minlength=rows * kinds).reshape(rows, kinds).astype(np.float64)


def difference(one: OverSeeds, other: OverSeeds) -> Measure:
    """One method's metric less another's, both in the same draws.

    Args:
        one: of the first method.
        other: of the second, over the same seeds and groups.

    Returns:
        The difference of the means, with the 2.5% and 97.5% quantiles of the differences in each draw.
    """
    return _limits(one.mean - other.mean, one.draws - other.draws, one.groups)


def recovered(one: OverSeeds, zero_shot: OverSeeds, golden: OverSeeds) -> Measure:
    """Share of the gap from zero-shot to golden accuracy, by the means over seeds, see `gap_recovered`.

    Args:
        one: accuracy with a method's labels as demonstrations.
        zero_shot: accuracy without demonstrations.
        golden: accuracy with golden labels as demonstrations.

    Returns:
        The share with the 2.5% and 97.5% quantiles of its draws. Undefined if golden labels are not ahead in 97.5% of
        the draws: then there is no gap to speak of. The few draws without a gap have no share of it.
    """
    lead = float(np.nanquantile(golden.draws - zero_shot.draws, (1 - LEVEL) / 2))
    value = gap_recovered(one.mean, zero_shot.mean, golden.mean, lead)
    if value is None:
        return Undefined("golden labels are not clearly ahead of zero-shot, so there is no gap to recover")
    triples = zip(one.draws.tolist(), zero_shot.draws.tolist(), golden.draws.tolist(), strict=True)
    draws = [nan if (share := gap_recovered(*each)) is None else share for each in triples]
    return _limits(value, np.array(draws), one.groups)


def _limits(value: float, draws: Floats, groups: int, *, share: bool = False) -> Interval:
    if groups < 2:
        return Interval(value, None, None, "no interval: all examples are of one group")
    known = draws[~np.isnan(draws)]
    if (lost := len(draws) - len(known)) > MOST_UNDEFINED * len(draws):
        return Interval(value, None, None, f"no interval: undefined in {lost} of {len(draws)} draws")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if low == high:
        if share and value in (0.0, 1.0):
            limits = wilson_interval(round(value * groups), groups)
            return Interval(value, limits.low, limits.high)
        return Interval(value, None, None, "no interval: all draws give the same")
    return Interval(value, float(low), float(high))
