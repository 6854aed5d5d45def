"""The files of a report: the page, and its figures as PNG beside it.

Needs Matplotlib and Jinja2, which are imported only when a report is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from icm_api.errors import ConfigError, StorageError
from icm_api.files import write_whole
from icm_api.report.reading import read_report
from icm_api.types import Label

PAGE_FILE = Path("report") / "report.html"
"""Where in the run folder a report is written by default."""
_NEEDED = ("matplotlib", "jinja2")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the page, and the figures beside it."""

    page: Path
    figures: tuple[Path, ...] = ()


def write_report(
    folder: Path,
    out: Path | None = None,
    *,
    gold: Path | None = None,
    comparison: Path | None = None,
    label_field: str | None = None,
    meanings: Mapping[str, Label] | None = None,
    png: bool | None = None,
) -> Written:
    """Write the report of a finished run; the same run, the same bytes.

    Args:
        folder: of the run.
        out: the page to write; by default `report/report.html` in the run folder.
        gold: a file of gold labels to compare the labels with.
        comparison: the folder of a comparison, whose bars to show.
        label_field: key of the gold label; by default "gold", else "label".
        meanings: the label that something written in the gold file means, e.g. {"0": "False"}.
        png: write the figures beside the page too; by default if the page goes into the run folder.

    Raises:
        ConfigError: Matplotlib or Jinja2 is not installed.
        RunError: the run is not finished, or a file is missing or damaged.
        DataError: the gold labels cannot be used.
        StorageError: the page cannot be written.
    """
    _check_installed()
    from icm_api.report.charts import charts
    from icm_api.report.drawing import png as drawn_png
    from icm_api.report.page import render

    report = read_report(folder, gold=gold, comparison=comparison, label_field=label_field, meanings=meanings)
    drawn = charts(report)
    path = out or folder / PAGE_FILE
    write_whole(path, render(report, drawn))
    figures = []
    if png or (png is None and out is None):
        for chart in drawn:
            figure = path.with_name(f"{path.stem}-{chart.name}.png")
            _write_bytes(figure, drawn_png(chart))
            figures.append(figure)
    return Written(path, tuple(figures))


def _check_installed() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"a report needs {' and '.join(missing)}: pip install 'icm-api[report]'")


def _write_bytes(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; free some space, or choose another place"
        ) from error
