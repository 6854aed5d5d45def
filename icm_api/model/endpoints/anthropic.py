"""Anthropic's Messages API: questions one after the other, and who takes jobs.

Imported only when such a model is opened. It does not: connect or name errors (`anthropic_host` does), retry, wait, or
read an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import anthropic
import httpx2

from icm_api.model.endpoints.anthropic_host import AnthropicHost
from icm_api.model.endpoints.anthropic_jobs import AnthropicJobs
from icm_api.model.endpoints.headers import limits_of
from icm_api.model.job import JobHost
from icm_api.model.options import AnthropicOptions
from icm_api.model.request import Request, Response, estimated_tokens
from icm_api.types import Capabilities


class AnthropicEndpoint:
    """One Claude model; implements `Endpoint`.

    The key is read from ANTHROPIC_API_KEY.

    Args:
        model: its name, e.g. "claude-haiku-5-5".
        options: how to estimate, and where to ask.
        transport: what carries requests, for tests; None is the network.

    Raises:
        ConfigError: there is no key, or the address would send it without encryption.
    """

    def __init__(
        self,
        model: str,
        options: AnthropicOptions | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._options = options or AnthropicOptions()
        self._host = AnthropicHost(model, self._options, transport)

    @property
    def identity(self) -> str:
        """`anthropic/`, the host, and the model's name."""
        return self._host.identity

    @property
    def capabilities(self) -> Capabilities:
        """Estimated by the method that the options name, so not deterministic."""
        options = self._options
        return Capabilities(
            options.context_window,
            options.estimate,
            deterministic=False,
            generates=True,
            requests_per_prompt=options.samples,
            options=("max_tokens", "thinking"),
        )

    def count_tokens(self, text: str) -> int:
        """An estimate that is rather too large: the tokenizer is not public."""
        return estimated_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask one after the other.

        Raises:
            RequestError: a request failed; of which kind, and how long the server asks to wait.
        """
        return [await self._send(request) for request in requests]

    async def close(self) -> None:
        """Close the connections."""
        await self._host.close()

    async def _send(self, request: Request) -> Response:
        try:
            body = self._host.body_of(request)
            sent = await self._host.sdk.post(request.endpoint, body=body, cast_to=httpx2.Response)
        except anthropic.APIError as error:
            raise self._host.classified(error) from None
        return replace(self._host.response(sent.content, request, sent.status_code), limits=limits_of(sent.headers))

    def job_host(self) -> JobHost:
        """What takes batch jobs for this model."""
        return AnthropicJobs(self._host)

    def blotted(self, text: str) -> str:
        """The text without the key, which servers and libraries quote."""
        return self._host.blotted(text)
