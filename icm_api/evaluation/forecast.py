"""What judging a labeling is likely to ask for; the means are those of `python -m tests.benchmarks plans`."""

from __future__ import annotations

from icm_api.config import DiagnosticsSettings
from icm_api.config.judging import NULL_EXAMPLES
from icm_api.objective import INFORMATION, LeaveOneOut, Objective
from icm_api.search import Asked, Forecast, Start

OPINION, OPINION_SETTLED = 0.9, -0.9
"""Labelings of the second opinion that are new; below 0, as some of the others were scored by the search already."""
NULL = 4.5
"""Labelings that the search of the null scores."""


def likely_of_judging(objective: Objective, settings: DiagnosticsSettings, start: Start) -> Forecast:
    """The questions of judging, after a search that asked for zero-shot predictions.

    Args:
        objective: of the run.
        settings: how much to spend.
        start: labels known beforehand.
    """
    size = len(objective.dataset)
    # Zero-shot predictions without the labels that a person gave are the second opinion's own.
    first = Asked(0, questions=size if start.fixed else 0.0, waits=float(bool(start.fixed)))
    renamings = 1 if len(objective.labels) == 2 else settings.renamings
    opinion = OPINION_SETTLED if objective.relations.rule_out_alike() else OPINION
    scores = max(1.0, settings.shuffles + settings.orders + renamings + opinion) + bool(settings.witness)
    found = (first, Asked(size, scores=scores, waits=scores))
    if not settings.null or objective.statistic != INFORMATION:
        return found
    some = min(size, NULL_EXAMPLES)
    zero_shot = Asked(0, questions=some, waits=1.0, noise=True)
    exact = float(objective.estimator.name != LeaveOneOut.name)
    handed_out = Asked(some, scores=exact, waits=exact, noise=True, exact=True)
    return *found, zero_shot, Asked(some, scores=NULL, waits=NULL, noise=True), handed_out
