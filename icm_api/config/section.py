"""What every table of a configuration is, and how a value of one is changed."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from icm_api.errors import ConfigError


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def changed(self, **updates: Any) -> Self:
        """The section with other values, checked as a whole as if it were read anew.

        What was never given is filled in anew, e.g. from another preset.

        Args:
            **updates: values by key, as the constructor takes them.

        Raises:
            ConfigError: a key is unknown, or a value is unusable or does not fit the others.

        Example:
            >>> from icm_api.config import SearchSettings
            >>> SearchSettings(preset="paper", seed=3).changed(preset="default").restarts
            4
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return self.model_validate({**given, **updates})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError(described(first, ".".join(map(str, first["loc"])))) from error


TAG = "kind"
"""The key of a table that says which of several it is."""
_MEANT = {"model_type": "Input should be a table", "dict_type": "Input should be a table"}


def described(problem: ErrorDetails, key: str) -> str:
    """A validation error in one line.

    Args:
        problem: one of `ValidationError.errors()`.
        key: the full key of the value; empty for what is wrong between two sections, which names its keys itself.
    """
    reason = _MEANT.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_type" and isinstance(problem["input"], int | float):
        # TOML's own spelling: true, not True.
        reason += f", write it in quotes: {json.dumps(json.dumps(problem['input']))}"
    if problem["type"] == "union_tag_invalid":
        tag, known = problem["input"][TAG], [each.strip(" '") for each in problem["ctx"]["expected_tags"].split(",")]
        near = get_close_matches(str(tag), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{key}.{TAG}: unknown {TAG} {tag!r}; {hint}known: {', '.join(known)}"
    if not key or reason.startswith(f"{key}."):
        return reason
    # What is wrong between the keys of a table names them; the others are not to blame, and one may be a password.
    of_table = problem["type"] == "value_error" and isinstance(problem["input"], dict)
    return f"{key}: {reason}" if of_table else f"{key}: {reason}, got {problem['input']!r}"
