"""The values that everything else passes around, and the protocol of a model that the core needs.

All values are frozen: a change is a new value. None of them has a place for gold labels. Nothing here computes a
probability, reads a file or talks to a model.
"""

from icm_api.types.answers import (
    Answers,
    Capabilities,
    LabelDistribution,
    Model,
    Predictions,
    ReadsInside,
    Score,
    Tally,
    Usage,
    logsumexp,
)
from icm_api.types.dataset import Dataset
from icm_api.types.examples import Example, Label, Labeling, Labels
from icm_api.types.prompting import Prompt, PromptTemplate, Turn, Verbalizer
from icm_api.types.task import Constraint, Relation, Task

__all__ = [
    "Answers",
    "Capabilities",
    "Constraint",
    "Dataset",
    "Example",
    "Label",
    "LabelDistribution",
    "Labeling",
    "Labels",
    "Model",
    "Predictions",
    "Prompt",
    "PromptTemplate",
    "ReadsInside",
    "Relation",
    "Score",
    "Tally",
    "Task",
    "Turn",
    "Usage",
    "Verbalizer",
    "logsumexp",
]
