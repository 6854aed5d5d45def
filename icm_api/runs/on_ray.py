"""Pieces of a run on the workers of a Ray cluster: `RAY_ADDRESS` says which, else this machine's processors are one.

A piece is a Ray task that streams back what it has to say; journals, ledger and results are written on the machine
where the run is. Ray places tasks, restarts the limiter and notices who is dead: nothing of that is done here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import count
from logging import WARNING as LOG_WARNING
from time import monotonic
from typing import Any

from filelock import FileLock

from icm_api.config import Config
from icm_api.errors import ClusterError, ConfigError, IcmError
from icm_api.model.client.limiter import Ask, Grant, Limiter, News
from icm_api.model.client.limits import Limits
from icm_api.model.client.line import LimiterAwayError, Line
from icm_api.result import Result
from icm_api.runs.aside import Aside
from icm_api.runs.executing import Executor, Heard, Labelled, Stretch, WorkerLostError
from icm_api.runs.folder import SPENDING_LOCK, folder_of
from icm_api.runs.parts import open_models, run_meter
from icm_api.runs.pieces import ANEW, STEP, WARNING, BatchPiece, PartPiece, Shown, Tell
from icm_api.runs.rest import Rest
from icm_api.runs.searching import Work
from icm_api.types import Usage

_DONE, _FAILED = "done", "failed"
_HERE = "here"
"""The name of this process at the limiter; workers have numbers."""

# Seconds: until another process has left the ledger; that the limiter may be away; between two looks at what was sent.
_PATIENCE = 60.0
_LOOK = 0.5

# Tries to tell the limiter that a worker has ended.
_LEAVES = 10

# Parts under way for each processor: the next one's rows are there when a worker is free.
_PARTS_A_PROCESSOR = 2


class LimiterActor:
    """The limiter as a Ray actor, where the run's folder is: begun anew, it reads what was spent in the ledger.

    Args:
        config: of the run.
    """

    def __init__(self, config: Config) -> None:
        # A limiter of a run that was killed may still write; its lock goes with it.
        self._lock = FileLock(folder_of(config) / SPENDING_LOCK, timeout=_PATIENCE)
        self._lock.acquire()
        client = config.client
        limits = Limits(client.requests_per_minute, client.tokens_per_minute, clock=monotonic, sleep=asyncio.sleep)
        self._limiter = Limiter(run_meter(config), limits)

    async def exchange(self, worker: str, news: News, asks: Sequence[Ask]) -> Sequence[Grant]:
        """As `Limiter.exchange`."""
        return await self._limiter.exchange(worker, news, asks)

    async def hear(self, worker: str, news: News) -> None:
        """As `Limiter.hear`."""
        self._limiter.hear(worker, news)

    async def leave(self, worker: str) -> None:
        """As `Limiter.leave`."""
        self._limiter.leave(worker)

    async def totals(self) -> tuple[Usage, float | None]:
        """As `Limiter.totals`."""
        return self._limiter.totals

    async def close(self) -> None:
        """As `Limiter.close`."""
        self._limiter.close()


class FarLimiter:
    """The actor as a line needs it; implements `Far`.

    Args:
        actor: handle of a `LimiterActor`.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._away: float | None = None

    async def exchange(self, worker: str, news: News, asks: Sequence[Ask]) -> Sequence[Grant]:
        """As `Far.exchange`.

        Raises:
            LimiterAwayError: it does not answer now.
            ClusterError: it has not answered for long.
        """
        found: Sequence[Grant] = await self._answer(self._actor.exchange.remote(worker, news, asks))
        return found

    async def hear(self, worker: str, news: News) -> None:
        """As `Far.hear`.

        Raises:
            LimiterAwayError: it does not answer now.
            ClusterError: it has not answered for long.
        """
        await self._answer(self._actor.hear.remote(worker, news))

    async def _answer(self, call: Any) -> Any:
        from ray.exceptions import RayActorError

        try:
            answer = await call
        except RayActorError as error:
            self._away = self._away or monotonic()
            if monotonic() - self._away > _PATIENCE:
                raise ClusterError(
                    f"what holds budget and limits of the run has ended, and did not come back in {_PATIENCE:g} s: "
                    "look at the cluster's logs, then go on"
                ) from error
            raise LimiterAwayError from error
        self._away = None
        return answer


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
        """Search one batch, and judge it.

        Args:
            work: of the batch.
            aside: how many examples may be set aside.
            heard: what to call meanwhile.

        Raises:
            WorkerLostError: begin anew.
            IcmError: as `Work.result`.
        """
        result: Result | None = None
        async with aclosing(self._told(BatchPiece.of(work, aside), None)) as told:
            async for kind, value in told:
                if kind == STEP:
                    heard.record(value)
                elif kind == WARNING:
                    heard.warn(value)
                elif kind == ANEW:
                    heard.anew()
                else:
                    result = value
        if result is None:
            raise WorkerLostError("a task ended without its result")
        return result

    async def label(self, rest: Rest, stretches: Sequence[Stretch], aside: Aside) -> AsyncGenerator[Labelled]:
        """Label stretches of the rest, in their order.

        Args:
            rest: how.
            stretches: whole units.
            aside: what is set aside by now.

        Raises:
            WorkerLostError: go on with those that nothing was yielded of.
            IcmError: as `Rest.label`.
        """
        # Once for all parts: the store keeps one copy a machine.
        if id(rest) not in self._shown:
            self._shown[id(rest)] = self._ray.put(Shown.of(rest))
        left = len(stretches)
        async with aclosing(self._told(PartPiece.of(stretches, aside), self._shown[id(rest)])) as told:
            async for kind, value in told:
                if kind != _DONE:
                    left -= 1
                    yield value
        if left:
            raise WorkerLostError("a task ended before its stretches")

    async def refresh(self) -> None:
        """Have the line know what was sent by now."""
        assert self.line is not None
        with suppress(self._ray.exceptions.RayActorError):
            self.line.totals = await self._actor.totals.remote()

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
                over = kind in (_DONE, _FAILED)
                if kind == _FAILED:
                    raise value
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
                await self._actor.leave.remote(worker)
                return
            except self._ray.exceptions.RayActorError:
                await asyncio.sleep(_LOOK)


def work_on(
    piece: BatchPiece | PartPiece, config: Config, shown: Shown | None, actor: Any, worker: str
) -> Iterator[tuple[str, Any]]:
    """What a worker does with a piece, as a Ray task.

    Args:
        piece: of the run.
        config: of the run.
        shown: what the rest is labelled from; None for a batch.
        actor: handle of the limiter.
        worker: the name of this worker at the limiter.

    Yields:
        What the piece says, and at last its result, or the error that it fails with.
    """

    async def work(tell: Tell) -> Any:
        line = Line(FarLimiter(actor), worker)
        try:
            async with open_models(config, line) as models:
                if isinstance(piece, BatchPiece):
                    return await piece.done(config, models, tell)
                assert shown is not None
                return await piece.done(config, models[0], shown, tell)
        finally:
            await line.finish()

    yield from streamed(work)


def streamed(work: Callable[[Tell], Coroutine[Any, Any, Any]]) -> Iterator[tuple[str, Any]]:
    """Run a coroutine in a loop of its own, and yield what it tells while it goes on.

    Args:
        work: takes what to tell by.

    Yields:
        Each kind and value that is told; at last "done" and what it returns, or "failed" and its error.

    Example:
        >>> async def work(tell: Tell) -> int:
        ...     tell("step", 1)
        ...     return 2
        >>> list(streamed(work))
        [('step', 1), ('done', 2)]
    """
    with asyncio.Runner() as runner:
        loop, queue = runner.get_loop(), asyncio.Queue[tuple[str, Any]]()

        async def all_of_it() -> None:
            try:
                queue.put_nowait((_DONE, await work(lambda kind, value: queue.put_nowait((kind, value)))))
            except IcmError as error:
                queue.put_nowait((_FAILED, error))

        async def following() -> tuple[str, Any] | None:
            told = asyncio.ensure_future(queue.get())
            await asyncio.wait([told, task], return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                return told.result()
            told.cancel()
            task.result()
            return None

        task = loop.create_task(all_of_it())
        while (told := runner.run(following())) is not None:
            yield told
            if told[0] in (_DONE, _FAILED):
                return


@asynccontextmanager
async def ray_executor(config: Config) -> AsyncIterator[Executor]:
    """An executor on the cluster that `RAY_ADDRESS` names, or on this machine.

    Args:
        config: of the run, whose folder is locked.

    Raises:
        ConfigError: Ray is missing, or the cache is of one machine and the cluster has several.
        ClusterError: the cluster does not answer.
        RunError: the ledger of the run is damaged.
    """
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
            ray.init(logging_level=LOG_WARNING, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ClusterError(f"no Ray cluster answers (RAY_ADDRESS): {error}; start it, then go on") from error
    try:
        _check_cache(config, [node for node in ray.nodes() if node["Alive"]])
        where = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = (
            ray.remote(LimiterActor)
            .options(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=10_000, scheduling_strategy=where)
            .remote(config)
        )
        try:
            await actor.totals.remote()
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
                await actor.close.remote()
            ray.kill(actor)
    except ray.exceptions.RayActorError as error:
        raise ClusterError(f"what holds budget and limits of the run cannot begin: {error}") from error
    finally:
        if own:
            ray.shutdown()


def _check_cache(config: Config, nodes: Sequence[Any]) -> None:
    if len(nodes) > 1 and config.cache.enabled and config.cache.url is None:
        raise ConfigError(
            f"the cluster has {len(nodes)} machines, which share no folder: name a cache for all of them, "
            'cache.url = "redis://HOST:6379/0", or set cache.enabled = false and pay again for what is asked again'
        )
