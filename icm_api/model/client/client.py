"""The client above an endpoint: asks each distinct question once, remembers the answers, counts the cost.

It does: memory, then disk, then the endpoint for what is left: one `send` for all if it gains by that, else through the
dispatcher. Answers go to disk before they are used, and two coroutines with the same
question share one request.
It does not: know a wire format, change a number, or keep an error or an answer that its request refuses.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

from icm_api.config import ClientSettings
from icm_api.errors import LogprobsUnavailableError, ProviderError, Unanswered
from icm_api.model.client.batch import Batch
from icm_api.model.client.cuts import CutWatch
from icm_api.model.client.dispatch import Dispatcher
from icm_api.model.client.entries import Bodies, cache_key, encode_body
from icm_api.model.client.keeping import AnswerCache
from icm_api.model.client.limits import Limiting
from icm_api.model.client.meter import Meter, Metering
from icm_api.model.client.writes import Writes
from icm_api.model.request import Body, Endpoint, Request, Response
from icm_api.types import Answers, Capabilities, Usage

if TYPE_CHECKING:
    from icm_api.model.client.jobs import Jobs

_BESIDE_DISK = 8_000_000
"""Bytes of answers held in memory where a disk holds them all: what a search asks for again, not a whole data set."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer and what it cost. Its body is bytes: many answers as objects keep the garbage collector busy."""

    body: bytes
    usage: Usage


class Client:
    """Asks an endpoint. It is an async context manager, which closes it.

    Args:
        endpoint: that is asked; the client closes it.
        cache: where answers are kept for later runs; the client closes it. None keeps them in memory only.
        memory: the most answers held in memory, 8 MB of them at most if there is a cache; those used longest ago go
            first.
        settings: concurrency, limits and retries (the defaults if None), for endpoints that take requests one by one.
        meter: counts what is sent and holds it to a budget; by default without one.
        limits: requests and tokens a minute that several processes share; by default those of the settings.
        jobs: sends batch jobs in place of requests; the client closes it. None for requests.

    Raises:
        ValueError: `memory` is negative.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: AnswerCache | None = None,
        *,
        memory: int = 100_000,
        settings: ClientSettings | None = None,
        meter: Metering | None = None,
        limits: Limiting | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        if memory < 0:
            raise ValueError(f"memory is the most answers to hold and can't be negative, got {memory}")
        self.endpoint = endpoint
        self.meter: Metering = meter or Meter()
        self._cache = cache
        self._cuts = CutWatch(endpoint.identity)
        self._limit = memory
        self._memory: OrderedDict[str, _Kept] = OrderedDict()
        self._held = 0
        self._in_flight: dict[str, asyncio.Task[dict[str, _Kept]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dispatcher = Dispatcher(endpoint, settings or ClientSettings(), self.meter, limits)
        self._jobs = jobs
        self._writes = None if cache is None else Writes(cache, lambda: endpoint.identity)

    @property
    def capabilities(self) -> Capabilities:
        """What can be read of the model, and how it is best asked."""
        can = self.endpoint.capabilities
        return can if self._jobs is None else replace(can, at_once=self._jobs.most_requests)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
        """Ask each distinct request once: answers come from memory, from a request under way, or from a new one.

        Args:
            requests: in any number.

        Returns:
            The bodies of the answers, in the order of the requests, and what they cost.

        Raises:
            ProviderError: the endpoint failed, cuts prompts, or is in use in another event loop. What it did answer
                readably is kept.
            BudgetError: the next request could exceed the budget; it was not sent.
            StorageError: the cache can't be read or written, or the ledger of the meter can't be written.
        """
        self._enter_loop()
        keys = [cache_key(self.endpoint.identity, request) for request in requests]
        asked = dict(zip(keys, requests, strict=True))
        answers = {key: self._memory[key] for key in asked if key in self._memory}
        for key in answers:
            self._memory.move_to_end(key)
        rest = [key for key in asked if key not in answers]
        fresh = {key: asked[key] for key in rest if key not in self._in_flight}
        if fresh:
            # A task of its own: whoever asked first may be cancelled while others wait for the same answer.
            task = asyncio.create_task(self._fetch(fresh))
            self._in_flight.update(dict.fromkeys(fresh, task))
            task.add_done_callback(self._landed)
        for task in dict.fromkeys(self._in_flight[key] for key in rest):
            landed = await asyncio.shield(task)
            # The task may also have fetched what nobody here asked for.
            answers.update((key, landed[key]) for key in rest if key in landed)
        # Those from the cache too: what was cut then is no better now.
        # A share of what several requests have once is no count of one prompt.
        self._cuts.look((each, answers[key].usage.prompt_tokens) for key, each in asked.items() if not each.shared)
        costs = {key: replace(answers[key].usage, cached_tokens=0) for key in asked}
        return Answers(Bodies([answers[key].body for key in keys]), costs)

    async def close(self) -> None:
        """Give up what is in flight, and close the endpoint, the cache and the meter.

        Raises:
            StorageError: what was spent could not be written down.
        """
        # Those of another event loop ended with it.
        tasks = set(self._in_flight.values()) if self._loop is asyncio.get_running_loop() else set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with AsyncExitStack() as closing:
            closing.callback(self.meter.close)
            if self._jobs is not None:
                closing.push_async_callback(self._jobs.close)
            if self._cache is not None:
                closing.callback(self._cache.close)
            closing.push_async_callback(self.endpoint.close)

    def _enter_loop(self) -> None:
        """Leave behind what belongs to the event loop of an earlier call, as after a second `asyncio.run`."""
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and self._loop.is_running() and self._in_flight:
            raise ProviderError(
                f"{self.endpoint.identity} is in use in another thread's event loop: open a model for each thread"
            )
        self._loop, self._in_flight = loop, {}
        self._dispatcher.limits.enter_loop()
        if self._jobs is not None:
            self._jobs.enter_loop()

    def _landed(self, task: asyncio.Task[dict[str, _Kept]]) -> None:
        self._in_flight = {key: other for key, other in self._in_flight.items() if other is not task}
        if not task.cancelled():
            # Looked at here, since nobody else may be left to: an error nobody saw would be warned about.
            task.exception()

    async def _fetch(self, requests: Mapping[str, Request]) -> dict[str, _Kept]:
        """Answers from disk, and the rest from the endpoint."""
        if self._writes is not None:
            self._writes.retry()
        version = None if self._cache is None else self._cache.version()
        kept = self._on_disk(requests)
        absent = {key: request for key, request in requests.items() if key not in kept}

        def land(key: str, response: Response) -> None:
            # Every answer is on its way to disk before the next is looked at.
            absent[key].accept(response.body)
            kept[key] = self._plain(response)
            if self._writes is not None:
                self._writes.put(key, kept[key].body, response.usage)

        def known(keys: Sequence[str]) -> Sequence[str]:
            if self._writes is not None:
                self._writes.check()
            # Another process on the same cache may have got them since.
            if self._cache is not None and self._cache.version() != version:
                kept.update(self._on_disk(keys))
            return [key for key in keys if key in kept]

        try:
            if absent and self._jobs is not None:
                await self._jobs.run(absent, land, self._flush)
            elif absent and self.endpoint.capabilities.batches:
                await self._send_together(absent, kept)
            elif absent:
                try:
                    await Batch(self._dispatcher, absent, land, known).run()
                finally:
                    self._flush()
        finally:
            # In the order of the requests, not of the answers: what memory forgets must not depend on luck.
            self._remember({key: kept[key] for key in requests if key in kept})
        return kept

    def _flush(self) -> None:
        if self._writes is not None:
            self._writes.flush()

    def _remember(self, kept: Mapping[str, _Kept]) -> None:
        for key, answer in kept.items():
            if key not in self._memory:
                self._held += len(answer.body)
            self._memory[key] = answer
        while len(self._memory) > self._limit or (self._cache is not None and self._held > _BESIDE_DISK):
            self._held -= len(self._memory.popitem(last=False)[1].body)

    def _on_disk(self, keys: Iterable[str]) -> dict[str, _Kept]:
        found = {} if self._cache is None else self._cache.get_many(keys)
        return {key: self._plain(response) for key, response in found.items()}

    def _plain(self, response: Response) -> _Kept:
        try:
            return _Kept(encode_body(response.body), response.usage)
        except ValueError as error:
            raise LogprobsUnavailableError(f"{self.endpoint.identity}: an answer cannot be kept: {error}") from error

    async def _send_together(self, requests: Mapping[str, Request], kept: dict[str, _Kept]) -> None:
        """All requests in one `send`. The readable answers are put on disk before the first error is raised."""
        asked = list(requests.values())
        reserved = await self.meter.reserve(asked)
        # Only who names its questions may be told that another asks them.
        assert reserved is not None
        responses: Sequence[Response] | None = None
        try:
            responses = await self.endpoint.send(asked)
        finally:
            if responses is None:
                self.meter.unanswered(reserved, billed=False)
        self.meter.answered(reserved, sum((response.usage for response in responses), Usage()), asked)
        if len(responses) != len(asked):
            raise ProviderError(
                f"{self.endpoint.identity} gave {len(responses)} answers to {len(asked)} requests, so "
                "which belongs to which is unknown; none was used"
            )
        readable: dict[str, Response] = {}
        troubles: list[ProviderError] = []
        unanswered: list[Unanswered] = []
        for (key, request), response in zip(requests.items(), responses, strict=True):
            try:
                request.accept(response.body)
                readable[key] = response
            except ProviderError as error:
                troubles.append(error)
                unanswered.append(request.unanswered(error))
        if self._cache is not None:
            self._cache.put_many(readable, self.endpoint.identity)
        kept.update((key, self._plain(response)) for key, response in readable.items())
        if troubles:
            if all(trouble.of_one for trouble in troubles):
                troubles[0].unanswered = tuple(unanswered)
            raise troubles[0]
