"""Sends many requests to a hosted model at once, each on its own or in lists, and hands over every answer as it comes.

It does: keep as many under way as the server takes, retry, stay within limits and budget, send halves of a list that
fails as a whole, and stop at the first error that trying again can't mend; if that may concern one request alone, only
once such errors outnumber the answers.
It does not: know the cache, read answers, or hold more tasks than a fixed number, however many requests there are.

A few workers send one request after the other. Whoever has an answer sends the next request in the same breath, on the
connection that just became free: connection pools look at every idle connection again for each new request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from icm_api.errors import BudgetError, GaveUpError, ProviderError, RequestError
from icm_api.model.client.dispatch import Dispatcher
from icm_api.model.client.retry import Pace, with_retries
from icm_api.model.client.waiting import Waiting
from icm_api.model.request import Request, Response, tokens_together
from icm_api.types import Usage

# For each slot so many requests may be under way, or asleep before another try.
_TASKS_PER_SLOT = 2

# With so few slots, pauses hold requests back, not slots.
_HARDLY_ANY = 2

# Seconds that requests under way get to land after an error, so that what they cost is not lost.
_GRACE = 0.5

# The server may have done the work before these went wrong.
_MAYBE_BILLED = frozenset({"disconnected", "timeout", "broken_answer"})
_TOO_MANY = frozenset({"rate_limit", "overloaded"})

Land: TypeAlias = Callable[[str, Response], None]
"""Takes an answer; raises if it can't be used."""

Known: TypeAlias = Callable[[Sequence[str]], Sequence[str]]
"""Those of the keys whose answers came from elsewhere meanwhile, so that they need not be asked for."""


class _DivideError(Exception):
    """A list of requests failed, for a reason that its halves need not have."""


class Batch:
    """Requests that are sent together, of which only a bounded number are under way or asleep at any time.

    Args:
        shared: slots, limits and the meter.
        requests: by any key.
        land: called with each answer as it comes.
        known: asked right before a request is sent.
    """

    def __init__(
        self, shared: Dispatcher, requests: Mapping[str, Request], land: Land, known: Known = lambda keys: ()
    ) -> None:
        self._shared = shared
        self._requests = requests
        self._land = land
        self._known = known
        self._most = _TASKS_PER_SLOT * shared.settings.max_concurrency
        self._workers: set[asyncio.Task[None]] = set()
        self._asleep = self._turned_away = 0
        self._crowded: set[tuple[str, ...]] = set()
        self._unanswered: dict[tuple[str, ...], float] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._over = asyncio.Event()
        self._landed = 0
        self._troubles: dict[str, ProviderError] = {}
        self._waiting = Waiting(requests, shared.endpoint.capabilities.together)

    async def run(self) -> None:
        """Send all requests; returns when every answer has landed.

        Raises:
            RequestError: one failed for good. What was under way had a moment to land; if the error concerns single
                requests (see `ProviderError.unanswered`) and most were answered, all others did.
            BudgetError: the next request could exceed the budget.
            ProviderError, StorageError: the endpoint or `land` raised it.
        """
        self._start_more()
        try:
            await self._over.wait()
            if self._failure is not None:
                for task in self._workers - self._under_way:
                    task.cancel()
                if self._under_way:
                    await asyncio.wait(self._under_way, timeout=_GRACE)
        finally:
            for task in self._workers:
                task.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
        first = next((self._troubles[key] for key in self._requests if key in self._troubles), None)
        if first is not None and (self._failure is None or self._failure in self._troubles.values()):
            first.unanswered = tuple(self._requests[key].unanswered(error) for key, error in self._troubles.items())
            raise first
        if self._failure is not None:
            raise self._failure

    @property
    def _spare(self) -> int:
        """Slots that no worker of this batch uses or waits for; below 0 if there are too many workers.

        Whoever sleeps leaves its slot to others. If it was turned away for want of room, and not by chance, nobody
        comes in its stead, who would be turned away too.
        """
        slots, awake = self._shared.slots, len(self._workers) - self._asleep
        return min(slots.limit - awake, slots.tries - awake - self._turned_away)

    def _start_more(self) -> None:
        wanted = min(self._spare, self._most - len(self._workers), len(self._waiting))
        for _ in range(wanted if self._failure is None else 0):
            task = asyncio.create_task(self._work())
            self._workers.add(task)
            task.add_done_callback(self._done)
        if not self._workers or self._failure is not None:
            self._over.set()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
        self._start_more()

    async def _work(self) -> None:
        """One request or list after the other, while there is a slot for this worker."""
        shared, task = self._shared, asyncio.current_task()
        assert task is not None
        while self._waiting and self._failure is None and self._spare >= 0:
            keys, landed = self._waiting.take(), self._landed
            # The time in which it waited for others is none of this.
            began = shared.clock() - self._unanswered.pop(keys, 0.0)
            try:
                answers = await with_retries(
                    partial(self._attempt, keys, task, began),
                    shared.settings,
                    began=began,
                    clock=shared.clock,
                    sleep=partial(self._sleep, keys),
                    tell=shared.tell,
                    pace=self._pace,
                )
            except _DivideError as divided:
                self._divide(keys, shared.clock() - began if _silent(divided.__cause__) else 0.0)
            except ProviderError as error:
                if isinstance(error, GaveUpError) and self._landed == landed:
                    # It is not the question: no other got an answer meanwhile.
                    raise
                if isinstance(error, GaveUpError) and error.of_one and len(keys) > 1:
                    self._divide(keys, shared.clock() - began)
                else:
                    self._put_up_with(keys, error)
                    self._waiting.release(keys)
            else:
                self._landed += len(keys) - len(answers)
                # All that is sound lands before what is not can end it.
                refused = {key: why for key, each in answers.items() if (why := self._refusal(key, each))}
                if 1 < len(refused) == len(answers) and all(why.of_one for why in refused.values()):
                    # All of a list may have been refused for the sake of one.
                    self._divide(keys, 0.0)
                else:
                    for key, why in refused.items():
                        self._put_up_with((key,), why)
                    self._waiting.release(keys)
            self._under_way.discard(task)
            self._start_more()

    def _divide(self, keys: tuple[str, ...], unanswered: float) -> None:
        """Have a list go again in halves, which count as tried for as many seconds as it got no answer."""
        self._unanswered |= dict.fromkeys(self._waiting.divide(keys), unanswered)

    def _pace(self, own: int) -> Pace:
        """Of waits; while the server answers others they don't grow."""
        left = len(self._requests) - self._landed
        slots = self._shared.slots
        # With hardly any slots left it is the pauses that keep the server from being asked too often.
        chance = slots.chance if slots.limit > _HARDLY_ANY else 0.0
        return self._shared.failures.pace(own, min(slots.limit, left), chance)

    def _refusal(self, key: str, response: Response) -> ProviderError | None:
        """Land an answer; why it can't be used, if so."""
        try:
            self._land(key, response)
        except ProviderError as error:
            return error
        self._landed += 1
        return None

    def _put_up_with(self, keys: tuple[str, ...], error: ProviderError) -> None:
        """Note an error that concerns one request. A server that answers hardly any is at fault itself."""
        if not error.of_one:
            raise error
        self._troubles |= dict.fromkeys(keys, error)
        if len(self._troubles) > self._landed:
            raise error

    async def _sleep(self, keys: tuple[str, ...], seconds: float) -> None:
        """Before another try: another worker takes over meanwhile."""
        crowded = keys in self._crowded
        self._asleep += 1
        self._turned_away += crowded
        self._start_more()
        try:
            await self._shared.sleep(seconds)
        finally:
            self._asleep -= 1
            self._turned_away -= crowded

    async def _attempt(self, keys: tuple[str, ...], task: asyncio.Task[None], began: float) -> Mapping[str, Response]:
        """One try, in a slot of its own; without what is known by the time that it could be sent."""
        shared = self._shared
        await shared.slots.acquire()
        self._crowded.discard(keys)
        try:
            asked = {key: self._requests[key] for key in keys}
            replies = sum(request.completion_tokens for request in asked.values())
            await shared.limits.wait(tokens_together([*asked.values()]) + replies)
            reserved = None
            while reserved is None:
                for key in self._known([*asked]):
                    del asked[key]
                if not asked:
                    return {}
                requests = tuple(asked.values())
                reserved = await shared.meter.reserve(requests, tuple(asked))
            self._under_way.add(task)
            with self._settled(keys, reserved) as sent:
                async with asyncio.timeout(shared.settings.timeout):
                    responses = await shared.endpoint.send(requests)
                if len(responses) != len(requests):
                    many = "one request" if len(requests) == 1 else f"{len(requests)} requests"
                    raise ProviderError(f"{shared.endpoint.identity} gave {len(responses)} answers to {many}")
            shared.answered(requests, reserved, responses, sent)
            return dict(zip(asked, responses, strict=True))
        except (RequestError, BudgetError) as error:
            if isinstance(error, RequestError):
                shared.failures.failed(refused=error.kind in _TOO_MANY)
            # From here on it only waits; an answer counts as under way until it has landed.
            self._under_way.discard(task)
            if len(keys) > 1 and shared.is_of_list(error) and not self._enough(error, began):
                raise _DivideError from error
            raise
        finally:
            shared.slots.release()

    def _enough(self, error: RequestError | BudgetError, began: float) -> bool:
        """Whether a server has not answered for as long as a request is tried: each part may be billed every time."""
        return _silent(error) and self._shared.clock() - began >= self._shared.settings.retry_seconds

    @contextmanager
    def _settled(self, keys: tuple[str, ...], reserved: Usage) -> Iterator[float]:
        """Settle the reservation if no answer comes of a `send`, and send less if the server asks for that.

        Yields when it is sent.
        """
        shared = self._shared
        began, came, billed = shared.clock(), False, True
        try:
            yield began
            came = True
        except RequestError as error:
            billed = error.kind in _MAYBE_BILLED
            if error.kind in _TOO_MANY:
                shared.back_off(error, began)
                # Who is told when to come back keeps no place meanwhile.
                if error.retry_after is None:
                    self._crowded.add(keys)
            raise
        except TimeoutError as error:
            late = f"{shared.endpoint.identity}: no answer in {shared.settings.timeout:g} s (client.timeout)"
            raise RequestError(late, kind="timeout") from error
        finally:
            if not came:
                shared.meter.unanswered(reserved, billed=billed)


def _silent(error: BaseException | None) -> bool:
    """Whether a server gave no answer, and may have done the work all the same."""
    return isinstance(error, RequestError) and error.kind in _MAYBE_BILLED
