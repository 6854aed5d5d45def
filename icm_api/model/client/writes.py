"""Answers on their way into a cache: those of one turn of the event loop in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from icm_api.errors import StorageError
from icm_api.model.client.entries import encode_entry
from icm_api.model.client.keeping import AnswerCache
from icm_api.types import Usage


class Writes:
    """Writes to a cache, gathered over one turn of the event loop.

    A transaction costs as much as ten entries; waiting longer than a turn would let another process ask for what
    is already here. What could not be written, as on a full disk, is held until `flush` can write it.

    Args:
        cache: where to.
        source: says whose answers they are: the endpoint's identity, which a local model knows once it is loaded.
    """

    def __init__(self, cache: AnswerCache, source: Callable[[], str]) -> None:
        self._cache = cache
        self._source = source
        self._entries: dict[str, bytes] = {}
        self._failure: StorageError | None = None

    def put(self, key: str, body: bytes, usage: Usage) -> None:
        """Keep an answer: it is on disk a turn later, or after `flush`.

        Args:
            key: as `cache_key` makes it.
            body: as `encode_body` gave it.
            usage: what the answer cost.

        Raises:
            StorageError: an earlier one could not be written; this one is held as well.
        """
        if not self._entries:
            asyncio.get_running_loop().call_soon(self._write)
        self._entries[key] = encode_entry(key, body, usage, self._source())
        self.check()

    def check(self) -> None:
        """Nothing more is worth asking while answers cannot be kept.

        Raises:
            StorageError: the last ones could not be written.
        """
        if self._failure is not None:
            raise self._failure

    def retry(self) -> None:
        """Write what could not be written before, for which there may be room by now.

        Raises:
            StorageError: there is none yet.
        """
        if self._failure is not None:
            self.flush()

    def flush(self) -> None:
        """Write now what is left.

        Raises:
            StorageError: it could not be written.
        """
        self._write()
        self.check()

    def _write(self) -> None:
        try:
            self._cache.put_encoded(self._entries)
        except StorageError as error:
            self._failure = error
        else:
            self._entries, self._failure = {}, None
