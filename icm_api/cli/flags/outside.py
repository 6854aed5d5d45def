"""Flags of the verbs that are of no run: demo, probe, generate, cache, completion."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from icm_api.cli.flags.common import json_output, options, path, writing

DEMO_TASKS: Mapping[str, str] = MappingProxyType(
    {
        "comparisons": "which of two numbers is larger, both orders of each pair",
        "sums": "candidate answers to sums, several per question",
        "facts": "facts of the model's world, of which its corpus gets some wrong",
        "lucky": "a concept the model does not hold: ICM has nothing to find, and should fail",
    }
)
"""The made-up data sets of the demo, and what each is about."""


def demo(parser: ArgumentParser) -> None:
    from icm_api.config.presets import Preset

    tasks = "; ".join(f"{name}: {about}" for name, about in DEMO_TASKS.items())
    parser.add_argument("--task", choices=tuple(DEMO_TASKS), default="comparisons", help=tasks)
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and of the search")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run, from --seed on")
    parser.add_argument("--size", type=int, default=32, help="how many claims to label")
    parser.add_argument("--preset", choices=get_args(Preset), default="default", help="settings of the search")
    parser.add_argument("--no-constraints", action="store_true", help="label them as if nothing related them")
    parser.add_argument("--out", type=path, default=Path("demo"), help="folder to write to (default: demo)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per seed, and nothing else")


def probe(parser: ArgumentParser) -> None:
    parser.add_argument(
        "spec",
        metavar="SPEC_OR_CONFIG",
        help='a model, e.g. "openai:gpt-6-luna", "vllm:MODEL@http://127.0.0.1:8000/v1"; or a TOML file: its model is '
        "asked with its prompt, its labels and its first rows",
    )
    parser.add_argument("--labels", help="labels with commas between (default: True,False, or those of the file)")
    options(parser, "--option", "an option of the provider, as under [model.options]; may be repeated")
    json_output(parser)


def generate(parser: ArgumentParser) -> None:
    parser.add_argument("questions", help="a file with one question a row: JSON Lines, JSON, CSV, or hub:OWNER/NAME")
    parser.add_argument("--template", help="a text or a file that shows {question}; by default asks for steps and ####")
    parser.add_argument("--field", default="question", help="key of the question (default: question)")
    writing(parser, "solution")


def cache(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, summary in (
        ("stats", "count the entries and what they cost"),
        ("verify", "check the checksum of every entry; exit code 3 if one is damaged"),
        ("repair", "delete damaged entries, so that they are asked for again"),
        ("prune", "delete entries by age or model"),
        ("export", "write all entries as JSON Lines"),
    ):
        action = actions.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        action.set_defaults(work=f"icm_api.cli.cache:{name}_verb")
        action.add_argument(
            "folder", type=_place, nargs="?", help="folder of the cache, or redis://HOST:6379/0; by default the user's"
        )
        if name == "export":
            action.add_argument("--to", type=path, help="the file to write; by default standard output")
        else:
            json_output(action)
        if name == "prune":
            action.add_argument("--older-than", type=_days, metavar="DAYS", help="delete entries older than this")
            action.add_argument("--model", help="delete entries of this model, named as stats names it")


def completion(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def _place(text: str) -> Path | str:
    """A folder, or the address of a server."""
    return text if "://" in text else Path(text)


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise ArgumentTypeError("days can't be negative")
    return days
