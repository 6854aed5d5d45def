"""What judging a labeling is likely to ask for, if it may take as much as it likes; and what of that it then takes."""

from __future__ import annotations

from icm_api.config import DiagnosticsSettings
from icm_api.config.judging import NULL_EXAMPLES, NULL_SCORES
from icm_api.objective import INFORMATION, Objective
from icm_api.search import Asked, Forecast, Start

OPINION, OPINION_SETTLED = 0.9, -0.9
"""Labelings of the second opinion that are new; below 0, as some of the others were scored by the search already."""
SPENT = 0.75
"""What judging takes of what it may, as only whole measures fit: .5 to 1.2 in runs on the embedded model."""


def likely_of_judging(objective: Objective, settings: DiagnosticsSettings) -> Forecast:
    """The questions of judging, after a search that asked for zero-shot predictions, before its allowance is heard.

    Args:
        objective: of the run.
        settings: how much to spend.
    """
    renamings = 1 if len(objective.labels) == 2 else settings.renamings
    opinion = OPINION_SETTLED if objective.relations.rule_out_alike() else OPINION
    size, scores = len(objective.dataset), max(1.0, settings.shuffles + settings.orders + renamings + opinion)
    found = (Asked(size, scores=scores, waits=scores),)
    if not settings.null or objective.statistic != INFORMATION:
        return found
    return *found, Asked(min(size, NULL_EXAMPLES), scores=NULL_SCORES, waits=NULL_SCORES, noise=True)


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


def share_of_judging(settings: DiagnosticsSettings, searching: int, judging: int) -> float:
    """Which part of what judging would ask for is likely to fit into its allowance, up to 1.

    Args:
        settings: how much to spend.
        searching: requests that the search is likely to take.
        judging: requests that judging would take if nothing was left out.

    Example:
        >>> round(share_of_judging(DiagnosticsSettings(), 1000, 300), 2)
        0.25
    """
    return min(1.0, SPENT * settings.share * searching / judging) if judging else 0.0
