"""Pieces of a run on the workers of a Ray cluster: `RAY_ADDRESS` says which, else this machine's processors are one.

A piece is a Ray task that streams back what it has to say; journals, ledger and results are written on the machine
where the run is. Ray places tasks, restarts the limiter and notices who is dead: nothing of that is done here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import count
from typing import Any

from icm_api.config import Config
from icm_api.errors import ClusterError, ConfigError
from icm_api.model.client.line import Line
from icm_api.result import Result
from icm_api.runs.aside import Aside
from icm_api.runs.executing import Executor, Heard, WorkerLostError
from icm_api.runs.parts import run_meter
from icm_api.runs.pieces import ANEW, STEP, WARNING, BatchPiece, PartPiece, Shown
from icm_api.runs.ray_worker import DONE, FAILED, LOGGED, FarLimiter, LimiterActor, in_own_words, work_on
from icm_api.runs.rest import Labelled, Rest, Stretch
from icm_api.runs.searching import Work

_LOG = logging.getLogger(__name__)

_HERE = "here"
"""The name of this process at the limiter; workers have numbers."""

# Seconds between two looks at what was sent.
_LOOK = 0.5

# Seconds for a cluster to take a connection.
_CONNECT = 10.0

# Tries to tell the limiter that a worker has ended.
_LEAVES = 10

# Parts under way for each processor: the next one's rows are there when a worker is free.
_PARTS_A_PROCESSOR = 2


class RayExecutor:
    """Works on pieces by Ray tasks; implements `Executor`.

    Args:
        config: of the run.
        actor: handle of the limiter.
        processors: of the cluster.
    """

    def __init__(self, config: Config, actor: Any, processors: float) -> None:
        import ray

        self._ray, self._actor, self._config = ray, actor, ray.put(config)
        self._task = ray.remote(num_returns="streaming", max_retries=0)(work_on)
        self._shown: dict[int, Any] = {}
        self._numbers = count()
        self.line: Line | None = Line(FarLimiter(actor), _HERE)
        self.side_by_side = max(1, int(_PARTS_A_PROCESSOR * processors))

    async def search(self, work: Work, aside: Aside, heard: Heard) -> Result:
        """Search one batch, and judge it."""
        result: Result | None = None
        async with aclosing(self._told(BatchPiece.of(work, aside), None)) as told:
            async for kind, value in told:
                if kind == STEP:
                    heard.record(value)
                elif kind == WARNING:
                    heard.warn(value)
                elif kind == ANEW:
                    heard.anew(value)
                else:
                    result = value
        if result is None:
            raise WorkerLostError("a task ended without its result")
        return result

    async def label(self, rest: Rest, stretches: Sequence[Stretch], aside: Aside) -> AsyncGenerator[Labelled]:
        """Label stretches of the rest, in their order."""
        # Once for all parts: the store keeps one copy a machine.
        if id(rest) not in self._shown:
            self._shown[id(rest)] = self._ray.put(Shown.of(rest))
        left = len(stretches)
        async with aclosing(self._told(PartPiece.of(stretches, aside), self._shown[id(rest)])) as told:
            async for kind, value in told:
                if kind != DONE:
                    left -= 1
                    yield value
        if left:
            raise WorkerLostError("a task ended before its stretches")

    async def refresh(self) -> None:
        """Have the line know what was sent by now."""
        assert self.line is not None
        with suppress(self._ray.exceptions.RayActorError):
            self.line.totals, said = await in_own_words(self._actor.totals.remote())
            for each in said:
                _LOG.warning("%s", each)

    async def watch(self) -> None:
        """Refresh now and then, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            await self.refresh()

    async def _told(self, piece: BatchPiece | PartPiece, shown: Any) -> AsyncGenerator[tuple[str, Any]]:
        """All that a piece says; raises what it fails with."""
        trouble, worker = self._ray.exceptions, str(next(self._numbers))
        told = self._task.options(name=f"{type(piece).__name__} {worker}").remote(
            piece, self._config, shown, self._actor, worker
        )
        over = False
        try:
            async for each in told:
                kind, value = await each
                over = kind in (DONE, FAILED)
                if kind == FAILED:
                    raise value
                if kind == LOGGED:
                    _LOG.warning("%s", value)
                else:
                    yield kind, value
        except trouble.RayTaskError:
            # A mistake in the code, with its traceback.
            raise
        except trouble.RayError as error:
            raise WorkerLostError(f"{type(error).__name__}") from error
        finally:
            if not over:
                self._ray.cancel(told)
            await self._leave(worker)

    async def _leave(self, worker: str) -> None:
        """Have the limiter wait for nothing of a worker any more; one that begins anew knows of none."""
        for _ in range(_LEAVES):
            try:
                await in_own_words(self._actor.leave.remote(worker))
                return
            except self._ray.exceptions.RayActorError:
                await asyncio.sleep(_LOOK)


@asynccontextmanager
async def ray_executor(config: Config) -> AsyncIterator[Executor]:
    """An executor on the cluster that `RAY_ADDRESS` names, or on this machine.

    Args:
        config: of the run, whose folder is locked.

    Raises:
        ConfigError: Ray is missing, the cache is of one machine and the cluster has several, or this is none of them.
        ClusterError: the cluster does not answer.
        RunError: the ledger of the run is damaged.
    """
    _check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    except ImportError as error:
        raise ConfigError("run.executor = \"ray\" needs the package ray: pip install 'icm-api[ray]'") from error
    # Whatever is wrong with budget or ledger shows here, with its own words.
    run_meter(config)
    own = not ray.is_initialized()
    if own:
        # A cluster that is begun here tells its makers nothing of the run, unless the user wants it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            # Blocks, as signals are taken care of in the main thread alone.
            # Unless a cluster is named, one of its own: Ray would try the last one on this machine, gone or not.
            address = os.environ.get("RAY_ADDRESS") or "local"
            ray.init(address, logging_level=logging.WARNING, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterError(
                f"no Ray cluster answers: {error}; start it, look at RAY_ADDRESS and at RAY_AUTH_TOKEN if it wants "
                "one, then go on"
            ) from error
    try:
        _check_cache(config, [node for node in ray.nodes() if node["Alive"]])
        where = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = (
            ray.remote(LimiterActor)
            .options(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=10_000, scheduling_strategy=where)
            .remote(config)
        )
        try:
            await in_own_words(actor.totals.remote())
            executor = RayExecutor(config, actor, ray.cluster_resources().get("CPU", 1))
            watching = asyncio.create_task(executor.watch())
            try:
                yield executor
            finally:
                watching.cancel()
                assert executor.line is not None
                await executor.line.finish()
        finally:
            with suppress(ray.exceptions.RayActorError):
                await in_own_words(actor.close.remote())
            ray.kill(actor)
    except ray.exceptions.RayActorError as error:
        raise ClusterError(f"what holds budget and limits of the run cannot begin: {error}") from error
    finally:
        if own:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Say at once what Ray would try for minutes."""
    if address.startswith("ray://"):
        raise ConfigError(
            "RAY_ADDRESS: ray:// is for clients outside of a cluster, and the run's folder has to be on one of its "
            'machines: run icm-api there, with RAY_ADDRESS="auto" or HOST:PORT'
        )
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT).close()
    except OSError as error:
        raise ClusterError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error.strerror or error}): start it, or mend the "
            "variable, then go on"
        ) from error


def _check_cache(config: Config, nodes: Sequence[Any]) -> None:
    if len(nodes) > 1 and config.cache.enabled and config.cache.url is None:
        raise ConfigError(
            f"the cluster has {len(nodes)} machines, which share no folder: name a cache for all of them, "
            'cache.url = "redis://HOST:6379/0", or set cache.enabled = false and pay again for what is asked again'
        )
