"""Flags of the verbs that look at finished runs or write what is in them.

They are runs, show, diff, evaluate, export, queue, check and report.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from icm_api.cli.flags.common import gold_labels, json_output, label_source, names, path, run_folder


def runs(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=path, nargs="?", default=Path("runs"), help="folder of runs (default: runs)")
    json_output(parser)


def diff(parser: ArgumentParser) -> None:
    run_folder(parser)
    parser.add_argument("other", type=path, metavar="run", help="the folder of another run")
    json_output(parser)


def evaluate(parser: ArgumentParser) -> None:
    from icm_api.data import format_names

    run_folder(parser)
    parser.add_argument("--gold", type=path, required=True, help="a file of the run's format, or of ids and labels")
    gold_labels(parser)
    parser.add_argument("--id-field", help="key of the ids; by default as in the run's configuration")
    parser.add_argument(
        "--format", choices=format_names(), help='how to read the gold file; by default as the run\'s "data.format"'
    )
    json_output(parser)


def export(parser: ArgumentParser) -> None:
    from icm_api.export import FORMAT_NAMES, FORMATS

    formats = "\n".join(f"  {name:<15}{FORMATS[name].about}" for name in FORMAT_NAMES)
    parser.epilog = f"formats:\n{formats}\n\n{parser.epilog}"
    run_folder(parser)
    parser.add_argument("--to", required=True, choices=FORMAT_NAMES, metavar="FORMAT", help="see below")
    parser.add_argument("--out", type=path, metavar="FOLDER", help="where to write (default: RUN/export/FORMAT)")
    parser.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    label_source(parser)
    parser.add_argument("--soft", action="store_true", help="write the probability of every label too")
    parser.add_argument(
        "--abstain-below",
        type=float,
        metavar="P",
        help="leave out labels less probable than P; by default, what the run abstained on, from files for training",
    )
    parser.add_argument("--fields", type=names, metavar="A,B", help="the columns of a table (default: all)")
    parser.add_argument("--split", type=float, metavar="SHARE", help="share for training, e.g. 0.9; groups stay whole")
    parser.add_argument("--shuffle", action="store_true", help="order the rows by chance, not as in the data")
    parser.add_argument("--seed", type=int, default=0, help="seed of --shuffle and --split")
    parser.add_argument("--spreadsheet", action="store_true", help="csv: safe to open in a spreadsheet program")
    parser.add_argument("--blind", action="store_true", help="argilla, label-studio: do not show the labels found")
    json_output(parser)


def queue(parser: ArgumentParser) -> None:
    run_folder(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--uncertain", action="store_true", help="the most uncertain examples first (default)")
    which.add_argument("--names", action="store_true", help="a few sure ones of each label, to settle which is which")
    which.add_argument("--random", type=int, metavar="N", help="N drawn at random, never with labels: for `check`")
    parser.add_argument("--most", type=int, help="how many examples (default: 20; --names: 3 of each label)")
    parser.add_argument("--seed", type=int, default=0, help="of --random; another seed draws others (default: 0)")
    parser.add_argument(
        "--out", type=path, required=True, help="the file to write, .csv, .xlsx or .jsonl; with --to a folder"
    )
    parser.add_argument("--to", choices=("argilla", "label-studio"), help="write what that tool imports, not a file")
    parser.add_argument("--blind", action="store_true", help="do not show the labels found")


def check(parser: ArgumentParser) -> None:
    run_folder(parser)
    parser.add_argument(
        "answers", type=path, help="the file of `queue --random`, filled in; or what Argilla or Label Studio export"
    )
    json_output(parser)


def report(parser: ArgumentParser) -> None:
    run_folder(parser)
    parser.add_argument("--out", type=path, help="the page to write (default: report/report.html in the run folder)")
    parser.add_argument("--index", action="store_true", help="RUN is a folder of runs: write a page that lists them")
    parser.add_argument("--gold", type=path, help="gold labels to compare the labels found with")
    gold_labels(parser)
    parser.add_argument("--comparison", type=path, help="the folder of a comparison, to show its bars")
    parser.add_argument(
        "--png",
        action="store_true",
        default=None,
        help="write the figures as PNG beside the page (default: if --out is not given)",
    )
