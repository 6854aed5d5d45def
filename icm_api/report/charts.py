"""Which figures a report has, and what each says in words. How they are drawn is `figures`'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np

from icm_api.report import figures
from icm_api.report.comparison import Compared
from icm_api.report.drawing import Chart
from icm_api.report.reading import Report
from icm_api.report.text import clean, shortened
from icm_api.report.trace import MOST_POINTS, Trace, accepted_by_window, evenly

MOST_LABELS = 6
"""Labels drawn apart; the others together."""
MOST_STACKED = 500
"""Steps of a stacked figure, whose outlines no drawing library simplifies."""
WINDOWS = 30
_STEPS_PER_WINDOW = 5


def charts(report: Report) -> tuple[Chart, ...]:
    """The figures of a report, in its order."""
    return tuple(_charts(report))


def _charts(report: Report) -> Iterator[Chart]:
    yield _search(report)
    yield _acceptance(report.trace)
    if report.trace.balance is not None:
        yield _balance(report)
    if any(not row.fixed for row in report.result.examples):
        yield _confidence(report)
    if report.gold is not None and report.gold.reliability:
        yield _reliability(report)
    if report.compared is not None and report.compared.bars:
        yield _bars(report.compared)


def _thinned(trace: Trace, most: int = MOST_POINTS) -> str:
    drawn = min(most, len(trace.drawn))
    return "" if drawn == trace.size else f" Of {trace.size:,} steps, {drawn:,} evenly spaced ones are drawn."


def _search(report: Report) -> Chart:
    trace, result = report.trace, report.result
    best = trace.best(len(result.examples))
    found = "" if best is None else f" The dot is the labels found, at step {trace.series['step'][best]:,.0f}."
    begins = len(trace.begins())
    anew = f" At each thin upright line the search began anew ({begins:,} times)." if begins else ""
    utility = trace.series["utility"]
    return Chart(
        "search",
        "U, P and I over the steps",
        f"Three curves over {trace.size:,} steps. U starts at {utility[0]:.2f} and is {result.utility:.2f} for the "
        f"labels found; P is {result.mutual_predictability:.3f} and I is {result.inconsistency:g} for them.",
        "U = alpha * P - I, of the labels held after each step. While labels are being added they are those of the "
        f"examples labelled so far.{anew}{found}{_thinned(trace)}",
        partial(figures.search, trace, best),
        5.0,
    )


def _acceptance(trace: Trace) -> Chart:
    edges, shares = accepted_by_window(trace, max(1, min(WINDOWS, trace.size // _STEPS_PER_WINDOW)))
    temperature = trace.series["temperature"]
    cools = bool(np.any(temperature > 0))
    proposed = int(trace.relabelings.sum())
    taken = int((trace.accepted & trace.relabelings).sum())
    told = f"{taken:,} of {proposed:,} proposed relabelings were accepted."
    cooling = (
        f" The temperature goes from {temperature[0]:.3g} to {temperature[-1]:.3g}." if cools else " No temperature."
    )
    caption = (
        f"Share of proposed relabelings that were accepted, in windows of about {edges[1] - edges[0]:,.0f} steps; "
        "labels that are added, and beginnings anew, are always accepted and left out. "
        + ("Below, the temperature T." if cools else "This engine draws nothing by temperature.")
    )
    return Chart(
        "acceptance",
        "Acceptance and temperature" if cools else "Acceptance",
        told + cooling,
        f"{told} {caption}{_thinned(trace) if cools else ''}",
        partial(figures.acceptance, trace, edges, shares),
        3.4 if cools else 2.0,
    )


def _balance(report: Report) -> Chart:
    trace, labels, size = report.trace, report.config.prompt.labels, len(report.result.examples)
    assert trace.balance is not None
    places = evenly(len(trace.balance), MOST_STACKED)
    counts = trace.balance[places]
    largest = sorted(range(len(labels)), key=lambda at: -int(counts[:, at].max()))
    shown = sorted(largest[:MOST_LABELS])
    rest = sorted(largest[MOST_LABELS:])
    stacked = [counts[:, at] for at in shown] + ([counts[:, rest].sum(axis=1)] if rest else [])
    names = [labels[at] for at in shown] + ([f"{len(rest)} other labels"] if rest else [])
    last = Counter(row.label for row in report.result.examples)
    ends = ", ".join(f"{clean(labels[at])} {last[labels[at]] / size:.0%}" for at in shown)
    return Chart(
        "balance",
        "Label balance over the run",
        f"Stacked shares of all {size:,} examples by label after each step; the labels found are {ends}.",
        "Share of all examples that has each label after a step; what is left above is not labelled yet."
        + _thinned(trace, MOST_STACKED),
        partial(figures.balance, trace, trace.drawn[places], np.array(stacked) / size),
        2.6,
        tuple(shortened(name, 40) for name in names),
    )


def _confidence(report: Report) -> Chart:
    rows = [row for row in report.result.examples if not row.fixed]
    raw = np.array([row.probability for row in rows])
    calibrated = np.array([row.confidence for row in rows]) if report.rescaled else None
    fixed = len(report.result.examples) - len(rows)
    left_out = f" The {fixed:,} labels that a person gave are left out." if fixed else ""
    told = f"Median probability {np.median(raw):.0%}; {np.mean(raw < 0.5):.0%} of the labels are below 50%."
    return Chart(
        "confidence",
        "Probabilities of the labels found",
        f"Histogram of p(label) over {len(rows):,} examples. {told}",
        f"p(label | all other labels), examples by tenths of probability. {told}{left_out}" + _uncalibrated(report),
        partial(figures.confidence, raw, calibrated),
        2.6,
        ("as the model says", "calibrated") if calibrated is not None else (),
    )


def _uncalibrated(report: Report) -> str:
    if report.rescaled:
        return ""
    if report.calibration is None:
        return " The labels were not judged, so nothing is calibrated."
    return " Calibrated probabilities are the same."


def _reliability(report: Report) -> Chart:
    assert report.gold is not None
    curves = report.gold.reliability
    size = sum(each.size for each in curves[0].bins)
    told = "; ".join(f"{curve.name}: expected calibration error {curve.error:.3f}" for curve in curves)
    return Chart(
        "reliability",
        "Confidence against accuracy",
        f"Accuracy by confidence over {size:,} examples with gold labels; {told}.",
        f"{size:,} examples with a gold label, in {len(curves[0].bins)} bins of equally many; bars are 95% Wilson "
        "intervals. On the dotted line, confidence is accuracy; below it, the model is too sure.",
        partial(figures.reliability, curves),
        3.6,
        tuple(curve.name for curve in curves) if len(curves) > 1 else (),
    )


def _bars(compared: Compared) -> Chart:
    bars = compared.bars
    told = "; ".join(f"{clean(bar.name)} {bar.mean:.1%}" for bar in bars)
    limits = any(bar.low is not None for bar in bars)
    return Chart(
        "comparison",
        "Beside other ways to get labels",
        f"Accuracy on held-out examples: {told}.",
        f"Accuracy on held-out examples, seeds: {compared.seeds}, model: {clean(compared.model)}."
        + (" Lines are its 95% intervals." if limits else ""),
        partial(figures.bars, tuple((shortened(bar.name, 44), bar.mean, bar.low, bar.high) for bar in bars)),
        0.4 + 0.52 * len(bars),
    )
