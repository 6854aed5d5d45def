"""`icm-api report`: a finished run as one HTML page, and its figures as PNG. Nothing is asked of a model."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from icm_api.cli.verbs import Verbs
from icm_api.report import write_report

EXAMPLE = """\
example:
  icm-api report runs/claims                                # runs/claims/report/report.html, and figures as PNG
  icm-api report runs/claims --gold gold.jsonl --out claims.html
"""


def add_report(verbs: Verbs) -> None:
    """Declare the verb and its flags."""
    parser: ArgumentParser = verbs.add_parser(
        "report",
        help="write a finished run as one HTML page: verdict, figures, contested examples, cost",
        description="Write a finished run as one HTML page that needs nothing beside itself.",
        epilog=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=report_verb)
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--out", type=Path, help="the page to write (default: report/report.html in the run folder)")
    parser.add_argument("--gold", type=Path, help="gold labels to hold the labels found against")
    parser.add_argument("--comparison", type=Path, help="the folder of a comparison, to show its bars")
    parser.add_argument(
        "--png",
        action="store_true",
        default=None,
        help="write the figures as PNG beside the page (default: where --out is not given)",
    )


def report_verb(arguments: Namespace) -> None:
    """`icm-api report RUN`."""
    written = write_report(
        arguments.run, arguments.out, gold=arguments.gold, comparison=arguments.comparison, png=arguments.png
    )
    print(f"wrote {written.page}")
    for figure in written.figures:
        print(f"wrote {figure}")
