"""The verbs `train` and `iterate`: a model is fine-tuned on labels, at a host or on this machine.

What is sent, and what it is likely to cost, is said before; results go to standard output, all else to standard error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any

from icm_api.cli.planning import read_config
from icm_api.data import read_rows
from icm_api.errors import (
    BudgetError,
    ConfigError,
    DataError,
    GaveUpError,
    NotConfirmedError,
    ProviderError,
    StorageError,
)
from icm_api.export import Options
from icm_api.reward import is_trained, preference_data, read_best
from icm_api.reward.judge import check_comparing
from icm_api.runs import FinishedRun, batch_lines, folder_of
from icm_api.training import (
    Estimate,
    Job,
    Method,
    Teacher,
    Trainer,
    TrainingData,
    Wishes,
    cancel,
    follow,
    iterate,
    label_by_folds,
    open_trainer,
    prompt_data,
    start,
    training_data,
    training_folder,
)
from icm_api.wording import count_of

_TENTHS = 10


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks for."""

    arguments: Namespace
    run: FinishedRun
    folder: Path
    trainer: Trainer
    method: Method

    @property
    def command(self) -> str:
        """The command again, without flags that do something once."""
        given = self.arguments
        options = "".join(f" --option {quote(f'{key}={_written(value)}')}" for key, value in given.option)
        chosen = "".join(f" --{key.replace('_', '-')} {value}" for key, value in self.chosen.items())
        file = "" if self.file is None else f" {quote(str(self.file))}"
        by = f" --rewarded-by {quote(given.rewarded_by)}" if given.rewarded_by else ""
        method = "" if self.method == "sft" else f" --{self.method}{file}{by}"
        return f"icm-api train {quote(str(given.run))}{method} --with {quote(given.spec)}{options}{chosen}"

    @property
    def file(self) -> Path | None:
        """The replies that `best` wrote, or the prompts; None for those of the run."""
        given: Path | None = self.arguments.dpo or self.arguments.grpo
        return given if given is not None and given != Path() else None

    @property
    def named(self) -> dict[str, Any]:
        """Which data, as far as they are not the usual."""
        if self.file is None:
            return self.chosen
        try:
            return {**self.chosen, "file": sha256(self.file.read_bytes()).hexdigest()[:16]}
        except OSError as error:
            raise DataError(f"{self.file}: cannot be read: {error.strerror or error}; check the path") from error

    @property
    def chosen(self) -> dict[str, Any]:
        """Whose labels, and which of them, as far as that is not the usual."""
        usual, given = Options(), self.arguments
        wanted = {"labels": given.labels, "abstain_below": given.abstain_below}
        return {key: value for key, value in wanted.items() if value != getattr(usual, key)}

    def data(self) -> TrainingData:
        """The labels, written for the trainer."""
        if self.method == "reward":
            check_comparing(self.run.task)
        if self.file is not None and self.method == "grpo":
            return prompt_data([row.text("prompt") for row in read_rows(str(self.file))], self.folder)
        data = self.run.whole if self.file is None else preference_data(read_best(self.file))
        return training_data(data, self.trainer, self.folder, Options(**self.chosen))


def train_verb(arguments: Namespace) -> None:
    """`icm-api train RUN --with SPEC`."""
    run = FinishedRun.open(arguments.run)
    method = _method(arguments)
    folder = training_folder(arguments.run, arguments.spec, method)
    options = dict(arguments.option)
    if method == "grpo":
        reward = arguments.rewarded_by or str(arguments.run)
        options["reward"] = reward if is_trained(reward) else str(Path(reward).resolve())
    trainer = open_trainer(arguments.spec, options, place=folder, method=method)
    asked = _Asked(arguments, run, folder, trainer, method)
    try:
        asyncio.run(_worked(asked))
    except (KeyboardInterrupt, StorageError, GaveUpError):
        if arguments.estimate:
            raise
        goes = "" if trainer.here else "; a job that was started goes on at the host, and no second one is started"
        print(f"to go on: {asked.command} --follow{goes}", file=sys.stderr)
        raise


def _method(arguments: Namespace) -> Method:
    """What the flags say is to be trained."""
    if arguments.rewarded_by is not None and arguments.grpo is None:
        raise ConfigError("--rewarded-by names the reward model of --grpo: give that too, or leave it out")
    if arguments.reward:
        return "reward"
    return "dpo" if arguments.dpo is not None else "sft" if arguments.grpo is None else "grpo"


async def _worked(asked: _Asked) -> None:
    arguments, trainer, folder = asked.arguments, asked.trainer, asked.folder
    try:
        if arguments.estimate:
            found = await trainer.estimate(asked.data())
            _say(arguments, {"estimate": asdict(found)}, found.lines())
            return
        if arguments.cancel:
            job = await cancel(trainer, folder)
        else:
            wishes = Wishes(_confirmer(asked), again=arguments.again, data=asked.named)
            job = await start(trainer, asked.data, folder, wishes)
            if arguments.follow or trainer.here:
                job = await follow(trainer, folder, job, _teller(arguments))
    finally:
        await trainer.close()
    _say(arguments, _values(asked, job), _lines(asked, job))
    if job.state == "failed":
        raise ProviderError(f"{trainer.identity}: {job.line()}; to start another: {asked.command} --again")


def iterate_verb(arguments: Namespace) -> None:
    """`icm-api iterate CONFIG --with SPEC`."""
    config = read_config(arguments)
    above = None if arguments.yes else config.budget.ask_above
    quiet = bool(arguments.json)
    told = "model {} is asked: {}" if arguments.by_folds else "batch {} is labelled by {}"

    def on_round(number: int, spec: str) -> None:
        if not quiet:
            print(told.format(number, spec), file=sys.stderr, flush=True)

    where = f"to train {arguments.spec} on the labels {'of the other folds' if arguments.by_folds else 'so far'}:"
    teacher = Teacher(
        arguments.spec,
        dict(arguments.option),
        partial(_asking, where, above=above, quiet=quiet),
        on_round,
        _teller(arguments),
    )
    try:
        asyncio.run(label_by_folds(config, teacher) if arguments.by_folds else iterate(config, teacher))
    except (KeyboardInterrupt, StorageError, BudgetError, GaveUpError):
        print("to go on: repeat the command; no job is started twice", file=sys.stderr)
        raise
    folder = folder_of(config)
    run = FinishedRun.open(folder)
    if quiet:
        print(run.summary_text, end="")
        return
    counts = Counter(row.label for row in run.result.examples)
    shares = ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))
    lines = [f"labelled {count_of(len(run.result.examples), 'example')}: {shares}", *batch_lines(run.result.about)]
    print("\n".join([*lines, f"written: {folder}", f"to go on: icm-api export {quote(str(folder))} --to openai-sft"]))


def _say(arguments: Namespace, values: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(values) if arguments.json else "\n".join(lines))


def _confirmer(asked: _Asked) -> Callable[[Estimate], None]:
    """Says what is likely to be taken, and asks where that is more than `budget.ask_above`."""
    host = asked.trainer.sent_to
    where = f"at {host}, which the labels are sent to" if host else "on this machine"
    above = None if asked.arguments.yes else asked.run.config.budget.ask_above
    return partial(_asking, f"to train {where}:", above=above, quiet=bool(asked.arguments.json))


def _asking(head: str, estimate: Estimate, *, above: float | None, quiet: bool) -> None:
    if not quiet:
        print("\n".join([head, *(f"  {line}" for line in estimate.lines())]), file=sys.stderr)
    if above is None or (estimate.money is not None and estimate.money <= above):
        return
    price = "costs an unknown price" if estimate.money is None else f"is likely to cost {estimate.money:,.2f}"
    told = f"the job {price}, and budget.ask_above is {above:g}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotConfirmedError(f"{told}, and there is no terminal to ask on: no job was started; --yes starts it")
    print(f"{told}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmedError("no job was started")


def _teller(arguments: Namespace) -> Callable[[Job], None]:
    """Says how far a job is, each time that there is something new to say."""
    last: list[tuple[str, int]] = []

    def tell(job: Job) -> None:
        now = (job.state, int((job.done or 0.0) * _TENTHS))
        if now not in last and not job.ended and not arguments.json:
            print(job.line(), file=sys.stderr, flush=True)
        last[:] = [now]

    return tell


def _values(asked: _Asked, job: Job) -> dict[str, Any]:
    tuned = asked.trainer.result(job) if job.state == "succeeded" else None
    told = None if tuned is None else {"spec": tuned.spec, "options": dict(tuned.options), "note": tuned.note}
    return {"job": asdict(job), "folder": str(asked.folder), "model": told}


def _lines(asked: _Asked, job: Job) -> list[str]:
    lines = [job.line()]
    if job.state == "succeeded":
        tuned = asked.trainer.result(job)
        flags = "".join(f" --option {key}={_written(value)}" for key, value in tuned.options.items())
        lines += [
            f"model: {tuned.spec}",
            *(f"with {key} = {json.dumps(value)} under [model.options]" for key, value in tuned.options.items()),
            *([f"note: {tuned.note}"] if tuned.note else []),
            "to go on: " + _next(asked.method, f"{quote(tuned.spec)}{flags}"),
        ]
    elif not job.ended:
        lines.append(f"to go on: {asked.command} --follow")
    elif job.state == "cancelled":
        lines.append(f"to start another: {asked.command} --again")
    return lines


def _next(method: Method, model: str) -> str:
    """What to do with the model that came out."""
    if method == "reward":
        return f"icm-api rewardbench {model} FILE, or prefer or best with it in place of the run"
    return f"icm-api probe {model}"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
