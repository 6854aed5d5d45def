"""Run a configuration in a folder, or go on with a run that stopped.

To resume is to take the steps again from the first: answers come from the cache, every line already in the
trace is compared with what its step gives, and the search goes on where the trace ends. Nothing is shown here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import tomli_w

from icm_api.client import Client, check_endpoint, note_session
from icm_api.config import Config
from icm_api.errors import BudgetError, RunError
from icm_api.journal import Journal
from icm_api.objective import Objective
from icm_api.result import SUMMARY_FILE, Result, write_whole
from icm_api.run.folder import (
    CONFIG_FILE,
    INPUTS_FILE,
    SESSIONS_FILE,
    check_inputs,
    folder_of,
    inputs_of,
    locked,
)
from icm_api.run.judging import Trail, judged
from icm_api.run.parts import build_task, config_of, load_dataset, load_start, open_model
from icm_api.run.trace import TRACE_FILE, trace_record
from icm_api.search import Found, Progress, Start, build_kernel, build_objective, result_of, search


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


async def run(config: Config, watch: Watch = Watch()) -> Result:
    """Run a configuration in a new run folder.

    Raises:
        RunError: the run folder holds a run already.
        IcmError: whatever stops the run; what was paid for is kept, so that it can be resumed.
    """
    folder = folder_of(config)
    if (folder / INPUTS_FILE).exists():
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
        config = config.model_copy(update={"run": config.run.model_copy(update={"folder": folder.resolve()})})
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    with locked(folder):
        async with open_model(config) as model:
            check_inputs(folder, inputs_of(config, dataset, model))
            return await _search(config, build_objective(dataset, model, task, config.search), start, model, watch)


async def _search(config: Config, objective: Objective, start: Start, model: Client, watch: Watch) -> Result:
    folder, began = folder_of(config), monotonic()
    with Journal(folder / TRACE_FILE) as journal:
        if journal.recorded or journal.torn:
            watch.on_resume(journal.recorded, journal.torn)

        trail = Trail()

        def record(progress: Progress) -> None:
            journal.write(trace_record(progress))
            trail.add(progress.state.labeling)
            watch.on_step(progress)

        try:
            for warning in await check_endpoint(model, objective.prompts.verbalizer):
                watch.on_warning(warning)
            for warning in start.clashes(objective.relations):
                watch.on_warning(warning)
            found = await search(objective, config.search, start, record)
            journal.finish()
            result = result_of(found, config.search)
            if config.diagnostics.enabled:
                result = await _judged(config, found, result, trail, watch)
        finally:
            note_session(folder / SESSIONS_FILE, model, monotonic() - began)
    result.save(folder)
    return result


async def _judged(config: Config, found: Found, result: Result, trail: Trail, watch: Watch) -> Result:
    watch.on_judging()
    try:
        return await judged(found, result, trail, config.diagnostics, config.search.seed)
    except BudgetError as error:
        # The labels are complete, and paid for.
        watch.on_warning(f"the labels are written, but not judged: {error}")
        return result
