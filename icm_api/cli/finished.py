"""The verbs after a run: evaluate, export, report. None of them asks a model or changes a label.

Each opens the run's data anew, and a run whose data changed is refused, so that no label gets another text.
"""

from __future__ import annotations

import json
from argparse import Namespace

from icm_api.cli.running import in_words
from icm_api.evaluation import evaluate, short_lines
from icm_api.export import FORMATS, Options, export_labels
from icm_api.report import write_index, write_report
from icm_api.runs import FinishedRun


def evaluate_verb(arguments: Namespace) -> None:
    """`icm-api evaluate RUN --gold FILE`."""
    run = FinishedRun.open(arguments.run).whole
    gold = run.gold(
        arguments.gold,
        format_name=arguments.format,
        id_field=arguments.id_field,
        label_field=arguments.label_field,
        meanings=dict(arguments.map),
    )
    found = evaluate(run.result, gold)
    check = run.result.about.get("check")
    if arguments.json:
        print(json.dumps({**found.as_json(), "check": check}))
        return
    print("\n".join([*found.lines(), *([f"{check['answer']}: {check['says']}"] if check else [])]))


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
        blind=arguments.blind,
    )
    FORMATS[arguments.to].check(options)
    folder = arguments.out or arguments.run / "export" / arguments.to
    found = export_labels(FinishedRun.open(arguments.run).whole, arguments.to, folder, options, force=arguments.force)
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))


def report_verb(arguments: Namespace) -> None:
    """`icm-api report RUN`."""
    if arguments.index:
        print(f"wrote {write_index(arguments.run, arguments.out)}")
        return
    written = write_report(
        arguments.run,
        arguments.out,
        gold=arguments.gold,
        comparison=arguments.comparison,
        label_field=arguments.label_field,
        meanings=dict(arguments.map),
        png=arguments.png,
    )
    print("\n".join(_whole_run(FinishedRun.open(arguments.run))))
    print(f"wrote {written.page}")
    for figure in written.figures:
        print(f"wrote {figure}")


def _whole_run(run: FinishedRun) -> list[str]:
    """What was found, and what all sessions of the run sent for it."""
    judged = list(short_lines(run.result.about, str(run.folder)))
    lines = [*(judged or ["verdict: not judged"]), f"labels: {', '.join(run.result.counts)}"]
    sent = run.sent
    if sent is not None:
        sessions = f"{sent.sessions} session{'' if sent.sessions == 1 else 's'}"
        lines.append(f"sent in {sessions}: {in_words(sent.usage, sent.money, run.config.prices)}")
    return lines
