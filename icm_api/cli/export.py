"""`icm-api export RUN --to FORMAT`: the labels of a finished run as files for whoever takes them next.

Opens the run's data anew and holds them against the fingerprint that the run kept, so that no label gets another
text. Reads no gold label.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from icm_api.cli.verbs import Verbs
from icm_api.data import find_format
from icm_api.export import FORMAT_NAMES, FORMATS, LabelledData, Options, export_labels
from icm_api.runs import FinishedRun


def add_export(verbs: Verbs) -> None:
    """Declare the verb and its flags."""
    formats = "\n".join(f"  {name:<15}{FORMATS[name].about}" for name in FORMAT_NAMES)
    parser: ArgumentParser = verbs.add_parser(
        "export",
        help="write the labels of a finished run as files for training, tables, data sets",
        description="Write the labels of a finished run as files for whoever takes them next.",
        epilog=f"formats:\n{formats}\n\nexample:\n  icm-api export runs/claims --to openai-sft --split 0.9\n",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=export_verb)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--to", required=True, choices=FORMAT_NAMES, metavar="FORMAT", help="see below")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: RUN/export/FORMAT)")
    parser.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    parser.add_argument("--soft", action="store_true", help="write the probability of every label too")
    parser.add_argument(
        "--abstain-below",
        type=float,
        metavar="P",
        help="leave out labels less probable than P; by default, what the run abstained on, from files for training",
    )
    parser.add_argument("--fields", type=_names, metavar="A,B", help="the columns of a table (default: all)")
    parser.add_argument("--split", type=float, metavar="SHARE", help="share for training, e.g. 0.9; groups stay whole")
    parser.add_argument("--shuffle", action="store_true", help="order the rows by chance, not as in the data")
    parser.add_argument("--seed", type=int, default=0, help="of --shuffle and --split")
    parser.add_argument("--spreadsheet", action="store_true", help="csv: safe to open in a spreadsheet program")
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")


def export_verb(arguments: Namespace) -> None:
    """`icm-api export RUN --to FORMAT`."""
    options = Options(
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
    found = export_labels(load_labelled(arguments.run), arguments.to, folder, options, force=arguments.force)
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))


def load_labelled(run: Path) -> LabelledData:
    """The labels of a finished run and the data that they are about.

    Raises:
        RunError: no finished run is there, or its data changed since.
        DataError: the data cannot be read.
    """
    opened = FinishedRun.open(run)
    return LabelledData(
        opened.dataset,
        opened.result,
        opened.task.template,
        opened.task.verbalizer,
        find_format(opened.config.data.format).pairs,
        opened.model,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
