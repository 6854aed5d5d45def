"""The verbs after a run: evaluate, queue, export, report. None of them asks a model or changes a label.

Each opens the run's data anew, and a run whose data changed is refused, so that no label gets another text.
"""

from __future__ import annotations

import csv
import io
import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icm_api.data.spreadsheets import escaped, is_rewritten
from icm_api.errors import ConfigError, RunError
from icm_api.evaluation import evaluate
from icm_api.export import FORMATS, Options, export_labels
from icm_api.report import write_report
from icm_api.result import Result, write_whole
from icm_api.runs import FinishedRun
from icm_api.types import Dataset

_FOUND = ("found", "confidence")


def evaluate_verb(arguments: Namespace) -> None:
    """`icm-api evaluate RUN --gold FILE`."""
    run = FinishedRun.open(arguments.run)
    gold = run.gold(
        arguments.gold,
        format_name=arguments.format,
        id_field=arguments.id_field,
        label_field=arguments.label_field,
        meanings=dict(arguments.map),
    )
    found = evaluate(run.result, gold)
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))


def queue_verb(arguments: Namespace) -> None:
    """`icm-api queue RUN --out FILE`."""
    out: Path = arguments.out
    if out.suffix not in (".csv", ".jsonl"):
        raise ConfigError(f"--out {out}: the file must end in .csv or .jsonl")
    if out.exists():
        raise ConfigError(f"--out {out} is there already, maybe with a person's answers: choose another file")
    if arguments.most < 1:
        raise ConfigError(f"--most {arguments.most}: at least 1")
    run = FinishedRun.open(arguments.run)
    rows = _queue_rows(run.result, run.dataset, arguments.most, blind=arguments.blind)
    if not rows:
        raise RunError(
            f"{arguments.run}: its labels were not judged ([diagnostics] enabled = false): run again with it"
        )
    write_whole(out, _as_csv(rows) if out.suffix == ".csv" else "".join(json.dumps(row) + "\n" for row in rows))
    labels = ", ".join(run.task.verbalizer.labels)
    print(f"wrote {out}: {len(rows)} examples, the most uncertain first")
    odd = [row["id"] for row in rows if out.suffix == ".csv" and is_rewritten(row["id"])]
    if odd:
        print(
            f"warning: a spreadsheet program takes {len(odd)} of the ids, such as {odd[0]!r}, for dates or numbers and "
            "may write them anew: import the column as text, or use a .jsonl file"
        )
    print(f'next: fill in "label" ({labels}); rows left empty are the model\'s')
    print(f"  then run again with them, under [data]: fixed = {json.dumps(str(out.resolve()))}")


def _queue_rows(result: Result, dataset: Dataset, most: int, *, blind: bool = False) -> list[Mapping[str, Any]]:
    """The first `most` examples of the queue: id, texts, an empty label, and unless `blind` what the run found.

    Args:
        result: a judged run's.
        dataset: the examples that it labelled.
        most: how many at most.
        blind: leave out what the run found, so that it does not sway the person.
    """
    listed = sorted((row for row in result.examples if row.review is not None), key=lambda row: row.review or 0)
    rows: list[Mapping[str, Any]] = []
    for row in listed[:most]:
        texts = {key: text for key, text in dataset.get(row.id).fields.items() if key not in ("id", "label", *_FOUND)}
        found = {} if blind else dict(zip(_FOUND, (row.label, round(row.confidence, 4)), strict=True))
        rows.append({"id": row.id, "label": None, **texts, **found})
    return rows


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: escaped(cell) if isinstance(cell, str) else cell for key, cell in row.items()} for row in rows
    )
    return stream.getvalue()


def export_verb(arguments: Namespace) -> None:
    """`icm-api export RUN --to FORMAT`."""
    options = Options(
        labels=arguments.labels,
        soft=arguments.soft,
        abstain_below=arguments.abstain_below,
        fields=arguments.fields,
        split=arguments.split,
        shuffle=arguments.shuffle,
        seed=arguments.seed,
        spreadsheet=arguments.spreadsheet,
    )
    FORMATS[arguments.to].check(options)
    folder = arguments.out or arguments.run / "export" / arguments.to
    found = export_labels(FinishedRun.open(arguments.run), arguments.to, folder, options, force=arguments.force)
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))


def report_verb(arguments: Namespace) -> None:
    """`icm-api report RUN`."""
    written = write_report(
        arguments.run, arguments.out, gold=arguments.gold, comparison=arguments.comparison, png=arguments.png
    )
    print("\n".join(_whole_run(FinishedRun.open(arguments.run))))
    print(f"wrote {written.page}")
    for figure in written.figures:
        print(f"wrote {figure}")


def _whole_run(run: FinishedRun) -> list[str]:
    """What was found, and what all sessions of the run sent for it."""
    lines = [f"verdict: {run.result.verdict or 'not judged'}", f"labels: {', '.join(run.result.counts)}"]
    sent = run.sent
    if sent is not None:
        prices = run.config.prices
        money = "" if sent.money is None or prices is None else f", {sent.money:,.4f} {prices.currency}"
        sessions = f"{sent.sessions} session{'' if sent.sessions == 1 else 's'}"
        lines.append(
            f"sent in {sessions}: {sent.usage.requests:,} requests, {sent.usage.prompt_tokens:,} prompt tokens{money}"
        )
    return lines
