"""The client around a provider: asks each distinct question once, remembers the answers, counts the cost.

It does: memory, then disk, then the provider for what is left: one `send` for all where it gains by that, else each
on its own through the dispatcher. Answers go to disk before they are used, and two coroutines with the same question
share one request.
It does not: know a wire format, change a number, or keep an error or an unreadable answer.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeAlias

from icm_api.config import ClientSettings
from icm_api.errors import CapabilityError, LogprobsUnavailableError, ProviderError
from icm_api.model.base import Ask, Generates, Provider, Request, Response, ScoresInside, label_distribution
from icm_api.model.client.cache import ResponseCache
from icm_api.model.client.dispatch import Dispatcher
from icm_api.model.client.entries import cache_key, encode_body
from icm_api.model.client.meter import Meter
from icm_api.model.client.writes import Writes
from icm_api.types import Answers, Capabilities, LabelDistribution, Prompt, Usage

_Body: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer and what it cost. Its body is bytes: many answers as objects keep the garbage collector busy."""

    body: bytes
    usage: Usage


class Client:
    """Distributions over labels from a provider; implements `Model`, and is an async context manager.

    Args:
        provider: whom to ask; the client closes it.
        cache: where answers are kept for later runs; the client closes it. None keeps them in memory only.
        memory: the most answers held in memory; those used longest ago go first.
        settings: concurrency, limits and retries (the defaults if None), for providers that take requests one by one.
        meter: counts what is sent and holds it to a budget; by default without one.

    Raises:
        ValueError: `memory` is negative.
    """

    def __init__(
        self,
        provider: Provider,
        cache: ResponseCache | None = None,
        *,
        memory: int = 100_000,
        settings: ClientSettings | None = None,
        meter: Meter | None = None,
    ) -> None:
        if memory < 0:
            raise ValueError(f"memory is the most answers to hold and can't be negative, got {memory}")
        self._provider = provider
        self._cache = cache
        self._limit = memory
        self._memory: OrderedDict[str, _Kept] = OrderedDict()
        self._in_flight: dict[str, asyncio.Task[dict[str, _Kept]]] = {}
        self._meter = meter or Meter()
        self._dispatcher = Dispatcher(provider, settings or ClientSettings(), self._meter)
        self._writes = None if cache is None else Writes(cache, provider.identity)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def identity(self) -> str:
        """The provider's: its name, host and model."""
        return self._provider.identity

    @property
    def capabilities(self) -> Capabilities:
        """The provider's."""
        return self._provider.capabilities

    @property
    def sent(self) -> Usage:
        """What the provider really answered by now."""
        return self._meter.sent

    @property
    def spent(self) -> float | None:
        """What that cost, in the currency of the prices; None where no prices are known."""
        return self._meter.spent

    def count_tokens(self, text: str) -> int:
        """How many tokens the model sees in this text."""
        return self._provider.count_tokens(text)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        """The model's distribution over each prompt's labels, in the order of the prompts, and what that cost.

        Raises:
            ProviderError: the provider failed. What it did answer readably is kept.
            BudgetError: the next request could exceed the budget; it was not sent.
            LogprobsUnavailableError: an answer holds no usable logprob for a label.
            StorageError: the cache cannot be read or written.
        """
        ask, costs = self._counted()
        readings = await self._provider.score(prompts, ask)
        try:
            found = [label_distribution(asked.verbalizer, each) for asked, each in zip(prompts, readings, strict=True)]
        except LogprobsUnavailableError as error:
            raise LogprobsUnavailableError(f"{self._provider.identity}: {error}") from None
        return Answers(tuple(found), costs)

    async def score_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        """Per prompt and turn, the distribution over labels given all that stands before the turn's answer.

        Raises:
            CapabilityError: the provider gives no logprobs of prompts.
            ProviderError, BudgetError, StorageError: as in `label_distributions`.
        """
        if not isinstance(self._provider, ScoresInside):
            raise CapabilityError(
                f"{self.identity} cannot score positions inside a prompt; completions at vllm, sglang, together and "
                "fireworks can"
            )
        ask, costs = self._counted()
        readings = await self._provider.score_inside(prompts, ask)
        found = [
            [label_distribution(prompt.verbalizer, reading) for reading in turns]
            for prompt, turns in zip(prompts, readings, strict=True)
        ]
        return Answers(tuple(found), costs)

    async def generate(
        self, texts: Sequence[str], *, max_tokens: int, temperature: float = 1.0, samples: int = 1
    ) -> Answers[Sequence[str]]:
        """`samples` continuations of each text, or replies to it from a chat model.

        Raises:
            CapabilityError: the provider writes no text.
            ProviderError, BudgetError, StorageError: as in `label_distributions`.
        """
        if not isinstance(self._provider, Generates):
            raise CapabilityError(
                f"{self.identity} writes no text; openai and the hosts of its kind, anthropic and gemini do"
            )
        ask, costs = self._counted()
        written = await self._provider.generate(
            texts, ask, max_tokens=max_tokens, temperature=temperature, samples=samples
        )
        return Answers(tuple(written), costs)

    async def ask(self, requests: Sequence[Request]) -> Answers[_Body]:
        """The bodies of the answers, in the order of the requests; equal requests are asked once.

        Raises:
            ProviderError: the provider failed. What it did answer readably is kept.
            BudgetError: the next request could exceed the budget; it was not sent.
            StorageError: the cache cannot be read or written.
        """
        keys = [cache_key(self._provider.identity, request) for request in requests]
        answers = await self._answers(dict(zip(keys, requests, strict=True)))
        costs = {key: replace(answer.usage, cached_tokens=0) for key, answer in answers.items()}
        bodies = {key: json.loads(answer.body) for key, answer in answers.items()}
        return Answers(tuple(bodies[key] for key in keys), costs)

    def _counted(self) -> tuple[Ask, dict[str, Usage]]:
        """A way to ask, and what was asked by it costs."""
        costs: dict[str, Usage] = {}

        async def ask(requests: Sequence[Request]) -> Sequence[_Body]:
            answers = await self.ask(requests)
            costs.update(answers.costs)
            return answers

        return ask, costs

    async def close(self) -> None:
        """Give up what is in flight, and close the provider and the cache."""
        tasks = set(self._in_flight.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._provider.close()
        finally:
            if self._cache is not None:
                self._cache.close()

    async def _answers(self, asked: Mapping[str, Request]) -> dict[str, _Kept]:
        """The answer to every key: from memory, from a request under way, or from a new one."""
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
        return answers

    def _landed(self, task: asyncio.Task[dict[str, _Kept]]) -> None:
        self._in_flight = {key: other for key, other in self._in_flight.items() if other is not task}
        if not task.cancelled():
            # Looked at here, since nobody else may be left to: an error nobody saw would be warned about.
            task.exception()

    async def _fetch(self, requests: Mapping[str, Request]) -> dict[str, _Kept]:
        """Answers from disk, and the rest from the provider."""
        version = None if self._cache is None else self._cache.version()
        kept = self._on_disk(requests)
        absent = {key: request for key, request in requests.items() if key not in kept}
        try:
            if absent and self._provider.capabilities.batches:
                await self._send_together(absent, kept)
            elif absent:
                await self._send_each(absent, kept, version)
        finally:
            # In the order of the requests, not of the answers: what memory forgets must not depend on luck.
            self._remember({key: kept[key] for key in requests if key in kept})
        return kept

    def _remember(self, kept: Mapping[str, _Kept]) -> None:
        self._memory.update(kept)
        while len(self._memory) > self._limit:
            self._memory.popitem(last=False)

    def _on_disk(self, keys: Iterable[str]) -> dict[str, _Kept]:
        found = {} if self._cache is None else self._cache.get_many(keys)
        return {key: self._plain(response) for key, response in found.items()}

    def _plain(self, response: Response) -> _Kept:
        try:
            return _Kept(encode_body(response.body), response.usage)
        except ValueError as error:
            raise LogprobsUnavailableError(f"{self.identity}: an answer cannot be kept: {error}") from error

    async def _send_each(self, requests: Mapping[str, Request], kept: dict[str, _Kept], version: int | None) -> None:
        """Each request on its own; every answer is on its way to disk before the next is looked at."""

        def land(key: str, response: Response) -> None:
            self._provider.check(requests[key], response.body)
            kept[key] = self._plain(response)
            if self._writes is not None:
                self._writes.put(key, kept[key].body, response.usage)

        def known(key: str) -> bool:
            # Another process on the same cache may have got it since.
            if self._cache is not None and self._cache.version() != version:
                kept.update(self._on_disk([key]))
            return key in kept

        try:
            await self._dispatcher.run(requests, land, known)
        finally:
            if self._writes is not None:
                self._writes.flush()

    async def _send_together(self, requests: Mapping[str, Request], kept: dict[str, _Kept]) -> None:
        """All requests in one `send`. The readable answers are put on disk before the first error is raised."""
        asked = list(requests.values())
        reserved = await self._meter.reserve(asked)
        responses: Sequence[Response] | None = None
        try:
            responses = await self._provider.send(asked)
        finally:
            if responses is None:
                self._meter.unanswered(reserved, billed=False)
        self._meter.answered(reserved, sum((response.usage for response in responses), Usage()), asked)
        if len(responses) != len(asked):
            raise ProviderError(
                f"{self._provider.identity} gave {len(responses)} answers to {len(asked)} requests, so "
                "which belongs to which is unknown; none was used"
            )
        readable: dict[str, Response] = {}
        trouble: ProviderError | None = None
        for (key, request), response in zip(requests.items(), responses, strict=True):
            try:
                self._provider.check(request, response.body)
                readable[key] = response
            except ProviderError as error:
                trouble = trouble or error
        if self._cache is not None:
            self._cache.put_many(readable, self._provider.identity)
        kept.update((key, self._plain(response)) for key, response in readable.items())
        if trouble is not None:
            raise trouble
