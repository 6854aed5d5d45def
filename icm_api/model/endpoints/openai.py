"""OpenAI's two APIs, and all hosts that speak their formats, through OpenAI's SDK with its own retries off.

It does: connect, send, count what the server says it cost, and name what went wrong. Imported only when such a host is
opened. It does not: retry, wait, or read an answer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import httpx2
from pydantic import SecretStr
from pydantic_core import to_json

from icm_api.errors import ConfigError, RequestError
from icm_api.model.endpoints.advice import not_found
from icm_api.model.endpoints.answers import read_capped, read_object
from icm_api.model.endpoints.headers import limits_of, retry_after, wait_said
from icm_api.model.endpoints.http import QUOTA_CODES, advised, blotted, host_of, kind_of, transport_error
from icm_api.model.endpoints.lists import listed, parted
from icm_api.model.endpoints.network import PerLoop, check_headers, network, proxy_variable
from icm_api.model.endpoints.on_demand import on_demand
from icm_api.model.endpoints.usage import charged
from icm_api.model.host import Host
from icm_api.model.job import JobHost
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities

with on_demand("openai.types"):
    import openai

# Below httpx's own default, which lets a dead host hold a run for a minute and more.
_CONNECT_SECONDS = 10.0
_LIST_SECONDS = 5.0
# The SDK sends nothing without a key; servers that want none don't look at it.
_NO_KEY = "no-key"


@dataclass(frozen=True, slots=True)
class Connection:
    """Where and how to connect.

    Attributes:
        url: the base URL, checked by `checked_url`.
        key: sent as a bearer token; None for a host that wants none.
        http_client: "httpx2", or "aiohttp", which is faster at high concurrency and needs `openai[aiohttp]`; not by
            default, since a model that is used in a second event loop then has lines about unclosed sessions printed.
    """

    url: str
    key: SecretStr | None
    http_client: Literal["httpx2", "aiohttp"] = "httpx2"


class OpenAIEndpoint:
    """One model at a host of OpenAI's formats; implements `Endpoint`.

    Args:
        host: the model and its host.
        capabilities: what can be read of it.
        connection: where and how to connect.
        unkeyed: sent with every question; it changes what that costs and not what is answered.

    Raises:
        ConfigError: aiohttp was asked for, and is not installed.
    """

    def __init__(
        self,
        host: Host,
        capabilities: Capabilities,
        connection: Connection,
        unkeyed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._host, self._capabilities, self._unkeyed = host, capabilities, unkeyed
        # Routes that begin with a slash stand beside /v1, not below it.
        self._root = connection.url.removesuffix("/v1")
        self._sdk = PerLoop(partial(open_sdk, connection), openai.AsyncOpenAI.close)

    def job_host(self) -> JobHost:
        """What takes batch jobs for this model, by the shape that its entry names."""
        from icm_api.model.endpoints.openai_jobs import OpenAIJobs, TogetherJobs

        kind = TogetherJobs if self._host.entry.jobs == "together" else OpenAIJobs
        return kind(self._host, self._sdk, self._unkeyed)

    @property
    def identity(self) -> str:
        """The entry's name, the host and its path, and the model's name."""
        return self._host.identity

    @property
    def capabilities(self) -> Capabilities:
        """What can be read of the model."""
        return self._capabilities

    def count_tokens(self, text: str) -> int:
        """An estimate from the text's length, rather too large."""
        return self._host.count_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask several of one group in one list of prompts, and others one after the other."""
        if len(requests) > 1 and requests[0].group and len({request.group for request in requests}) == 1:
            where = self._host.identity
            asked = listed(requests) | dict(self._unkeyed)
            body, headers = await post(self._sdk.get(), requests[0].endpoint, asked, where)
            parts, doubt = parted(body, requests, where)
            limits = limits_of(headers)
            return [Response(alone, usage, limits, doubt) for alone, usage in parts]
        responses = []
        for request in requests:
            beside = request.endpoint.startswith("/")
            path = self._root + request.endpoint if beside else request.endpoint
            asked = {**request.body, **({} if beside else self._unkeyed)}
            body, headers = await post(self._sdk.get(), path, asked, self._host.identity)
            usage, doubt = charged(body, request)
            responses.append(Response(body, usage, limits_of(headers), doubt))
        return responses

    async def stated_window(self) -> int | None:
        """Tokens of the context window, by the server's list of models; None if it says nothing."""
        try:
            response = await self._sdk.get().get("models", cast_to=httpx2.Response, options={"timeout": _LIST_SECONDS})
            return window_of(json.loads(response.content), self._host.model)
        except (openai.APIError, ValueError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()


def window_of(body: object, model: str) -> int | None:
    """Tokens of a model's context window, as a list of models states it; None if it does not.

    Args:
        body: of `GET /v1/models`: vLLM and SGLang say `max_model_len`, llama.cpp `meta.n_ctx`, hosts `context_length`.
        model: its name; if the list has only one, that one.

    Example:
        >>> window_of({"data": [{"id": "m", "max_model_len": 4096}]}, "m")
        4096
        >>> window_of({"data": [{"id": "m.gguf", "meta": {"n_ctx": 512, "n_ctx_train": 8192}}]}, "m")
        512
    """
    data = body.get("data") if isinstance(body, Mapping) else None
    entries = [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []
    named = [entry for entry in entries if entry.get("id") == model] or entries
    if len(named) != 1:
        return None
    meta = named[0].get("meta")
    said = [named[0].get("max_model_len"), meta.get("n_ctx") if isinstance(meta, Mapping) else None]
    said += [named[0].get(key) for key in ("context_length", "context_window", "max_context_length")]
    return next((value for value in said if type(value) is int and value > 0), None)


def open_sdk(connection: Connection) -> openai.AsyncOpenAI:
    """The official SDK on this connection, with its own retries off.

    Raises:
        ConfigError: aiohttp was asked for, and is not installed or can't use the proxy; or a variable of the
            environment is unusable.
    """
    key = connection.key.get_secret_value() if connection.key else _NO_KEY
    headers: dict[str, Any] = {}
    if not host_of(connection.url).partition("/")[0].endswith(".openai.com"):
        # What the environment says for OpenAI (organization, project, other headers) is no other host's business.
        headers = {name: openai.Omit() for name in _openai_headers()} | {"Authorization": f"Bearer {key}"}
    else:
        check_headers("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")
    way = network(connection.url)
    hooks = {"response": [read_capped]}
    if connection.http_client == "aiohttp":
        if way["proxy"] and way["proxy"].url.scheme.startswith("socks"):
            raise ConfigError(
                f'http_client="aiohttp" takes no SOCKS proxy, as {proxy_variable(connection.url)} names one: '
                "leave the option out"
            )
        try:
            client = openai.DefaultAioHttpClient(**way, event_hooks=hooks)
        except RuntimeError:
            raise ConfigError('http_client="aiohttp" needs aiohttp: pip install "openai[aiohttp]"') from None
    else:
        client = openai.DefaultAsyncHttpxClient(**way, event_hooks=hooks)
    return openai.AsyncOpenAI(
        api_key=key,
        base_url=connection.url,
        max_retries=0,
        # How long an answer may take is for the client to say.
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        http_client=client,
        default_headers=headers,
    )


async def post(
    sdk: openai.AsyncOpenAI, path: str, body: Mapping[str, Any], where: str
) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Send one body; returns the answer's, with NaN and infinities (which are no JSON) as text, and its headers.

    Args:
        sdk: from `open_sdk`.
        path: below the base URL, or a whole URL.
        body: JSON-able.
        where: provider and model, for messages.

    Raises:
        RequestError: it failed; classified.
    """
    try:
        # The SDK would take several times as long to write it.
        response = await sdk.post(path, cast_to=httpx2.Response, content=to_json(dict(body)))
    except openai.APIError as error:
        raise request_error(error, where, sdk.api_key, str(sdk.base_url)) from None
    return read_object(response.content, response.status_code, where, sdk.api_key), response.headers


def request_error(error: openai.APIError, where: str, secret: str, url: str) -> RequestError:
    """What an error of the SDK means. Servers quote keys in their messages; `secret` is blotted out.

    Args:
        error: as the SDK raised it.
        where: provider and model, for the message.
        secret: the key.
        url: that was asked.
    """
    if not isinstance(error, openai.APIStatusError):
        return transport_error(error.__cause__ or error, where, secret, url)
    status = error.status_code
    text = blotted(str(error.message), secret)
    kind = kind_of(status, str(error.code or error.type or ""), text)
    if QUOTA_CODES & {str(error.code), str(error.type)}:
        kind = "quota"
    wait = retry_after(error.response.headers)
    if wait is None:
        wait = wait_said(error.body, text)
    told = advised(text, kind)
    if kind == "not_found":
        told += f" {not_found(error.request.url.path)}"
    return RequestError(f"{where}: {told}", kind=kind, status=status, retry_after=wait)


def _openai_headers() -> set[str]:
    custom = (line.partition(":") for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n"))
    names = {name.strip() for name, colon, _ in custom if colon and name.strip().lower() != "authorization"}
    return {"OpenAI-Organization", "OpenAI-Project"} | names
