"""Answers on their way to disk: those that come in the same moment are written in one transaction.

It does: write within one turn of the event loop, and tell whoever comes next of a write that failed.
It does not: decide what is worth keeping.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from icm_api.errors import StorageError
from icm_api.model.client.entries import encode_entry
from icm_api.types import Usage

if TYPE_CHECKING:
    from icm_api.model.client.cache import ResponseCache


class Writes:
    """Writes to a cache, gathered over one turn of the event loop.

    A transaction costs as much as ten entries; waiting longer than a turn would let another process ask for what
    is already here.

    Args:
        cache: where to.
        source: whose answers they are: the provider's identity.
    """

    def __init__(self, cache: ResponseCache, source: str) -> None:
        self._cache = cache
        self._source = source
        self._entries: dict[str, bytes] = {}
        self._failure: StorageError | None = None

    def put(self, key: str, body: bytes, usage: Usage) -> None:
        """Keep an answer: it is on disk a turn later, or after `flush`.

        Raises:
            StorageError: an earlier one could not be written.
        """
        self._raise_failure()
        if not self._entries:
            asyncio.get_running_loop().call_soon(self._write)
        self._entries[key] = encode_entry(key, body, usage, self._source)

    def flush(self) -> None:
        """Write now what is left.

        Raises:
            StorageError: it could not be written, or something before it.
        """
        self._write()
        self._raise_failure()

    def _write(self) -> None:
        entries, self._entries = self._entries, {}
        try:
            self._cache.put_encoded(entries)
        except StorageError as error:
            self._failure = error

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
