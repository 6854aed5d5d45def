"""The executor that a configuration names: this process, unless it says otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from icm_api.config import Config
from icm_api.runs.executing import PARTS_BY_JOBS, Executor, Here


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
