"""What was paid for stays paid: responses on disk, under a hash of everything that shaped them.

It does: keep each response as plain bytes with a checksum in one SQLite file (through diskcache), written in
transactions that several processes may make at once and that a killed process does not lose.
It does not: evict, expire, pickle, or decide what is worth keeping. It refuses pickled rows (CVE-2025-69872: whoever
can write a diskcache directory could otherwise run code in the process that reads it) and rows that name a file, which
diskcache would delete with them, wherever it is.

SQLite's locks don't hold on network file systems: keep the directory on a local disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_PICKLE

from icm_api.errors import StorageError
from icm_api.model.client.keeping import AnswerCache

DATABASE: str = diskcache.core.DBNAME
"""The file inside the directory; SQLite puts others beside it, whose names begin with it."""

# SQLite takes at least 999 values in one question.
_KEYS_AT_ONCE = 900

_SETTINGS = {
    # Entries were paid for. By default diskcache deletes the oldest ones above 1 GiB.
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**40,
    "statistics": 0,
    # All values inside the database, so that one transaction holds all of a batch.
    "disk_min_file_size": 2**30,
    # By default SQLite keeps 32 MB of pages and maps 64 MB, so that a process grows with the file.
    "sqlite_cache_size": 1024,
    "sqlite_mmap_size": 0,
}

_T = TypeVar("_T")


class _PlainDisk(diskcache.Disk):  # type: ignore[misc]
    """Text keys and bytes values, and nothing that runs code when read."""

    def put(self, key: object) -> tuple[Any, bool]:
        if type(key) is not str:
            raise TypeError(f"a key of the response cache must be str, got {type(key).__name__}")
        return super().put(key)  # type: ignore[no-any-return]

    def get(self, key: Any, raw: Any) -> Any:
        if not raw or type(key) is not str:
            raise StorageError(f"{self._directory}: a key is not plain text; {_FOREIGN}")
        return key

    def store(self, value: object, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        if type(value) is not bytes:
            raise TypeError(f"a value of the response cache must be bytes, got {type(value).__name__}")
        return super().store(value, read, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode == MODE_PICKLE:
            raise StorageError(f"{self._directory}: an entry is pickled, which could run code; {_FOREIGN}")
        if filename is not None:
            raise self._names_file(filename)
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: object) -> None:
        """Called for the file of a row that goes, inside the transaction, which this rolls back. Deletes nothing."""
        raise self._names_file(file_path)

    def _names_file(self, filename: object) -> StorageError:
        return StorageError(
            f"{self._directory}: an entry names a file ({filename!r:.100}), which was neither read nor deleted; "
            f"{_FOREIGN}"
        )


_FOREIGN = "no response cache writes such rows, so don't trust this directory: move it away and run again"


def files_of(directory: Path) -> list[Path]:
    """The files of a cache: the database, and what SQLite keeps beside it. Those moved aside are none of them.

    Args:
        directory: of the cache.
    """
    return [path for end in ("", "-wal", "-shm", "-journal") if (path := directory / f"{DATABASE}{end}").is_file()]


class ResponseCache(AnswerCache):
    """Responses on disk by key.

    Several processes may use one directory at once. What `put_many` returned from survives the process being
    killed (a power cut may lose the last transactions, never part of one).

    Args:
        directory: made if it doesn't exist.

    Raises:
        StorageError: the directory cannot be written, or holds no response cache.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = Path(directory)
        with self._storage("open"):
            self._cache = diskcache.Cache(str(self._directory), disk=_PlainDisk, **_SETTINGS)

    @property
    def directory(self) -> Path:
        """Where the entries are."""
        return self._directory

    @property
    def where(self) -> str:
        """The directory, as text."""
        return str(self._directory)

    def __len__(self) -> int:
        return self._on_disk(lambda: len(self._cache))

    def size(self) -> int:
        """Bytes of the files."""
        return sum(file.stat().st_size for file in files_of(self._directory))

    def version(self) -> int:
        """A number that is another one once somebody else has written; far cheaper than to look an entry up.

        What this thread itself writes does not change it.

        Raises:
            StorageError: the cache cannot be read.
        """
        return int(self._rows("PRAGMA data_version")[0][0])

    def put_encoded(self, encoded: Mapping[str, bytes]) -> None:
        """Like `put_many`, of what `encode_entry` gave, in one transaction.

        Args:
            encoded: entries by key.

        Raises:
            StorageError: the disk is full, read-only or locked. What was kept before is whole.
        """
        if not encoded:
            return
        with self._storage("write to"), self._cache.transact():
            for key, raw in encoded.items():
                self._cache.set(key, raw)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete entries. Their room in the file is used again; the file itself does not shrink.

        Args:
            keys: of the entries.

        Raises:
            StorageError: the disk is read-only or locked. All entries are as they were.
        """
        with self._storage("write to"), self._cache.transact():
            for key in keys:
                self._cache.delete(key)

    def close(self) -> None:
        """Close the file; it opens again by itself when used."""
        self._cache.close()

    def _present(self, keys: Sequence[str]) -> Iterator[str]:
        """Those of the keys that have an entry. To ask for many at once is what makes a miss cheap."""
        for first in range(0, len(keys), _KEYS_AT_ONCE):
            some = [self._cache.disk.put(key)[0] for key in keys[first : first + _KEYS_AT_ONCE]]
            query = f"SELECT key FROM Cache WHERE raw = 1 AND key IN ({', '.join('?' * len(some))})"
            yield from [key for (key,) in self._rows(query, some)]

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        # diskcache has no public way to its connection, which it keeps one a thread.
        return self._on_disk(lambda: list(self._cache._sql(query, values)))

    def _keys(self) -> tuple[str, ...]:
        return self._on_disk(lambda: tuple(self._cache.iterkeys()))

    def _raw(self, keys: Sequence[str]) -> Iterator[tuple[str, object]]:
        for key in self._present(keys):
            raw = self._on_disk(lambda key=key: self._cache.get(key))  # type: ignore[misc]
            if raw is not None:
                yield key, raw

    def _on_disk(self, action: Callable[[], _T]) -> _T:
        with self._storage("read"):
            return action()

    @contextmanager
    def _storage(self, doing: str) -> Iterator[None]:
        """Name the trouble that SQLite and the system report."""
        try:
            yield
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            reason = _first_cause(error)
            if doing != "open":
                # Rolls back what a failed commit leaves behind; the next use opens a new connection.
                self._cache.close()
            if isinstance(reason, sqlite3.DatabaseError) and not isinstance(reason, sqlite3.OperationalError):
                raise StorageError(
                    f"{self._directory / DATABASE} is damaged ({reason}): run `icm-api cache repair "
                    f"{self._directory}`, which moves it aside and keeps every entry that can still be read"
                ) from error
            raise StorageError(
                f"cannot {doing} the response cache in {self._directory}: {type(reason).__name__}: {reason}. "
                "Check that the disk has room, that the directory can be written and that no other process "
                "holds it locked, then resume; what was kept before is whole"
            ) from error


def _first_cause(error: BaseException) -> BaseException:
    """What went wrong first: diskcache hides it behind a `Timeout` or a failed rollback."""
    while isinstance(error.__context__, (sqlite3.Error, OSError)):
        error = error.__context__
    return error
