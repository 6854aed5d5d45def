"""What labels are for: fine-tuning jobs at hosts and on this machine, whose result opens as a model.

Start at `open_trainer` and `start`. SDKs and torch are imported only when a trainer that needs them is opened.
"""

from icm_api.training.folds import TunedFolds, label_by_folds
from icm_api.training.iterate import Teacher, iterate
from icm_api.training.jobs import (
    TRAINING_FOLDER,
    Wishes,
    cancel,
    follow,
    prompt_data,
    start,
    training_data,
    training_folder,
)
from icm_api.training.open import TRAINERS, open_trainer
from icm_api.training.values import Estimate, Job, Method, State, Trainer, TrainingData, Tuned

__all__ = [
    "TRAINERS",
    "TRAINING_FOLDER",
    "Estimate",
    "Job",
    "Method",
    "State",
    "Teacher",
    "Trainer",
    "TrainingData",
    "Tuned",
    "TunedFolds",
    "Wishes",
    "cancel",
    "follow",
    "iterate",
    "label_by_folds",
    "open_trainer",
    "prompt_data",
    "start",
    "training_data",
    "training_folder",
]
