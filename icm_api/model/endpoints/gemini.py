"""Gemini's generateContent over plain HTTP: one URL for each model.

It does: send, count what the server says it cost, and name what went wrong.
It does not: retry, wait, or read an answer. Many Gemini models refuse to give logprobs at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from icm_api.errors import CapabilityError, ConfigError, RequestError
from icm_api.model.endpoints.answers import read_capped, read_object
from icm_api.model.endpoints.headers import retry_after
from icm_api.model.endpoints.http import advised, blotted, checked_url, host_of, kind_of, read_key, transport_error
from icm_api.model.endpoints.network import PerLoop, network
from icm_api.model.endpoints.usage import charged
from icm_api.model.options import GeminiOptions
from icm_api.model.request import Request, Response, estimated_tokens
from icm_api.types import Capabilities

_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_CONNECT_SECONDS = 10.0
_MENDING = frozenset({"context_window", "top_logprobs", "thinking"})


class GeminiEndpoint:
    """One Gemini model; implements `Endpoint`.

    The key is read from GEMINI_API_KEY, or else GOOGLE_API_KEY.

    Args:
        model: its name. Few list logprobs: 3.5 Flash refuses them, 2.5 Flash is retired in December 2026.
        options: what to ask for, and where.
        transport: what carries requests, for tests; None is the network.

    Raises:
        ConfigError: there is no key, or the address would send it without encryption.
    """

    def __init__(
        self,
        model: str,
        options: GeminiOptions | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        options = options or GeminiOptions()
        url = checked_url(options.base_url, allow_http=options.allow_http)
        key = next((found for name in _KEYS if (found := read_key(name, required=False))), None)
        if key is None:
            raise ConfigError(f"gemini: no API key: set the environment variable {' or '.join(_KEYS)}")
        self._options, self._key = options, key
        self._identity = f"gemini/{host_of(url)}/{model}"
        self.path = f"/v1beta/{model if '/' in model else f'models/{model}'}:generateContent"
        self._url = url
        self._http = PerLoop(lambda: _open(url, transport), httpx2.AsyncClient.aclose)

    @property
    def identity(self) -> str:
        """`gemini/`, the host, and the model's name."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """The likeliest tokens. What a hosted model computes is not the same to the last digit every time."""
        options = self._options
        return Capabilities(
            options.context_window,
            "top_k",
            deterministic=False,
            top_logprobs=options.top_logprobs,
            generates=True,
            options=("top_logprobs", "thinking"),
        )

    def count_tokens(self, text: str) -> int:
        """An estimate that is rather too large: the tokenizer is not public."""
        return estimated_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask one after the other.

        Raises:
            RequestError: a request failed; of which kind, and how long the server asks to wait.
            CapabilityError: the model gives no logprobs.
        """
        return [await self._send(request) for request in requests]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _send(self, request: Request) -> Response:
        where = self._identity
        try:
            response = await self._http.get().post(
                request.endpoint, json=dict(request.body), headers={"x-goog-api-key": self._key.get_secret_value()}
            )
        except httpx2.RequestError as error:
            raise transport_error(error, where, self._key.get_secret_value(), self._url) from None
        if not response.is_success:
            raise self._refused(response)
        answer = read_object(response.content, response.status_code, where, self._key.get_secret_value())
        usage, doubt = charged(answer, request)
        return Response(answer, usage, doubt=doubt)

    def _refused(self, response: httpx2.Response) -> RequestError | CapabilityError:
        """What an answer with an error status means."""
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            answer = None
        error = answer.get("error") if isinstance(answer, Mapping) else None
        error = error if isinstance(error, Mapping) else {}
        text = self.blotted(str(error.get("message") or response.text))[:500]
        where, status = self._identity, response.status_code
        if status == 400 and "logprobs" in text.lower():
            return CapabilityError(
                f"{where} gives no logprobs ({text}): choose a Gemini model that does, or another provider"
            )
        listed = error.get("details")
        details = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
        wait = retry_after(response.headers)
        if wait is None:
            wait = _retry_delay(details)
        kind = kind_of(status, str(error.get("status") or ""), text)
        if any(each.get("reason") == "API_KEY_INVALID" for each in details):
            kind = "authentication"
        elif status == 429 and _is_daily(details):
            kind = "quota"
        return RequestError(f"{where}: {advised(text, kind, _MENDING)}", kind=kind, status=status, retry_after=wait)

    def blotted(self, text: str) -> str:
        """The text without the key, which servers and libraries quote."""
        return blotted(text, self._key.get_secret_value())


def _open(url: str, transport: httpx2.AsyncBaseTransport | None) -> httpx2.AsyncClient:
    way = network(url)
    return httpx2.AsyncClient(
        base_url=url,
        # How long an answer may take is for the client to say.
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        # How many requests are under way is for the caller to say.
        limits=httpx2.Limits(max_connections=None),
        transport=transport,
        trust_env=way["trust_env"],
        verify=way["verify"],
        proxy=None if transport else way["proxy"],
        event_hooks={"response": [read_capped]},
    )


def _retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds that google.rpc.RetryInfo asks to wait, written like "37s"."""
    for detail in details:
        written = str(detail.get("retryDelay", ""))
        if re.fullmatch(r"\d+(\.\d+)?s", written):
            return float(written[:-1])
    return None


def _is_daily(details: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a quota of the day is used up, for which no wait in a run is long enough."""
    listed = [detail.get("violations") for detail in details]
    violations = [each for some in listed if isinstance(some, list) for each in some if isinstance(each, Mapping)]
    return any("perday" in str(each.get("quotaId", "")).lower() for each in violations)
