"""Answers on their way to disk: those that come in the same moment are written in one transaction.

It does: return to each caller when its answer is on disk. It does not: decide what is worth keeping.
"""

from __future__ import annotations

import asyncio

from icm_api.client.cache import ResponseCache, encode_entry
from icm_api.errors import LogprobsUnavailableError, StorageError
from icm_api.providers.base import Response


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
        self._written: asyncio.Future[None] | None = None

    async def put(self, key: str, response: Response) -> None:
        """Keep an answer; it is on disk when this returns, and soon after even if the caller is cancelled.

        Raises:
            StorageError: it could not be written, nor could those of the same moment.
            LogprobsUnavailableError: it holds NaN or an infinity somewhere.
        """
        try:
            encoded = encode_entry(key, response, self._source)
        except ValueError as error:
            raise LogprobsUnavailableError(f"{self._source}: an answer cannot be kept: {error}") from error
        if self._written is None:
            loop = asyncio.get_running_loop()
            self._written = loop.create_future()
            loop.call_soon(self._write)
        self._entries[key] = encoded
        await asyncio.shield(self._written)

    def _write(self) -> None:
        entries, written = self._entries, self._written
        self._entries, self._written = {}, None
        assert written is not None
        try:
            self._cache.put_encoded(entries)
        except StorageError as error:
            written.set_exception(error)
            # Looked at here, since all who wait may be cancelled: an error nobody saw would be logged.
            written.exception()
        else:
            written.set_result(None)
