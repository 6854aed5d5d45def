"""The verbs that look at runs: `runs` lists them, `show` prints one, `diff` sets two beside each other."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from icm_api.cli.running import in_words, lines_of_rest, result_lines
from icm_api.runs import PARTS_FOLDER, Difference, FinishedRun, RunRow, diff_runs, list_runs, run_row
from icm_api.runs.folder import read_inputs
from icm_api.wording import count_of

_HEAD = ("run", "state", "model", "n", "U", "verdict", "requests", "cost", "age")
_MOST_FLIPPED = 10


def runs_verb(arguments: Namespace) -> None:
    """`icm-api runs FOLDER`."""
    found = list_runs(arguments.folder)
    if arguments.json:
        print(json.dumps([row.as_json() for row in found]))
        return
    if not found:
        print(f"no run in {arguments.folder}")
        return
    print("\n".join(table([_HEAD, *(_cells(row, arguments.folder) for row in found)])))


def _cells(row: RunRow, folder: Path) -> tuple[str, ...]:
    return (
        str(row.folder.relative_to(folder)) if row.folder != folder else row.folder.name,
        row.told,
        row.model,
        f"{row.examples:,}" if row.examples else "",
        "" if row.utility is None else f"{row.utility:.3f}",
        row.verdict or "",
        f"{row.requests:,}",
        "" if row.money is None else f"{row.money:,.4f}",
        _age(row.age),
    )


def _age(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {name}"
    return f"{seconds:.0f} s"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of equal columns.

    Args:
        rows: of equally many cells each.

    Example:
        >>> table([("run", "n"), ("claims", "12")])
        ['run     n', 'claims  12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def show_verb(arguments: Namespace) -> None:
    """`icm-api show RUN`."""
    row = run_row(arguments.run)
    if arguments.json:
        print(json.dumps(row.as_json()))
        return
    if row.state in ("unfinished", "running"):
        print(f"{arguments.run}: {row.told}, {row.model}, {count_of(row.requests, 'request')} sent")
        print(f"to go on: icm-api resume {arguments.run}")
        return
    if row.state == "damaged" and not row.model:
        read_inputs(arguments.run)
    # Whatever is damaged says so itself.
    run = FinishedRun.open(arguments.run)
    lines = [f"{arguments.run}: {row.told}, {row.model}", *result_lines(run.result, run.folder)]
    if row.state == "finished" and run.rest is not None:
        lines += lines_of_rest(run.rest, run.folder / PARTS_FOLDER)
    if run.sent is not None:
        lines.append(f"sent: {in_words(run.sent.usage, run.sent.money, run.config.prices)}")
    if row.state == "rest unfinished":
        lines.append(f"only the core is labelled; to go on: icm-api resume {arguments.run}")
    print("\n".join([*lines, f"last written to {_age(row.age)} ago"]))


def diff_verb(arguments: Namespace) -> None:
    """`icm-api diff RUN RUN`."""
    one, other = (FinishedRun.open(folder).whole for folder in (arguments.run, arguments.other))
    found = diff_runs(one, other)
    if arguments.json:
        print(json.dumps(found.as_json()))
        return
    print("\n".join(_difference(found)))


def _on_a_line(value: object) -> str:
    text = "not given" if value is None else str(value)
    return json.dumps(text, ensure_ascii=False) if not text.strip() or "\n" in text else text


def _difference(found: Difference) -> list[str]:
    settings = [f"{key}: {_on_a_line(a)} | {_on_a_line(b)}" for key, (a, b) in found.settings.items()]
    first, second = found.utilities
    lines = [
        *(settings or ["the configurations are the same"]),
        f"verdict: {found.verdicts[0] or 'not judged'} | {found.verdicts[1] or 'not judged'}",
        f"U = {first:.3f} | {second:.3f}",
    ]
    if found.alike is None:
        return [*lines, "no example is in both runs"]
    lines.append(f"{count_of(found.shared, 'example')} in both, {found.alike:.1%} with the same label")
    if found.renamed:
        names = ", ".join(f"{b} as {a}" for b, a in found.renamed.items() if a != b)
        lines.append(
            f"read {names}, the second run agrees on {found.alike_renamed:.1%}: the same division, other names"
        )
    if found.flipped:
        more = len(found.flipped) - _MOST_FLIPPED
        lines.append("other labels: " + ", ".join(found.flipped[:_MOST_FLIPPED]) + (f" and {more:,} more" * (more > 0)))
    return lines
