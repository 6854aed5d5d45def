"""What can still be read of a response cache whose file is malformed, row by row, into a new one in its place.

The malformed file is moved aside and never deleted: it was paid for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from icm_api.errors import StorageError
from icm_api.model.client.cache import DATABASE, ResponseCache, files_of
from icm_api.model.client.entries import is_whole

# Smaller rows than ours; bounds the search where even the largest row number can't be read.
_LEAST_ROW_BYTES = 64
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Salvage:
    """What became of a malformed cache.

    Attributes:
        kept: whole entries, which are in the new file.
        aside: where the malformed file is now.
    """

    kept: int
    aside: Path


def is_malformed(directory: Path) -> bool:
    """Whether the file of a cache is no SQLite database any more.

    Args:
        directory: of the cache.
    """
    path = directory / DATABASE
    if not path.is_file():
        return False
    try:
        with closing(_connect(path)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        return True


def salvage(directory: Path) -> Salvage:
    """Move the malformed file aside, and keep what can be read of it in a new one.

    Args:
        directory: of the cache; no other process may use it meanwhile.

    Raises:
        StorageError: a file cannot be moved or written. The malformed file is where it was, or aside.
    """
    number = 1
    while (aside := directory / f"{DATABASE}.malformed-{number}").exists():
        number += 1
    try:
        for path in files_of(directory):
            path.rename(aside.with_name(aside.name + path.name.removeprefix(DATABASE)))
    except OSError as error:
        raise StorageError(f"cannot move {directory / DATABASE} aside: {error.strerror or error}") from error
    kept, batch = 0, dict[str, bytes]()
    cache = ResponseCache(directory)
    try:
        for key, raw in _rows(aside):
            batch[key] = raw
            kept += 1
            if len(batch) == _AT_ONCE:
                cache.put_encoded(batch)
                batch = {}
        cache.put_encoded(batch)
    finally:
        cache.close()
    return Salvage(kept, aside)


def _connect(path: Path) -> sqlite3.Connection:
    # Read-only, so that SQLite mends nothing by itself.
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _rows(path: Path) -> Iterator[tuple[str, bytes]]:
    """Keys and values of the rows that can be read and whose checksum is right."""
    with closing(_connect(path)) as database:
        try:
            last = int(database.execute("SELECT max(rowid) FROM Cache").fetchone()[0] or 0)
        except sqlite3.DatabaseError:
            last = path.stat().st_size // _LEAST_ROW_BYTES
        for row in range(1, last + 1):
            try:
                found = database.execute(
                    "SELECT key, value FROM Cache NOT INDEXED WHERE rowid = ? AND raw = 1 AND filename IS NULL", (row,)
                ).fetchone()
            except sqlite3.DatabaseError:
                continue
            if found is not None and type(found[0]) is str and type(found[1]) is bytes and is_whole(*found):
                yield found
