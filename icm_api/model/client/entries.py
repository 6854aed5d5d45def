"""What one kept answer is.

It does: name an answer by a hash of everything that shaped it, encode and decode it with a checksum, notice damage.
It does not: touch a file, or decide what is worth keeping.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from time import time
from typing import Any, overload

from pydantic_core import to_json

from icm_api.model.request import Body, Request, Response
from icm_api.types import Usage

# Part of every key: raise it when the meaning of a request body or of an entry changes.
_SCHEMA = 1

_CHECKSUM_LENGTH = 64

_canonical_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
# Random, so that no text holds it by chance or on purpose.
_STAND_IN = token_hex(16)
_WRITTEN_STAND_IN = _canonical_json(_STAND_IN).encode()


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept answer.

    Attributes:
        key: as `cache_key` makes it.
        source: identity of the provider that answered; empty if it was not noted.
        time: when it was kept, in seconds since 1970; None if it was not noted.
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
    body, text = request.body, request.body.get("prompt")
    quick = isinstance(text, str) and _is_quick(text)
    shaped = {"endpoint": request.endpoint, "body": {**body, "prompt": _STAND_IN} if quick else body}
    written = _canonical({"schema": _SCHEMA, "identity": identity, "sample": request.sample, **shaped})
    if quick:
        before, after = written.split(_WRITTEN_STAND_IN)
        written = b"".join((before, to_json(text), after))
    return sha256(written).hexdigest()


def _is_quick(text: str) -> bool:
    """Whether pydantic writes it as `json` does, and that several times as fast."""
    return text.isascii() and "\x7f" not in text


def _canonical(value: object) -> bytes:
    return _canonical_json(value).encode()


def encode_body(body: Mapping[str, Any]) -> bytes:
    """An answer's body as JSON.

    Raises:
        ValueError: it holds NaN or an infinity.
    """
    return _canonical(body)


class Bodies(Sequence[Body]):
    """Bodies as they are kept, each decoded whenever it is looked at.

    Whoever reads one after the other holds one as objects, of which many keep the garbage collector busy.

    Args:
        encoded: as `encode_body` gave them.
    """

    def __init__(self, encoded: Sequence[bytes]) -> None:
        self._encoded = encoded

    @overload
    def __getitem__(self, index: int) -> Body: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Body]: ...
    def __getitem__(self, index: int | slice) -> Body | Sequence[Body]:
        found = self._encoded[index]
        if isinstance(found, bytes):
            body: Body = json.loads(found)
            return body
        return Bodies(found)

    def __len__(self) -> int:
        return len(self._encoded)


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
    """Whether these are the bytes that were once kept under this key.

    Args:
        key: of the entry.
        raw: as it is on disk, of any type.
    """
    return isinstance(raw, bytes) and raw[:_CHECKSUM_LENGTH] == _checksum(key, raw[_CHECKSUM_LENGTH:])


def decode_entry(key: str, raw: bytes) -> Entry:
    """What `encode_entry` gave, read again; the checksum is not looked at.

    Args:
        key: of the entry.
        raw: as `encode_entry` gave it.
    """
    entry = json.loads(raw[_CHECKSUM_LENGTH:])
    response = Response(entry["body"], Usage(*entry["usage"]))
    return Entry(key, entry.get("source", ""), entry.get("time"), response)
