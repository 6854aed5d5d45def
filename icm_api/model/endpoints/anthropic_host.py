"""One Claude model at its host, through Anthropic's SDK with the SDK's own retries off: for questions and for jobs.

It does: connect, make bodies, read what an answer cost, and name what went wrong. Imported only when such a model is
opened. It does not: retry, wait, or read labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import anthropic
import httpx2
from pydantic import SecretStr

from icm_api.errors import RequestError
from icm_api.model.endpoints.answers import read_capped, read_object
from icm_api.model.endpoints.headers import retry_after
from icm_api.model.endpoints.http import advised, blotted, checked_url, host_of, kind_of, read_key, transport_error
from icm_api.model.endpoints.network import PerLoop, check_headers, network
from icm_api.model.endpoints.usage import charged
from icm_api.model.options import AnthropicOptions
from icm_api.model.request import Body, Request, Response

_KEY = "ANTHROPIC_API_KEY"
_CONNECT_SECONDS = 10.0
_MENDING = frozenset({"context_window"})
_HOOKS: Mapping[str, list[Any]] = MappingProxyType({"response": [read_capped]})


class AnthropicHost:
    """One Claude model, and the connections to its host. The key is read from ANTHROPIC_API_KEY.

    Args:
        model: its name, e.g. "claude-haiku-5-5".
        options: where to ask.
        transport: what carries requests, for tests; None is the network.

    Raises:
        ConfigError: there is no key, or the address would send it without encryption.
    """

    def __init__(self, model: str, options: AnthropicOptions, transport: httpx2.AsyncBaseTransport | None) -> None:
        url = checked_url(options.base_url, allow_http=options.allow_http)
        key = read_key(_KEY)
        assert key is not None
        self._model, self._key, self._url = model, key, url
        self._identity = f"anthropic/{host_of(url)}/{model}"
        check_headers("ANTHROPIC_CUSTOM_HEADERS")
        self._sdk = PerLoop(lambda: open_sdk(url, key, transport), anthropic.AsyncAnthropic.close)

    @property
    def identity(self) -> str:
        """`anthropic/`, the host, and the model's name."""
        return self._identity

    @property
    def sdk(self) -> anthropic.AsyncAnthropic:
        """The connections of the running event loop."""
        return self._sdk.get()

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    def body_of(self, request: Request) -> dict[str, Any]:
        """A question with the model that it goes to."""
        return {"model": self._model, **request.body}

    def response(self, content: bytes, request: Request, status: int = 200) -> Response:
        """An answer as it came, and what it cost.

        Args:
            content: JSON of a message.
            request: that it answers.
            status: that it came with.

        Raises:
            RequestError: it is no message that can be read, or an error.
        """
        answer = read_object(content, status, self._identity, self._key.get_secret_value())
        try:
            _check_message(answer)
        except (KeyError, TypeError) as error:
            shown = self.blotted(content[:2000].decode("utf-8", "replace"))
            raise RequestError(
                f"{self._identity}: the answer is no message: {shown!r:.200}", kind="broken_answer", status=status
            ) from error
        usage, doubt = charged(_with_cached(answer), request)
        return Response(answer, usage, doubt=doubt)

    def classified(self, error: anthropic.APIError) -> RequestError:
        """What kind of failure it was."""
        if not isinstance(error, anthropic.APIStatusError):
            return transport_error(error.__cause__ or error, self._identity, self._key.get_secret_value(), self._url)
        spent = error.type == "billing_error" or "spend_limit" in (error.error_code or "")
        text = self.blotted(str(error.api_message or error.message))
        kind = "quota" if spent else kind_of(error.status_code, str(error.type or ""), text)
        if kind == "bad_request" and "thinking" in text:
            text += ": set thinking=true, with a larger max_tokens, for a model that always thinks"
        wait = retry_after(error.response.headers)
        return RequestError(
            f"{self._identity}: {advised(text, kind, _MENDING)}", kind=kind, status=error.status_code, retry_after=wait
        )

    def blotted(self, text: str) -> str:
        """The text without the key, which servers and libraries quote."""
        return blotted(text, self._key.get_secret_value())


def open_sdk(url: str, key: SecretStr, transport: httpx2.AsyncBaseTransport | None = None) -> anthropic.AsyncAnthropic:
    """The official SDK, with its own retries off.

    Args:
        url: where it asks.
        key: that it sends.
        transport: what carries requests; None is the network.

    Raises:
        ConfigError: a variable of the environment is unusable.
    """
    http = (
        httpx2.AsyncClient(transport=transport, follow_redirects=True, event_hooks=_HOOKS)
        if transport
        else anthropic.DefaultAsyncHttpxClient(**network(url), event_hooks=_HOOKS)
    )
    return anthropic.AsyncAnthropic(
        api_key=key.get_secret_value(),
        base_url=url,
        max_retries=0,
        # How long an answer may take is for the client to say.
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        http_client=http,
    )


def _with_cached(answer: Body) -> Body:
    """The answer with all prompt tokens in one count: Anthropic's own leaves out what it cached."""
    used = answer.get("usage")
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    if not isinstance(used, Mapping) or not all(type(used.get(name) or 0) is int for name in parts):
        return answer
    counted = [used.get(name) or 0 for name in parts]
    return {"usage": {**used, "input_tokens": sum(counted) if min(counted) >= 0 else counted[0]}}


def _check_message(answer: Mapping[str, Any]) -> None:
    """Raise KeyError or TypeError if the answer is no message with text."""
    "".join(block["text"] for block in answer["content"] if block["type"] == "text")
