"""The same answers under the same keys as on a disk, on a Redis server, so that several machines share them.

It does: keep each entry as the bytes that a disk would hold, checked before they are used; wait a few seconds for a
server that restarts.
It does not: pickle, expire or evict. Whether the server itself keeps all of it over a restart is up to the server: have
it write to disk (`appendonly yes`), and evict nothing (`maxmemory-policy noeviction`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import getLogger
from typing import Any

from icm_api.errors import ConfigError, StorageError, without_password
from icm_api.model.client.keeping import AnswerCache

PASSWORD_VARIABLE = "ICM_REDIS_PASSWORD"
"""The environment variable of the password, if the URL has none."""

_COUNTER = "icm-api:writes"
_KEY = re.compile(r"[0-9a-f]{64}")
# Of an address with a host: a name would be taken for database 0. A password may have any signs before its last @.
_DATABASE = re.compile(r"(?!rediss?://).*|rediss?://(?:.*@)?[^/]*(?:/\d{0,9}/?)?(?:\?.*)?", re.DOTALL)
_KEYS_AT_ONCE = 500

# Seconds that one answer of the server may take, and that a restart may: the event loop stands still meanwhile.
_PATIENCE = 5.0
_LONGEST_PAUSE = 0.5
_TRIES = 8

_LOG = getLogger(__name__)


class RedisCache(AnswerCache):
    """Responses by key on a Redis server; any number of processes and machines may use it at once.

    Args:
        url: `redis://[USER:PASSWORD@]HOST:PORT/NUMBER`, `rediss://` if it is encrypted, or `unix://PATH`.

    Raises:
        ConfigError: it is no such address, or the server wants another password.
        StorageError: the server cannot be reached.
    """

    def __init__(self, url: str) -> None:
        if _DATABASE.fullmatch(url) is None:
            raise ConfigError(
                "cache.url: what follows the host and a / is the number of a database, as in redis://HOST:6379/0"
            )
        try:
            import redis
            from redis.backoff import ExponentialBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise ConfigError("cache.url needs the package redis: pip install 'icm-api[redis]'") from error
        self._where, self._trouble = without_password(url), redis.exceptions
        retry = Retry(ExponentialBackoff(cap=_LONGEST_PAUSE, base=0.05), _TRIES)
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                password=os.environ.get(PASSWORD_VARIABLE) or None,
                socket_timeout=_PATIENCE,
                socket_connect_timeout=_PATIENCE,
                retry=retry,
            )
        except (ValueError, TypeError):
            # Its message may hold a part of the password.
            raise ConfigError(
                "cache.url: not an address of a Redis server; write redis://HOST:6379/0, rediss:// if it is encrypted, "
                f"or unix://PATH, and the password into {PASSWORD_VARIABLE}, or with signs such as / and @ as %2F and "
                "%40"
            ) from None
        self._own = 0
        with self._answering("read"):
            self._redis.ping()
        self._look()

    @property
    def where(self) -> str:
        """The address without its password."""
        return self._where

    def __len__(self) -> int:
        return len(self._keys())

    def size(self) -> int:
        """Bytes of the values."""
        with self._answering("read"):
            pipeline = self._redis.pipeline(transaction=False)
            for key in self._keys():
                pipeline.strlen(key)
            return sum(pipeline.execute())

    def version(self) -> int:
        """A number that is another one once somebody else has written.

        Raises:
            StorageError: the server cannot be reached.
        """
        with self._answering("read"):
            return int(self._redis.get(_COUNTER) or 0) - self._own

    def put_encoded(self, encoded: Mapping[str, bytes]) -> None:
        """Like `put_many`, of what `encode_entry` gave, in one transaction.

        Args:
            encoded: entries by key.

        Raises:
            StorageError: the server cannot be reached, or has no room. What was kept before is whole.
        """
        if not encoded:
            return
        with self._answering("write to"):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.mset(dict(encoded))
            pipeline.incr(_COUNTER)
            pipeline.execute()
            self._own += 1

    def delete(self, keys: Iterable[str]) -> None:
        """Delete entries.

        Args:
            keys: of the entries.

        Raises:
            StorageError: the server cannot be reached, or is read-only.
        """
        with self._answering("write to"):
            pipeline = self._redis.pipeline(transaction=True)
            for key in keys:
                pipeline.delete(key)
            pipeline.execute()

    def close(self) -> None:
        """Close the connections; they open again by themselves when used."""
        self._redis.close()

    def _keys(self) -> Sequence[str]:
        with self._answering("read"):
            # What else is in the database is none of ours.
            found = {key.decode(errors="replace") for key in self._redis.scan_iter(count=_KEYS_AT_ONCE)}
        return [key for key in found if _KEY.fullmatch(key)]

    def _raw(self, keys: Sequence[str]) -> Iterator[tuple[str, object]]:
        for first in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[first : first + _KEYS_AT_ONCE]
            with self._answering("read"):
                found = self._redis.mget(some)
            yield from ((key, raw) for key, raw in zip(some, found, strict=True) if raw is not None)

    def _look(self) -> None:
        """Say so if the server may forget what was paid for."""
        try:
            about = self._redis.info()
        except self._trouble.RedisError:
            # Hosted servers may not tell.
            return
        if about.get("maxmemory_policy", "noeviction") != "noeviction" and about.get("maxmemory"):
            _LOG.warning(
                "%s deletes entries when its memory is full (maxmemory-policy %s): answers that were paid for may be "
                "asked for again; set noeviction",
                self._where,
                about["maxmemory_policy"],
            )
        if about.get("aof_enabled") == 0:
            _LOG.warning(
                "%s does not write each answer to disk: what was paid for may be lost if it stops; set appendonly yes",
                self._where,
            )

    @contextmanager
    def _answering(self, doing: str) -> Iterator[None]:
        """Name the trouble that the server or the way to it has."""
        try:
            yield
        except (self._trouble.AuthenticationError, self._trouble.NoPermissionError) as error:
            raise ConfigError(
                f"the Redis server {self._where} does not let us {doing} the cache ({error}): put its password into "
                f"{PASSWORD_VARIABLE}, and the user's name into cache.url (redis://USER@HOST:PORT/0); no run folder "
                "keeps a password"
            ) from error
        except (self._trouble.ConnectionError, self._trouble.TimeoutError) as error:
            raise StorageError(
                f"cannot reach the Redis server {self._where} of the cache ({error}): start it, or mend cache.url, "
                "then go on; what it kept before is whole"
            ) from error
        except self._trouble.RedisError as error:
            raise StorageError(
                f"cannot {doing} the cache on the Redis server {self._where}: {error}. Check that it has room and "
                "takes writes, then go on; what it kept before is whole"
            ) from error
