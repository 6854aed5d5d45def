"""Flags of the verbs before and during a run: init, plan, run, resume, label, audit, compare."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from math import isfinite
from typing import get_args

from icm_api.cli.flags.common import configuration, gold_labels, json_output, names, options, path, run_folder


def init(parser: ArgumentParser) -> None:
    from icm_api.config.presets import task_names

    parser.add_argument(
        "task", metavar="TASK|FILE", help=f"{', '.join(task_names())}; or a table of your own, with --text and --labels"
    )
    parser.add_argument("--text", type=names, metavar="A,B", help="the columns of FILE that the prompt shows")
    parser.add_argument("--labels", type=names, metavar="A,B", help="the labels for FILE")
    parser.add_argument("--id", metavar="COLUMN", help='the column of ids in FILE (default: "id", else row numbers)')
    parser.add_argument("--data", metavar="PATH", help="the data: a file, or hub:OWNER/NAME")
    parser.add_argument("--principle", metavar="TEXT", help="of the task principle: what the better reply does")
    parser.add_argument("--model", metavar="SPEC", help="the model, e.g. openai:gpt-6-luna or pocket")
    parser.add_argument("--out", type=path, metavar="FILE", help="the file to write (default: TASK.toml)")


def plan(parser: ArgumentParser) -> None:
    configuration(parser)
    parser.add_argument("--compare", action="store_true", help="a row for every engine and estimator")
    parser.add_argument("--probe", action="store_true", help="send one question, to measure speed and tokens")
    parser.add_argument("--latency", type=_seconds, metavar="SECONDS", help="how long one answer takes")


def run(parser: ArgumentParser) -> None:
    configuration(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask, however much it costs (budget.ask_above)")


def resume(parser: ArgumentParser) -> None:
    run_folder(parser)
    json_output(parser)


def label(parser: ArgumentParser) -> None:
    run_folder(parser)
    parser.add_argument("data", help="a file with rows like those of the run's data, or hub:OWNER/NAME")
    parser.add_argument("--out", type=path, metavar="FOLDER", help="where to write (default: RUN/more/NAME)")
    json_output(parser)


def compare(parser: ArgumentParser) -> None:
    from icm_api.config.presets import BaselineName

    parser.add_argument("config", type=path, help="a TOML file")
    parser.add_argument(
        "--gold", required=True, metavar="FILE", help="a file of the data's format, or of ids and labels"
    )
    gold_labels(parser)
    parser.add_argument("--chat", metavar="SPEC", help="a chat model to ask zero-shot")
    options(parser, "--chat-option", "an option of the chat model's provider; may be repeated")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many seeds (default: 3)")
    parser.add_argument(
        "--baselines", metavar="NAMES", help=f"further rows, with commas between: {', '.join(get_args(BaselineName))}"
    )
    parser.add_argument("--out", type=path, help="folder to write to (default: the run's, with -compare)")
    json_output(parser)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (isfinite(seconds) and seconds > 0):
        raise ArgumentTypeError("must be above 0")
    return seconds
