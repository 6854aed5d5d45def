"""The figures: named for those who don't see them, the same bytes each time, and a word where they can't be drawn."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from icm_api.compare import HELD_OUT, Comparison, Cost, Part, Point, Row, read_comparison, write_figures
from icm_api.compare.crossed import OverSeeds
from icm_api.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def row(method: str, value: float) -> Row:
    found = OverSeeds((value, value), value + np.linspace(-0.05, 0.05, 2000), 40)
    return Row(method, method, {HELD_OUT: Part({"accuracy": found}, Cost(10, 100, None), 4)})


def comparison(*, iterations: bool = True) -> Comparison:
    points = tuple(Point(seed, at, 0, 10 * at, 0.5 + at / 20, at / 10 or None) for seed in (0, 1) for at in range(5))
    curve = tuple((count, row("icm", 0.6 + count / 20).parts[HELD_OUT].metrics["accuracy"]) for count in (0, 1, 2, 4))
    return Comparison(
        (row("zero-shot", 0.6), Row("chat", "chat", {}, "not asked"), row("icm", 0.8), row("golden", 0.9)),
        (),
        (0, 1),
        (16, 16),
        (20, 22),
        "pocket",
        None,
        points if iterations else (),
        curve,
    )


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    saved = comparison()
    written = saved.save(tmp_path)
    assert [path.name for path in written] == ["table.csv", "comparison.json", "iterations.csv", "demonstrations.csv"]
    found = read_comparison(tmp_path)
    assert [bar.name for bar in found.bars] == ["zero-shot", "icm", "golden"]
    for bar in found.bars:
        known = saved.row(bar.name)
        assert known is not None
        measure = known.parts[HELD_OUT].metrics["accuracy"].measure()
        assert (bar.mean, bar.low, bar.high) == (measure.value, measure.low, measure.high)
    assert (found.seeds, found.model, found.notes) == (2, "pocket", ("chat: not asked",))


def test_every_svg_says_what_it_shows(tmp_path: Path) -> None:
    written = write_figures(comparison(), tmp_path)
    assert [path.name for path in written] == [
        f"{name}.{kind}" for name in ("bars", "iterations", "demonstrations") for kind in ("svg", "png")
    ]
    for path in written[::2]:
        root = ElementTree.parse(path).getroot()
        assert (root.get("role"), root.get("aria-labelledby")) == ("img", "title description")
        assert root.findtext(f"{SVG}title")
    bars = ElementTree.parse(written[0]).getroot()
    description = bars.findtext(f"{SVG}desc")
    assert description is not None
    for words in ("80.0%", "90.0%", "zero-shot, chat model: not asked", "20 to 22 examples", "2 seeds"):
        assert words in description
    texts = "".join(bars.itertext())
    assert "not asked" in texts
    assert "80.0%" in texts


@pytest.mark.slow
def test_same_comparison_same_bytes(tmp_path: Path) -> None:
    once, again = write_figures(comparison(), tmp_path / "a"), write_figures(comparison(), tmp_path / "b")
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]


def test_a_figure_without_numbers_is_not_drawn(tmp_path: Path) -> None:
    names = {path.stem for path in write_figures(comparison(iterations=False), tmp_path)}
    assert names == {"bars", "demonstrations"}


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"icm-api\[report\]"):
        write_figures(comparison(), tmp_path)
