"""What providers over HTTP share: which hosts may be asked, whose key is sent where, and what an error means.

It does: refuse plain http off this machine, read keys from the environment and keep them out of messages, and name what
an error means.
It does not: send anything, retry, wait, count, or know what a body means.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from html import escape
from types import MappingProxyType

import httpx2
from pydantic import SecretStr

from icm_api.errors import ConfigError, RequestError, RequestErrorKind
from icm_api.model.endpoints.advice import OPTIONS, TOO_LONG, mending
from icm_api.model.endpoints.network import is_loopback, proxy_variable

_KINDS: Mapping[int, RequestErrorKind] = {
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    405: "not_found",
    408: "timeout",
    409: "server",
    # Failed on the way to the model, not yet, and given up by a server between.
    424: "server",
    425: "server",
    499: "server",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}
# What a user can do about an error that another try doesn't mend.
_ADVICE: Mapping[RequestErrorKind, str] = {
    "authentication": "check the key in the environment",
    "permission": "get access to this model for the key, or choose another model",
    "not_found": "check the model's name and base_url",
    "connection": "check base_url, and that the server is running",
    "quota": "add credit or raise the account's limit, then run again or resume",
    "refused": "reword the instruction or the example, or use another model",
    "bad_request": "check the model's name and options; `icm-api probe` says what this host can do",
}
_UNTRUSTED = (
    "if your network looks into encrypted traffic, or the server made its own certificate, let the environment "
    "variable SSL_CERT_FILE name the file of the certificate to trust"
)
QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "budget_exceeded"})
# What filters in front of a model write: OpenAI's and Azure's code and text, OpenRouter's moderation.
_FILTERED = re.compile(r"content[ _-]?(filter|(management )?policy)|moderation|flagged|safety system", re.IGNORECASE)
_FILTERING = frozenset({400, 403, 422, 451})
NAMED_KINDS: Mapping[str, RequestErrorKind] = MappingProxyType(
    {
        "rate_limit_exceeded": "rate_limit",
        "rate_limit_error": "rate_limit",
        "too_many_requests": "rate_limit",
        "resource_exhausted": "rate_limit",
        "overloaded_error": "overloaded",
        "overloaded": "overloaded",
        "unavailable": "overloaded",
        "service_unavailable": "overloaded",
        "server_error": "server",
        "api_error": "server",
        "internal": "server",
        "internal_error": "server",
        "internal_server_error": "server",
        "timeout": "timeout",
        "timeout_error": "timeout",
        "deadline_exceeded": "timeout",
        "content_filter": "refused",
        "authentication_error": "authentication",
        "invalid_api_key": "authentication",
        "permission_error": "permission",
        "not_found_error": "not_found",
        "model_not_found": "not_found",
        "context_length_exceeded": "bad_request",
        "request_too_large": "bad_request",
        "invalid_request_error": "bad_request",
    }
)
"""Kinds of errors by what servers call them, whatever the status is."""
_TOO_LARGE = re.compile(
    r"request (?:is )?too large|too large for|context_length|(?:maximum|max) context length|context window", re.I
)
# What the template of a chat says of the messages it is given, which some servers call an error of their own.
_TEMPLATE = re.compile(r"roles must alternate|system role|only user and assistant|chat.?template|jinja", re.I)
_ASKED = re.compile(r"limit:?\s*([\d,]{1,15}).{0,60}?requested:?\s*([\d,]{1,15})", re.I | re.S)
# Of what a request meets before any of it is sent.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
)
# Characters of a key that give it away; some providers begin all keys with the same ten or so.
_TELLING = 12
# Labels of up to 63 characters with dots between; underscores are common in containers.
_HOST = re.compile(r"(?=.{1,254}\Z)[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63})*\.?")
_LAST_PORT = 65535


class AnswerTooLargeError(httpx2.TransportError):
    """An answer is larger than any that a model gives; it was not read to its end."""


def checked_url(url: str, *, allow_http: bool = False) -> str:
    """The URL without a slash at its end.

    Args:
        url: as a user wrote it.
        allow_http: plain http to other machines is allowed.

    Raises:
        ConfigError: it is no http(s) URL, holds a password, or is plain http to another machine without `allow_http`.

    Example:
        >>> checked_url("http://127.0.0.1:8000/v1/")
        'http://127.0.0.1:8000/v1'
    """
    if told := _wrong_with(url, allow_http=allow_http):
        raise ConfigError(told, option="base_url")
    return url.rstrip("/")


def _wrong_with(url: str, *, allow_http: bool) -> str | None:
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as error:
        return f"base_url: {error}"
    if parsed.scheme not in ("http", "https") or not parsed.host:
        return f"base_url {url!r} is no URL: write it as https://HOST/PATH"
    if ":" not in parsed.host and not _HOST.fullmatch(parsed.raw_host.decode()):
        return f"base_url {url!r}: no host has the name {parsed.host!r}: write it as https://HOST/PATH"
    if parsed.port is not None and not 1 <= parsed.port <= _LAST_PORT:
        return f"base_url {url!r}: there is no port {parsed.port}; ports go from 1 to {_LAST_PORT}"
    if parsed.userinfo:
        return "base_url holds a user or password, which would end up in logs: put keys in the environment"
    if parsed.scheme == "http" and not allow_http and not is_loopback(parsed.host):
        return (
            f"base_url {url!r} is plain http, which anybody on the way can read, key included: use https, or set "
            "allow_http=true for a network that you trust"
        )
    return None


def read_key(variable: str, *, required: bool = True) -> SecretStr | None:
    """The key from the environment, without white space around it; None if there is none and none is required.

    Args:
        variable: its name; empty for a host that wants no key.
        required: whether there must be a key.

    Raises:
        ConfigError: the variable is required, and not set, or its value cannot be sent in a header. The value is not
            quoted.
    """
    value = os.environ.get(variable, "").strip() if variable else ""
    if not value and required:
        raise ConfigError(f"no API key: set the environment variable {variable}")
    if not all("!" <= character <= "~" for character in value):
        raise ConfigError(
            f"the environment variable {variable} holds no API key: it has white space, a line break or another "
            "character that no key has; set it to the key alone"
        )
    return SecretStr(value) if value else None


def blotted(text: str, key: str) -> str:
    """The text with *** in place of the key, which servers and libraries quote in what they say of an error.

    It is one line: white space becomes a space, and what does not print (colours, half characters) is left out.

    Args:
        text: what somebody else said; blot it out before it is cut to a length.
        key: found as it is and as repr, JSON, URLs and HTML write it, each also within another, and cut short if at
            least its first 12 characters are there.

    Example:
        >>> blotted("no such key: %2Fsk-1%2B1", "/sk-1+1"), blotted("no such key", "/sk-1+1")
        ('no such key: ***', 'no such key')
        >>> blotted(chr(27) + "[31mno" + chr(10) + "key", "")
        '[31mno key'
    """
    if not text.isprintable():
        spaced = "".join(" " if character.isspace() else character for character in text)
        text = "".join(character for character in spaced if character.isprintable())
    if not key:
        return text
    beginning = re.compile(_written(key[:_TELLING]))
    # What is between letters and digits is looked for as a whole: an escape can end in what the next one begins with.
    rest = [re.compile(_written(part)) for part in re.findall(r"[^\W_]|[\W_]+", key[_TELLING:])]
    kept, at = [], 0
    for match in beginning.finditer(text):
        end = match.end()
        for part in rest:
            if (more := part.match(text, end)) is None:
                break
            end = more.end()
        kept += [text[at : match.start()], "***"]
        at = end
    return "".join([*kept, text[at:]])


def _written(part: str) -> str:
    """A pattern of all that encodings make of a part of a key; letters and digits they leave alone."""
    return "".join(character if character.isalnum() else _escaped(character) for character in part)


def _escaped(character: str) -> str:
    code = f"{ord(character):02x}"
    html = rf"&#(?:x0{{0,4}}{code}|0{{0,4}}{ord(character)});|{re.escape(escape(character))}"
    return rf"(?:\\{{0,31}}{re.escape(character)}|%(?:25){{0,3}}(?i:{code})|\\{{1,31}}(?:x|u00)(?i:{code})|{html})"


def host_of(url: str) -> str:
    """The part of a URL that names who answers: host, port and path.

    Example:
        >>> host_of("https://api.openai.com/v1")
        'api.openai.com/v1'
    """
    return url.partition("://")[2].partition("?")[0]


def advised(text: str, kind: RequestErrorKind, options: Collection[str] = OPTIONS) -> str:
    """What a server said of an error, cut to a line's length, and what to do about it.

    Args:
        text: what the server said.
        kind: of the error.
        options: that the provider takes.

    Example:
        >>> advised("No such model.", "not_found")
        "No such model.; check the model's name and base_url"
    """
    too_long = kind == "bad_request" and (_TOO_LARGE.search(text) or _ASKED.search(text))
    advice = (TOO_LONG if too_long else mending(text, options) if kind == "bad_request" else None) or _ADVICE.get(kind)
    return f"{text:.500}; {advice}" if advice else text[:500]


def transport_error(error: BaseException, where: str, key: str, url: str) -> RequestError:
    """What it means that no answer came. Once a request may have arrived, it may also be billed.

    Args:
        error: as httpx2 raised it.
        where: provider and model, for the message.
        key: blotted out of the message.
        url: that was asked.
    """
    text = blotted(f"{type(error).__name__}: {error}", key)[:300]
    if "CERTIFICATE_VERIFY_FAILED" in text:
        # No other try mends it.
        return RequestError(f"{where}: no connection ({text}); {_UNTRUSTED}", kind="authentication")
    if "WRONG_VERSION_NUMBER" in text:
        return RequestError(f"{where}: no connection: the server speaks no https; write http://", kind="bad_request")
    if isinstance(error, AnswerTooLargeError):
        return RequestError(f"{where}: {error}, which no model writes; check base_url", kind="bad_request")
    if isinstance(error, _UNSENT):
        variable = proxy_variable(url)
        advice = f"check the proxy that {variable} names" if variable else _ADVICE["connection"]
        return RequestError(f"{where}: no connection ({text}); {advice}", kind="connection")
    if isinstance(error, httpx2.TimeoutException):
        return RequestError(f"{where}: no answer in time", kind="timeout")
    return RequestError(f"{where}: the connection broke before an answer came ({text})", kind="disconnected")


def kind_of(status: int, code: str = "", text: str = "") -> RequestErrorKind:
    """What an error means for whoever asked, by all that the server says of it.

    Args:
        status: HTTP status, of the answer or as the error names it.
        code: the server's own name of the error, if it gives one.
        text: what it says.

    Example:
        >>> kind_of(429), kind_of(429, "insufficient_quota"), kind_of(500), kind_of(422)
        ('rate_limit', 'quota', 'server', 'bad_request')
        >>> kind_of(429, "budget_exceeded")
        'quota'
        >>> kind_of(400, "content_filter"), kind_of(403, text="Your input was flagged")
        ('refused', 'refused')
        >>> kind_of(200, "overloaded_error"), kind_of(500, text="This model's maximum context length is 4096 tokens")
        ('overloaded', 'bad_request')
        >>> kind_of(429, "tokens", "Rate limit reached for m on tokens per min: Limit 6000, Requested 6500")
        'bad_request'
    """
    if code in QUOTA_CODES:
        return "quota"
    if status in _FILTERING and _FILTERED.search(f"{code} {text}"):
        return "refused"
    kind = _KINDS.get(status, "server" if status >= 500 else "bad_request")
    asked = _ASKED.search(text)
    alone = asked is not None and _whole(asked[2]) > _whole(asked[1])
    if kind in ("rate_limit", "server") and (alone or _TOO_LARGE.search(text)):
        # It would be too large the next time too.
        return "bad_request"
    if kind == "server" and _TEMPLATE.search(text):
        return "bad_request"
    named = NAMED_KINDS.get(code.lower())
    # A status says more than a name, unless it is one that servers give for everything.
    return named if named is not None and status in (200, 400, 500, 502) else kind


def _whole(number: str) -> int:
    return int(number.replace(",", "") or 0)
