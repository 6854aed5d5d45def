"""The verbs that take a configuration or a run folder: run, resume, plan, evaluate, audit.

They print: results on standard output (as JSON with --json), the live view on standard error. They compute
nothing themselves.
"""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias, get_args

from rich.console import Console

from icm_api.cli.cache import add_cache
from icm_api.cli.live import LiveView
from icm_api.config import Config, Preset, load_config
from icm_api.consistency import audit
from icm_api.data import format_names
from icm_api.errors import BudgetError, StorageError
from icm_api.evaluation import Verdict, evaluate
from icm_api.result import LABELS_FILE, SUMMARY_FILE, Result
from icm_api.runs import TRACE_FILE, FinishedRun, Watch, build_task, load_dataset, plan, resume, run_config

Verbs: TypeAlias = "_SubParsersAction[Any]"


def add_verbs(verbs: Verbs) -> None:
    """Declare the verbs and their flags."""
    parser = _verb(verbs, "run", run_verb, "label a data set as a configuration says")
    _add_configuration(parser)
    parser = _verb(verbs, "resume", resume_verb, "go on with a run that stopped")
    parser.add_argument("run", type=Path, help="the run folder")
    parser = _verb(verbs, "plan", plan_verb, "say how many requests and tokens a run may take; sends nothing")
    _add_configuration(parser)
    parser = _verb(verbs, "evaluate", evaluate_verb, "measure a finished run against gold labels")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--gold", type=Path, required=True, help="a file of the run's format, or of ids and labels")
    parser.add_argument("--label-field", help='key of the gold label; by default "gold", else "label"')
    parser.add_argument("--id-field", help="key of the ids; by default as in the run's configuration")
    parser.add_argument(
        "--format", choices=format_names(), help='how to read the gold file; by default as the run\'s "data.format"'
    )
    parser = _verb(verbs, "audit", audit_verb, "say what the constraints of a configuration come to")
    _add_configuration(parser)
    summary = "look after the answers of models that are kept on disk"
    add_cache(verbs.add_parser("cache", help=summary, description=summary[0].upper() + summary[1:] + "."))


def _verb(verbs: Verbs, name: str, function: Any, summary: str) -> ArgumentParser:
    parser: ArgumentParser = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(verb=function)
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    return parser


def _add_configuration(parser: ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="a TOML file")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/NAME beside the configuration)")
    parser.add_argument("--preset", choices=get_args(Preset))
    parser.add_argument("--engine", help="anneal, bootstrap, folds or gibbs")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--no-cache", action="store_true", help="keep no answers of the model on disk")


def read_config(arguments: Namespace) -> Config:
    """The configuration with the flags over it."""
    search = {name: getattr(arguments, name) for name in ("preset", "engine", "seed", "steps")}
    flags: dict[str, Any] = {"search": {name: value for name, value in search.items() if value is not None}}
    if arguments.no_cache:
        flags["cache"] = {"enabled": False}
    if arguments.out is not None:
        flags["run"] = {"folder": arguments.out.resolve()}
    return load_config(arguments.config, flags)


def run_verb(arguments: Namespace) -> None:
    """`icm-api run CONFIG`."""
    config = read_config(arguments)
    assert config.run.folder is not None
    folder = config.run.folder
    watched(lambda watch: run_config(config, watch), folder, show=not arguments.json)
    _print_summary(folder, as_json=arguments.json)


def resume_verb(arguments: Namespace) -> None:
    """`icm-api resume RUN`."""
    watched(lambda watch: resume(arguments.run, watch), arguments.run, show=not arguments.json)
    _print_summary(arguments.run, as_json=arguments.json)


def plan_verb(arguments: Namespace) -> None:
    """`icm-api plan CONFIG`."""
    config = read_config(arguments)
    found = asyncio.run(plan(config))
    if arguments.json:
        print(json.dumps(asdict(found)))
        return
    print(f"{found.examples:,} examples, {found.relations:,} relations, at most {found.steps:,} steps")
    print(f"at most {found.requests:,} requests and {found.prompt_tokens:,} prompt tokens, before any cache")
    if found.money is not None and config.prices is not None:
        print(f"at most {found.money:,.2f} {config.prices.currency}, at the prices of the configuration")
    if found.bootstrap_requests is not None and found.bootstrap_requests < found.requests:
        print(f"with --engine bootstrap: at most {found.bootstrap_requests:,} requests")
    print(f"longest prompt {found.longest_prompt:,} tokens; context window {found.context_window:,}")
    if found.longest_prompt == found.context_window:
        print("not all demonstrations fit the context window together: whole ones will be left out, none cut")


def evaluate_verb(arguments: Namespace) -> None:
    """`icm-api evaluate RUN --gold FILE`."""
    run = FinishedRun.open(arguments.run)
    gold = run.gold(
        arguments.gold,
        format_name=arguments.format,
        id_field=arguments.id_field,
        label_field=arguments.label_field,
    )
    found = evaluate(run.result, gold)
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))


def audit_verb(arguments: Namespace) -> None:
    """`icm-api audit CONFIG`."""
    config = read_config(arguments)
    task = build_task(config)
    found = audit(load_dataset(config), task.verbalizer.labels, task.constraints)
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))


def watched(work: Callable[[Watch], Coroutine[Any, Any, Result]], folder: Path, *, show: bool) -> Result:
    """Do the work under a live view on standard error; with `show`, print what came out."""
    console = Console(stderr=True)

    def resumed(steps: int, torn: int) -> None:
        view.resumed(steps, torn)
        if torn:
            console.print(f"dropped a torn last line of {torn} bytes from {folder / TRACE_FILE}", soft_wrap=True)
        console.print(f"{steps} steps are on disk; checking them, then going on", soft_wrap=True)

    def warned(warning: str) -> None:
        console.print(f"warning: {warning}", highlight=False, soft_wrap=True)

    with LiveView(console) as view:
        try:
            result = asyncio.run(work(Watch(view.show, resumed, warned, view.judging)))
        except (KeyboardInterrupt, StorageError, BudgetError):
            console.print(f"to go on: icm-api resume {folder}", soft_wrap=True)
            raise
    if show:
        print("\n".join(result_lines(result, folder)))
    return result


def verdict_lines(diagnosis: Mapping[str, Any]) -> list[str]:
    """What to make of the labels, as `summary.json` has it."""
    return Verdict(diagnosis["verdict"], tuple(diagnosis["reasons"]), tuple(diagnosis["advice"])).lines()


def _left_open(result: Result) -> list[str]:
    left = sum(row.abstained for row in result.examples)
    return [f"left open, as their calibrated probability is too low: {left} labels"] if left else []


def _print_summary(folder: Path, *, as_json: bool) -> None:
    if as_json:
        print((folder / SUMMARY_FILE).read_text(encoding="utf-8"), end="")


def result_lines(result: Result, folder: Path) -> list[str]:
    """A finished run in a few lines."""
    counts = Counter(example.label for example in result.examples)
    diagnosis = result.about.get("diagnosis")
    labels = ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
    return [
        f"labelled {len(result.examples)} examples in {result.steps} steps: {labels}",
        f"U = {result.utility:.3f}   P = {result.mutual_predictability:.4f}   I = {result.inconsistency:g}",
        f"coverage: {fmean(row.coverage for row in result.examples):.1%} of the probability is on the labels",
        f"cost: {result.usage.requests:,} requests, {result.usage.prompt_tokens:,} prompt tokens"
        + (f"; {diagnosis['measures']['requests']:,} of the requests to judge the labels" if diagnosis else ""),
        *(verdict_lines(diagnosis) if diagnosis else []),
        *_left_open(result),
        f"written: {folder / LABELS_FILE}, {folder / SUMMARY_FILE}, {folder / TRACE_FILE}",
    ]
