"""Flags of the verbs that train models on labels, and of those that use reward models.

They are train and iterate; prefer, best and rewardbench.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from icm_api.cli.flags.common import (
    configuration,
    count,
    json_output,
    label_source,
    options,
    path,
    prices,
    run_folder,
    writing,
)


def train(parser: ArgumentParser) -> None:
    run_folder(parser)
    _trained(parser)
    method = parser.add_mutually_exclusive_group()
    method.add_argument("--reward", action="store_true", help="train a reward model on a run of preferences")
    method.add_argument(
        "--dpo",
        nargs="?",
        const=Path(),
        type=Path,
        metavar="BEST",
        help="train to prefer the better reply (DPO): by the run's own pairs, or by what `best` wrote into this file",
    )
    method.add_argument(
        "--grpo",
        nargs="?",
        const=Path(),
        type=Path,
        metavar="PROMPTS",
        help="train to write what the reward model likes (GRPO): to the run's own prompts, or those of this file",
    )
    rewarding = "the reward model of --grpo, a run of preferences or a trained one; by default the run"
    parser.add_argument("--rewarded-by", metavar="RUN_OR_SPEC", help=rewarding)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--estimate", action="store_true", help="say what it is likely to take, and start nothing")
    what.add_argument("--follow", action="store_true", help="wait until the job has ended")
    what.add_argument("--cancel", action="store_true", help="cancel the job")
    parser.add_argument("--again", action="store_true", help="start another job after one that has ended")
    label_source(parser)
    parser.add_argument("--abstain-below", type=float, metavar="P", help="leave out labels less probable than P")
    parser.add_argument("--yes", action="store_true", help="do not ask, however much it costs (budget.ask_above)")
    json_output(parser)


def iterate(parser: ArgumentParser) -> None:
    configuration(parser)
    _trained(parser)
    parser.add_argument(
        "--by-folds",
        action="store_true",
        help="tune a model per fold ([search] folds) in place of demonstrations, for texts too long for a context",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask, however much a job costs (budget.ask_above)")


def prefer(parser: ArgumentParser) -> None:
    _rewarding(parser)
    parser.add_argument("replies", help="a file of two replies a row, as the format preferences reads it")
    parser.add_argument("--out", type=path, metavar="FILE", help="write JSON Lines, and print only what all say")
    _judge(parser)
    json_output(parser)


def best(parser: ArgumentParser) -> None:
    _rewarding(parser)
    parser.add_argument("questions", help="a file with one prompt a row: JSON Lines, JSON, CSV, or hub:OWNER/NAME")
    parser.add_argument("--field", default="prompt", help="key of the prompt (default: prompt)")
    parser.add_argument(
        "--to",
        choices=("openai-dpo", "trl-dpo", "trl-reward"),
        help="write the best reply against the worst for training too, into a folder beside OUT",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier folder of --to")
    parser.add_argument("--estimate", action="store_true", help="say what it takes at most, and send nothing")
    _judge(parser)
    writing(parser, "reply")


def rewardbench(parser: ArgumentParser) -> None:
    _rewarding(parser)
    parser.add_argument("rows", help='a file in the format of RewardBench 2, or "hub:allenai/reward-bench-2"')
    parser.add_argument("--split", default="test", help="of a data set on the hub (default: test)")
    count(parser, "--limit", "the first N rows alone", metavar="N")
    _judge(parser)
    json_output(parser)


def _trained(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--with",
        dest="spec",
        required=True,
        metavar="SPEC",
        help="the model to train: openai:MODEL, azure:MODEL@URL, together:MODEL, fireworks:MODEL, tinker-native:MODEL, "
        "huggingface:MODEL or pocket",
    )
    options(parser, "--option", "of the job, e.g. epochs=3, or price=25 for USD a million tokens; may be repeated")


def _rewarding(parser: ArgumentParser) -> None:
    what = 'the folder of a run of preferences; or a trained reward model, e.g. "huggingface:MODEL"'
    parser.add_argument("run", type=Path, metavar="RUN_OR_SPEC", help=what)


def _judge(parser: ArgumentParser) -> None:
    parser.add_argument("--judge", metavar="SPEC", help="another model to compare replies; by default the run's")
    options(parser, "--judge-option", "an option of that model, or of a trained one; may be repeated")
    charged = "USD a million prompt and reply tokens of --judge, for a budget in money"
    parser.add_argument("--judge-prices", type=prices, metavar="INPUT,OUTPUT", help=charged)
    count(parser, "--demonstrations", "the most comparisons of the run to show", metavar="N")
