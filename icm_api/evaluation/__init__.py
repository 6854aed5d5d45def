"""Judges a finished result: without gold, by diagnostics and a verdict, and against gold labels if there are any.

It follows the search and returns nothing to it.
"""

from icm_api.evaluation.answers import Answer, answers_of, headline_of, lines_of, meaning_of, next_steps, short_lines
from icm_api.evaluation.calibration import (
    LEGAL,
    Calibrated,
    Temperature,
    brier,
    calibrated,
    expected_calibration_error,
    scaled,
    temperature_of_agreement,
    temperature_of_labels,
)
from icm_api.evaluation.checked import Check, check_of, draw_sample
from icm_api.evaluation.clustered import clustered_interval, exact_interval, mean_interval
from icm_api.evaluation.coherence import Coherence, coherence
from icm_api.evaluation.diagnostics import Diagnosis, diagnose
from icm_api.evaluation.forecast import judged_anyway, likely_of_judging
from icm_api.evaluation.intervals import (
    Interval,
    Measure,
    Spread,
    Undefined,
    exact_lower_limit,
    gap_recovered,
    spread,
    wilson_interval,
)
from icm_api.evaluation.measures import Judged, Measures
from icm_api.evaluation.metrics import Evaluation, accuracy, auroc, balanced_accuracy, evaluate
from icm_api.evaluation.naming import Naming, Prior
from icm_api.evaluation.posterior import legal_posterior
from icm_api.evaluation.queue import margins, name_settling, queue_of
from icm_api.evaluation.verdict import Verdict, judge
from icm_api.evaluation.zero_shot import ZeroShot, ask_zero_shot, lines_of_zero_shot, zero_shot_lines

__all__ = [
    "LEGAL",
    "Answer",
    "Calibrated",
    "Check",
    "Coherence",
    "Diagnosis",
    "Evaluation",
    "Interval",
    "Judged",
    "Measure",
    "Measures",
    "Naming",
    "Prior",
    "Spread",
    "Temperature",
    "Undefined",
    "Verdict",
    "ZeroShot",
    "accuracy",
    "answers_of",
    "ask_zero_shot",
    "auroc",
    "balanced_accuracy",
    "brier",
    "calibrated",
    "check_of",
    "clustered_interval",
    "coherence",
    "diagnose",
    "draw_sample",
    "evaluate",
    "exact_interval",
    "exact_lower_limit",
    "expected_calibration_error",
    "gap_recovered",
    "headline_of",
    "judge",
    "legal_posterior",
    "judged_anyway",
    "likely_of_judging",
    "lines_of",
    "lines_of_zero_shot",
    "meaning_of",
    "margins",
    "mean_interval",
    "name_settling",
    "next_steps",
    "queue_of",
    "scaled",
    "short_lines",
    "spread",
    "temperature_of_agreement",
    "temperature_of_labels",
    "wilson_interval",
    "zero_shot_lines",
]
