"""Which figures a report has: what each says in words, and how it is drawn on a Matplotlib figure of any width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from icm_api.compare import Compared
from icm_api.report.drawing import INK, RULE, SERIES, Chart
from icm_api.report.reading import Reliability, Report
from icm_api.report.text import clean, shortened
from icm_api.report.trace import MOST_POINTS, Trace, accepted_by_window, evenly

_MOST_LABELS = 6
"""Labels drawn apart; the others together."""
_MOST_STACKED = 500
"""Steps of a stacked figure, whose outlines no drawing library simplifies."""
_WINDOWS = 30
_STEPS_PER_WINDOW = 5
_MOST_BEGINS = 60
"""Beginnings anew that get a line of their own; more would be a grey area."""
_BarRow = tuple[str, float, float | None, float | None]


def charts(report: Report) -> tuple[Chart, ...]:
    """The figures of a report, in its order.

    Args:
        report: of a run.
    """
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
        partial(_draw_search, trace, best),
        5.0,
    )


def _acceptance(trace: Trace) -> Chart:
    edges, shares = accepted_by_window(trace, max(1, min(_WINDOWS, trace.size // _STEPS_PER_WINDOW)))
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
        partial(_draw_acceptance, trace, edges, shares),
        3.4 if cools else 2.0,
    )


def _balance(report: Report) -> Chart:
    trace, labels, size = report.trace, report.config.prompt.labels, len(report.result.examples)
    assert trace.balance is not None
    places = evenly(len(trace.balance), _MOST_STACKED)
    counts = trace.balance[places]
    largest = sorted(range(len(labels)), key=lambda at: -int(counts[:, at].max()))
    shown = sorted(largest[:_MOST_LABELS])
    rest = sorted(largest[_MOST_LABELS:])
    stacked = [counts[:, at] for at in shown] + ([counts[:, rest].sum(axis=1)] if rest else [])
    names = [labels[at] for at in shown] + ([f"{len(rest)} other labels"] if rest else [])
    last = Counter(row.label for row in report.result.examples)
    ends = ", ".join(f"{clean(labels[at])} {last[labels[at]] / size:.0%}" for at in shown)
    return Chart(
        "balance",
        "Label balance over the run",
        f"Stacked shares of all {size:,} examples by label after each step; the labels found are {ends}.",
        "Share of all examples that has each label after a step; what is left above is not labelled yet."
        + _thinned(trace, _MOST_STACKED),
        partial(_draw_balance, trace, trace.drawn[places], np.array(stacked) / size),
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
        partial(_draw_confidence, raw, calibrated),
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
        partial(_draw_reliability, curves),
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
        partial(_draw_bars, tuple((shortened(bar.name, 44), bar.mean, bar.low, bar.high) for bar in bars)),
        0.4 + 0.52 * len(bars),
    )


def _draw_search(trace: Trace, best: int | None, figure: Figure, narrow: bool) -> None:
    """U, P and I, one below the other."""
    rows = (
        ("utility", "U, utility", "default"),
        ("mutual_predictability", "P, mutual predictability", "default"),
        ("inconsistency", "I, inconsistency", "steps-post"),
    )
    panels = figure.subplots(len(rows), 1, sharex=True, height_ratios=(3, 2, 1.4))
    for axes, (name, title, how), colour in zip(panels, rows, SERIES, strict=False):
        steps, values = _broken_up(trace, trace.series[name])
        axes.plot(steps, values, color=colour, drawstyle=how)
        axes.set_title(title)
        _begins(axes, trace)
        if best is not None:
            axes.plot([trace.series["step"][best]], [trace.series[name][best]], "o", color=INK, markersize=4)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=name == "inconsistency"))
        if name == "inconsistency":
            # I is never below 0, and if it is 0 throughout there is nothing to zoom into.
            top = max(1.0, 1.1 * float(np.nanmax(values)))
            axes.set_ylim(bottom=-0.06 * top, top=top)
    _steps(panels[-1], narrow)


def _draw_acceptance(
    trace: Trace, edges: NDArray[np.float64], shares: NDArray[np.float64], figure: Figure, narrow: bool
) -> None:
    """Share accepted, and the temperature below it if there is a temperature."""
    temperature = trace.series["temperature"]
    cools = bool(np.any(temperature > 0))
    panels = figure.subplots(2 if cools else 1, 1, sharex=True, squeeze=False)[:, 0]
    panels[0].stairs(np.nan_to_num(shares), edges, color=SERIES[0], fill=True, alpha=0.35)
    panels[0].stairs(shares, edges, color=SERIES[0], linewidth=1.4)
    panels[0].set(ylim=(0, 1.02), title="accepted")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if cools:
        steps, values = _broken_up(trace, temperature)
        panels[1].plot(steps, values, color=SERIES[1])
        panels[1].set(title="T, temperature")
        panels[1].set_ylim(bottom=0)
        panels[1].yaxis.set_major_locator(MaxNLocator(4))
    for axes in panels:
        _begins(axes, trace)
    _steps(panels[-1], narrow)


def _draw_balance(
    trace: Trace, drawn: NDArray[np.int64], shares: NDArray[np.float64], figure: Figure, narrow: bool
) -> None:
    """Shares of all examples, stacked; `shares` has a row per label, with a number for each of the steps drawn."""
    axes = figure.subplots()
    steps = trace.series["step"][drawn]
    below = np.zeros(len(steps))
    for share, colour in zip(shares, SERIES, strict=False):
        axes.fill_between(steps, below, below + share, step="post", color=colour, alpha=0.8, linewidth=0)
        below = below + share
    _begins(axes, trace)
    axes.set(ylim=(0, 1), xlim=(steps[0], max(steps[-1], steps[0] + 1)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _steps(axes, narrow)


def _draw_confidence(
    raw: NDArray[np.float64], calibrated: NDArray[np.float64] | None, figure: Figure, narrow: bool
) -> None:
    """Examples by tenths of p(label)."""
    axes = figure.subplots()
    edges = np.linspace(0, 1, 11)
    axes.stairs(np.histogram(raw, edges)[0], edges, color=SERIES[0], fill=True, alpha=0.45)
    if calibrated is not None:
        counts, _ = np.histogram(calibrated, edges)
        axes.stairs(counts, edges, color=SERIES[1], linewidth=2)
    axes.set(xlabel="probability of the label", ylabel="examples", xlim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 10))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _draw_reliability(curves: Sequence[Reliability], figure: Figure, narrow: bool) -> None:
    """Accuracy over confidence, with its limits."""
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], ":", color=INK, linewidth=1)
    for curve, colour, marker in zip(curves, SERIES, "os", strict=False):
        middle = [each.accuracy.value for each in curve.bins]
        axes.errorbar(
            [each.confidence for each in curve.bins],
            middle,
            yerr=[
                [value - (each.accuracy.low or 0.0) for value, each in zip(middle, curve.bins, strict=True)],
                [
                    (1.0 if each.accuracy.high is None else each.accuracy.high) - value
                    for value, each in zip(middle, curve.bins, strict=True)
                ],
            ],
            fmt=f"{marker}-",
            color=colour,
            markersize=4,
            elinewidth=1,
        )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.set_major_locator(MaxNLocator(4 if narrow else 5))


def _draw_bars(rows: Sequence[_BarRow], figure: Figure, narrow: bool) -> None:
    """One bar a row, its name above it and its number at its end."""
    axes = figure.subplots()
    for at, (name, mean, low, high) in enumerate(rows):
        axes.barh(at, mean, height=0.38, color=SERIES[0], alpha=0.75)
        if low is not None and high is not None:
            axes.plot([low, high], [at, at], color=INK, linewidth=1.4, marker="|", markersize=7)
        axes.text(0, at - 0.29, name, ha="left", va="bottom")
        axes.text(1.02, at, f"{mean:.1%}", ha="left", va="center", transform=axes.get_yaxis_transform())
    axes.set(ylim=(len(rows) - 0.6, -0.85), yticks=[], xlim=(0, max(1.0, *(row[3] or row[1] for row in rows))))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 5))


def _broken_up(trace: Trace, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The drawn steps, with a gap wherever the search began anew."""
    at = trace.drawn
    gaps = np.flatnonzero(np.diff(trace.series["restart"][at]) != 0) + 1
    steps = np.insert(trace.series["step"][at], gaps, np.nan)
    return steps, np.insert(values[at], gaps, np.nan)


def _begins(axes: Axes, trace: Trace) -> None:
    begins = trace.begins()
    for at in begins if len(begins) <= _MOST_BEGINS else ():
        axes.axvline(trace.series["step"][at], color=RULE, linewidth=1, zorder=0.5)


def _steps(axes: Axes, narrow: bool) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, integer=True))
