"""A worker's line to the limiter that all workers share: in the place of a meter and of limits of its own.

It does: gather what a turn of the event loop has to say into one message; ask again if the limiter was killed, once it
is back; tell what is over only once the answer is in the cache, so that who waited for it finds it there.
It does not: decide anything, or send a request. What is over is told once at most: told twice it could free budget that
is spent, never told it counts in full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from icm_api.errors import IcmError
from icm_api.model.client.limiter import Ask, Grant, News, Settled
from icm_api.model.request import Request
from icm_api.types import Usage

_PAUSE = 0.2
"""Seconds before it is looked whether the limiter is back."""
_LINGER = 0.02
"""Seconds that what is over waits for a question to travel with: each message costs more than a request does here."""


class LimiterAwayError(Exception):
    """The limiter does not answer now, and is expected back."""


class Far(Protocol):
    """The limiter, wherever it is: as `Limiter`, but every call takes its time, and may find it away."""

    async def exchange(self, worker: str, news: News, asks: Sequence[Ask]) -> Sequence[Grant]:
        """As `Limiter.exchange`. Raises LimiterAwayError if it is not known whether it was heard."""
        ...

    async def hear(self, worker: str, news: News) -> None:
        """As `Limiter.hear`. Raises LimiterAwayError if it is not known whether it was heard."""
        ...


@dataclass(frozen=True, slots=True)
class Reserved(Usage):
    """A reservation, and the ticket that it is settled by."""

    ticket: int = 0

    @classmethod
    def of(cls, usage: Usage, ticket: int) -> Reserved:
        """A usage with its ticket."""
        return cls(usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, ticket)

    @property
    def plain(self) -> Usage:
        """Without the ticket."""
        return Usage(self.requests, self.prompt_tokens, self.completion_tokens, self.cached_tokens)


class Line:
    """One worker's line; implements `Metering`, and its `limits` implement `Limiting`.

    Args:
        far: the limiter.
        worker: the name of this worker, which no other has.
        sleep: waits so many seconds.
    """

    def __init__(self, far: Far, worker: str, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._far, self._worker, self._sleep = far, worker, sleep
        self._tickets = count(1)
        self._waiting: dict[int, tuple[Ask, asyncio.Future[Grant]]] = {}
        self._asks: list[Ask] = []
        self._settled: list[Settled] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._polls = 0
        self._posted = self._lingering = False
        self.totals: tuple[Usage, float | None] = (Usage(), None)
        self.limits = LineLimits(self)
        self.stated: Mapping[str, float] | None = None
        self.pause = 0.0

    @property
    def sent(self) -> Usage:
        """What all workers' requests were answered by now, as far as this end was told."""
        return self.totals[0]

    @property
    def spent(self) -> float | None:
        """What that cost; None if prices are not known."""
        return self.totals[1]

    async def reserve(self, requests: Sequence[Request], keys: Sequence[str] = ()) -> Reserved | None:
        """Wait until these may go, by limits and budget.

        Args:
            requests: that are to be sent together.
            keys: of the questions.

        Returns:
            What is set aside for them, to be settled in any case; None if another worker asked for some meanwhile, so
            that the answers may be in the cache.

        Raises:
            BudgetError: they would exceed the budget.
            StorageError: the ledger cannot be written, or the limiter is gone for good.
        """
        ask = Ask(next(self._tickets), tuple(map(_sizes, requests)), tuple(keys))
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting[ask.ticket] = (ask, future)
        self._asks.append(ask)
        self._post()
        try:
            grant = await future
        except asyncio.CancelledError:
            self._waiting.pop(ask.ticket, None)
            self._asks = [each for each in self._asks if each.ticket != ask.ticket]
            heard = future.result().reserved if future.done() and not future.cancelled() else None
            self._over(Settled(ask.ticket, heard))
            raise
        if grant.error is not None:
            raise grant.error
        return None if grant.reserved is None else Reserved.of(grant.reserved, ask.ticket)

    def answered(self, reserved: Usage, usage: Usage, requests: Sequence[Request]) -> None:
        """Put the real cost in place of a reservation.

        Args:
            reserved: as `reserve` gave it.
            usage: what the answers cost.
            requests: that were answered.
        """
        assert isinstance(reserved, Reserved)
        self._over(Settled(reserved.ticket, reserved.plain, usage, requests=tuple(map(_sizes, requests))))

    def unanswered(self, reserved: Usage, *, billed: bool) -> None:
        """Give a reservation back, or leave it counted.

        Args:
            reserved: as `reserve` gave it.
            billed: the server may have done the work.
        """
        assert isinstance(reserved, Reserved)
        self._over(Settled(reserved.ticket, reserved.plain, billed=billed))

    def close(self) -> None:
        """Nothing: the limiter outlives this end, which `finish` leaves in order."""

    async def finish(self) -> None:
        """Have all heard that is over."""
        await self._tell(self._news())
        for call in self._asking:
            call.cancel()
        await asyncio.gather(*self._asking, *self._telling, return_exceptions=True)

    def post(self) -> None:
        """Have what is over, and what the limits learned, heard soon."""
        if not self._lingering:
            self._lingering = True
            asyncio.get_running_loop().call_later(_LINGER, self._send)

    def _over(self, settled: Settled) -> None:
        self._settled.append(settled)
        self.post()

    def _post(self) -> None:
        if not self._posted:
            self._posted = True
            loop = asyncio.get_running_loop()
            # The answers of this turn are written to the cache at its end.
            loop.call_soon(loop.call_soon, self._send)

    def _news(self) -> News:
        found = News(tuple(self._settled), self.stated, self.pause)
        self._settled, self.stated, self.pause = [], None, 0.0
        return found

    def _send(self) -> None:
        self._posted = self._lingering = False
        asks, self._asks = self._asks, []
        news, quiet = self._news(), News()
        if asks or (self._waiting and not self._polls):
            self._polls += 1
            self._keep(self._asking, self._exchange(news, asks))
        elif news != quiet:
            self._keep(self._telling, self._tell(news))

    def _keep(self, calls: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
        call = asyncio.create_task(work)
        calls.add(call)
        call.add_done_callback(calls.discard)

    async def _tell(self, news: News) -> None:
        if news == News():
            return
        try:
            await self._far.hear(self._worker, news)
        except LimiterAwayError:
            return

    async def _exchange(self, news: News, asks: Sequence[Ask]) -> None:
        grants: Sequence[Grant] = ()
        try:
            grants = await self._far.exchange(self._worker, news, asks)
        except LimiterAwayError:
            await self._sleep(_PAUSE)
            # A new one knows of none.
            self._asks = [ask for ask, _ in self._waiting.values()]
        except IcmError as error:
            grants = [Grant(ticket, error=error) for ticket in self._waiting]
        finally:
            self._polls -= 1
        for grant in grants:
            _, future = self._waiting.pop(grant.ticket, (None, None))
            if future is not None and not future.done():
                future.set_result(grant)
        if self._waiting and not self._polls:
            self._post()


class LineLimits:
    """Limits that the limiter keeps; implements `Limiting`.

    Args:
        line: to the limiter.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._known: Mapping[str, float] | None = None

    async def wait(self, tokens: int) -> None:
        """Nothing: to reserve is to wait.

        Args:
            tokens: of the request.
        """

    def learn(self, stated: Mapping[str, float] | None) -> None:
        """Tell what a server's headers state, if it is news.

        Args:
            stated: by kind.
        """
        if stated and stated != self._known:
            self._known = self._line.stated = stated
            self._line.post()

    def pause(self, seconds: float) -> None:
        """Have nobody send anything for so long from now.

        Args:
            seconds: that the server asked for.
        """
        self._line.pause = max(self._line.pause, seconds)
        self._line.post()

    def enter_loop(self) -> None:
        """Nothing waits here."""


def _sizes(request: Request) -> Request:
    """What meter and limits look at, and nothing else of it."""
    return replace(request, body={} if request.tokens else request.body, prompt=None, check=None, prefix="")
