"""A page that lists the runs of a folder, with links to their reports. Plain HTML, every text escaped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import quote

from icm_api.files import write_whole
from icm_api.report.text import clean
from icm_api.report.writing import PAGE_FILE
from icm_api.runs import RunRow, list_runs

INDEX_PAGE = "index.html"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}table{border-collapse:collapse}"
    "th,td{text-align:left;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #ddd}td.n{text-align:right}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}a{color:#8bf}}"
)


def write_index(folder: Path, out: Path | None = None) -> Path:
    """Write a page that lists all runs in a folder, the latest first.

    Args:
        folder: of runs.
        out: the page; by default `index.html` in the folder.

    Returns:
        The page.

    Raises:
        RunError: it is no folder.
        StorageError: the page cannot be written.
    """
    path = out or folder / INDEX_PAGE
    rows = "".join(f"<tr>{''.join(_cells(row, folder, path.parent))}</tr>\n" for row in list_runs(folder))
    heads = "".join(
        f"<th>{name}</th>" for name in ("run", "state", "model", "examples", "U", "verdict", "requests", "cost")
    )
    write_whole(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Runs</title>'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head>\n<body><h1>Runs in {escape(clean(folder.resolve().name))}</h1>\n"
        f"<table><tr>{heads}</tr>\n{rows}</table></body></html>\n",
    )
    return path


def _cells(row: RunRow, folder: Path, beside: Path) -> Iterator[str]:
    name = escape(clean(str(row.folder.relative_to(folder)) if row.folder != folder else row.folder.name))
    page = row.folder / PAGE_FILE
    if page.is_file():
        link = quote(Path(os.path.relpath(page, beside)).as_posix())
        name = f'<a href="{escape(link)}">{name}</a>'
    yield f"<td>{name}</td>"
    for text in (row.told, row.model):
        yield f"<td>{escape(clean(text))}</td>"
    yield f'<td class="n">{f"{row.examples:,}" if row.examples else ""}</td>'
    yield f'<td class="n">{"" if row.utility is None else f"{row.utility:.3f}"}</td>'
    yield f"<td>{escape(clean(row.verdict or ''))}</td>"
    yield f'<td class="n">{row.requests:,}</td>'
    yield f'<td class="n">{"" if row.money is None else f"{row.money:,.4f}"}</td>'
