"""Flags of several verbs, and how the values of flags are read.

What one group of verbs alone takes is in the file of that group.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from math import isfinite
from pathlib import Path
from typing import Any, get_args


def run_folder(parser: ArgumentParser) -> None:
    """The folder of a run."""
    parser.add_argument("run", type=path, help="the run folder")


def json_output(parser: ArgumentParser) -> None:
    """Results as JSON."""
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")


def configuration(parser: ArgumentParser) -> None:
    """A configuration, and what is changed of it for this call."""
    from icm_api.config.presets import Preset

    parser.add_argument("config", type=path, help="a TOML file")
    parser.add_argument("--out", type=path, help="run folder (default: runs/NAME beside the configuration)")
    parser.add_argument("--preset", choices=get_args(Preset), help="settings of the search to start from")
    parser.add_argument("--engine", help="the kind of search: rounds (default), anneal, bootstrap, folds or gibbs")
    parser.add_argument("--seed", type=int, help="seed of every random draw of the search")
    parser.add_argument("--steps", type=int, help="the most steps of the search")
    count(parser, "--limit", "label so many of the examples, by whole groups", metavar="N")
    parser.add_argument("--model", metavar="SPEC", help="another model; options of another provider are left out")
    parser.add_argument("--no-cache", action="store_true", help="keep no answers of the model on disk")
    json_output(parser)


def gold_labels(parser: ArgumentParser) -> None:
    """How a file of gold labels is read."""
    parser.add_argument("--label-field", help='key of the gold label; by default "gold", else "label"')
    parser.add_argument(
        "--map",
        type=_meanings,
        action="extend",
        default=[],
        metavar="WRITTEN=LABEL,...",
        help="what gold labels mean, e.g. 0=False,1=True, or 0=A,1=B of two replies; case makes no difference",
    )


def label_source(parser: ArgumentParser) -> None:
    """Whose labels a verb takes."""
    parser.add_argument(
        "--labels",
        choices=("found", "zero-shot", "zero-shot-calibrated"),
        default="found",
        help="whose labels: those found (default), or those that the model gives with no demonstration",
    )


def options(parser: ArgumentParser, flag: str, text: str) -> None:
    """A flag that is given as KEY=VALUE, once for each option."""
    parser.add_argument(flag, type=_option, action="append", default=[], metavar="KEY=VALUE", help=text)


def count(parser: ArgumentParser, flag: str, text: str, **more: Any) -> None:
    """A flag that takes a whole number from 1 on. `more` is as `add_argument` takes it."""
    parser.add_argument(flag, type=_positive, help=text, **more)


def writing(parser: ArgumentParser, what: str) -> None:
    """The flags of a verb that has a model write."""
    parser.add_argument("--model", required=True, metavar="SPEC", help='that writes, e.g. "openai:gpt-6-luna"')
    parser.add_argument("--out", type=path, required=True, help="the file to write, JSON Lines; replaced if it exists")
    count(parser, "--samples", "how many per question (default: 4)", default=4)
    count(parser, "--max-tokens", f"most tokens of a {what} (default: 512)", default=512)
    parser.add_argument("--temperature", type=float, default=0.7, help="(default: 0.7; anthropic takes 1 alone)")
    parser.add_argument("--keep-thoughts", action="store_true", help="keep <think> blocks and the like")
    options(parser, "--option", "an option of the provider; may be repeated")
    parser.add_argument("--cache", type=path, metavar="FOLDER", help="folder of answers; by default the user's cache")
    parser.add_argument("--budget-requests", type=int, metavar="N", help="the most requests of this call")
    parser.add_argument("--budget-tokens", type=int, metavar="N", help="the most tokens of this call")
    parser.add_argument("--budget-money", type=float, metavar="USD", help="the most money of this call; needs --prices")
    parser.add_argument("--prices", type=prices, metavar="INPUT,OUTPUT", help="USD a million prompt and reply tokens")
    json_output(parser)


def path(text: str) -> Path:
    """A file or a folder."""
    if not text.strip():
        # As a variable of the shell may be; it would be the working folder.
        raise ArgumentTypeError("is empty: name a file or a folder")
    return Path(text)


def names(text: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def prices(text: str) -> tuple[float, float]:
    """Two prices, of prompt tokens and of reply tokens."""
    try:
        given, made = map(float, text.split(","))
    except ValueError:
        given = made = -1.0
    if not (isfinite(given) and isfinite(made) and min(given, made) >= 0):
        raise ArgumentTypeError(f"write two prices as INPUT,OUTPUT, got {text!r}")
    return given, made


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ArgumentTypeError("must be at least 1")
    return value


def _option(text: str) -> tuple[str, Any]:
    """KEY=VALUE; the value is read as JSON if it is JSON, else as text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ArgumentTypeError(f"write it as KEY=VALUE, got {text!r}")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def _meanings(text: str) -> list[tuple[str, str]]:
    """WRITTEN=LABEL with commas between."""
    parts = [part.rpartition("=") for part in text.split(",")]
    if not all(equals and written.strip() for written, equals, _ in parts):
        raise ArgumentTypeError(f"write it as WRITTEN=LABEL,WRITTEN=LABEL, got {text!r}")
    return [(written.strip(), label.strip()) for written, _, label in parts]
