"""From one drawing to PNG and to SVG that goes into a page: same figure function, two canvases, equal bytes each time.

The SVG takes its colours from the page (`currentColor`, `--s1`, ...), so that it reads in the dark, its text stays
text, and its ids can't meet those of another figure.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from icm_api.report.text import shortened

INK, RULE = "#1f2329", "#c9ced6"
# After Okabe and Ito (2008): told apart with any common colour blindness.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7a7f87")
_COLOURS = MappingProxyType(
    {INK: "currentColor", RULE: "var(--rule)", **{colour: f"var(--s{at})" for at, colour in enumerate(SERIES, 1)}}
)
_STYLE = MappingProxyType(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "icm-api",
        # Labels come from data sets: a dollar sign is a dollar sign.
        "text.parse_math": False,
        "font.size": 9.0,
        "axes.titlesize": 9.0,
        "axes.titlelocation": "left",
        "axes.labelsize": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": RULE,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.grid": True,
        "grid.color": RULE,
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
        "lines.linewidth": 1.4,
        "legend.frameon": False,
        "path.simplify": True,
    }
)
_WIDE, _NARROW = 7.2, 3.4
"""Inches: of a page's column, and of a phone."""
_DOTS = 200
_LEGEND = 100
"""Characters that a PNG's legend has room for in a line."""
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_FONT = re.compile(r"font:[^;]*?([\d.]+)px[^;]*")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure that can be drawn at any width.

    Attributes:
        name: of its files; letters only.
        title: in a few words.
        description: what it shows, for those who can't see it.
        caption: how to read it.
        draw: puts it on an empty figure; told whether the figure is narrow.
        height: inches.
        legend: names in the order of `SERIES`, for the page; empty if the figure says it itself.
    """

    name: str
    title: str
    description: str
    caption: str
    draw: Callable[[Figure, bool], None]
    height: float = 3.0
    legend: tuple[str, ...] = ()


@contextmanager
def _drawn(chart: Chart, width: float, height: float) -> Iterator[Figure]:
    # Whatever style the user has set up for their own figures.
    with style.context(dict(_STYLE), after_reset=True), warnings.catch_warnings():
        # Names in other scripts: the browser has the letters, and a PNG shows a box for those it lacks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
        figure = Figure(figsize=(width, height), layout="constrained")
        chart.draw(figure, width < (_WIDE + _NARROW) / 2)
        yield figure


def png(chart: Chart) -> bytes:
    """The figure as a PNG on white, 1440 dots wide, its legend inside.

    Args:
        chart: to draw.
    """
    with _drawn(chart, _WIDE, chart.height) as figure:
        if chart.legend:
            handles = [Patch(color=colour) for colour in SERIES[: len(chart.legend)]]
            # A name that begins with an underscore would be left out.
            names = [f" {shortened(name, 40)}" for name in chart.legend]
            columns = max(1, _LEGEND // (max(map(len, names)) + 6))
            figure.legend(handles, names, loc="outside lower left", ncols=min(columns, len(names)))
        out = BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(out, format="png", dpi=_DOTS, metadata={"Software": None})
        return out.getvalue()


def svg(chart: Chart, *, narrow: bool) -> Markup:
    """The figure as an SVG element for a page, with title and description.

    Args:
        chart: to draw.
        narrow: draw it for a phone, 3.4 inches wide, not 7.2.
    """
    with _drawn(chart, _NARROW if narrow else _WIDE, chart.height) as figure:
        figure.patch.set_visible(False)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        out = BytesIO()
        FigureCanvasSVG(figure)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    # No document but Matplotlib's own is ever parsed here.
    root = ElementTree.fromstring(out.getvalue())
    prefix = f"{chart.name}-{'narrow' if narrow else 'wide'}-"
    for element in root.iter():
        _adapt(element, prefix)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}style" or child.tag.endswith("metadata"):
                parent.remove(child)
    _describe(root, chart, prefix)
    return Markup(_serialized(root))


def _adapt(element: ElementTree.Element, prefix: str) -> None:
    """Colours of the page, fonts of the page, ids of this figure alone. Texts are left as they are."""
    attributes = element.attrib
    if "id" in attributes:
        attributes["id"] = prefix + attributes["id"]
    if _HREF in attributes:
        attributes["href"] = "#" + prefix + attributes.pop(_HREF).removeprefix("#")
    for key in ("style", "fill", "stroke", "clip-path"):
        value = attributes.get(key)
        if value is None:
            continue
        for colour, name in _COLOURS.items():
            value = value.replace(colour, name)
        value = _FONT.sub(r"font-size: \1px", value)
        attributes[key] = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
    # Without a colour of its own, text would be black.
    if element.tag == f"{_SVG}text" and "fill" not in attributes and "fill:" not in attributes.get("style", ""):
        attributes["fill"] = "currentColor"


def _describe(root: ElementTree.Element, chart: Chart, prefix: str) -> None:
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}title {prefix}desc")
    for at, (tag, text) in enumerate((("title", chart.title), ("desc", chart.description))):
        element = ElementTree.Element(f"{_SVG}{tag}", {"id": f"{prefix}{tag}"})
        element.text = text
        root.insert(at, element)


def _serialized(root: ElementTree.Element) -> str:
    """Without the namespace prefixes that an HTML parser would not know."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(root, encoding="unicode")
