"""What comes with the library: engines, presets and what they set, methods to compare, and configurations to copy.

It loads no pydantic, so that the command line can offer the names at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import tomli_w

from icm_api.errors import ConfigError

Preset: TypeAlias = Literal["default", "paper", "reference"]
MethodName: TypeAlias = Literal[
    "zero-shot",
    "zero-shot-calibrated",
    "chat",
    "random",
    "pseudo-labels",
    "bootstrap",
    "bootstrap-equal",
    "icm",
    "icm-calibrated",
    "icm-unconstrained",
    "golden",
    "golden-calibrated",
]
"""One row of a comparison's table each; "bootstrap-equal" is given as many requests as "icm" asked for.
The calibrated ones are the answers of the others, with the bias taken off that all of them share."""
BaselineName: TypeAlias = Literal["epfl", "semi", "two-32"]
"""Further rows, other ways of the field to label without labels; a comparison has them if they are named."""
RowName: TypeAlias = MethodName | BaselineName

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        # Algorithms 1 and 2 to the letter: the sum, one example a step, one long annealing.
        "paper": {
            "engine": "anneal",
            "moves": "single",
            "statistic": "sum_logprob",
            "restarts": 1,
            "estimator": "leave_one_out",
        },
        # What the published code does: log-odds, and a temperature that falls with accepted changes, by 2.
        "reference": {
            "engine": "anneal",
            "moves": "single",
            "statistic": "mean_logodds",
            "restarts": 1,
            "estimator": "leave_one_out",
            "cool_by": "accepted",
            "cooling": 2.0,
        },
    }
)

PRINCIPLE = "principle"
"""The task that has a principle of the user's own."""
ENGINE_NAMES = ("rounds", "anneal", "bootstrap", "folds", "gibbs")
"""The kinds of search, the default first; `icm_api.search` has the engines themselves."""

ENGINE_DEFAULTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    # Gibbs tempers log p itself: T = 1 is the model's own distribution, and the schedule sharpens it from there.
    {
        "gibbs": {"initial_temperature": 1.0},
        # Three chains from zero-shot predictions, which differ in calibration, and a witness from random labels.
        "rounds": {"restarts": 4, "rounds": 8},
    }
)


def task_names() -> tuple[str, ...]:
    """The names of all tasks, in alphabetical order."""
    found = (entry.name for entry in _tasks().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def task_config(task: str, *, data: str | None = None, model: str | None = None, principle: str | None = None) -> str:
    """The text of a task's configuration, with its comments.

    Args:
        task: one of `task_names()`.
        data: `data.path`; by default a name that says what is meant.
        model: `model.provider`; by default an example.
        principle: of the task "principle"; by default an example.

    Returns:
        TOML, for `load_config` once it is in a file.

    Raises:
        ConfigError: there is no such task, or it has no principle.
    """
    if task not in task_names():
        near = get_close_matches(task, task_names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"no task {task!r}; {hint}there are {', '.join(task_names())}; or name a file that exists")
    if principle is not None and (task != PRINCIPLE or not principle.strip()):
        raise ConfigError(f"--principle {principle!r}: give a sentence, and the task {PRINCIPLE!r}")
    instruction = None if principle is None else f"Principle: {' '.join(principle.split())}"
    text = _tasks().joinpath(f"{task}.toml").read_text(encoding="utf-8")
    for key, value in (("path", data), ("provider", model), ("instruction", instruction)):
        if value is not None:
            # A line of the text is one setting, and a backslash of the new one means itself.
            line = tomli_w.dumps({key: value}).replace("\\", r"\\")
            text = re.sub(rf"^{key} = .*\n", line, text, count=1, flags=re.MULTILINE)
    return text


def _tasks() -> Traversable:
    return files("icm_api.config").joinpath("tasks")
