"""The searches of a comparison, each a run folder of its own, so that one cut short goes on where it was.

`run` and `resume` do the work; this file says what each method runs, and under which budget. Judging without gold is
left out: it changes no label. No gold label is anywhere near.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import tomli_w

from icm_api.compare.budget import Purse
from icm_api.compare.split import Split, write_searched
from icm_api.config import (
    CompareSettings,
    Config,
    Constraints,
    DiagnosticsSettings,
    RunSection,
    SearchSettings,
    load_config,
)
from icm_api.errors import RunError
from icm_api.model import note_session
from icm_api.result import SUMMARY_FILE, Result, write_whole
from icm_api.runs import (
    CONFIG_FILE,
    INPUTS_FILE,
    FinishedRun,
    Watch,
    build_task,
    folder_of,
    load_dataset,
    load_start,
    open_model,
    resume,
    run_config,
)
from icm_api.search import build_kernel, build_objective, iterate, steps_of

SEARCHES = ("icm", "icm-unconstrained", "bootstrap", "bootstrap-equal")
"""The methods that search, in the order in which they run: the last one needs to know what the first asked."""
MOST_RESTARTS = 200
"""Of bootstrapping at ICM's cost, which may have nothing new to ask long before it has asked as much."""
_SAME = ("data", "prompt", "model", "constraints", "search")
"""The sections that decide what a run finds."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a comparison keeps its files.

    Attributes:
        folder: of the comparison.
    """

    folder: Path

    def run(self, method: str, seed: int) -> Path:
        """The run folder of a search."""
        return self.folder / "runs" / f"{method}-{seed}"

    def searched(self, seed: int) -> Path:
        """The examples that a seed searches."""
        return self.folder / "seeds" / str(seed) / "searched.jsonl"


def method_config(config: Config, method: str, split: Split, place: Place) -> Config:
    """What a method runs on a split.

    Raises:
        RunError: the file of the examples is there with others.
    """
    return config.changed(
        data=write_searched(config, split.searched, place.searched(split.seed)),
        search=settings_of(config.search, method, split.seed),
        constraints=constraints_of(config, method),
        diagnostics=DiagnosticsSettings(enabled=False),
        compare=CompareSettings(),
        run=RunSection(folder=place.run(method, split.seed).resolve()),
    )


def constraints_of(config: Config, method: str) -> tuple[Constraints, ...]:
    """The constraints that a method keeps."""
    return () if method == "icm-unconstrained" else config.constraints


def settings_of(search: SearchSettings, method: str, seed: int) -> SearchSettings:
    """The search of a method: the configuration's own, or bootstrapping with what of it applies there."""
    if not method.startswith("bootstrap"):
        return search.changed(seed=seed)
    kept = ("alpha", "statistic", "estimator", "seed_labels", "start", "rounds", "restarts")
    values = {name: getattr(search, name) for name in kept}
    if method == "bootstrap-equal":
        values["restarts"] = MOST_RESTARTS
    return SearchSettings(engine="bootstrap", seed=seed, **values)


async def searched(config: Config, purse: Purse, watch: Watch) -> Result:
    """The result of a run: read where it is finished, gone on with where it was cut short, else begun.

    Raises:
        RunError: the folder holds a run of another configuration.
        IcmError: whatever stops the run; the same call goes on with it.
    """
    folder = folder_of(config)
    if not (folder / INPUTS_FILE).exists():
        return await run_config(_within(config, purse), watch)
    _check_same(folder, config)
    if (folder / SUMMARY_FILE).exists():
        return FinishedRun.open(folder).result
    if purse.bounded:
        write_whole(folder / CONFIG_FILE, tomli_w.dumps(_plain(_within(config, purse))))
    return await resume(folder, watch)


def _within(config: Config, purse: Purse) -> Config:
    """Under what is left of the budget, its own ledger apart, which a run counts by itself."""
    return config.changed(budget=purse.left(but=folder_of(config)))


def _plain(config: Config) -> Mapping[str, object]:
    return config.model_dump(mode="json", exclude_none=True)


def _check_same(folder: Path, config: Config) -> None:
    then = _plain(load_config(folder / CONFIG_FILE, environment=False))
    now = _plain(config)
    for section in _SAME:
        if then[section] != now[section]:
            raise RunError(
                f"{folder} holds a run with another [{section}]: it changed since this comparison began; "
                "put back what changed, or choose another folder with --out"
            )


async def at_equal_cost(config: Config, requests: int, purse: Purse) -> Config:
    """Bootstrapping with restarts until it has asked at least this many requests, as a configuration.

    The steps that this takes are found by taking them; the run then gets its answers from the cache. It asks less only
    where `MOST_RESTARTS` restarts have nothing new to ask.

    Raises:
        IcmError: whatever stops the search.
    """
    folder = folder_of(config)
    if (folder / INPUTS_FILE).exists():
        steps = load_config(folder / CONFIG_FILE, environment=False).search.steps
    else:
        steps = await _steps(config, requests, purse)
    return config.changed(search=config.search.changed(steps=steps))


async def _steps(config: Config, requests: int, purse: Purse) -> int:
    dataset, task = load_dataset(config), build_task(config)
    start, taken, began = load_start(config, dataset, task), 0, monotonic()
    async with open_model(_within(config, purse)) as model:
        try:
            objective = build_objective(dataset, model, task, config.search)
            kernel, budget = build_kernel(objective, config.search, start), steps_of(config.search, len(dataset))
            async with aclosing(iterate(kernel, objective, budget)) as steps:  # type: ignore[type-var]
                async for state, _ in steps:
                    taken = state.step
                    if objective.tally.usage.requests >= requests:
                        break
        finally:
            note_session(purse.sessions, model, monotonic() - began)
    return max(1, taken)
