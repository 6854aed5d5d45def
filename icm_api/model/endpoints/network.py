"""What connections take from the environment, and to which event loop they belong.

It does: choose the proxy and the certificates, name the variable if one is unusable, and open connections anew in
another event loop. It does not: send anything.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Generic, TypedDict, TypeVar
from urllib.request import getproxies, proxy_bypass

import httpx2

from icm_api.errors import ConfigError

_T = TypeVar("_T")
_LAST_PORT = 65535
_PROXIES = "http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*:[\t -~]*")


class Network(TypedDict):
    """What an `httpx2.AsyncClient` is opened with, so that it looks at no environment variable itself."""

    trust_env: bool
    proxy: httpx2.Proxy | None
    verify: ssl.SSLContext


def network(url: str) -> Network:
    """Proxy and certificates for a URL, as the environment states them.

    Args:
        url: checked by `checked_url`.

    Raises:
        ConfigError: a variable names a proxy or certificates that can't be used: which variable.
    """
    secure = url.startswith("https:")
    return Network(
        trust_env=False,
        proxy=_proxy(url),
        # Without https no certificate is looked at, and to load them all takes its time.
        verify=_certificates() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("api.openai.com")
        (True, True, False)
    """
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"


def proxy_variable(url: str) -> str:
    """The variable that names the proxy on the way to a URL; empty if there is none. No proxy leads to this machine.

    Args:
        url: that is asked.
    """
    asked = httpx2.URL(url)
    if is_loopback(asked.host) or proxy_bypass(asked.host):
        return ""
    found = getproxies()
    kind = next((kind for kind in (asked.scheme, "all") if found.get(kind)), None)
    named = (name for name, value in os.environ.items() if name.lower() == f"{kind}_proxy" and value)
    return "" if kind is None else next(named, f"the system's {kind}_proxy")


def _proxy(url: str) -> httpx2.Proxy | None:
    variable = proxy_variable(url)
    if not variable:
        return None
    found = getproxies()
    text = (found.get(httpx2.URL(url).scheme) or found["all"]).strip()
    # Desktops write socks:// for version 5.
    text = re.sub(r"^socks:", "socks5:", text if "://" in text else f"http://{text}")
    way_out = f"unset it, or add {httpx2.URL(url).host} to NO_PROXY"
    try:
        proxy = httpx2.Proxy(text)
        if not proxy.url.host or not 1 <= (1 if proxy.url.port is None else proxy.url.port) <= _LAST_PORT:
            raise ValueError("no host or port")
    except (ValueError, httpx2.InvalidURL):
        # It may hold a password, so it is not quoted.
        raise ConfigError(
            f"the environment variable {variable} names no proxy that can be used: write it as {_PROXIES}, or {way_out}"
        ) from None
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(
            f"the environment variable {variable} names a SOCKS proxy, for which the package 'socksio' is missing: "
            f"pip install socksio; or {way_out}"
        )
    if proxy.url.scheme == "https":
        proxy.ssl_context = _certificates()
    return proxy


def _certificates() -> ssl.SSLContext:
    """The certificates that are trusted: those of SSL_CERT_FILE, else of SSL_CERT_DIR, else the machine's."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(variable)
        if path:
            return _trusting(variable, path)
    return httpx2.create_ssl_context(trust_env=False)


def _trusting(variable: str, path: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if variable == "SSL_CERT_FILE":
            context.load_verify_locations(cafile=path)
        elif Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            raise OSError("no such folder")
    except (OSError, ValueError) as error:
        reason = (
            "it holds no certificate" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", 0) or error
        )
        raise ConfigError(
            f"the environment variable {variable} names {path!r}, which can't be used ({reason}): "
            "name certificates in PEM format, or unset it"
        ) from None
    return context


def check_headers(*variables: str) -> None:
    """Raise ConfigError if a variable that an SDK sends as a header, or as lines of headers, can't be sent.

    Args:
        *variables: names; one that ends in `_HEADERS` holds a header a line. Values are not quoted.
    """
    for variable in variables:
        value = os.environ.get(variable, "")
        lines = value.split("\n") if variable.endswith("_HEADERS") else [f"name:{value}"]
        if not all(_HEADER.fullmatch(line.strip()) for line in lines if ":" in line):
            raise ConfigError(
                f"the environment variable {variable} holds a character that no header can have (a curly quote, an "
                "accent, a line break?): write it in plain ASCII, or unset it"
            )


class PerLoop(Generic[_T]):
    """Connections, which belong to the event loop that they were opened in; in another they are opened anew.

    Args:
        make: opens them. It is called at once, so that what is wrong shows before anything is asked.
        close: closes them.
    """

    def __init__(self, make: Callable[[], _T], close: Callable[[_T], Awaitable[None]]) -> None:
        self._make, self._close = make, close
        self._open = make()
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> _T:
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            # What belonged to the other loop can't be closed without it.
            self._open = self._make()
        self._loop = loop
        return self._open

    async def close(self) -> None:
        """Close the connections of the running event loop, or those that were never used."""
        if self._loop is None or self._loop is asyncio.get_running_loop():
            await self._close(self._open)
