"""OpenAI's SDK with its own retries off: connect, send, and name what went wrong, for questions, jobs and decisions.

Imported only when a host that speaks OpenAI's formats is opened. It does not: retry, wait, or read an answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
