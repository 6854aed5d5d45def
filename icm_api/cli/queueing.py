"""The verbs for a person who looks at labels: `queue` writes a file of examples, `check` counts the answers.

Neither asks a model or changes a label.
"""

from __future__ import annotations

import csv
import io
import json
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from icm_api.data.opening import package
from icm_api.data.spreadsheets import escaped, is_rewritten
from icm_api.errors import ConfigError, RunError
from icm_api.evaluation import name_settling
from icm_api.export import LabelledData, Options, export_labels
from icm_api.files import write_whole
from icm_api.result import LabelledExample
from icm_api.runs import FinishedRun, check_labels, draw_labels
from icm_api.types import Dataset
from icm_api.wording import count_of

_FOUND = ("found", "confidence")
# What a cell of a workbook can hold.
_LONGEST_CELL = 32_767
_UNPRINTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_MOST = 20
_PER_LABEL = 3


def queue_verb(arguments: Namespace) -> None:
    """`icm-api queue RUN --out FILE`."""
    out: Path = arguments.out
    if arguments.to is None and out.suffix not in _WRITERS:
        raise ConfigError(f"--out {out}: the file must end in .csv, .xlsx or .jsonl")
    if out.exists():
        raise ConfigError(f"--out {out} is there already, maybe with a person's answers: choose another file")
    if arguments.most is not None and arguments.most < 1:
        raise ConfigError(f"--most {arguments.most}: ask for at least 1 example")
    run = FinishedRun.open(arguments.run)
    if arguments.random is not None:
        run = run.whole
    if arguments.random is None and not any(row.review for row in run.result.examples):
        raise RunError(
            f"{arguments.run}: its labels were not judged, so none is known to be uncertain: run again with "
            "[diagnostics] enabled = true, or draw some by --random N"
        )
    chosen, about = _chosen(run, arguments)
    blind = arguments.blind or arguments.random is not None
    if arguments.to is not None:
        found = export_labels(_among(run, chosen), arguments.to, out, Options(blind=blind))
        print(f"{count_of(len(chosen), 'example')}, {about}", *found.lines(), sep="\n")
        return
    rows = list(_rows(chosen, run.dataset, blind=blind))
    write_whole(out, _WRITERS[out.suffix](rows))
    print(f"wrote {out}: {count_of(len(rows), 'example')}, {about}")
    odd = [row["id"] for row in rows if out.suffix == ".csv" and is_rewritten(row["id"])]
    if odd:
        print(
            f"warning: a spreadsheet program takes {len(odd)} of the ids, such as {odd[0]!r}, for dates or numbers and "
            "may write them anew: import the column as text, or use a .xlsx or .jsonl file"
        )
    labels = ", ".join(run.task.verbalizer.labels)
    if arguments.random is not None:
        print(f'next: fill in "label" ({labels}) in every row, without looking at the labels found')
        print(f"  then: icm-api check {arguments.run} {out}")
        return
    print(f'next: fill in "label" ({labels}); rows left empty are the model\'s')
    print(f"  then run again with them, under [data]: fixed = {json.dumps(str(out.resolve()))}")


def _chosen(run: FinishedRun, arguments: Namespace) -> tuple[Sequence[LabelledExample], str]:
    """The examples that were asked for, and what they are."""
    by_id = {row.id: row for row in run.result.examples}
    if arguments.random is not None:
        sample = draw_labels(run, arguments.random, arguments.seed)
        short = f" (all that were left of the {arguments.random} asked for)" * (len(sample.ids) < arguments.random)
        return [by_id[key] for key in sample.ids], f"drawn at random by seed {arguments.seed}, without labels{short}"
    if arguments.names:
        per_label = max(1, (arguments.most or _PER_LABEL * len(_labels(run))) // len(_labels(run)))
        return name_settling(run.result.examples, per_label), "labels that the model is sure of, as many of each"
    listed = sorted((row for row in by_id.values() if row.review is not None), key=lambda row: row.review or 0)
    return listed[: arguments.most or _MOST], "the most uncertain first"


def _among(run: FinishedRun, chosen: Sequence[LabelledExample]) -> LabelledData:
    """Some of a run's labels, with their texts."""
    data = LabelledData.of(run)
    dataset = Dataset(run.dataset.get(row.id) for row in chosen)
    return replace(data, dataset=dataset, result=replace(data.result, examples=tuple(chosen)))


def _labels(run: FinishedRun) -> Sequence[str]:
    return run.task.verbalizer.labels


def _rows(chosen: Iterable[LabelledExample], dataset: Dataset, *, blind: bool) -> Iterable[Mapping[str, Any]]:
    """Per example its id, an empty label, its texts, and unless `blind` what the run found."""
    for row in chosen:
        texts = {key: text for key, text in dataset.get(row.id).fields.items() if key not in ("id", "label", *_FOUND)}
        found = {} if blind else dict(zip(_FOUND, (row.label, round(row.confidence, 4)), strict=True))
        yield {"id": row.id, "label": None, **texts, **found}


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: escaped(cell) if isinstance(cell, str) else cell for key, cell in row.items()} for row in rows
    )
    return stream.getvalue()


def _as_workbook(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A workbook in which every cell is text, so that a program rewrites no id and runs no formula."""
    openpyxl = package("openpyxl", "'icm-api[excel]'", "--out", "to write a workbook: choose a .csv file")
    book = openpyxl.Workbook()
    header = list(dict.fromkeys(key for row in rows for key in row))
    lines: list[list[Any]] = [[*header], *([row.get(key) for key in header] for row in rows)]
    for at, values in enumerate(lines, start=1):
        for column, value in enumerate(values, start=1):
            cell = book.active.cell(at, column)
            cell.number_format = "@"
            if value is not None:
                cell.value = _UNPRINTED.sub("", str(value))[:_LONGEST_CELL]
                # Of what begins with = the package makes a formula.
                cell.data_type = "s"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


_WRITERS: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str | bytes]] = MappingProxyType(
    {
        ".csv": _as_csv,
        ".xlsx": _as_workbook,
        ".jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    }
)
"""How rows are written, by how the file's name ends."""


def check_verb(arguments: Namespace) -> None:
    """`icm-api check RUN ANSWERS`."""
    run = FinishedRun.open(arguments.run).whole
    found = check_labels(run, arguments.answers)
    if arguments.json:
        print(json.dumps(found.as_json()))
        return
    print(f"{found.answer}: {found.says()}")
    print(f"what to do: {found.advice(str(arguments.run))}")
