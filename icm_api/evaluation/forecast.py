"""What judging labels is likely to ask for: measure after measure, in the order of `diagnostics`, until none fits."""

from __future__ import annotations

from collections.abc import Callable

from icm_api.config import DiagnosticsSettings
from icm_api.config.judging import NULL_SCORES
from icm_api.evaluation.allowance import Allowance
from icm_api.evaluation.null import noise_of
from icm_api.objective import Objective
from icm_api.search import Asked, Forecast, Start
from icm_api.types import Tally, Usage

NEW = 0.5
"""Share of the second opinion's labelings that no search scored, unless ends were compared, its own beginning among
them."""


def likely_of_judging(
    objective: Objective,
    settings: DiagnosticsSettings,
    searched: Usage,
    usage: Callable[[Asked], Usage],
    *,
    ordered: bool,
) -> Forecast:
    """The questions of judging, after a search that asked for zero-shot predictions.

    Args:
        objective: of the run.
        settings: how much to spend.
        searched: what the search is likely to ask for.
        usage: what questions take.
        ordered: whether the search compares its ends, in other orders of the demonstrations too.
    """
    size = len(objective.dataset)
    one = usage(Asked(size, scores=1.0, waits=1.0))
    most = Usage(int(settings.share * searched.requests), int(settings.share * searched.prompt_tokens))
    left, found = Allowance(most, one, size, Tally()), list[Asked]()

    def take(asked: Asked) -> None:
        nonlocal left
        found.append(asked)
        left = left.beside(Usage() - usage(asked))

    noise = noise_of(objective, left) if settings.null else None
    if noise is not None:
        take(Asked(len(noise.dataset), scores=NULL_SCORES, waits=NULL_SCORES, noise=True))
    rounds = left.at_most(2 * settings.rounds) // 2
    scores = max(0, rounds - 1) + (0.0 if ordered else NEW)
    take(Asked(size, scores=scores, waits=scores))
    further = (0 if ordered else settings.orders, 1 if len(objective.labels) == 2 else settings.renamings)
    for wanted in further:
        scores = left.at_most(wanted)
        take(Asked(size, scores=scores, waits=scores))
    if left.at_most(settings.shuffles) == settings.shuffles:
        take(Asked(size, scores=settings.shuffles, waits=settings.shuffles))
    return tuple(found)


def judged_anyway(objective: Objective, settings: DiagnosticsSettings, start: Start) -> Forecast:
    """The questions of judging that no allowance leaves out.

    Args:
        objective: of the run.
        settings: how much to spend.
        start: labels known beforehand.
    """
    size = len(objective.dataset)
    # Zero-shot predictions without the labels that a person gave are the second opinion's own.
    found = (Asked(0, questions=size, waits=1.0),) if start.fixed else ()
    return (*found, Asked(size, scores=1.0, waits=1.0)) if settings.witness else found
