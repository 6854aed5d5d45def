"""`icm-api queue`: the examples that a person should look at first, as a file to fill in.

The answers come back as `[data] fixed` of another run. Nothing is asked of a model, and no label is changed.
"""

from __future__ import annotations

import csv
import io
import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icm_api.cli.verbs import Verbs
from icm_api.errors import ConfigError, RunError
from icm_api.result import Result, write_whole
from icm_api.runs import FinishedRun
from icm_api.types import Dataset

EXAMPLE = """\
example:
  icm-api queue runs/claims --most 20 --out answers.csv
  # fill in the column "label"; rows that stay empty are left to the model
  ICM_DATA__FIXED=answers.csv icm-api run claims.toml --out runs/claims-2
"""
_FOUND = ("found", "confidence")


def add_queue(verbs: Verbs) -> None:
    """Declare the verb and its flags."""
    parser: ArgumentParser = verbs.add_parser(
        "queue",
        help="write the most uncertain examples to a file, for a person to label",
        description="Write the most uncertain examples of a finished run to a file, for a person to label.",
        epilog=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=queue_verb)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--most", type=int, default=20, help="how many examples (default: 20)")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, .csv or .jsonl")
    parser.add_argument("--blind", action="store_true", help="do not show the labels found")


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
    rows = queue_rows(run.result, run.dataset, arguments.most, blind=arguments.blind)
    if not rows:
        raise RunError(
            f"{arguments.run}: its labels were not judged ([diagnostics] enabled = false): run again with it"
        )
    write_whole(out, _as_csv(rows) if out.suffix == ".csv" else "".join(json.dumps(row) + "\n" for row in rows))
    labels = ", ".join(run.task.verbalizer.labels)
    print(f"wrote {out}: {len(rows)} examples, the most uncertain first")
    print(f'next: fill in "label" ({labels}); rows left empty are the model\'s')
    print(f"  then run again with them, under [data]: fixed = {json.dumps(str(out.resolve()))}")


def queue_rows(result: Result, dataset: Dataset, most: int, *, blind: bool = False) -> list[Mapping[str, Any]]:
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
    writer.writerows(rows)
    return stream.getvalue()
