"""Measures a finished result against gold labels. It comes after the search and hands nothing back to it."""

from icm_api.evaluation.intervals import Interval, Measure, Spread, Undefined, spread, wilson_interval
from icm_api.evaluation.metrics import Evaluation, accuracy, auroc, balanced_accuracy, evaluate

__all__ = [
    "Evaluation",
    "Interval",
    "Measure",
    "Spread",
    "Undefined",
    "accuracy",
    "auroc",
    "balanced_accuracy",
    "evaluate",
    "spread",
    "wilson_interval",
]
