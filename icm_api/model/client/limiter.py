"""One place that says what may be sent, for clients in several processes: their limits, their budget, one ledger.

It does: let requests go as `Limits` and `Meter` of a single process do, in the order in which they come; have what two
workers ask at once sent once; count what a worker that was killed had under way as sent.
It does not: know how messages travel (`line` is the other end), or which requests were answered by a cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from icm_api.errors import IcmError
from icm_api.model.client.limits import Limits
from icm_api.model.client.meter import Meter
from icm_api.model.request import Request, tokens_together
from icm_api.types import Usage


@dataclass(frozen=True, slots=True)
class Ask:
    """Requests of a worker that want to go out together.

    Attributes:
        ticket: a number that the worker gives them.
        requests: only their sizes count.
        keys: of the questions.
    """

    ticket: int
    requests: tuple[Request, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What becomes of them.

    Attributes:
        ticket: of the `Ask`.
        reserved: for them, by the meter; None if they may not go.
        error: why they may not; if it is None too, somebody else has the answer by now: look in the cache.
    """

    ticket: int
    reserved: Usage | None = None
    error: IcmError | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of requests that were let go, or that nobody waits for any more.

    Attributes:
        ticket: of the `Ask`.
        reserved: for them; None if the worker had not heard of a grant.
        usage: what the answers cost; None if there are none.
        billed: without an answer, whether the server may have done the work.
        requests: that were answered.
    """

    ticket: int
    reserved: Usage | None = None
    usage: Usage | None = None
    billed: bool = False
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True)
class News:
    """What a worker tells.

    Attributes:
        settled: requests that are over.
        limits: what the server's headers say now, if they say another thing than before.
        pause: seconds for which the server asked everybody to stop; 0 if it did not.
    """

    settled: tuple[Settled, ...] = ()
    limits: Mapping[str, float] | None = None
    pause: float = 0.0


@dataclass(slots=True)
class _Worker:
    """What a worker has under way.

    Attributes:
        asking: asks that wait, by ticket.
        open: what was let go, by ticket: the question's keys, and what is reserved.
        grants: that the worker has not heard of.
        polls: calls that wait for them.
    """

    asking: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    open: dict[int, tuple[Ask, Usage]] = field(default_factory=dict)
    grants: asyncio.Queue[Grant] = field(default_factory=asyncio.Queue)
    polls: int = 0


class Limiter:
    """Lives in one process and one event loop, and answers to all workers.

    Args:
        meter: with the budget, and the ledger that all is written to.
        limits: requests and tokens a minute.
    """

    def __init__(self, meter: Meter, limits: Limits) -> None:
        self._meter, self._limits = meter, limits
        self._workers: dict[str, _Worker] = {}
        self._gone: set[str] = set()
        self._claims: dict[str, asyncio.Event] = {}

    @property
    def totals(self) -> tuple[Usage, float | None]:
        """What was answered by now, and what that cost; None if there are no prices."""
        return self._meter.sent, self._meter.spent

    async def exchange(self, worker: str, news: News, asks: Sequence[Ask]) -> tuple[Grant, ...]:
        """Hear what a worker tells, and wait until at least one of its asks is decided.

        An ask that is repeated, since the worker heard nothing of it, is decided once.

        Args:
            worker: its name.
            news: what is over.
            asks: new ones; those before may still wait.

        Returns:
            What was decided by now; nothing for a worker that is known to be gone.
        """
        self.hear(worker, news)
        if worker in self._gone:
            return ()
        state = self._workers.setdefault(worker, _Worker())
        for ask in asks:
            if ask.ticket in state.open:
                state.grants.put_nowait(Grant(ask.ticket, state.open[ask.ticket][1]))
            elif ask.ticket not in state.asking:
                state.asking[ask.ticket] = asyncio.create_task(self._decide(state, ask))
        state.polls += 1
        try:
            found = [await state.grants.get()]
        finally:
            state.polls -= 1
        while not state.grants.empty() and worker not in self._gone:
            found.append(state.grants.get_nowait())
        return tuple(found)

    def hear(self, worker: str, news: News) -> None:
        """The same without an ask.

        Args:
            worker: its name.
            news: what is over.
        """
        if news.limits:
            self._limits.learn(news.limits)
        if news.pause:
            self._limits.pause(news.pause)
        for each in news.settled:
            self._settle(worker, each)

    def leave(self, worker: str) -> None:
        """A worker has ended, however it did: what it had under way may have been billed.

        Args:
            worker: its name, which no other may have.
        """
        self._gone.add(worker)
        state = self._workers.pop(worker, None)
        if state is None:
            return
        for task in state.asking.values():
            task.cancel()
        for ask, reserved in state.open.values():
            self._meter.unanswered(reserved, billed=True)
            self._release(ask)
        for _ in range(state.polls):
            state.grants.put_nowait(Grant(-1))

    def close(self) -> None:
        """Close the ledger.

        Raises:
            StorageError: it cannot be written.
        """
        self._meter.close()

    async def _decide(self, state: _Worker, ask: Ask) -> None:
        try:
            grant = await self._decided(state, ask)
        except IcmError as error:
            grant = Grant(ask.ticket, error=error)
        state.asking.pop(ask.ticket, None)
        state.grants.put_nowait(grant)

    async def _decided(self, state: _Worker, ask: Ask) -> Grant:
        taken = [self._claims[key] for key in ask.keys if key in self._claims]
        if taken:
            # In another worker's hands: its answer is in the cache by then, or else the next to ask may try.
            await asyncio.gather(*(each.wait() for each in taken))
            return Grant(ask.ticket)
        self._claims.update({key: asyncio.Event() for key in ask.keys})
        try:
            await self._limits.wait(
                tokens_together(ask.requests) + sum(each.completion_tokens for each in ask.requests)
            )
            reserved = await self._meter.reserve(ask.requests)
        except (IcmError, asyncio.CancelledError):
            self._release(ask)
            raise
        state.open[ask.ticket] = (ask, reserved)
        return Grant(ask.ticket, reserved)

    def _settle(self, worker: str, settled: Settled) -> None:
        state = self._workers.get(worker)
        if state is not None and (task := state.asking.pop(settled.ticket, None)) is not None:
            task.cancel()
            return
        known = None if state is None else state.open.pop(settled.ticket, None)
        if known is None:
            # Let go before this process began: the ledger has it in full. Of a worker that is gone, it counts in full.
            if settled.reserved is not None and worker not in self._gone:
                self._meter.settled_late(settled.reserved, settled.usage, billed=settled.billed)
            return
        ask, reserved = known
        if settled.usage is None:
            self._meter.unanswered(reserved, billed=settled.billed)
        else:
            self._meter.answered(reserved, settled.usage, settled.requests)
        self._release(ask)

    def _release(self, ask: Ask) -> None:
        for key in ask.keys:
            if (claim := self._claims.pop(key, None)) is not None:
                claim.set()
