"""From a data set to a result: sets up objective and kernel, takes the steps, completes what is left open.

Nothing is written or shown here; `on_step` hears of every step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from logging import getLogger
from typing import Any

from icm_api.config import SearchSettings
from icm_api.consistency import compile_relations
from icm_api.errors import BudgetError, ConfigError
from icm_api.model.reading.coverage import refuse_unknown
from icm_api.objective import INFORMATION, LeaveOneOut, Objective, information
from icm_api.prompts import PromptBuilder
from icm_api.result import Result, build_result
from icm_api.search.align import LARGEST_UNIT, units
from icm_api.search.component_anneal import label_units
from icm_api.search.engines import build_kernel, engine_of, steps_of
from icm_api.search.estimating import believed, estimator_of, exact_too
from icm_api.search.kernel import Info, Kernel, State, better, touched
from icm_api.search.start import Start, make_start, refuse_folder
from icm_api.types import Constraint, Dataset, Labeling, Model, Score, Task, Usage

_LOG = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """What `on_step` hears of a step.

    Attributes:
        info: what the step did.
        state: the search after it.
        usage: requests and tokens asked for since the search began.
        steps: the most steps of the search.
    """

    info: Info
    state: State
    usage: Usage
    steps: int


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome of a search, before it is a result.

    Attributes:
        score: of the best complete labeling seen, as it is handed out: by leave-one-out if that fits the settings.
        estimated: the same labeling's score by the estimator of the search.
        usage: requests and tokens asked for.
        state: after the last step.
        ends: per restart that began at random labels, at the model's predictions or at given labels, and was complete
            at any time: the complete labeling that it ended at, its best or its last, as `Engine.end` says.
        objective: U(D), to ask more of it.
        start: labels known beforehand.
    """

    score: Score
    estimated: Score
    usage: Usage
    state: State
    ends: tuple[Labeling, ...]
    objective: Objective
    start: Start


def build_objective(
    dataset: Dataset, model: Model, task: Task, settings: SearchSettings, *, in_file_order: bool = False
) -> Objective:
    """U(D) for a data set, a model and a task.

    Its examples are in the order of a hash of their contents, so that nothing that is asked or drawn depends on where
    a row is in a file: models believe the last labels shown most, and a file may be sorted by gold.

    Args:
        dataset: the examples.
        model: whom to ask.
        task: template, labels and constraints.
        settings: alpha, the statistic and the estimator are taken from them.
        in_file_order: leave the examples as they are, for a run that began so.

    Raises:
        ConfigError: the statistic does not fit the label set, or a constraint names an id, a label or a key that does
            not exist.
    """
    dataset = dataset if in_file_order else dataset.hashed()
    prompts = PromptBuilder(task.template, task.verbalizer, model.count_tokens, model.capabilities.context_window)
    relations = compile_relations(dataset, task.verbalizer.labels, task.constraints)
    by_default = "mean_logprob" if relations.rule_out_alike() else INFORMATION
    statistic = settings.statistic or by_default
    estimator = estimator_of(settings, model, len(dataset), len(task.verbalizer.labels))
    return Objective(dataset, prompts, model, relations, settings.alpha, statistic, estimator)


async def iterate(kernel: Kernel, objective: Objective, steps: int) -> AsyncIterator[tuple[State, Info]]:
    """Every step of a search, seeding first; the last state has a complete best labeling.

    If the steps end before any labeling was complete, one more step labels what is left: each example with the
    label most probable given the labels found, relations kept.

    Args:
        kernel: proposes and decides.
        objective: U(D), as the kernel has it.
        steps: the most steps.

    Yields:
        The state after each step, and what the step did.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    state, info = await kernel.init()
    yield state, info
    while state.step < steps and not kernel.finished(state):
        state, info = await kernel.step(state)
        yield state, info
    if state.best is None:
        yield await _complete(objective, state)


async def _complete(objective: Objective, state: State) -> tuple[State, Info]:
    left = [
        open_unit
        for unit in units(objective.dataset, objective.relations, LARGEST_UNIT)
        if (open_unit := tuple(key for key in unit if key not in state.labeling))
    ]
    score = await objective(await label_units(objective, left, state.labeling), near=state.score)
    examples, old, new = touched(state.labeling, score.labeling)
    number, change = state.step + 1, score.value - state.score.value
    info = Info(number, state.restart, "grow", "complete", examples, old, new, change, 0.0, True, score)
    best = better(None, score, len(objective.dataset))
    return State(score, best, number, state.accepted + 1, state.restart, state.began), info


async def search(
    objective: Objective,
    settings: SearchSettings,
    start: Start | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Found:
    """The labeling with the largest U(D) that an engine sees, and the end of each restart.

    Args:
        objective: U(D).
        settings: the search.
        start: labels known beforehand.
        on_step: called after every step.

    Returns:
        The best complete labeling with its score, and what else the judge needs.

    Raises:
        ConfigError: a setting does not fit the data set, or the data set is empty.
        ProviderError: the model gave no usable logprobs, or its first answers say nothing of any label.
    """
    size, start = len(objective.dataset), start or Start()
    if not size:
        raise ConfigError("the data set is empty: there is nothing to label")
    engine, kernel, steps = engine_of(settings), build_kernel(objective, settings, start), steps_of(settings, size)
    ends: dict[int, Score | None] = {}
    scored = False
    async for state, info in iterate(kernel, objective, steps):
        if not scored and state.score.distributions:
            scored = True
            refuse_unknown(
                tuple(state.score.distributions.values()),
                objective.prompts.verbalizer,
                instruction=objective.prompts.template.instruction,
                options=objective.model.capabilities.options,
            )
        # Challengers come after all restarts, and are no search of their own; nor is a choice between the ends.
        if info.restart < settings.restarts and info.kind != "choose":
            so_far = ends.get(info.restart) if engine.end == "best" else None
            ends[info.restart] = better(so_far, info.score, size)
        if on_step is not None:
            on_step(Progress(info, state, objective.tally.usage, steps))
    assert state.best is not None
    found = tuple(score.labeling for score in ends.values() if score is not None)
    best = await objective.completed(state.best)
    score = await exactly(objective, best, settings)
    return Found(score, best, objective.tally.usage, state, found, objective, start)


async def exactly(objective: Objective, score: Score, settings: SearchSettings) -> Score:
    """The score of the same labeling by leave-one-out, if settings and model allow it: see `estimating.exact_too`.

    Args:
        objective: that the score is of.
        score: of a complete labeling.
        settings: of the search.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    if not exact_too(objective, settings):
        return score
    try:
        return await replace(objective, estimator=LeaveOneOut())(score.labeling, near=score)
    except BudgetError as error:
        # The labels are complete, and paid for.
        _LOG.warning("the labels found are not scored by leave-one-out: %s", error)
        return score


async def search_labels(
    dataset: Dataset,
    model: Model,
    *,
    task: Task | None = None,
    constraints: Sequence[Constraint] = (),
    settings: SearchSettings | None = None,
    seed: int | None = None,
    fixed: Labeling | None = None,
    start: Labeling | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Result:
    """Label a data set without labels: the labeling with the largest U(D) that the search sees.

    Args:
        dataset: the examples.
        model: as `open_model` gives it.
        task: template, labels and constraints; by default the field "text", labelled True or False.
        constraints: added to the task's.
        settings: the search; by default preset "default".
        seed: replaces the settings' seed.
        fixed: labels that a person gave to some of the examples: part of every labeling, never relabelled. Relations
            that they break among themselves are logged as warnings, and count in I.
        start: labels that the first restart begins from, e.g. `Result.load(folder).labeling`.
        on_step: called after every step.

    Returns:
        A label for every example. U, P and I are those of the best complete labeling seen.

    Raises:
        ConfigError: a setting, a constraint or a label does not fit the data or the label set; or the settings name a
            run to start from, which only a run's own configuration can.
        PromptError: an example lacks a field of the template, or is longer than the context window.
        ProviderError: the model gave no usable logprobs.

    Source: Wen et al. 2025, Algorithms 1 and 2; the other engines say theirs.
    """
    settings = settings or SearchSettings()
    if seed is not None:
        settings = settings.changed(seed=seed)
    refuse_folder(settings)
    task = task or Task()
    task = Task(task.template, task.verbalizer, (*task.constraints, *constraints))
    known = make_start(dataset, task.verbalizer.labels, fixed, start)
    objective = build_objective(dataset, model, task, settings)
    for clash in known.clashes(objective.relations):
        _LOG.warning(clash)
    objective, warning = await believed(objective, settings)
    if warning:
        _LOG.warning(warning)
    return result_of(await search(objective, settings, known, on_step), settings).in_order_of(dataset)


def result_of(found: Found, settings: SearchSettings) -> Result:
    """The result that a search hands out, in the order in which the objective has the examples.

    Args:
        found: by `search`.
        settings: of that search; they are written into the summary.
    """
    dataset, state = found.objective.dataset, found.state
    about = _about(settings, found)
    return build_result(dataset, found.score, found.usage, state.step, about, found.start.fixed)


def _about(settings: SearchSettings, found: Found) -> dict[str, Any]:
    """What a summary says of how the labels were found."""
    objective, score, estimated = found.objective, found.score, found.estimated
    about = {
        "information": information(score.distributions, score.labeling, objective.relations),
        "method": score.method,
        "restarts": found.state.restart + 1,
        "accepted": found.state.accepted,
        # Where a run started from is a place on this disk; its fingerprint is kept apart.
        "search": {**settings.model_dump(mode="json", exclude={"start"}), "statistic": objective.statistic},
    }
    if estimated.method != score.method:
        about["estimated"] = {
            "method": estimated.method,
            "utility": estimated.utility,
            "mutual_predictability": estimated.mutual_predictability,
            "standard_error": estimated.standard_error,
            "information": information(estimated.distributions, score.labeling, objective.relations),
        }
    return about
