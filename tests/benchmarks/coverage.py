"""How often the 95% intervals of `evaluate` hold the truth, on simulated examples in groups.

`right`: share of the labels that is right. `together`: share of the groups whose examples are all right or all wrong.
`rare`: share of the examples with the rarer gold label. Given are the coverage and the mean width; "-" if there is no
interval by design, and the share of runs with one if it is not all.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from statistics import NormalDist, fmean

import numpy as np

from icm_api.evaluation.resampling import Matched, Metric, accuracies, aurocs, balanced_accuracies, measure

RUNS = 400
SHAPES = ((12, 1), (32, 1), (128, 1), (8, 4), (16, 4), (40, 4))
"""Groups, and examples in each."""
METRICS: dict[str, Metric] = {"accuracy": accuracies, "balanced": balanced_accuracies, "auroc": aurocs}


def drawn(rng: np.random.Generator, shape: tuple[int, int], right: float, together: float, rare: float) -> Matched:
    """Examples in groups; the log-odds of a right label are normal, so that AUROC is the same in every draw.

    Args:
        rng: all chance comes from here.
        shape: groups, and examples in each.
        right: expected accuracy, the same for both labels.
        together: share of the groups whose examples share one latent number.
        rare: share of the examples with the first label.
    """
    groups, each = shape
    own, shared = rng.normal(size=shape), np.repeat(rng.normal(size=(groups, 1)), each, axis=1)
    latent = np.where(rng.random((groups, 1)) < together, shared, own).ravel()
    margin = latent + _quantile(right)
    gold = (rng.random(groups * each) >= rare).astype(np.int64)
    odds = np.where(gold == 0, margin, -margin)
    p = 1 / (1 + np.exp(-odds))
    numbers = np.repeat(np.arange(groups), each)
    return Matched(("True", "False"), gold, margin > 0, np.stack([p, 1 - p], axis=1), numbers, 0, 0)


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)


def truths(right: float) -> dict[str, float]:
    """What each metric is over all that could be drawn.

    Args:
        right: expected accuracy.
    """
    return {"accuracy": right, "balanced": right, "auroc": NormalDist().cdf(2 * _quantile(right) / 2**0.5)}


def coverage(
    shape: tuple[int, int], right: float, together: float, rare: float, runs: int = RUNS
) -> dict[str, tuple[float, float, float]]:
    """Per metric: share of the intervals that hold the truth, their mean width, and the share of runs with one."""
    rng, truth = np.random.default_rng([*shape, int(100 * right), int(100 * together), int(100 * rare)]), truths(right)
    held: dict[str, list[bool]] = {name: [] for name in METRICS}
    widths: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(runs):
        one = drawn(rng, shape, right, together, rare)
        for name, metric in METRICS.items():
            found = measure(metric, one)
            if found.low is not None and found.high is not None:
                held[name].append(found.low <= truth[name] <= found.high)
                widths[name].append(found.high - found.low)
    return {
        name: (fmean(each), fmean(widths[name]), len(each) / runs) if each else (0.0, 0.0, 0.0)
        for name, each in held.items()
    }


def report() -> Iterator[str]:
    """The figures, as a table."""
    yield f"Coverage of nominal 95% intervals, and their mean width, {RUNS} runs a row."
    yield ""
    names = ("groups x examples", "right", "together", "rarer label", *METRICS)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for shape, right, together, rare in product(SHAPES, (0.6, 0.8, 0.95), (0.0, 0.67), (0.5, 0.15)):
        if shape[1] == 1 and together:
            continue
        cells = coverage(shape, right, together, rare).values()
        about = (f"{shape[0]} x {shape[1]}", f"{right:.0%}", f"{together:.0%}", f"{rare:.0%}")
        yield f"| {' | '.join([*about, *map(_cell, cells)])} |"


def _cell(found: tuple[float, float, float]) -> str:
    held, width, share = found
    if not share:
        return "-"
    return f"{held:.1%}, {width:.2f}" + (f" ({share:.0%} of runs)" if share < 0.995 else "")
