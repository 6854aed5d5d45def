"""Run in memory or, as a configuration says, in a folder; or go on with a run that stopped.

To resume is to take the steps again from the first: answers come from the cache, every line already in the
trace is compared with what its step gives, and the search goes on where the trace ends. Nothing is shown here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import tomli_w

from icm_api.config import Config, DiagnosticsSettings, SearchSettings
from icm_api.errors import BudgetError, RunError
from icm_api.journal import Journal
from icm_api.model import LanguageModel, check_endpoint, note_session
from icm_api.model.reading.coverage import coverage_warning
from icm_api.objective import Objective
from icm_api.result import SUMMARY_FILE, Result, write_whole
from icm_api.runs.folder import (
    CONFIG_FILE,
    INPUTS_FILE,
    SESSIONS_FILE,
    check_inputs,
    folder_of,
    has_run,
    inputs_of,
    locked,
)
from icm_api.runs.judging import Trail, judged, with_zero_shot
from icm_api.runs.parts import build_task, config_of, load_dataset, load_start, open_model
from icm_api.runs.seal import seal
from icm_api.runs.trace import TRACE_FILE, trace_record
from icm_api.search import Progress, Start, build_kernel, build_objective, make_start, refuse_folder, result_of
from icm_api.search import search as search_engine
from icm_api.types import Dataset, Labeling, Model, Task


@dataclass(frozen=True, slots=True)
class Watch:
    """What a caller may want to hear of while a run goes on.

    Attributes:
        on_step: called after every step, those taken again in a resume included.
        on_resume: called once before a resume goes on, with the steps on disk and the torn bytes dropped.
        on_warning: called with what to know of the endpoint before the run begins, and of labels that were not judged.
        on_judging: called when the search is over, and its labels are about to be judged.
    """

    on_step: Callable[[Progress], None] = lambda progress: None
    on_resume: Callable[[int, int], None] = lambda steps, torn: None
    on_warning: Callable[[str], None] = lambda warning: None
    on_judging: Callable[[], None] = lambda: None


async def run(
    dataset: Dataset,
    task: Task,
    model: Model,
    *,
    search: SearchSettings | None = None,
    diagnostics: DiagnosticsSettings | None = None,
    fixed: Labeling | None = None,
    start: Labeling | None = None,
    watch: Watch = Watch(),
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
        watch: what to hear of while it goes on.

    Returns:
        A label for every example, with verdict and calibrated probabilities if they were judged. `result.save(folder)`
        writes it.

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
    return await _found(objective, known, settings, diagnostics or DiagnosticsSettings(), watch)


async def run_config(config: Config, watch: Watch = Watch()) -> Result:
    """Run a configuration in a new run folder.

    Raises:
        RunError: the run folder holds a run already.
        IcmError: whatever stops the run; what was paid for is kept, so that it can be resumed.
    """
    folder = folder_of(config)
    if has_run(folder):
        state = "a finished run" if (folder / SUMMARY_FILE).exists() else "an unfinished run"
        raise RunError(
            f"{folder} holds {state}: go on with `icm-api resume {folder}`, or choose another folder with --out"
        )
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    with locked(folder):
        async with open_model(config) as model:
            objective = build_objective(dataset, model, task, config.search)
            # A setting that does not fit the data leaves no run behind.
            build_kernel(objective, config.search, start)
            write_whole(folder / CONFIG_FILE, tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
            write_whole(folder / INPUTS_FILE, json.dumps(inputs_of(config, dataset, model), indent=2) + "\n")
            return await _search(config, objective, start, model, watch)


async def resume(folder: Path, watch: Watch = Watch()) -> Result:
    """Go on with a run that stopped, to the same bytes as if it had not; a finished run is only checked.

    Raises:
        RunError: no run is there, it is damaged, in use, or its data or model changed since it began.
        IcmError: whatever stops the run again.
    """
    config = config_of(folder)
    if folder_of(config) != folder.resolve():
        config = config.changed(run=config.run.changed(folder=folder.resolve()))
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    with locked(folder):
        async with open_model(config) as model:
            check_inputs(folder, config, inputs_of(config, dataset, model))
            return await _search(config, build_objective(dataset, model, task, config.search), start, model, watch)


async def _search(config: Config, objective: Objective, start: Start, model: LanguageModel, watch: Watch) -> Result:
    folder, began = folder_of(config), monotonic()
    with Journal(folder / TRACE_FILE) as journal:
        if journal.recorded or journal.torn:
            watch.on_resume(journal.recorded, journal.torn)

        def record(progress: Progress) -> None:
            journal.write(trace_record(progress))
            watch.on_step(progress)

        def searched() -> None:
            journal.finish()
            watch.on_judging()

        heard = replace(watch, on_step=record, on_judging=searched)
        try:
            result = await _found(objective, start, config.search, config.diagnostics, heard)
            journal.finish()
        finally:
            note_session(folder / SESSIONS_FILE, model, monotonic() - began)
    result.save(folder)
    seal(folder)
    return result


async def _found(
    objective: Objective, start: Start, settings: SearchSettings, diagnostics: DiagnosticsSettings, watch: Watch
) -> Result:
    """Check the endpoint, search, and judge what was found."""
    # What only the check asks for is no cost of the search.
    checking = objective.tally.part()
    for warning in await check_endpoint(objective.model, objective.prompts.verbalizer, checking):
        watch.on_warning(warning)
    for warning in start.clashes(objective.relations):
        watch.on_warning(warning)
    trail = Trail()

    def step(progress: Progress) -> None:
        if progress.info.step == 0:
            reads = tuple(progress.state.score.distributions.values())
            if told := coverage_warning(reads, objective.prompts.verbalizer):
                watch.on_warning(told)
        watch.on_step(progress)
        trail.add(progress.state.labeling)

    found = await search_engine(objective, settings, start, step)
    result = result_of(found, settings)
    watch.on_judging()
    try:
        result = await with_zero_shot(found, result, settings)
        return await judged(found, result, trail, diagnostics, settings.seed) if diagnostics.enabled else result
    except BudgetError as error:
        # The labels are complete, and paid for.
        watch.on_warning(f"the labels are written, but not judged: {error}")
        return result
