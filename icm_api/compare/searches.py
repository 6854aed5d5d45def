"""The searches of a comparison, each a run folder of its own, so that one cut short goes on where it was.

`run` and `resume` do the work; this file says what each method runs, where, and under which budget: one budget holds
over the whole comparison. Judging without gold is left out: it changes no label. No gold label is anywhere near.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import tomli_w

from icm_api.compare.split import Split, write_searched
from icm_api.config import (
    Budget,
    CompareSettings,
    Config,
    Constraints,
    DiagnosticsSettings,
    RunSection,
    SearchSettings,
)
from icm_api.errors import ProviderError, RunError
from icm_api.files import write_whole
from icm_api.model import note_session, spent
from icm_api.model.client.meter import most_cost
from icm_api.objective import Objective
from icm_api.result import SUMMARY_FILE
from icm_api.runs import (
    CONFIG_FILE,
    SESSIONS_FILE,
    SPENDING_FILE,
    FinishedRun,
    Watch,
    build_task,
    config_of,
    folder_of,
    has_run,
    load_dataset,
    load_start,
    prices_of,
    resume,
    run_config,
)
from icm_api.runs.aside import Aside, allowed
from icm_api.runs.executing import Executor
from icm_api.runs.executors import executing
from icm_api.runs.parts import open_models
from icm_api.search import Start, build_kernel, build_objective, iterate, steps_of
from icm_api.types import Usage

SEARCHES = ("icm", "icm-unconstrained", "bootstrap", "bootstrap-equal")
"""The methods that search, in the order in which they run: the last one needs to know what the first asked."""
_MOST_RESTARTS = 200
"""Of bootstrapping at ICM's cost, which may have nothing new to ask long before it has asked as much."""
_SAME = ("data", "prompt", "model", "constraints", "search")
"""The sections that decide what a run finds."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of a comparison: where its files are, and what it may still spend.

    What was spent is what the ledgers say, those in the run folders and those of its own questions, so that killed
    processes are counted too.

    Attributes:
        config: of the comparison; it states budget and prices.
        folder: of the comparison.
    """

    config: Config
    folder: Path

    def run(self, method: str, seed: int) -> Path:
        """The run folder of a search."""
        return self.folder / "runs" / f"{method}-{seed}"

    def searched(self, seed: int) -> Path:
        """The examples that a seed searches."""
        return self.folder / "seeds" / str(seed) / "searched.jsonl"

    def sessions(self, *, chat: bool = False) -> Path:
        """Where questions outside the runs are noted, or those to the chat model."""
        return self.folder / (f"chat-{SESSIONS_FILE}" if chat else SESSIONS_FILE)

    def spending(self, *, chat: bool = False) -> Path:
        """The ledger of questions outside the runs, or of those to the chat model."""
        return self.folder / (f"chat-{SPENDING_FILE}" if chat else SPENDING_FILE)

    def finished(self) -> list[FinishedRun]:
        """The searches that are finished, in the order of their names. Raises RunError if one is damaged."""
        return [FinishedRun.open(path.parent) for path in sorted(self.folder.glob(f"runs/*/{SUMMARY_FILE}"))]

    def sent(self, but: Path | None = None) -> tuple[Usage, float | None]:
        """What was sent by now, over all processes, and what it cost; None without prices.

        Args:
            but: a run folder whose ledger is not counted.

        Raises:
            RunError: a ledger is damaged.
            StorageError: a ledger cannot be read.
        """
        prices, chat_prices = prices_of(self.config), prices_of(self.config, chat=True)
        files = [self.spending(), *self.folder.glob(f"runs/*/{SPENDING_FILE}")]
        asked = sum((spent(path) for path in files if but is None or path.parent != but), Usage())
        chat = spent(self.spending(chat=True))
        if prices is None:
            return asked + chat, None
        return asked + chat, most_cost(asked, prices) + (
            most_cost(chat, chat_prices) if chat_prices is not None else 0.0
        )

    def left(self, but: Path | None = None) -> Budget:
        """What may still be spent.

        Args:
            but: a run folder whose ledger is not counted.

        Returns:
            Money (in the currency of the prices), requests and tokens, at least 0; None if not bounded.

        Raises:
            RunError: a ledger is damaged.
            StorageError: a ledger cannot be read.
        """
        budget = self.config.budget
        if budget == Budget():
            return budget
        used, paid = self.sent(but)
        return Budget(
            money=None if budget.money is None else max(0.0, budget.money - (paid or 0.0)),
            requests=_rest(budget.requests, used.requests),
            tokens=_rest(budget.tokens, used.prompt_tokens + used.completion_tokens),
        )


def _rest(most: int | None, used: int) -> int | None:
    return None if most is None else max(0, most - used)


def method_config(method: str, split: Split, place: Place) -> Config:
    """What a method runs on a split.

    Args:
        method: of `SEARCHES`.
        split: whose searched examples are written into the folder of the comparison.
        place: the folder of the comparison.

    Raises:
        RunError: the file of the examples is there with others.
    """
    config = place.config
    return config.changed(
        data=write_searched(config, split.searched, place.searched(split.seed)),
        search=settings_of(config.search, method, split.seed),
        constraints=constraints_of(config, method),
        diagnostics=DiagnosticsSettings(enabled=False),
        compare=CompareSettings(),
        run=RunSection(folder=place.run(method, split.seed).resolve(), tolerate=config.run.tolerate),
    )


def constraints_of(config: Config, method: str) -> tuple[Constraints, ...]:
    """The constraints that a method keeps.

    Args:
        config: of the comparison.
        method: of `SEARCHES`.
    """
    return () if method == "icm-unconstrained" else config.constraints


def settings_of(search: SearchSettings, method: str, seed: int) -> SearchSettings:
    """The search of a method: the configuration's own, or bootstrapping with those of its settings that apply there.

    Args:
        search: `[search]` of the comparison.
        method: of `SEARCHES`.
        seed: of the search.
    """
    if not method.startswith("bootstrap"):
        return search.changed(seed=seed)
    kept = ("alpha", "statistic", "estimator", "seed_labels", "start", "rounds", "restarts")
    values = {name: getattr(search, name) for name in kept}
    if method == "bootstrap-equal":
        values["restarts"] = _MOST_RESTARTS
    return SearchSettings(engine="bootstrap", seed=seed, **values)


@asynccontextmanager
async def seeds_executor(place: Place) -> AsyncIterator[Executor | None]:
    """What works on the searches of several seeds side by side, under one budget; None for one after the other.

    Args:
        place: the folder of the comparison, which is locked.

    Raises:
        ConfigError: its package is missing, or the cache is of one machine and the workers are on several.
        ClusterError: no cluster answers.
    """
    if place.config.run.executor is None:
        yield None
        return
    # Its ledger is that of the comparison; what single runs spent without it is over.
    config = place.config.changed(
        run=place.config.run.changed(folder=place.folder.resolve()),
        budget=place.left(but=place.folder),
        diagnostics=DiagnosticsSettings(enabled=False),
    )
    async with executing(config) as executor:
        yield executor


async def searched(config: Config, place: Place, watch: Watch, executor: Executor | None = None) -> FinishedRun:
    """A run: opened if it is finished, gone on with if it was cut short, else begun.

    Args:
        config: of the run, as `method_config` makes it.
        place: the folder of the comparison, with what is left of its budget.
        watch: is told how the run goes.
        executor: of all searches; None for this process.

    Raises:
        RunError: the folder holds a run of another configuration.
        IcmError: whatever stops the run; the same call goes on with it.
    """
    folder = folder_of(config)
    if not has_run(folder):
        return FinishedRun(folder, await run_config(_within(config, place), watch, executor))
    _check_same(folder, config)
    if (folder / SUMMARY_FILE).exists():
        return FinishedRun.open(folder)
    if config.budget != Budget():
        write_whole(folder / CONFIG_FILE, tomli_w.dumps(_plain(_within(config, place))))
    return FinishedRun(folder, await resume(folder, watch, executor))


def _within(config: Config, place: Place) -> Config:
    """Under what is left of the budget, its own ledger apart, which a run counts by itself."""
    return config.changed(budget=place.left(but=folder_of(config)))


def _plain(config: Config) -> Mapping[str, object]:
    return config.model_dump(mode="json", exclude_none=True)


def _check_same(folder: Path, config: Config) -> None:
    then, now = _plain(config_of(folder)), _plain(config)
    for section in _SAME:
        if then[section] != now[section]:
            raise RunError(
                f"{folder} holds a run with another [{section}]: it changed since this comparison began; "
                "put back what changed, or choose another folder with --out"
            )


async def at_equal_cost(config: Config, icm: FinishedRun, place: Place, executor: Executor | None = None) -> Config:
    """Bootstrapping with restarts until it has asked at least as many requests as ICM, as a configuration.

    The steps that this takes are found by taking them; the run then gets its answers from the cache. It asks less only
    if 200 restarts have nothing new to ask.

    Args:
        config: of the run, as `method_config` makes it.
        icm: the search to ask as much as; what it set aside is not asked about.
        place: the folder of the comparison, with what is left of its budget.
        executor: of all searches; None for this process.

    Returns:
        The configuration with `search.steps`, at least 1.

    Raises:
        IcmError: whatever stops the search.
    """
    folder = folder_of(config)
    steps = config_of(folder).search.steps if has_run(folder) else await _steps(config, icm, place, executor)
    return config.changed(search=config.search.changed(steps=steps))


async def _steps(config: Config, icm: FinishedRun, place: Place, executor: Executor | None) -> int:
    dataset, task = load_dataset(config), build_task(config)
    start, began = load_start(config, dataset, task), monotonic()
    aside = Aside(icm.set_aside, allowed(config.run.tolerate, len(dataset)))
    line = None if executor is None else executor.line
    async with open_models(_within(config, place), line) as (model, _):
        whole = build_objective(dataset, model, task, config.search)
        try:
            while True:
                try:
                    return await _taken(*aside.without(whole, start), config.search, icm.result.usage.requests)
                except ProviderError as error:
                    aside = await aside.blaming(error, whole)
        finally:
            if executor is None:
                note_session(place.sessions(), model, monotonic() - began)


async def _taken(objective: Objective, start: Start, settings: SearchSettings, requests: int) -> int:
    """The steps until so many requests were asked; at least 1."""
    taken, kernel = 0, build_kernel(objective, settings, start)
    async with aclosing(iterate(kernel, objective, steps_of(settings, len(objective.dataset)))) as steps:  # type: ignore[type-var]
        async for state, _ in steps:
            taken = state.step
            if objective.tally.usage.requests >= requests:
                break
    return max(1, taken)
