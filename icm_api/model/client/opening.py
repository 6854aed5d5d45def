"""Which cache a place has: one on a disk, or one on a server for several machines."""

from __future__ import annotations

from pathlib import Path

from icm_api.model.client.keeping import AnswerCache


def open_cache(place: Path | str) -> AnswerCache:
    """Open the cache at a place, on a disk or on a server.

    Args:
        place: a directory, or the address of a Redis server: see `RedisCache`.

    Raises:
        ConfigError: the address is none, or the package redis is missing.
        StorageError: the directory cannot be written, or the server cannot be reached.
    """
    # Each takes its time to load, and only one is needed.
    if isinstance(place, str) and "://" in place:
        from icm_api.model.client.redis_cache import RedisCache

        return RedisCache(place)
    from icm_api.model.client.cache import ResponseCache

    return ResponseCache(Path(place))
