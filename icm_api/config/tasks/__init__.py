"""Configurations that come with the library, one a task: files to copy and change.

Reads and fills in the files; writes nothing.
"""

from __future__ import annotations

import re
from importlib.resources import files

import tomli_w

from icm_api.errors import ConfigError


def task_names() -> tuple[str, ...]:
    """The names of all tasks, in alphabetical order."""
    found = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def task_config(task: str, *, data: str | None = None, model: str | None = None) -> str:
    """The text of a task's configuration, with its comments.

    Args:
        task: one of `task_names()`.
        data: `data.path`; by default a name that says what is meant.
        model: `model.provider`; by default an example.

    Raises:
        ConfigError: there is no such task.
    """
    if task not in task_names():
        raise ConfigError(f"no task {task!r}; there are {', '.join(task_names())}")
    text = files(__name__).joinpath(f"{task}.toml").read_text(encoding="utf-8")
    for key, value in (("path", data), ("provider", model)):
        if value is not None:
            # A line of the text is one setting, and a backslash of the new one means itself.
            line = tomli_w.dumps({key: value}).replace("\\", r"\\")
            text = re.sub(rf"^{key} = .*\n", line, text, count=1, flags=re.MULTILINE)
    return text
