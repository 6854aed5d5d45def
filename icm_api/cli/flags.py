"""What each verb of the command line is called, does and takes. To declare a verb imports nothing that it runs.

Only the verb that was asked for gets its flags, and only when it runs is its module imported. Imports that one verb
alone needs for its choices are inside its function.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

DEMO_TASKS: Mapping[str, str] = MappingProxyType(
    {
        "comparisons": "which of two numbers is larger, both orders of each pair",
        "sums": "candidate answers to sums, several per question",
        "facts": "facts of the model's world, of which its corpus gets some wrong",
        "lucky": "a concept the model does not hold: ICM has nothing to find, and should fail",
    }
)
"""The made-up data sets of the demo, and what each is about."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb.

    Attributes:
        work: "module:function" of the function that gets the parsed arguments.
        summary: what the verb does, in one line that begins in lower case and has no full stop.
        declare: declares the flags on the verb's parser.
        example: shown below the flags.
    """

    work: str
    summary: str
    declare: Callable[[ArgumentParser], None]
    example: str | None = None

    @property
    def description(self) -> str:
        """The summary as a sentence."""
        return self.summary[0].upper() + self.summary[1:] + "."


def _demo(parser: ArgumentParser) -> None:
    from icm_api.config.presets import Preset

    tasks = "; ".join(f"{name}: {about}" for name, about in DEMO_TASKS.items())
    parser.add_argument("--task", choices=tuple(DEMO_TASKS), default="comparisons", help=tasks)
    parser.add_argument("--seed", type=int, default=0, help="seed of the data and of the search")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run, from --seed on")
    parser.add_argument("--size", type=int, default=32, help="how many claims to label")
    parser.add_argument("--preset", choices=get_args(Preset), default="default", help="settings of the search")
    parser.add_argument("--no-constraints", action="store_true", help="label them as if nothing related them")
    parser.add_argument("--out", type=_path, default=Path("demo"), help="folder to write to (default: demo)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per seed, and nothing else")


def _init(parser: ArgumentParser) -> None:
    from icm_api.config.presets import task_names

    parser.add_argument(
        "task", metavar="TASK|FILE", help=f"{', '.join(task_names())}; or a table of your own, with --text and --labels"
    )
    parser.add_argument("--text", type=_names, metavar="A,B", help="the columns of FILE that the prompt shows")
    parser.add_argument("--labels", type=_names, metavar="A,B", help="the labels for FILE")
    parser.add_argument("--id", metavar="COLUMN", help='the column of ids in FILE (default: "id", else row numbers)')
    parser.add_argument("--data", metavar="PATH", help="the data: a file, or hub:OWNER/NAME")
    parser.add_argument("--principle", metavar="TEXT", help="of the task principle: what the better reply does")
    parser.add_argument("--model", metavar="SPEC", help="the model, e.g. openai:gpt-6-luna or pocket")
    parser.add_argument("--out", type=_path, metavar="FILE", help="the file to write (default: TASK.toml)")


def _configuration(parser: ArgumentParser) -> None:
    from icm_api.config.presets import Preset

    parser.add_argument("config", type=_path, help="a TOML file")
    parser.add_argument("--out", type=_path, help="run folder (default: runs/NAME beside the configuration)")
    parser.add_argument("--preset", choices=get_args(Preset), help="settings of the search to start from")
    parser.add_argument("--engine", help="the kind of search: rounds (default), anneal, bootstrap, folds or gibbs")
    parser.add_argument("--seed", type=int, help="seed of every random draw of the search")
    parser.add_argument("--steps", type=int, help="the most steps of the search")
    parser.add_argument("--limit", type=_positive, metavar="N", help="label so many of the examples, by whole groups")
    parser.add_argument("--model", metavar="SPEC", help="another model; options of another provider are left out")
    parser.add_argument("--no-cache", action="store_true", help="keep no answers of the model on disk")
    _json(parser)


def _run(parser: ArgumentParser) -> None:
    _configuration(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask, however much it costs (budget.ask_above)")


def _plan(parser: ArgumentParser) -> None:
    _configuration(parser)
    parser.add_argument("--compare", action="store_true", help="a row for every engine and estimator")
    parser.add_argument("--probe", action="store_true", help="send one question, to measure speed and tokens")
    parser.add_argument("--latency", type=_seconds, metavar="SECONDS", help="how long one answer takes")


def _resume(parser: ArgumentParser) -> None:
    _run_folder(parser)
    _json(parser)


def _label(parser: ArgumentParser) -> None:
    _run_folder(parser)
    parser.add_argument("data", help="a file with rows like those of the run's data, or hub:OWNER/NAME")
    parser.add_argument("--out", type=_path, metavar="FOLDER", help="where to write (default: RUN/more/NAME)")
    _json(parser)


def _runs(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=_path, nargs="?", default=Path("runs"), help="folder of runs (default: runs)")
    _json(parser)


def _diff(parser: ArgumentParser) -> None:
    _run_folder(parser)
    parser.add_argument("other", type=_path, metavar="run", help="the folder of another run")
    _json(parser)


def _evaluate(parser: ArgumentParser) -> None:
    from icm_api.data import format_names

    _run_folder(parser)
    parser.add_argument("--gold", type=_path, required=True, help="a file of the run's format, or of ids and labels")
    parser.add_argument("--label-field", help='key of the gold label; by default "gold", else "label"')
    _map(parser)
    parser.add_argument("--id-field", help="key of the ids; by default as in the run's configuration")
    parser.add_argument(
        "--format", choices=format_names(), help='how to read the gold file; by default as the run\'s "data.format"'
    )
    _json(parser)


def _path(text: str) -> Path:
    if not text.strip():
        # As a variable of the shell may be; it would be the working folder.
        raise ArgumentTypeError("is empty: name a file or a folder")
    return Path(text)


def _place(text: str) -> Path | str:
    """A folder, or the address of a server."""
    return text if "://" in text else Path(text)


def _cache(parser: ArgumentParser) -> None:
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
            action.add_argument("--to", type=_path, help="the file to write; by default standard output")
        else:
            _json(action)
        if name == "prune":
            action.add_argument("--older-than", type=_days, metavar="DAYS", help="delete entries older than this")
            action.add_argument("--model", help="delete entries of this model, named as stats names it")


def _compare(parser: ArgumentParser) -> None:
    from icm_api.config.presets import BaselineName

    parser.add_argument("config", type=_path, help="a TOML file")
    parser.add_argument(
        "--gold", required=True, metavar="FILE", help="a file of the data's format, or of ids and labels"
    )
    parser.add_argument("--label-field", help='key of the gold label; by default "gold", else "label"')
    _map(parser)
    parser.add_argument("--chat", metavar="SPEC", help="a chat model to ask zero-shot")
    _options(parser, "--chat-option", "an option of the chat model's provider; may be repeated")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many seeds (default: 3)")
    parser.add_argument(
        "--baselines", metavar="NAMES", help=f"further rows, with commas between: {', '.join(get_args(BaselineName))}"
    )
    parser.add_argument("--out", type=_path, help="folder to write to (default: the run's, with -compare)")
    _json(parser)


def _export(parser: ArgumentParser) -> None:
    from icm_api.export import FORMAT_NAMES, FORMATS

    formats = "\n".join(f"  {name:<15}{FORMATS[name].about}" for name in FORMAT_NAMES)
    parser.epilog = f"formats:\n{formats}\n\n{parser.epilog}"
    _run_folder(parser)
    parser.add_argument("--to", required=True, choices=FORMAT_NAMES, metavar="FORMAT", help="see below")
    parser.add_argument("--out", type=_path, metavar="FOLDER", help="where to write (default: RUN/export/FORMAT)")
    parser.add_argument("--force", action="store_true", help="replace an earlier export in that folder")
    parser.add_argument(
        "--labels",
        choices=("found", "zero-shot", "zero-shot-calibrated"),
        default="found",
        help="whose labels: those found (default), or those that the model gives with no demonstration",
    )
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
    parser.add_argument("--seed", type=int, default=0, help="seed of --shuffle and --split")
    parser.add_argument("--spreadsheet", action="store_true", help="csv: safe to open in a spreadsheet program")
    parser.add_argument("--blind", action="store_true", help="argilla, label-studio: do not show the labels found")
    _json(parser)


def _train(parser: ArgumentParser) -> None:
    _run_folder(parser)
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
    parser.add_argument(
        "--labels",
        choices=("found", "zero-shot", "zero-shot-calibrated"),
        default="found",
        help="whose labels: those found (default), or those that the model gives with no demonstration",
    )
    parser.add_argument("--abstain-below", type=float, metavar="P", help="leave out labels less probable than P")
    parser.add_argument("--yes", action="store_true", help="do not ask, however much it costs (budget.ask_above)")
    _json(parser)


def _iterate(parser: ArgumentParser) -> None:
    _configuration(parser)
    _trained(parser)
    parser.add_argument(
        "--by-folds",
        action="store_true",
        help="tune a model per fold ([search] folds) in place of demonstrations, for texts too long for a context",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask, however much a job costs (budget.ask_above)")


def _trained(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--with",
        dest="spec",
        required=True,
        metavar="SPEC",
        help="the model to train: openai:MODEL, azure:MODEL@URL, together:MODEL, fireworks:MODEL, tinker-native:MODEL, "
        "huggingface:MODEL or pocket",
    )
    _options(parser, "--option", "of the job, e.g. epochs=3, or price=25 for USD a million tokens; may be repeated")


def _queue(parser: ArgumentParser) -> None:
    _run_folder(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--uncertain", action="store_true", help="the most uncertain examples first (default)")
    which.add_argument("--names", action="store_true", help="a few sure ones of each label, to settle which is which")
    which.add_argument("--random", type=int, metavar="N", help="N drawn at random, never with labels: for `check`")
    parser.add_argument("--most", type=int, help="how many examples (default: 20; --names: 3 of each label)")
    parser.add_argument("--seed", type=int, default=0, help="of --random; another seed draws others (default: 0)")
    parser.add_argument(
        "--out", type=_path, required=True, help="the file to write, .csv, .xlsx or .jsonl; with --to a folder"
    )
    parser.add_argument("--to", choices=("argilla", "label-studio"), help="write what that tool imports, not a file")
    parser.add_argument("--blind", action="store_true", help="do not show the labels found")


def _check(parser: ArgumentParser) -> None:
    _run_folder(parser)
    parser.add_argument(
        "answers", type=_path, help="the file of `queue --random`, filled in; or what Argilla or Label Studio export"
    )
    _json(parser)


def _report(parser: ArgumentParser) -> None:
    _run_folder(parser)
    parser.add_argument("--out", type=_path, help="the page to write (default: report/report.html in the run folder)")
    parser.add_argument("--index", action="store_true", help="RUN is a folder of runs: write a page that lists them")
    parser.add_argument("--gold", type=_path, help="gold labels to compare the labels found with")
    parser.add_argument("--label-field", help='key of the gold label; by default "gold", else "label"')
    _map(parser)
    parser.add_argument("--comparison", type=_path, help="the folder of a comparison, to show its bars")
    parser.add_argument(
        "--png",
        action="store_true",
        default=None,
        help="write the figures as PNG beside the page (default: if --out is not given)",
    )


def _probe(parser: ArgumentParser) -> None:
    parser.add_argument(
        "spec",
        metavar="SPEC_OR_CONFIG",
        help='a model, e.g. "openai:gpt-6-luna", "vllm:MODEL@http://127.0.0.1:8000/v1"; or a TOML file: its model is '
        "asked with its prompt, its labels and its first rows",
    )
    parser.add_argument("--labels", help="labels with commas between (default: True,False, or those of the file)")
    _options(parser, "--option", "an option of the provider, as under [model.options]; may be repeated")
    _json(parser)


def _generate(parser: ArgumentParser) -> None:
    parser.add_argument("questions", help="a file with one question a row: JSON Lines, JSON, CSV, or hub:OWNER/NAME")
    parser.add_argument("--template", help="a text or a file that shows {question}; by default asks for steps and ####")
    parser.add_argument("--field", default="question", help="key of the question (default: question)")
    _writing(parser, "solution")


def _prefer(parser: ArgumentParser) -> None:
    _rewarding(parser)
    parser.add_argument("replies", help="a file of two replies a row, as the format preferences reads it")
    parser.add_argument("--out", type=_path, metavar="FILE", help="write JSON Lines, and print only what all say")
    _judge(parser)
    _json(parser)


def _rewardbench(parser: ArgumentParser) -> None:
    _rewarding(parser)
    parser.add_argument("rows", help='a file in the format of RewardBench 2, or "hub:allenai/reward-bench-2"')
    parser.add_argument("--split", default="test", help="of a data set on the hub (default: test)")
    parser.add_argument("--limit", type=_positive, metavar="N", help="the first N rows alone")
    _judge(parser)
    _json(parser)


def _best(parser: ArgumentParser) -> None:
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
    _writing(parser, "reply")


def _rewarding(parser: ArgumentParser) -> None:
    what = 'the folder of a run of preferences; or a trained reward model, e.g. "huggingface:MODEL"'
    parser.add_argument("run", type=Path, metavar="RUN_OR_SPEC", help=what)


def _judge(parser: ArgumentParser) -> None:
    parser.add_argument("--judge", metavar="SPEC", help="another model to compare replies; by default the run's")
    _options(parser, "--judge-option", "an option of that model, or of a trained one; may be repeated")
    prices = "USD a million prompt and reply tokens of --judge, for a budget in money"
    parser.add_argument("--judge-prices", type=_prices, metavar="INPUT,OUTPUT", help=prices)
    parser.add_argument("--demonstrations", type=_positive, metavar="N", help="the most comparisons of the run to show")


def _writing(parser: ArgumentParser, what: str) -> None:
    """The flags of a verb that has a model write."""
    parser.add_argument("--model", required=True, metavar="SPEC", help='that writes, e.g. "openai:gpt-6-luna"')
    parser.add_argument("--out", type=_path, required=True, help="the file to write, JSON Lines; replaced if it exists")
    parser.add_argument("--samples", type=_positive, default=4, help="how many per question (default: 4)")
    parser.add_argument("--max-tokens", type=_positive, default=512, help=f"most tokens of a {what} (default: 512)")
    parser.add_argument("--temperature", type=float, default=0.7, help="(default: 0.7; anthropic takes 1 alone)")
    parser.add_argument("--keep-thoughts", action="store_true", help="keep <think> blocks and the like")
    _options(parser, "--option", "an option of the provider; may be repeated")
    parser.add_argument("--cache", type=_path, metavar="FOLDER", help="folder of answers; by default the user's cache")
    parser.add_argument("--budget-requests", type=int, metavar="N", help="the most requests of this call")
    parser.add_argument("--budget-tokens", type=int, metavar="N", help="the most tokens of this call")
    parser.add_argument("--budget-money", type=float, metavar="USD", help="the most money of this call; needs --prices")
    parser.add_argument("--prices", type=_prices, metavar="INPUT,OUTPUT", help="USD a million prompt and reply tokens")
    _json(parser)


def _completion(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def _run_folder(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=_path, help="the run folder")


def _json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")


def _map(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--map",
        type=_meanings,
        action="extend",
        default=[],
        metavar="WRITTEN=LABEL,...",
        help="what gold labels mean, e.g. 0=False,1=True, or 0=A,1=B of two replies; case makes no difference",
    )


def _options(parser: ArgumentParser, flag: str, text: str) -> None:
    parser.add_argument(flag, type=_option, action="append", default=[], metavar="KEY=VALUE", help=text)


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


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ArgumentTypeError("must be at least 1")
    return value


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (isfinite(seconds) and seconds > 0):
        raise ArgumentTypeError("must be above 0")
    return seconds


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise ArgumentTypeError("days can't be negative")
    return days


def _prices(text: str) -> tuple[float, float]:
    try:
        given, made = map(float, text.split(","))
    except ValueError:
        given = made = -1.0
    if not (isfinite(given) and isfinite(made) and min(given, made) >= 0):
        raise ArgumentTypeError(f"write two prices as INPUT,OUTPUT, got {text!r}")
    return given, made


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "demo": Verb(
            "icm_api.cli.demo:demo_verb",
            "label a made-up data set with the embedded model: no key, nothing to prepare",
            _demo,
        ),
        "init": Verb(
            "icm_api.cli.starting:init_verb",
            "write a configuration for a task or a file of your own, with comments, to be changed by hand",
            _init,
            "  icm-api init reviews.csv --text review --labels good,bad --id nr --model openai:gpt-6-luna\n"
            "  icm-api run reviews.toml\n\n"
            "  icm-api init truthfulqa --data TruthfulQA.csv --model "
            "vllm:meta-llama/Llama-3.1-8B@http://127.0.0.1:8000/v1\n"
            "  icm-api plan truthfulqa.toml\n"
            "  icm-api run truthfulqa.toml\n",
        ),
        "run": Verb("icm_api.cli.running:run_verb", "label a data set as a configuration says", _run),
        "resume": Verb("icm_api.cli.running:resume_verb", "go on with a run that stopped", _resume),
        "label": Verb(
            "icm_api.cli.labelling:label_verb",
            "label another file from a finished run, one request an example; repeat it to go on where it stopped",
            _label,
            "  icm-api label runs/claims more.jsonl      # runs/claims/more/more/0000.jsonl and so on\n",
        ),
        "plan": Verb(
            "icm_api.cli.planning:plan_verb",
            "say what a run is likely to take, and what at most: requests, tokens, money, minutes; sends nothing",
            _plan,
            "  icm-api plan claims.toml --latency 0.8\n  icm-api plan claims.toml --compare\n",
        ),
        "runs": Verb("icm_api.cli.looking:runs_verb", "list runs: state, model, size, U, verdict, cost and age", _runs),
        "show": Verb("icm_api.cli.looking:show_verb", "print what a run found, or how far it is", _resume),
        "diff": Verb(
            "icm_api.cli.looking:diff_verb",
            "set two finished runs beside each other: settings, labels, names, U and verdict",
            _diff,
        ),
        "evaluate": Verb("icm_api.cli.finished:evaluate_verb", "measure a finished run against gold labels", _evaluate),
        "audit": Verb(
            "icm_api.cli.running:audit_verb",
            "count the relations that a configuration's constraints make, and the labelings that they leave",
            _configuration,
        ),
        "cache": Verb(
            "icm_api.cli.cache:stats_verb", "count, check, delete or export the answers of models that are kept", _cache
        ),
        "compare": Verb(
            "icm_api.cli.compare:compare_verb",
            "compare a configuration's search with baselines, given gold labels; repeat it to go on where it stopped",
            _compare,
        ),
        "export": Verb(
            "icm_api.cli.finished:export_verb",
            "write the labels of a finished run as files for training, tables, data sets",
            _export,
            "  icm-api export runs/claims --to openai-sft --split 0.9\n",
        ),
        "train": Verb(
            "icm_api.cli.training:train_verb",
            "fine-tune a model on the labels of a finished run; repeat it to see how far the job is",
            _train,
            "  icm-api train runs/claims --with together:Qwen/Qwen3-8B-Base --estimate\n"
            "  icm-api train runs/claims --with together:Qwen/Qwen3-8B-Base --follow\n"
            "  icm-api train runs/claims --with huggingface:HuggingFaceTB/SmolLM2-135M\n"
            "  icm-api train runs/helpful --reward --with huggingface:HuggingFaceTB/SmolLM2-135M-Instruct\n"
            "  icm-api train runs/helpful --dpo best.jsonl --with together:Qwen/Qwen3-8B\n",
        ),
        "iterate": Verb(
            "icm_api.cli.training:iterate_verb",
            "label batch by batch, each by a model fine-tuned on the batches before; repeat it to go on",
            _iterate,
            "  icm-api iterate claims.toml --with huggingface:HuggingFaceTB/SmolLM2-135M     # needs [batches]\n",
        ),
        "queue": Verb(
            "icm_api.cli.queueing:queue_verb",
            "write examples of a finished run to a file, for a person to label: uncertain, sure, or drawn at random",
            _queue,
            "  icm-api queue runs/claims --most 20 --out answers.csv\n"
            '  # fill in the column "label"; rows that stay empty are left to the model\n'
            "  ICM_DATA__FIXED=answers.csv icm-api run claims.toml --out runs/claims-2\n",
        ),
        "check": Verb(
            "icm_api.cli.queueing:check_verb",
            "count how many labels drawn at random are right, by a person's answers, and keep that in the run",
            _check,
            "  icm-api queue runs/claims --random 20 --blind --out answers.csv\n"
            '  # fill in the column "label" without looking at the labels found\n'
            "  icm-api check runs/claims answers.csv\n",
        ),
        "prefer": Verb(
            "icm_api.cli.rewarding:prefer_verb",
            "say which of two replies is better, a run of preferences as the reward model",
            _prefer,
            "  icm-api prefer runs/helpful replies.jsonl --out preferred.jsonl\n",
        ),
        "best": Verb(
            "icm_api.cli.rewarding:best_verb",
            "have a model write several replies to each prompt, and pick the best by a run of preferences",
            _best,
            "  icm-api best runs/helpful prompts.jsonl --model openai:gpt-6-luna --samples 8 --out best.jsonl --to "
            "trl-dpo\n",
        ),
        "rewardbench": Verb(
            "icm_api.cli.rewarding:rewardbench_verb",
            "measure a run of preferences as a reward model, on rows in the format of RewardBench 2",
            _rewardbench,
            "  icm-api rewardbench runs/helpful hub:allenai/reward-bench-2 --limit 200\n",
        ),
        "report": Verb(
            "icm_api.cli.finished:report_verb",
            "write a finished run as one HTML page: verdict, figures, contested examples, cost",
            _report,
            "  icm-api report runs/claims             # runs/claims/report/report.html, and figures as PNG\n"
            "  icm-api report runs/claims --gold gold.jsonl --out claims.html\n",
        ),
        "probe": Verb(
            "icm_api.cli.asking:probe_verb",
            "ask a model endpoint a few questions, and print what it really returns",
            _probe,
        ),
        "generate": Verb(
            "icm_api.cli.asking:generate_verb", "have a model write candidate solutions to questions", _generate
        ),
        "completion": Verb(
            "icm_api.cli.completion:completion_verb",
            "print a script that has the shell complete verbs and flags",
            _completion,
            '  eval "$(icm-api completion bash)"\n',
        ),
    }
)
"""All verbs, in the order in which `--help` lists them."""
