"""OpenAI's SDK with its own retries off: connect, send, and name what went wrong, for questions, jobs and decisions.

Imported only when a host that speaks OpenAI's formats is opened. The SDK writes the first question to a path; the next
ones differ from it in their content alone, and to write each anew would take as long as all else that the client does.
It does not: retry, wait, or read an answer.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import anyio
import httpx2
from pydantic import SecretStr
from pydantic_core import to_json

from icm_api.errors import ConfigError, RequestError
from icm_api.model.endpoints.advice import not_found
from icm_api.model.endpoints.answers import read_capped, read_object
from icm_api.model.endpoints.headers import retry_after, wait_said
from icm_api.model.endpoints.http import QUOTA_CODES, advised, blotted, host_of, kind_of, transport_error
from icm_api.model.endpoints.network import check_headers, network, proxy_variable
from icm_api.model.endpoints.on_demand import on_demand

with on_demand("openai.types"):
    import openai

# Below httpx's own default, which lets a dead host hold a run for a minute and more.
_CONNECT_SECONDS = 10.0
# The SDK sends nothing without a key; servers that want none don't look at it.
_NO_KEY = "no-key"
# What the SDK takes for a connection that gave no answer.
_NO_ANSWER = (httpx2.RequestError, ssl.SSLError, anyio.EndOfStream)
# Of a request, what the next one like it has of its own.
_OWN_HEADERS = ("content-length", "cookie")


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


class _Written(NamedTuple):
    """A request as the SDK wrote it, without its content: what the next ones to the same path have in common."""

    url: httpx2.URL
    headers: httpx2.Headers
    extensions: Mapping[str, Any]


class Sdk(openai.AsyncOpenAI):
    """The official SDK, and what it wrote.

    Attributes:
        http: what it sends with.
        written: a request that was answered, by path.
    """

    def __init__(self, *, http_client: httpx2.AsyncClient, **options: Any) -> None:
        super().__init__(http_client=http_client, **options)
        self.http = http_client
        self.written: dict[str, _Written] = {}


def open_sdk(connection: Connection) -> Sdk:
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
    return Sdk(
        api_key=key,
        base_url=connection.url,
        max_retries=0,
        # How long an answer may take is for the client to say.
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        http_client=client,
        default_headers=headers,
    )


async def post(sdk: Sdk, path: str, body: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
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
        response = await _sent(sdk, path, to_json(dict(body)))
    except openai.APIError as error:
        raise request_error(error, where, sdk.api_key, str(sdk.base_url)) from None
    return read_object(response.content, response.status_code, where, sdk.api_key), response.headers


async def _sent(sdk: Sdk, path: str, content: bytes) -> httpx2.Response:
    """The answer to a content, as the SDK gives it.

    Raises:
        openai.APIError: there is none, or it has the status of an error.
    """
    like = sdk.written.get(path)
    if like is None:
        response = await sdk.post(path, cast_to=httpx2.Response, content=content)
        asked = (response.history or [response])[0].request
        headers = httpx2.Headers([each for each in asked.headers.multi_items() if each[0].lower() not in _OWN_HEADERS])
        sdk.written[path] = _Written(asked.url, headers, asked.extensions)
        return response
    url, headers, extensions = like
    cookies = sdk.http.cookies
    request = httpx2.Request("POST", url, headers=headers, cookies=cookies, content=content, extensions=extensions)
    try:
        response = await sdk.http.send(request)
    except _NO_ANSWER as error:
        raise openai.APIConnectionError(request=request) from error
    if not response.is_success:
        raise _status_error(response)
    return response


def _status_error(response: httpx2.Response) -> openai.APIStatusError:
    """What the SDK makes of an answer with the status of an error."""
    message, text = f"Error code: {response.status_code}", response.text.strip()
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return openai.APIStatusError(message, response=response, body=text)
    error = body.get("error", body) if isinstance(body, dict) else body
    said = error.get("message") if isinstance(error, dict) else None
    if isinstance(said, str) and said:
        message += f" - {said}"
    return openai.APIStatusError(message, response=response, body=error)


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
