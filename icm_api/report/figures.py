"""How each figure is drawn, on an empty Matplotlib figure of any width. Colours are those that `drawing` knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from icm_api.report.drawing import INK, RULE, SERIES
from icm_api.report.reading import Reliability
from icm_api.report.trace import Trace

_MOST_BEGINS = 60
"""Beginnings anew that get a line of their own; more would be a grey area."""
BarRow = tuple[str, float, float | None, float | None]


def search(trace: Trace, best: int | None, figure: Figure, narrow: bool) -> None:
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
            # I is never below 0, and where it is 0 throughout there is nothing to zoom into.
            top = max(1.0, 1.1 * float(np.nanmax(values)))
            axes.set_ylim(bottom=-0.06 * top, top=top)
    _steps(panels[-1], narrow)


def acceptance(
    trace: Trace, edges: NDArray[np.float64], shares: NDArray[np.float64], figure: Figure, narrow: bool
) -> None:
    """Share accepted, and the temperature below it where there is one."""
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


def balance(trace: Trace, drawn: NDArray[np.int64], shares: NDArray[np.float64], figure: Figure, narrow: bool) -> None:
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


def confidence(raw: NDArray[np.float64], calibrated: NDArray[np.float64] | None, figure: Figure, narrow: bool) -> None:
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


def reliability(curves: Sequence[Reliability], figure: Figure, narrow: bool) -> None:
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


def bars(rows: Sequence[BarRow], figure: Figure, narrow: bool) -> None:
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
    """The drawn steps, with a gap where the search began anew."""
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
