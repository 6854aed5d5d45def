"""Runs as things: what a folder of runs holds, at a glance, and how two runs differ. Reads only; nothing is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from time import time
from typing import Any

from icm_api.config import Config
from icm_api.errors import IcmError, RunError
from icm_api.evaluation.coherence import best_naming
from icm_api.model import read_sent
from icm_api.model.client.job_book import open_jobs
from icm_api.result import SUMMARY_FILE
from icm_api.runs.finished import FinishedRun
from icm_api.runs.folder import INPUTS_FILE, JOBS_FOLDER, SESSIONS_FILE, SPENDING_FILE, in_use, read_inputs
from icm_api.runs.spill import PARTS_FOLDER
from icm_api.runs.trace import TRACE_FILE
from icm_api.types import Label

_DEEPEST = 3
"""Folders below the one that is looked into."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run at a glance.

    Attributes:
        folder: of the run.
        state: "finished", "rest unfinished" (the core is labelled), "unfinished", "running" or "damaged".
        model: that labels the data; empty if it is not known.
        examples: that have a label; those of the data set, if it is finished.
        utility: U of what was searched; None if it is not finished.
        verdict: of the judge; None if there is none.
        requests: that were really sent.
        money: that they cost; None if no prices are known.
        age: seconds since the run was last written to.
        jobs: batch jobs that were sent and are not over.
    """

    folder: Path
    state: str
    model: str
    examples: int
    utility: float | None
    verdict: str | None
    requests: int
    money: float | None
    age: float
    jobs: int = 0

    @property
    def told(self) -> str:
        """The state in words."""
        return f"{self.state}, {self.jobs:,} batch job{'s' * (self.jobs > 1)} open" if self.jobs else self.state

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "folder": str(self.folder)}


def list_runs(folder: Path) -> tuple[RunRow, ...]:
    """All runs in a folder and in the folders below it, the latest first.

    Args:
        folder: of runs, or of one.

    Raises:
        RunError: it is no folder.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder: name the one that holds the runs")
    return tuple(sorted((run_row(each) for each in _folders(folder, _DEEPEST)), key=lambda row: row.age))


def _folders(folder: Path, deep: int) -> Iterator[Path]:
    if (folder / INPUTS_FILE).is_file():
        yield folder
        return
    try:
        inside = sorted(folder.iterdir()) if deep >= 0 else []
    except OSError:
        # Nothing of the user's runs is in a folder that is closed to the user.
        return
    for each in inside:
        if each.is_dir() and not each.is_symlink() and not each.name.startswith("."):
            yield from _folders(each, deep - 1)


def run_row(folder: Path) -> RunRow:
    """One run at a glance, whatever its state.

    Args:
        folder: of the run.
    """
    written = [folder / name for name in (TRACE_FILE, SUMMARY_FILE, INPUTS_FILE, SPENDING_FILE)]
    there = [path for path in (*written, *(folder / PARTS_FOLDER).glob("*.jsonl")) if path.exists()]
    age = time() - max((path.stat().st_mtime for path in there), default=time())
    model, requests, money, jobs = "", 0, None, 0
    examples, utility, verdict = 0, None, None
    try:
        model, jobs = str(read_inputs(folder).get("model", "")), open_jobs(folder / JOBS_FOLDER)
        sent = read_sent(folder / SESSIONS_FILE, folder / SPENDING_FILE)
        if sent is not None:
            requests, money = sent.usage.requests, sent.money
        if not (folder / SUMMARY_FILE).is_file():
            state = "unfinished"
        else:
            run = FinishedRun.open(folder)
            examples, utility, verdict = len(run.result.examples), run.result.utility, run.result.verdict
            state = "finished"
            try:
                rest = run.rest
                examples += 0 if rest is None else int(rest["examples"]) - int(rest["set_aside"])
            except RunError:
                state = "rest unfinished"
    except IcmError:
        state = "damaged"
    if state in ("unfinished", "rest unfinished") and in_use(folder):
        state = "running"
    return RunRow(folder, state, model, examples, utility, verdict, requests, money, max(0.0, age), jobs)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two finished runs beside each other.

    Attributes:
        settings: keys of the configurations that differ, with both values; None for one that is not given.
        shared: examples that both labelled.
        alike: share of them that have the same label; None if there are none.
        renamed: the way to name the second run's labels that agrees best, if it is another than its own.
        alike_renamed: the share of the labels that are then the same.
        flipped: ids of shared examples whose labels differ, those first that both runs are surest of.
        utilities: U of both.
        verdicts: of both.
    """

    settings: Mapping[str, tuple[Any, Any]]
    shared: int
    alike: float | None
    renamed: Mapping[Label, Label]
    alike_renamed: float | None
    flipped: tuple[str, ...]
    utilities: tuple[float, float]
    verdicts: tuple[str | None, str | None]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def diff_runs(one: FinishedRun, other: FinishedRun) -> Difference:
    """How two finished runs differ: in what they were told, and in what they found.

    Args:
        one: a run.
        other: another one.

    Raises:
        RunError: a file of them is damaged.
    """
    first = {row.id: row for row in one.result.examples}
    second = {row.id: row for row in other.result.examples}
    shared = [key for key in first if key in second]
    pairs = [(first[key].label, second[key].label) for key in shared]
    labels = tuple(dict.fromkeys(label for row in (*first.values(), *second.values()) for label in row.probabilities))
    naming, agreed = best_naming(pairs, labels) if pairs else ({}, None)
    flipped = [key for key in shared if first[key].label != second[key].label]
    flipped.sort(key=lambda key: -fsum((first[key].confidence, second[key].confidence)))
    return Difference(
        dict(differing_settings(one.config, other.config)),
        len(shared),
        sum(a == b for a, b in pairs) / len(pairs) if pairs else None,
        {} if all(a == b for a, b in naming.items()) else naming,
        agreed,
        tuple(flipped),
        (one.result.utility, other.result.utility),
        (one.result.verdict, other.result.verdict),
    )


def differing_settings(one: Config, other: Config) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The keys that two configurations give other values, in the order of the alphabet; not where runs and answers are.

    Args:
        one: a configuration.
        other: another one.

    Yields:
        A key with both values; None for one that is not given.
    """
    left, right = (dict(_flat("", config.model_dump(mode="json", exclude_none=True))) for config in (one, other))
    for key in sorted(left.keys() | right.keys()):
        if left.get(key) != right.get(key) and not key.startswith(("run.folder", "cache.")):
            yield key, (left.get(key), right.get(key))


def _flat(before: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{before}.{key}" if before else str(key), each)
    else:
        yield before, value if isinstance(value, str | int | float | bool) else json.dumps(value)
