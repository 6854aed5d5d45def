"""The `[compare]` table: which methods a comparison holds against each other, and on what. See `icm_api.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pydantic import Field, model_validator

from icm_api.config.section import Section
from icm_api.config.sections import Prices

MethodName: TypeAlias = Literal[
    "zero-shot",
    "chat",
    "random",
    "pseudo-labels",
    "bootstrap",
    "bootstrap-equal",
    "icm",
    "icm-unconstrained",
    "golden",
]
"""One row of the table each; "bootstrap-equal" is given as many requests as "icm" asked for."""


class CompareSettings(Section):
    """`[compare]`: the baseline panel of `icm-api compare`. No search reads it.

    Attributes:
        methods: the rows.
        seeds: how many seeds, from `search.seed` on; each draws its own held-out examples.
        held_out: share of the examples that is taken out before the searches, by whole groups.
        test: a file of examples to hold out instead, read as `[data]` is; then all examples are searched.
        test_gold: where the gold labels of `test` are; by default in the file of the other gold labels.
        threshold: zero-shot predictions at least this probable become pseudo-labels.
        demonstrations: the most examples in a prompt for a held-out one; all where not given.
        curve: whether ICM's labels are also tried with 1, 2, 4, ... demonstrations.
        chat: spec of a chat model to ask zero-shot; `chat_options` is what its provider takes besides, and
            `chat_prices` what it charges.
    """

    methods: tuple[MethodName, ...] = get_args(MethodName)
    seeds: int = Field(default=3, ge=1)
    held_out: float = Field(default=0.25, gt=0, lt=1)
    test: Path | None = None
    test_gold: Path | None = None
    threshold: float = Field(default=0.9, gt=0, le=1)
    demonstrations: int | None = Field(default=None, ge=1)
    curve: bool = True
    chat: str | None = None
    chat_options: Mapping[str, Any] = Field(default_factory=dict)
    chat_prices: Prices | None = None

    @model_validator(mode="after")
    def _rows_have_what_they_need(self) -> CompareSettings:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError("methods: name each method once, and at least one")
        if "bootstrap-equal" in self.methods and "icm" not in self.methods:
            raise ValueError('methods: "bootstrap-equal" is given the requests of "icm": name that too')
        if self.test_gold is not None and self.test is None:
            raise ValueError("test_gold: holds the gold labels of `test`, which is missing")
        return self
