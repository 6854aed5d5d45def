"""Where the pieces of a run are worked on: in this process, or wherever an executor has workers.

A piece is a batch that is searched, or stretches of the rest that are labelled. Its journal is written here in any
case: a worker that is lost leaves what it told, and its piece begins anew from what the journal holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from icm_api.errors import ClusterError
from icm_api.model.client.line import Line
from icm_api.result import Result
from icm_api.runs.aside import Aside
from icm_api.runs.rest import Labelled, Rest, Stretch
from icm_api.runs.searching import UNWATCHED, Work
from icm_api.runs.trace import trace_record

PARTS_BY_JOBS = 5
"""Parts whose questions travel together: jobs one after the other would each take up to a day."""
MOST_LOST = 5
"""Workers that one piece may lose before the run stops."""

_T = TypeVar("_T")


class WorkerLostError(Exception):
    """A worker ended before its piece did: what it told is all there is, and the piece begins anew."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a search says on its way.

    Attributes:
        record: called with the line of the trace after each step.
        warn: called with what to know of the endpoint, and of examples that are set aside.
        anew: called before the search begins anew without some examples, with all that is set aside then.
    """

    record: Callable[[Mapping[str, Any]], None]
    warn: Callable[[str], None]
    anew: Callable[[Aside], None]


class Executor(Protocol):
    """Works on pieces of a run."""

    @property
    def line(self) -> Line | None:
        """To what holds budget and limits, if several processes share them; None if this process has its own."""
        ...

    @property
    def side_by_side(self) -> int:
        """How many parts of the rest are worth being worked on at once."""
        ...

    async def search(self, work: Work, aside: Aside, heard: Heard) -> Result:
        """Search one batch, or all examples of one of several runs, and judge what was found.

        Args:
            work: of the batch.
            aside: how many examples may be set aside.
            heard: what to call meanwhile.

        Raises:
            WorkerLostError: begin anew.
            IcmError: as `Work.result`.
        """
        ...

    def label(self, rest: Rest, stretches: Sequence[Stretch], aside: Aside) -> AsyncGenerator[Labelled]:
        """Label stretches of the rest, in their order.

        Args:
            rest: how.
            stretches: whole units.
            aside: what is set aside by now.

        Raises:
            WorkerLostError: go on with those that nothing was yielded of.
            IcmError: as `Rest.labelled`.
        """
        ...

    async def refresh(self) -> None:
        """Have the line know what was sent by now."""
        ...


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


async def again_if_lost(piece: Callable[[], Awaitable[_T]]) -> _T:
    """Work on a piece until it is done, from its journal if a worker is lost.

    Args:
        piece: opens the journal, and goes on where it ends.

    Raises:
        ClusterError: it lost worker after worker.
        IcmError: whatever the piece raises.
    """
    for _ in range(MOST_LOST):
        try:
            return await piece()
        except WorkerLostError as error:
            lost = error
    raise ClusterError(
        f"{MOST_LOST} workers ended in the middle of the same piece ({lost}), as they do for want of memory: look at "
        "the cluster's logs, then go on; what was answered is kept"
    ) from lost


async def together(pieces: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Work on all of them side by side; the first error ends the others.

    Args:
        pieces: in any number.
    """
    tasks = [asyncio.ensure_future(piece) for piece in pieces]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
