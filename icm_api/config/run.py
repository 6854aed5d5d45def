"""The table `[run]`: where a run leaves its files, and what it puts up with."""

from __future__ import annotations

import datetime
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator

from icm_api.config.section import Section

TOLERATE = 0.05
"""Share of the examples that a run may set aside if nobody says otherwise."""


class RunSection(Section):
    """`[run]`: where a run leaves its files, and what it puts up with.

    Attributes:
        folder: folder of the run; by default `runs/` and the configuration's name, beside the configuration.
        tolerate: the most examples that are set aside, since they are longer than the context window, or the model
            refused them or gave no readable answer: a count such as 5, or a share of the data set such as 0.05,
            rounded up. With 0 the first ends the run.
        deadline: when the run stops, to be resumed, such as 2026-12-01T08:00:00; local time if it names no other.
        executor: "ray" spreads batches, the parts of the rest, and the seeds of a comparison over the workers of a Ray
            cluster, or over this machine's processors; by default this process does all.
    """

    folder: Path | None = None
    tolerate: int | float = TOLERATE
    deadline: datetime.datetime | None = None
    executor: Literal["ray"] | None = None

    @field_validator("tolerate", mode="before")
    @classmethod
    def _is_a_count_or_a_share(cls, value: Any) -> Any:
        if isinstance(value, str):
            # From the environment; a point makes it a share there too.
            with suppress(ValueError):
                value = float(value) if "." in value else int(value)
        if (type(value) is int and value >= 0) or (type(value) is float and 0 <= value <= 1):
            return value
        raise ValueError("write a count such as 5, or a share of at most 1.0 such as 0.05")
