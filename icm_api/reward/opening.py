"""A reward model from a run folder, with the run's cache and budget, or from the spec of a trained one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from icm_api.config import CoreSection, Prices, Section
from icm_api.errors import ConfigError
from icm_api.model.options import LocalOptions, checked_options
from icm_api.reward.judge import RewardModel, check_comparing, prompt_names
from icm_api.reward.scored import ScoredReward, Scoring
from icm_api.runs import FinishedRun
from icm_api.runs.cutting import frozen_of
from icm_api.runs.frozen import freeze
from icm_api.runs.more import asked_again
from icm_api.search import build_objective
from icm_api.types import Dataset

_TRAINED = ("huggingface:", "pocket:")


def is_trained(run: str | Path) -> bool:
    """Whether this is the spec of a trained reward model, and no run folder.

    Args:
        run: a folder or a spec.

    Example:
        >>> is_trained("huggingface:Skywork/Skywork-Reward-V2-Qwen3-0.6B"), is_trained("runs/helpful")
        (True, False)
    """
    return str(run).startswith(_TRAINED) and not Path(run).exists()


def open_trained(spec: str, options: Mapping[str, Any] | None = None) -> ScoredReward:
    """A reward model with a score for each reply, as `icm-api train RUN --reward` makes it, or one from the hub.

    Args:
        spec: `huggingface:MODEL`, a folder or a name on the hub of a sequence classifier with one output; or
            `pocket:FOLDER`.
        options: of huggingface, as under [model.options]: device, dtype, batch_size, revision.

    Raises:
        ConfigError: an option is unknown or wrong.
        ProviderError: the model is none that scores, or cannot be loaded.
    """
    name, _, model = spec.partition(":")
    if name == "pocket":
        from icm_api.reward.pocket_head import PocketHead

        if options:
            raise ConfigError(f"{spec} takes no options, got {', '.join(options)}", option=next(iter(options)))
        return ScoredReward(Scoring(PocketHead(Path(model))))
    from icm_api.reward.local_head import LocalHead

    return ScoredReward(Scoring(LocalHead(model, checked_options(LocalOptions, name, options or {}))))


@asynccontextmanager
async def open_reward_model(
    run: str | Path,
    *,
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    prices: Prices | None = None,
    demonstrations: int | None = None,
) -> AsyncIterator[RewardModel | ScoredReward]:
    """A reward model of a finished run that labelled which of two replies is better, or one trained on such labels.

    What a run's asks counts on the run's budget and is kept in the run's cache. The first time it asks up to 128
    questions about the run's own pairs, to calibrate. A trained one computes a score for each reply, on this machine.

    Args:
        run: its folder; or the spec of a trained one, as `open_trained` takes it, which takes `options` alone.
        model: spec of another model to ask; by default the run's.
        options: of another model.
        prices: of another model, if the budget is in money.
        demonstrations: the most comparisons to show; by default as many as `[core] demonstrations` says.

    Yields:
        The reward model, for as long as the folder is held.

    Raises:
        RunError: the run is not finished, is in use, or its data changed.
        ConfigError: the run does not compare two texts, the model is unknown, or a trained one is given what it has
            no use for.
        ProviderError: the model cannot be loaded, or gave no usable logprobs.
        BudgetError: the next request could exceed the budget.

    Example:
        ``async with icm_api.open_reward_model("runs/helpful") as reward: await reward.rank(prompt, replies)``
    """
    if is_trained(run):
        if model is not None or prices is not None or demonstrations is not None:
            raise ConfigError(f"{run} is a trained reward model: it asks no other model, and is shown nothing")
        yield open_trained(str(run), options)
        return
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
        run: its folder, and no spec of a trained reward model, which takes a prompt or none.

    Returns:
        The names, such as ("prompt",); none if replies are compared by themselves.

    Raises:
        RunError: the run is not finished, or its files changed.
        ConfigError: the run does not compare two texts.
    """
    task = FinishedRun.open(run).task
    check_comparing(task)
    return prompt_names(task.template)
