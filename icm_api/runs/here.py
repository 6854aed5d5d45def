"""The executor that a configuration names: this process, unless it says otherwise."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from icm_api.config import Config
from icm_api.model.client.line import Line
from icm_api.result import Result
from icm_api.runs.aside import Aside
from icm_api.runs.executing import PARTS_BY_JOBS, Executor, Heard
from icm_api.runs.rest import Labelled, Rest, Stretch
from icm_api.runs.searching import UNWATCHED, Work
from icm_api.runs.trace import trace_record


class Here:
    """This process; implements `Executor`.

    Args:
        side_by_side: parts of the rest that are worked on at once.
    """

    line: Line | None = None

    def __init__(self, side_by_side: int = 1) -> None:
        self.side_by_side = side_by_side

    async def search(self, work: Work, aside: Aside, heard: Heard) -> Result:
        """Search one batch, and judge it."""
        quiet = replace(UNWATCHED, on_step=lambda progress: heard.record(trace_record(progress)), on_warning=heard.warn)
        return await work.result(aside, quiet, heard.anew)

    def label(self, rest: Rest, stretches: Sequence[Stretch], aside: Aside) -> AsyncGenerator[Labelled]:
        """Label stretches of the rest, in their order."""
        return rest.labelled(stretches, aside)

    async def refresh(self) -> None:
        """Nothing: the model knows."""


@asynccontextmanager
async def executing(config: Config) -> AsyncIterator[Executor]:
    """The executor that a configuration names.

    Args:
        config: of the run, whose folder is locked.

    Raises:
        ConfigError: its package is missing, or the cache is of one machine and the workers are on several.
        ClusterError: no cluster answers.
    """
    if config.run.executor is None:
        yield Here(PARTS_BY_JOBS if config.client.tier == "batch" else 1)
        return
    from icm_api.runs.on_ray import ray_executor

    async with ray_executor(config) as executor:
        yield executor
