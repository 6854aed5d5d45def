"""What runs in the processes of a Ray cluster: the limiter's actor, and the tasks that work on pieces of a run.

Knows nothing of where a piece goes or what is done when a process is killed: `on_ray` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

from filelock import FileLock

from icm_api.config import Config
from icm_api.errors import ClusterError, IcmError
from icm_api.model.client.limiter import Ask, Grant, Limiter, News
from icm_api.model.client.limits import Limits
from icm_api.model.client.line import LimiterAwayError, Line
from icm_api.result import Result
from icm_api.runs.folder import SPENDING_LOCK, folder_of
from icm_api.runs.parts import open_models, run_meter
from icm_api.runs.pieces import BatchPiece, PartPiece, Shown, Tell
from icm_api.types import Usage

DONE, FAILED, LOGGED = "done", "failed", "logged"
"""What a task says beside what its piece does: its result, its error, a warning of the library."""

# Seconds: until another process has left the ledger, or the limiter is back; from which on a wait is worth a line.
_PATIENCE = 60.0
_LONG_WAIT = 10.0

_T = TypeVar("_T")


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
        self._said: list[str] = []
        self._quiet_until = 0.0
        limits = Limits(
            client.requests_per_minute,
            client.tokens_per_minute,
            clock=monotonic,
            sleep=asyncio.sleep,
            tell=self._say,
        )
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

    async def totals(self) -> tuple[tuple[Usage, float | None], Sequence[str]]:
        """As `Limiter.totals`, and what there is to say since it was last asked."""
        said, self._said = self._said, []
        return self._limiter.totals, said

    async def close(self) -> None:
        """As `Limiter.close`."""
        self._limiter.close()

    def _say(self, reason: str, seconds: float) -> None:
        now = monotonic()
        if seconds > _LONG_WAIT and now >= self._quiet_until:
            self._quiet_until = now + seconds
            self._said.append(f"waiting {seconds:.0f} s: {reason}")


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
            answer = await in_own_words(call)
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


async def in_own_words(call: Awaitable[_T]) -> _T:
    """What a call to another process gives; an error of the library comes without that process's traceback.

    Args:
        call: as `remote` gives it.

    Raises:
        IcmError: as the call raises it.
    """
    from ray.exceptions import RayTaskError

    try:
        return await call
    except RayTaskError as error:
        if isinstance(error.cause, IcmError):
            raise error.cause from None
        raise


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
            with telling_warnings(tell):
                return await _done(piece, config, shown, line, tell)
        finally:
            await line.finish()

    yield from streamed(work)


async def _done(
    piece: BatchPiece | PartPiece, config: Config, shown: Shown | None, line: Line, tell: Tell
) -> Result | None:
    async with open_models(config, line) as models:
        if isinstance(piece, BatchPiece):
            return await piece.done(config, models, tell)
        assert shown is not None
        await piece.done(config, models[0], shown, tell)
        return None


@contextmanager
def telling_warnings(tell: Tell) -> Iterator[None]:
    """Have the library's warnings told where the run is, instead of on a machine where nobody looks.

    Args:
        tell: takes each, as a text.
    """

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            tell(LOGGED, record.getMessage())

    logger, handler = logging.getLogger("icm_api"), Telling(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


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
                queue.put_nowait((DONE, await work(lambda kind, value: queue.put_nowait((kind, value)))))
            except IcmError as error:
                queue.put_nowait((FAILED, error))

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
            if told[0] in (DONE, FAILED):
                return
