"""The verbs before and during a run: audit, run, resume.

They print results on standard output (as JSON with --json) and the live view on standard error. They compute nothing
themselves.
"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from icm_api.cli.live import LiveView
from icm_api.cli.planning import ask_before, read_config, taken_line
from icm_api.config import Prices
from icm_api.data import DataChecking
from icm_api.errors import BudgetError, ClusterError, ConfigError, DataError, GaveUpError, StorageError
from icm_api.evaluation import lines_of, lines_of_zero_shot
from icm_api.model import LanguageModel
from icm_api.result import LABELS_FILE, SUMMARY_FILE, Result
from icm_api.runs import (
    ASIDE_FILE,
    PARTS_FOLDER,
    TRACE_FILE,
    FinishedRun,
    Watch,
    audit_config,
    batch_lines,
    data_source,
    has_run,
    old_prices,
    resume,
    run_config,
    with_check,
)
from icm_api.types import Model, Usage
from icm_api.wording import count_of

_FILES = (LABELS_FILE, SUMMARY_FILE, TRACE_FILE)


def run_verb(arguments: Namespace) -> None:
    """`icm-api run CONFIG`."""
    config = read_config(arguments)
    assert config.run.folder is not None
    folder = config.run.folder
    if not arguments.yes and not has_run(folder):
        ask_before(config)
    if old := old_prices(config):
        print(f"warning: {old}", file=sys.stderr)
    watched(lambda watch: run_config(config, watch), folder, show=not arguments.json)
    _print_summary(folder, as_json=arguments.json)


def resume_verb(arguments: Namespace) -> None:
    """`icm-api resume RUN`."""
    watched(lambda watch: resume(arguments.run, watch), arguments.run, show=not arguments.json)
    _print_summary(arguments.run, as_json=arguments.json)


def audit_verb(arguments: Namespace) -> None:
    """`icm-api audit CONFIG`."""
    config = read_config(arguments)
    checking = DataChecking(data_source(config))
    try:
        found = audit_config(config, checking)
    except (DataError, ConfigError) as error:
        checked = checking.found()
        if checked.bad and not arguments.json:
            print("\n".join(checked.lines()))
        elif arguments.json and isinstance(error, DataError):
            print(json.dumps({"data": checked.as_json()}))
        raise
    checked = checking.found()
    if checked.bad and not arguments.json:
        print("\n".join(checked.lines()))
    if arguments.json:
        print(json.dumps({**found.as_json(), "data": checked.as_json()}))
    else:
        print("\n".join([*found.lines(), *([] if checked.bad else checked.lines())]))


def watched(work: Callable[[Watch], Coroutine[Any, Any, Result]], folder: Path, *, show: bool) -> Result:
    """Do the work under a live view on standard error; with `show`, print what came out."""
    console = Console(stderr=True)

    def resumed(steps: int, torn: int) -> None:
        view.resumed(steps, torn)
        if torn:
            console.print(f"dropped a torn last line of {torn} bytes from {folder / TRACE_FILE}", soft_wrap=True)
        told = count_of(steps, "step is on disk; checking it", "steps are on disk; checking them")
        console.print(f"{told}, then going on", soft_wrap=True)

    asked: list[Model] = []

    def opened(model: Model) -> None:
        view.opened(model)
        asked.append(model)

    with LiveView(console) as view:
        try:
            result = asyncio.run(work(replace(view.watch, on_resume=resumed, on_model=opened)))
        except (KeyboardInterrupt, StorageError, BudgetError, ClusterError, GaveUpError):
            way = f"icm-api resume {folder}" if has_run(folder) else "the same again"
            console.print(f"to go on: {way}", soft_wrap=True)
            raise
    if show:
        # A run that was finished before may have been checked since.
        rest = FinishedRun.open(folder).rest
        more = [] if rest is None else lines_of_rest(rest, folder / PARTS_FOLDER)
        print("\n".join([*result_lines(with_check(folder, result), folder), *more, *_bill(asked, folder)]))
    return result


def lines_of_rest(rest: Mapping[str, Any], folder: Path) -> list[str]:
    """What was labelled from a core, in a few lines."""
    counts = ", ".join(f"{label} {count:,}" for label, count in rest["label_counts"].items())
    given_back = rest["agreement"]
    way = "not calibrated" if rest["calibration"] == "none" else f"{rest['calibration']} calibration"
    shown = f"from {rest['demonstrations']} of its labels, {way}"
    told = "" if given_back is None else f"; they give back {given_back:.1%} of {rest['held_out']} others of the core"
    return [
        f"labelled {rest['examples'] - rest['set_aside']:,} other examples {shown}: {counts}{told}",
        *([f"left open, as their probability is too low: {rest['abstained']:,}"] if rest["abstained"] else []),
        *([f"set aside: {rest['set_aside']:,}; their lines say why"] if rest["set_aside"] else []),
        f"written: {folder}, {rest['parts']} file{'s' * (rest['parts'] != 1)}",
    ]


def _judging(result: Result) -> str:
    """What judging took, beside what the search did."""
    diagnosis = result.about.get("diagnosis")
    if not diagnosis or not result.usage.requests:
        return ""
    measures, whole = diagnosis["measures"], result.usage
    told = []
    for word, judging, all_told in (
        ("requests", measures["requests"], whole.requests),
        ("tokens", measures.get("tokens", 0), whole.prompt_tokens),
    ):
        if all_told > judging:
            told.append(f"{judging:,} {word} ({judging / (all_told - judging):.0%} of the search's)")
    return f"; of these, judging the labels took {' and '.join(told)}" if told else ""


def _bill(asked: Sequence[Model], folder: Path) -> list[str]:
    """What was sent to a hosted model, now and for the whole run; nothing is paid to one in this process."""
    if not asked or not isinstance(asked[0], LanguageModel) or asked[0].capabilities.batches:
        return []
    run, model = FinishedRun.open(folder), asked[0]
    whole, prices = run.sent, run.config.prices
    now = in_words(model.sent, model.spent, prices)
    all_told = now if whole is None else in_words(whole.usage, whole.money, prices)
    return [f"sent now: {now}; for the whole run: {all_told}"]


def in_words(usage: Usage, money: float | None, prices: Prices | None) -> str:
    """Requests, tokens and, if it is known, money."""
    paid = "" if money is None or prices is None else f", {money:,.4f} {prices.currency}"
    return f"{count_of(usage.requests, 'request')}, {count_of(usage.prompt_tokens, 'prompt token')}{paid}"


def _left_open(result: Result) -> list[str]:
    left = sum(row.abstained for row in result.examples)
    return [f"left open, as their probability is too low: {count_of(left, 'label')}"] if left else []


def _set_aside(result: Result, folder: Path) -> list[str]:
    aside = result.about.get("set_aside", {})
    told = f"set aside, as they are too long or the model refused them: {count_of(len(aside), 'example')}"
    asked = f"see {folder / ASIDE_FILE}; icm-api resume {folder} asks about them again"
    return [f"{told}; {asked}"] if aside else []


def _print_summary(folder: Path, *, as_json: bool) -> None:
    if as_json:
        print(FinishedRun.open(folder).summary_text, end="")


def _coverage_line(result: Result) -> str:
    known = [row.coverage for row in result.examples if row.coverage is not None]
    if not known:
        return "coverage: not known, since the server divides by the labels' own sum"
    return f"coverage: {fmean(known):.1%} of the probability is on the labels"


def result_lines(result: Result, folder: Path) -> list[str]:
    """A finished run in a few lines."""
    counts = Counter(example.label for example in result.examples)
    labels = ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
    return [
        *lines_of(result.about, str(folder)),
        f"labelled {count_of(len(result.examples), 'example')} in {count_of(result.steps, 'step')}: {labels}",
        f"U = {result.utility:.3f}   P = {result.mutual_predictability:.4f}   I = {result.inconsistency:g}"
        f"   J = {result.about['information']:.3f} nats per example",
        _coverage_line(result),
        f"cost: {count_of(result.usage.requests, 'request')}, {count_of(result.usage.prompt_tokens, 'prompt token')}"
        + _judging(result),
        *taken_line(FinishedRun(folder, result)),
        *batch_lines(result.about),
        *lines_of_zero_shot(result),
        *_left_open(result),
        *_set_aside(result, folder),
        f"written: {', '.join(str(folder / name) for name in _FILES if (folder / name).is_file())}",
    ]
