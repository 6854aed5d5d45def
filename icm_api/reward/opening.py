"""A reward model from a run folder: the run's labels, its cache, its budget, and its model or any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from icm_api.config import CoreSection, Prices, Section
from icm_api.reward.judge import RewardModel, check_comparing, prompt_names
from icm_api.runs import FinishedRun
from icm_api.runs.cutting import frozen_of
from icm_api.runs.frozen import freeze
from icm_api.runs.more import asked_again
from icm_api.search import build_objective
from icm_api.types import Dataset


@asynccontextmanager
async def open_reward_model(
    run: str | Path,
    *,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    prices: Prices | None = None,
    demonstrations: int | None = None,
) -> AsyncIterator[RewardModel]:
    """A reward model of a finished run that labelled which of two replies is better.

    What it asks counts on the run's budget and is kept in the run's cache. The first time it asks up to 128 questions
    about the run's own pairs, to calibrate.

    Args:
        run: its folder.
        model: spec of another model to ask; by default the run's.
        options: of another model.
        prices: of another model, if the budget is in money.
        demonstrations: the most comparisons to show; by default as many as `[core] demonstrations` says.

    Yields:
        The reward model, for as long as the folder is held.

    Raises:
        RunError: the run is not finished, is in use, or its data changed.
        ConfigError: the run does not compare two texts, or the model is unknown.
        ProviderError: the model cannot be loaded, or gave no usable logprobs.
        BudgetError: the next request could exceed the budget.

    Example:
        ``async with icm_api.open_reward_model("runs/helpful") as reward: await reward.rank(prompt, replies)``
    """
    folder = Path(run)
    finished = FinishedRun.open(folder)
    check_comparing(finished.task)
    config = finished.config.changed(run=finished.config.run.changed(folder=folder.resolve()))
    if model is not None:
        named = config.model.changed(provider=model, options=dict(options or {}))
        # No file states that model, so that none is blamed for it.
        config = Section.changed(config, model=named, prices=prices)
    core = Dataset(finished.dataset.get(row.id) for row in finished.result.examples)
    async with asked_again(config) as asked:
        objective = build_objective(core, asked, finished.task, config.search)
        if model is None and demonstrations is None:
            frozen = await frozen_of(config, objective, finished.result)
        else:
            # Those of the run's own model are in the folder, and stay.
            most = demonstrations or (config.core or CoreSection()).demonstrations
            frozen = await freeze(finished.result, objective, config.search, most)
        yield RewardModel.after(frozen, objective)


def shown_with_replies(run: str | Path) -> tuple[str, ...]:
    """The names of the texts that a run's template shows beside the two replies; opens no model.

    Args:
        run: its folder.

    Returns:
        The names, such as ("prompt",); none if replies are compared by themselves.

    Raises:
        RunError: the run is not finished, or its files changed.
        ConfigError: the run does not compare two texts.
    """
    task = FinishedRun.open(run).task
    check_comparing(task)
    return prompt_names(task.template)
