"""Run in memory or, as a configuration says, in a folder; or go on with a run that stopped.

To resume is to take the steps again from the first: answers come from the cache, every line already in the
trace is compared with what its step gives, and the search goes on where the trace ends. Nothing is shown here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from time import monotonic, time

import tomli_w

from icm_api.config import TOLERATE, Config, DiagnosticsSettings, SearchSettings
from icm_api.errors import DeadlineError, RunError
from icm_api.files import write_whole
from icm_api.journal import Journal
from icm_api.model import LanguageModel, note_session
from icm_api.result import LABELS_FILE, SUMMARY_FILE, Result
from icm_api.runs.aside import Aside, allowed, read_aside
from icm_api.runs.batches import search_batches
from icm_api.runs.cutting import Cut, Large, forget_rest, label_rest, searched_before
from icm_api.runs.executing import Executor, Heard, again_if_lost
from icm_api.runs.executors import executing
from icm_api.runs.folder import (
    CONFIG_FILE,
    HASHED,
    INPUTS_FILE,
    ORDER_KEY,
    ROUNDS_FOLDER,
    SESSIONS_FILE,
    check_free,
    check_inputs,
    folder_of,
    has_run,
    inputs_of,
    locked,
    new_folder,
    read_inputs,
)
from icm_api.runs.parts import config_of, open_models
from icm_api.runs.planning import planned
from icm_api.runs.seal import SEAL_FILE, seal
from icm_api.runs.searching import UNWATCHED, Watch, Work
from icm_api.runs.trace import TRACE_FILE, trace_record
from icm_api.search import Progress, build_kernel, build_objective, make_start, refuse_folder
from icm_api.types import Dataset, Labeling, Model, Task


async def run(
    dataset: Dataset,
    task: Task,
    model: Model,
    *,
    search: SearchSettings | None = None,
    diagnostics: DiagnosticsSettings | None = None,
    fixed: Labeling | None = None,
    start: Labeling | None = None,
    witness: Model | None = None,
    tolerate: int | float = TOLERATE,
    watch: Watch = UNWATCHED,
) -> Result:
    """Label a data set and judge the labels, in memory: nothing is written, and no configuration is read.

    Args:
        dataset: the examples.
        task: template, labels and constraints.
        model: as `open_model` gives it.
        search: how to search; by default as a configuration that says nothing of it.
        diagnostics: how much to spend on judging; `enabled=False` leaves the labels unjudged.
        fixed: labels that a person gave to some of the examples.
        start: labels that the first restart begins from.
        witness: another model, to score the labels found once more.
        tolerate: how many examples may be set aside that the model refuses: a count, or a share if it is a float.
        watch: what to hear of while it goes on.

    Returns:
        A label for every example that was not set aside, with verdict and calibrated probabilities if they were judged.
        `result.save(folder)` writes it.

    Raises:
        ConfigError: a setting, a constraint or a label does not fit the data.
        PromptError: an example cannot be shown to the model.
        ProviderError: the endpoint cannot be used, or gave no usable logprobs.
        BudgetError: the next request could exceed the budget.
    """
    settings = search or SearchSettings()
    refuse_folder(settings)
    known = make_start(dataset, task.verbalizer.labels, fixed, start)
    objective = build_objective(dataset, model, task, settings)
    work = Work(objective, known, settings, diagnostics or DiagnosticsSettings(), witness)
    return (await work.result(Aside(most=allowed(tolerate, len(dataset))), watch)).in_order_of(dataset)


async def run_config(config: Config, watch: Watch = UNWATCHED, executor: Executor | None = None) -> Result:
    """Run a configuration in a new run folder. If it is refused before its first step, it leaves none.

    Of a data set that does not fit the context window, a core is searched, and the rest is labelled from it, into files
    in the folder `parts`: see `icm_api.runs.core`.

    Args:
        config: resolved.
        watch: what to hear of.
        executor: works on several runs side by side, and holds their budget; by default what the configuration names,
            for this run alone.

    Returns:
        What was searched, with its labels: all examples, or the core.

    Raises:
        RunError: the run folder holds a run already.
        IcmError: whatever stops the run; what was paid for is kept, so that it can be resumed.
    """
    folder = folder_of(config)
    if has_run(folder):
        finished = (folder / SUMMARY_FILE).exists()
        holds = f"a finished run: `icm-api show {folder}`" if finished else f"a run: `icm-api resume {folder}` goes on"
        free = next(each for at in count(2) if not (each := folder.with_name(f"{folder.name}-{at}")).exists())
        raise RunError(f"{folder} holds {holds}; to begin another one, choose another folder, e.g. --out {free}")
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    check_free(folder, text)
    large = Large.open(config)
    with new_folder(folder):
        async with _executor(config, executor) as own, open_models(config, own.line) as (model, witness):
            cut = large.cut(model)
            objective = build_objective(cut.dataset, model, cut.task, config.search)
            # Whatever does not fit the data shows before anything is written.
            build_kernel(objective, config.search, cut.start)
            write_whole(folder / CONFIG_FILE, text)
            inputs = {**inputs_of(config, large.rows, model), ORDER_KEY: HASHED, **cut.inputs()}
            write_whole(folder / INPUTS_FILE, json.dumps(inputs, indent=2) + "\n")
            work = Work(objective, cut.start, config.search, config.diagnostics, witness)
            return await _worked(_Handling(config, watch, own, shared=executor is not None), work, model, cut)


async def resume(folder: Path, watch: Watch = UNWATCHED, executor: Executor | None = None) -> Result:
    """Go on with a run that stopped, to the same bytes as if it had not; a finished run is only checked.

    Examples that were set aside are asked about again first. If some are answered now, the run begins anew with them.

    Args:
        folder: of the run.
        watch: what to hear of.
        executor: as for `run_config`.

    Raises:
        RunError: no run is there, it is damaged, in use, or its data or model changed since it began.
        IcmError: whatever stops the run again.
    """
    config = config_of(folder)
    if (folder / ROUNDS_FOLDER).is_dir():
        raise RunError(
            f"{folder} was labelled batch by batch, by models that were trained in between: repeat `icm-api iterate` "
            "with the same --with to go on"
        )
    if folder_of(config) != folder.resolve():
        config = config.changed(run=config.run.changed(folder=folder.resolve()))
    large = Large.open(config)
    with locked(folder):
        async with _executor(config, executor) as own, open_models(config, own.line) as (model, witness):
            check_inputs(folder, config, inputs_of(config, large.rows, model))
            inputs = read_inputs(folder)
            cut, by_file = large.cut_before(inputs), inputs.get(ORDER_KEY) != HASHED
            objective = build_objective(cut.dataset, model, cut.task, config.search, in_file_order=by_file)
            work = Work(objective, cut.start, config.search, config.diagnostics, witness)
            return await _worked(_Handling(config, watch, own, shared=executor is not None), work, model, cut)


@dataclass(frozen=True, slots=True)
class _Handling:
    """How a run is worked on.

    Attributes:
        config: of the run.
        watch: what to hear of.
        executor: works on its pieces.
        shared: it works on other runs too, so that what it sent is not this run's alone.
    """

    config: Config
    watch: Watch
    executor: Executor
    shared: bool


@asynccontextmanager
async def _executor(config: Config, given: Executor | None) -> AsyncIterator[Executor]:
    if given is not None:
        yield given
        return
    async with executing(config) as own:
        yield own


async def _worked(handling: _Handling, work: Work, model: LanguageModel, cut: Cut) -> Result:
    """All the work of a run until its deadline."""
    config, deadline = handling.config, handling.config.run.deadline
    if deadline is None:
        return await _all(handling, work, model, cut)
    limit = asyncio.timeout(deadline.timestamp() - time())
    try:
        async with limit:
            return await _all(handling, work, model, cut)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineError(
            f"the deadline of the run ([run] deadline) was {deadline}; what was answered is kept: set another in "
            f"{folder_of(config) / CONFIG_FILE}, then resume"
        ) from error


async def _all(handling: _Handling, work: Work, model: LanguageModel, cut: Cut) -> Result:
    """The search, unless the rest alone is left to do, and the rest, if there is one."""
    folder, began = folder_of(handling.config), monotonic()
    try:
        result = searched_before(folder, cut) or await _searched(handling, work, model, cut)
        if cut.split is not None:
            # What was paid for is not asked again if the rest is cut short.
            result.save(folder)
            seal(folder, parts=False)
            handling.watch.on_model(model)
            await label_rest(handling.config, work.objective, result, cut, handling.watch.on_part, handling.executor)
    finally:
        await handling.executor.refresh()
        if not handling.shared:
            note_session(folder / SESSIONS_FILE, model, monotonic() - began)
    if cut.split is None:
        result.save(folder)
    seal(folder)
    return result


async def _searched(handling: _Handling, work: Work, model: LanguageModel, cut: Cut) -> Result:
    if not cut.batches:
        return (await again_if_lost(lambda: _search(handling, work, model))).in_order_of(cut.dataset)
    handling.watch.on_model(model)
    found = await search_batches(handling.config, work, cut.batches, handling.watch, handling.executor)
    return found.in_order_of(cut.dataset)


async def _search(handling: _Handling, work: Work, model: LanguageModel) -> Result:
    """One search: in this process, step by step, or as a piece of the executor that several runs share."""
    config, watch, folder = handling.config, handling.watch, folder_of(handling.config)
    aside = Aside(read_aside(folder), allowed(config.run.tolerate, len(work.objective.dataset)))
    with Journal(folder / TRACE_FILE) as journal:

        def anew(aside: Aside) -> None:
            # In this order: whoever is killed in between finds out about the examples once more.
            for name in (SEAL_FILE, SUMMARY_FILE, LABELS_FILE):
                (folder / name).unlink(missing_ok=True)
            forget_rest(folder)
            journal.restart()
            aside.save(folder)

        def record(progress: Progress) -> None:
            journal.write(trace_record(progress))
            watch.on_step(progress)

        def searched() -> None:
            journal.finish()
            watch.on_judging()

        aside = await aside.asked_again(work.objective, anew)
        if journal.recorded or journal.torn:
            watch.on_resume(journal.recorded, journal.torn)
        expected = await planned(work.objective, work.settings, work.diagnostics, work.start, model)
        if handling.shared:
            watch.on_model(model)
            result = await handling.executor.search(work, aside, Heard(journal.write, watch.on_warning, anew))
        else:
            result = await work.result(aside, replace(watch, on_step=record, on_judging=searched), anew)
        result = replace(result, about={**result.about, "planned": expected})
        journal.finish()
    return result
