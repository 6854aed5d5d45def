"""What one kept answer is: its name, a hash of everything that shaped it, and its bytes, with a checksum.

It does: make keys, encode and decode entries, notice damage. It does not: touch a disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from time import time
from typing import Any

from icm_api.model.request import Request, Response
from icm_api.types import Usage

# Part of every key: raise it when the meaning of a request body or of an entry changes.
_SCHEMA = 1

_CHECKSUM_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept answer.

    Attributes:
        key: as `cache_key` makes it.
        source: identity of the provider that answered; empty where it was not noted.
        time: when it was kept, in seconds since 1970; None where it was not noted.
        response: the answer.
    """

    key: str
    source: str
    time: int | None
    response: Response


def cache_key(identity: str, request: Request) -> str:
    """The name of a response: SHA-256 of the canonical JSON of everything that shaped it.

    Args:
        identity: the provider's: its name, host and model.
        request: its endpoint, body and sample index count; what is only known of it (prefix, tokens) does not.

    Raises:
        TypeError: the body is not JSON-able.
        ValueError: the body holds NaN or an infinity.

    Example:
        >>> one = cache_key("pocket/x", Request({"prompt": "1+1=", "forms": [" 2"]}))
        >>> one == cache_key("pocket/x", Request({"forms": [" 2"], "prompt": "1+1="}))
        True
        >>> one == cache_key("pocket/y", Request({"prompt": "1+1=", "forms": [" 2"]}))
        False
    """
    shaped = {"endpoint": request.endpoint, "body": request.body, "sample": request.sample}
    return sha256(_canonical({"schema": _SCHEMA, "identity": identity, **shaped})).hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def encode_body(body: Mapping[str, Any]) -> bytes:
    """An answer's body as JSON.

    Raises:
        ValueError: it holds NaN or an infinity.
    """
    return _canonical(body)


def encode_entry(key: str, body: bytes, usage: Usage, source: str = "") -> bytes:
    """An entry as it is on disk: a checksum over key and content, then the content as JSON.

    Args:
        key: as `cache_key` makes it.
        body: as `encode_body` gave it.
        usage: what the answer cost.
        source: identity of the provider that gave it.
    """
    numbers = (usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    about = _canonical({"source": source, "time": int(time()), "usage": numbers})
    content = b'{"body":' + body + b"," + about[1:]
    return _checksum(key, content) + content


def _checksum(key: str, content: bytes) -> bytes:
    # Over the key too: an entry that ends up under another's key is damage.
    return sha256(key.encode() + b"\n" + content).hexdigest().encode()


def is_whole(key: str, raw: object) -> bool:
    """Whether these are the bytes that were once kept under this key."""
    return isinstance(raw, bytes) and raw[:_CHECKSUM_LENGTH] == _checksum(key, raw[_CHECKSUM_LENGTH:])


def decode_entry(key: str, raw: bytes) -> Entry:
    """What `encode_entry` gave, read again; the checksum is not looked at."""
    entry = json.loads(raw[_CHECKSUM_LENGTH:])
    response = Response(entry["body"], Usage(*entry["usage"]))
    return Entry(key, entry.get("source", ""), entry.get("time"), response)
