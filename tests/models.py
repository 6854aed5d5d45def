"""Models put together by hand: a fake or an opened endpoint below a client, and its readers above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx2

from icm_api.model import Client, LanguageModel, Opened, Readers
from icm_api.model.client.cache import ResponseCache
from icm_api.model.endpoints.anthropic import AnthropicEndpoint
from icm_api.model.endpoints.gemini import GeminiEndpoint
from icm_api.model.options import AnthropicOptions, GeminiOptions
from icm_api.model.reading.anthropic import AnthropicReader
from icm_api.model.reading.gemini import GeminiReader
from icm_api.model.reading.reading import Sampling
from icm_api.model.request import Body, Endpoint, Request, Response
from icm_api.types import Answers


def as_model(both: Any, cache: ResponseCache | None = None, **given: Any) -> LanguageModel:
    """A model of what was opened, or of a fake that is both an endpoint and its reader; the rest is the client's."""
    endpoint, readers = both if isinstance(both, Opened) else (both, Readers(both))
    return LanguageModel(readers, Client(endpoint, cache, **given))


Handler = Callable[[httpx2.Request], httpx2.Response]


def claude(handler: Handler, **options: Any) -> Opened:
    """A Claude model that a function answers for."""
    given = AnthropicOptions(**options)
    endpoint = AnthropicEndpoint("claude-x", given, transport=httpx2.MockTransport(handler))
    reader = AnthropicReader(endpoint.identity, given, endpoint.blotted)
    return Opened(endpoint, Readers(reader, text=reader))


def gemini(handler: Handler, model: str = "gemini-x", **options: Any) -> Opened:
    """A Gemini model that a function answers for."""
    given = GeminiOptions(**options)
    endpoint = GeminiEndpoint(model, given, transport=httpx2.MockTransport(handler))
    reader = GeminiReader(endpoint.identity, endpoint.path, given, endpoint.blotted)
    return Opened(endpoint, Readers(reader, text=reader))


class Straight:
    """A client without retry, memory or limits: sends one request after the other. Implements `Asks`.

    Args:
        endpoint: that is asked.
        most: so many requests of each `ask` are sent; the rest get the last one's answer.
    """

    def __init__(self, endpoint: Endpoint, most: int | None = None) -> None:
        self.endpoint, self.most = endpoint, most
        self.exchanges: list[tuple[Request, Response]] = []

    async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
        bodies: list[Body] = []
        for request in requests[: self.most]:
            (response,) = await self.endpoint.send([request])
            self.exchanges.append((request, response))
            request.accept(response.body)
            bodies.append(response.body)
        return Answers((*bodies, *bodies[-1:] * (len(requests) - len(bodies))))


async def text_request(readers: Readers) -> Request:
    """A request for text, of which nothing is sent."""
    asked: list[Request] = []

    class Noting:
        async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
            asked.extend(requests)
            raise LookupError

    assert readers.text is not None
    with suppress(LookupError):
        await readers.text.write(["7>3"], Noting(), Sampling(1))
    return asked[0]
