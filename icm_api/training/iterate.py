"""Iterative ICM: batch j + 1 is labelled by the model that was fine-tuned on the labels of batches 1 to j.

A round is a search, as a run of its own would be, and a job on all labels so far. Both are on disk when they are done,
so that the same call goes on where it stopped, and no job is started twice.

Source: Wen et al. 2025, iterative ICM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tomli_w

from icm_api.config import Config
from icm_api.errors import ConfigError, ProviderError, RunError
from icm_api.export import LabelledData
from icm_api.files import write_whole
from icm_api.model import LanguageModel
from icm_api.result import LABELS_FILE, SUMMARY_FILE, Result
from icm_api.runs import (
    CONFIG_FILE,
    INPUTS_FILE,
    build_task,
    folder_of,
    load_dataset,
    load_start,
    locked,
    open_model,
)
from icm_api.runs import run as search_in_memory
from icm_api.runs.batches import merged
from icm_api.runs.batching import Batch, cut_batches
from icm_api.runs.core import units_of
from icm_api.runs.folder import ROUNDS_FOLDER, check_inputs, inputs_of
from icm_api.runs.parts import run_meter
from icm_api.search import build_objective
from icm_api.training.jobs import Wishes, follow, start, training_data
from icm_api.training.open import open_trainer
from icm_api.training.values import Estimate, Job, Tuned
from icm_api.types import Dataset, Labeling, Task

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Teacher:
    """What trains between the batches, and who hears of it.

    Attributes:
        spec: of the model that is trained each time anew, as `open_trainer` takes it.
        options: of the jobs.
        confirm: called with each estimate before data are sent; raises NotConfirmedError to stop there.
        on_round: called with the number of a batch, from 1, and the spec of the model that labels it.
        on_job: called each time that a job was looked at.
    """

    spec: str
    options: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    confirm: Callable[[Estimate], None] = lambda estimate: None
    on_round: Callable[[int, str], object] = lambda number, spec: None
    on_job: Callable[[Job], object] = lambda job: None


async def iterate(config: Config, teacher: Teacher) -> Result:
    """Label a data set batch by batch, each by the model that was trained on the batches before it.

    The folder of the run holds the labels of all batches in the end, as any finished run does.

    Args:
        config: resolved, with `[batches]`; its model labels the first batch.
        teacher: what trains in between.

    Returns:
        The labels of all batches, with names aligned on the examples that all share.

    Raises:
        ConfigError: there is no `[batches]`, the data make no two, or the trainer is unknown or lacks its key.
        RunError: the folder holds a run of other data or another configuration, or is in use.
        NotConfirmedError: a job was not wanted; all labels so far are kept.
        ProviderError: a job failed.
        IcmError: whatever stops a search; what is done is kept.
    """
    if config.batches is None:
        raise ConfigError("iterative ICM labels batch by batch: add the table [batches], with size")
    folder, dataset, task = folder_of(config), load_dataset(config), build_task(config)
    # Whatever is wrong with the trainer is said before the first batch is paid for.
    await open_trainer(teacher.spec, teacher.options, place=folder / ROUNDS_FOLDER).close()
    unit = units_of(dataset, config.constraints, config.data.seed, single=False)
    batches = cut_batches(dataset, unit, config.batches)
    known = load_start(config, dataset, task)
    with locked(folder):
        meter = run_meter(config)
        found: list[Result] = []
        model, whole = Tuned(config.model.provider, dict(config.model.options)), None
        for number, batch in enumerate(batches, 1):
            place = folder / ROUNDS_FOLDER / f"{number:04}"
            teacher.on_round(number, model.spec)
            asked = config.changed(model=config.model.changed(provider=model.spec, options=dict(model.options)))
            async with open_model(asked, meter=meter) as opened:
                if whole is None:
                    settle(config, folder, inputs_of(config, dataset, opened))
                    whole = build_objective(dataset, opened, task, config.search)
                fixed = known.among(batch.dataset.ids).fixed
                if config.batches.carry and found:
                    fixed = fixed.assign({row.id: row.label for row in found[0].examples if row.id in batch.shared})
                found.append(await _searched(asked, task, batch, place, opened, fixed))
            so_far = merged(found, batches[:number], whole, config).in_order_of(dataset)
            if number < len(batches):
                model = await trained(teacher, _labelled(dataset, so_far, task), place)
        so_far.save(folder)
    return so_far


async def _searched(
    config: Config, task: Task, batch: Batch, place: Path, model: LanguageModel, fixed: Labeling
) -> Result:
    """The labels of one batch: from disk if they are there."""
    if (place / SUMMARY_FILE).is_file() and (place / LABELS_FILE).is_file():
        return Result.load(place)
    result = await search_in_memory(
        batch.dataset, task, model, search=config.search, diagnostics=config.diagnostics, fixed=fixed
    )
    place.mkdir(parents=True, exist_ok=True)
    result.save(place)
    return result


async def trained(teacher: Teacher, data: LabelledData, place: Path) -> Tuned:
    """The model that was trained on labels.

    Args:
        teacher: what trains it.
        data: the labels.
        place: folder of the job.

    Raises:
        NotConfirmedError: the job was not wanted.
        ProviderError: it failed.
    """
    trainer = open_trainer(teacher.spec, teacher.options, place=place)
    try:
        wishes = Wishes(teacher.confirm, otherwise="begin anew in another folder with --out")
        job = await start(trainer, lambda: training_data(data, trainer, place), place, wishes)
        job = await follow(trainer, place, job, teacher.on_job)
        if job.state != "succeeded":
            raise ProviderError(f"{trainer.identity}: {job.line()}; remove {place / 'jobs.jsonl'} to train anew")
        return trainer.result(job)
    finally:
        await trainer.close()


def settle(config: Config, folder: Path, inputs: Mapping[str, Any]) -> None:
    """Write down what is labelled, or compare it with what was.

    Args:
        config: of the run.
        folder: of the run.
        inputs: what it reads, as `inputs_of` gives it.

    Raises:
        RunError: the folder holds a run that was labelled otherwise, of other data or another configuration.
    """
    if (folder / LABELS_FILE).exists() and not (folder / ROUNDS_FOLDER).is_dir():
        raise RunError(f"{folder} holds a run that was not labelled batch by batch: choose another folder with --out")
    if (folder / INPUTS_FILE).exists():
        check_inputs(folder, config, inputs)
        return
    write_whole(folder / CONFIG_FILE, tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
    write_whole(folder / INPUTS_FILE, json.dumps(inputs, indent=2) + "\n")


def _labelled(dataset: Dataset, result: Result, task: Task) -> LabelledData:
    """The labels so far, with the texts that they are about."""
    labelled = {row.id for row in result.examples}
    texts = Dataset(example for example in dataset if example.id in labelled)
    return LabelledData(texts, result, task.template, task.verbalizer)
