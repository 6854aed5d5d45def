"""The figures of a comparison as SVG and PNG: the four bars, agreement over iterations, accuracy by demonstrations.

Same comparison, same bytes (for one version of matplotlib, which is imported when the first figure is drawn). An SVG
names and describes itself for readers who do not see it. Nothing is computed here but places in a figure.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from html import escape
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icm_api.compare.comparison import HELD_OUT, Comparison, Point
from icm_api.compare.crossed import OverSeeds
from icm_api.errors import ConfigError, StorageError
from icm_api.evaluation import Interval
from icm_api.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BARS = (
    ("zero-shot", "zero-shot,\nbase model", "#9aa5b1"),
    ("zero-shot-calibrated", "zero-shot,\ncalibrated", "#9aa5b1"),
    ("chat", "zero-shot,\nchat model", "#6b7c93"),
    ("icm", "ICM\nlabels", "#0072b2"),
    ("icm-calibrated", "ICM,\ncalibrated", "#0072b2"),
    ("golden", "golden\nlabels", "#e69f00"),
    ("golden-calibrated", "golden,\ncalibrated", "#e69f00"),
)
"""Row, name under the bar, colour: two greys for what has no labels, blue and orange for what has."""
_BLUE, _GREY, _ORANGE = "#0072b2", "#6b7c93", "#e69f00"
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "icm-api",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw what the comparison has numbers for, each figure as SVG and PNG.

    Args:
        comparison: to draw.
        folder: the folder of the files.

    Returns:
        The files written.

    Raises:
        ConfigError: matplotlib is not installed.
        StorageError: a file cannot be written.
    """
    try:
        from matplotlib import rc_context, rcdefaults, rcParams
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"figures need {error.name}: pip install 'icm-api[report]'") from error
    jobs: list[tuple[str, str, str, Callable[[Axes, Comparison], str]]] = []
    asked, searched = _asked(comparison), f"{_sizes(comparison.searched)} examples, a line per seed"
    if any(comparison.row(name) for name, _, _ in _BARS):
        jobs.append(("bars", "Accuracy on held-out examples", asked, _draw_bars))
    if comparison.iterations:
        jobs.append(("iterations", "ICM's labels against gold, as it searches", searched, _draw_iterations))
    if comparison.demonstrations:
        jobs.append(("demonstrations", "What ICM's labels are worth as demonstrations", asked, _draw_curve))
    written = []
    for name, title, about, draw in jobs:
        with rc_context():
            # Whatever style the user has set elsewhere.
            rcdefaults()
            rcParams.update(_STYLE)
            figure = Figure(figsize=(6.4, 4.4))
            axes = figure.subplots()
            axes.set_title(title, loc="left", fontweight="bold", pad=26)
            axes.text(0, 1.035, about, transform=axes.transAxes, color=_GREY, fontsize=9)
            said = draw(axes, comparison)
            if axes.get_legend_handles_labels()[0]:
                # Outside, so that it covers no line.
                figure.legend(loc="outside lower left", ncols=2, frameon=False)
            written += _save(figure, folder / name, title, f"{about}. {said}.")
    return written


def _draw_bars(axes: Axes, comparison: Comparison) -> str:
    said = []
    for place, (method, label, colour) in enumerate(_BARS):
        row = comparison.row(method)
        name = label.replace("\n", " ")
        if row is None:
            axes.text(place, 0.02, "not asked", ha="center", va="bottom", color=_GREY, style="italic")
            said.append(f"{name}: not asked")
            continue
        found = _accuracy(row.parts[HELD_OUT].metrics["accuracy"])
        axes.bar(place, found.value, width=0.62, color=colour)
        top = _error_bar(axes, place, found)
        axes.text(place, top + 0.015, f"{found.value:.1%}", ha="center", va="bottom", fontweight="bold")
        said.append(f"{name}: {_spoken(found)}")
    axes.set_xticks(range(len(_BARS)), [label for _, label, _ in _BARS])
    axes.set_xlim(-0.6, len(_BARS) - 0.4)
    axes.set_ylabel("accuracy")
    _percent(axes, 1.08)
    return "; ".join(said)


def _accuracy(found: OverSeeds) -> Interval:
    measure = found.measure()
    assert isinstance(measure, Interval), "accuracy is defined wherever there is an example"
    return measure


def _error_bar(axes: Axes, place: float, found: Interval) -> float:
    """Draw the limits, if there are any; returns the top of what is drawn."""
    if found.low is None or found.high is None:
        return found.value
    sizes = [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]
    axes.errorbar(place, found.value, yerr=sizes, fmt="none", ecolor="black", elinewidth=1.2, capsize=5)
    return max(found.value, found.high)


def _draw_iterations(axes: Axes, comparison: Comparison) -> str:
    ends = []
    for at, seed in enumerate(comparison.seeds):
        points = [point for point in comparison.iterations if point.seed == seed]
        first = at == 0
        xs, ys = _known(points, lambda point: point.current, apart=True)
        axes.plot(xs, ys, color=_GREY, linewidth=0.8, alpha=0.5, label="labels at that step" if first else None)
        xs, ys = _known(points, lambda point: point.best)
        # In steps: between two of them the labels to hand out are still the earlier ones.
        style: dict[str, Any] = {"color": _BLUE, "linewidth": 1.8, "alpha": 0.85, "drawstyle": "steps-post"}
        axes.plot(xs, ys, **style, label="best so far by U" if first else None)
        if ys:
            axes.plot(xs[-1], ys[-1], "o", color=_BLUE, markersize=5)
            ends.append(f"seed {seed} ends at {ys[-1]:.1%}")
    axes.set_xlabel("requests asked")
    axes.set_ylabel("agreement with gold")
    axes.set_xlim(left=0)
    _percent(axes, 1.04)
    return "; ".join(ends) or "no step had complete labels"


def _draw_curve(axes: Axes, comparison: Comparison) -> str:
    counts = [count for count, _ in comparison.demonstrations]
    found = [_accuracy(each) for _, each in comparison.demonstrations]
    means = [one.value for one in found]
    places = list(range(len(counts)))
    lows = [one.value if one.low is None else one.low for one in found]
    highs = [one.value if one.high is None else one.high for one in found]
    axes.fill_between(places, lows, highs, color=_BLUE, alpha=0.18, linewidth=0)
    axes.plot(places, means, "o-", color=_BLUE, linewidth=1.8, markersize=5, label="ICM labels")
    golden = comparison.row("golden")
    if golden is not None:
        value = _accuracy(golden.parts[HELD_OUT].metrics["accuracy"]).value
        axes.axhline(value, color=_ORANGE, linewidth=1.5, linestyle="--", label="golden labels, all of them")
    axes.set_xticks(places, [str(count) for count in counts])
    axes.set_xlabel("demonstrations in the prompt")
    axes.set_ylabel("accuracy on held-out examples")
    _percent(axes, 1.04)
    said = "; ".join(f"{count}: {_spoken(one)}" for count, one in zip(counts, found, strict=True))
    return f"By number of demonstrations: {said}"


def _known(
    points: Sequence[Point], value: Callable[[Point], float | None], *, apart: bool = False
) -> tuple[list[float], list[float]]:
    """Where to draw; with `apart`, a gap between restarts, since nothing leads from one to the next."""
    xs, ys, restart = [], [], 0
    for point in points:
        found = value(point)
        if found is None:
            continue
        if apart and point.restart != restart:
            xs.append(float(point.requests))
            ys.append(nan)
        restart = point.restart
        xs.append(float(point.requests))
        ys.append(found)
    return xs, ys


def _percent(axes: Axes, top: float) -> None:
    axes.set_ylim(0, top)
    axes.set_yticks([at / 5 for at in range(6)], [f"{at * 20}%" for at in range(6)])


def _asked(comparison: Comparison) -> str:
    seeds = len(comparison.seeds)
    return f"{_sizes(comparison.held_out)} examples, mean over {seeds} seed{'s' if seeds > 1 else ''}, 95% intervals"


def _sizes(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"


def _spoken(found: Interval) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.1%}"
    return f"{found.value:.1%} (95% interval {found.low:.1%} to {found.high:.1%})"


def _save(figure: Figure, stem: Path, title: str, description: str) -> list[Path]:
    nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    text, raw = io.StringIO(), io.BytesIO()
    figure.savefig(text, format="svg", metadata=nothing)
    write_whole(stem.with_suffix(".svg"), _described(text.getvalue(), title, description))
    figure.savefig(raw, format="png", dpi=150, metadata={"Software": None})
    try:
        stem.with_suffix(".png").write_bytes(raw.getvalue())
    except OSError as error:
        raise StorageError(f"cannot write {stem}.png: {error.strerror or error}") from error
    return [stem.with_suffix(".svg"), stem.with_suffix(".png")]


def _described(svg: str, title: str, description: str) -> str:
    start = svg.index("<svg")
    end = svg.index(">", start)
    named = f' role="img" aria-labelledby="title description"{svg[end]}\n'
    spoken = f' <title id="title">{escape(title)}</title>\n <desc id="description">{escape(description)}</desc>'
    return svg[:end] + named + spoken + svg[end + 1 :]
