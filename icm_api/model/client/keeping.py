"""What every place has that answers are kept in: they go in and out by key, each checked before it is used.

It does: encode, check and decode entries, find the damaged ones, and say what to do about them.
It does not: know where the bytes are; `cache` keeps them on a disk, `redis_cache` on a server for several machines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

from icm_api.errors import StorageError
from icm_api.model.client.entries import Entry, decode_entry, encode_body, encode_entry, is_whole
from icm_api.model.request import Response


class AnswerCache(ABC):
    """Answers by key: `entries.cache_key` makes it, the same wherever they are kept."""

    @property
    @abstractmethod
    def where(self) -> str:
        """The place, as `icm-api cache` takes it; never with a password."""

    @abstractmethod
    def __len__(self) -> int:
        """How many entries there are."""

    @abstractmethod
    def size(self) -> int:
        """Bytes that the entries take there, about."""

    @abstractmethod
    def version(self) -> int:
        """A number that is another one once somebody else has written; far cheaper than to look an entry up.

        Raises:
            StorageError: the cache cannot be read.
        """

    @abstractmethod
    def put_encoded(self, encoded: Mapping[str, bytes]) -> None:
        """Like `put_many`, of what `encode_entry` gave.

        Args:
            encoded: entries by key.

        Raises:
            StorageError: as `put_many`.
        """

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Delete entries, all or none.

        Args:
            keys: of the entries.

        Raises:
            StorageError: the cache cannot be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Close it; it opens again by itself when used."""

    @abstractmethod
    def _keys(self) -> Sequence[str]:
        """Of all entries."""

    @abstractmethod
    def _raw(self, keys: Sequence[str]) -> Iterator[tuple[str, object]]:
        """What is kept under those of the keys that have an entry."""

    def get_many(self, keys: Iterable[str]) -> dict[str, Response]:
        """The entries of those keys that have one.

        Args:
            keys: as `cache_key` makes them.

        Raises:
            StorageError: an entry is damaged or not ours; nothing of it is used.
        """
        return {key: self._decoded(key, raw).response for key, raw in self._raw(list(keys))}

    def entries(self) -> Iterator[Entry]:
        """All entries, in no order that means anything.

        Raises:
            StorageError: an entry is damaged or not ours.
        """
        for key, raw in self._raw(self._keys()):
            yield self._decoded(key, raw)

    def put_many(self, entries: Mapping[str, Response], source: str = "") -> None:
        """Keep all entries, or none if it fails.

        Args:
            entries: answers by key.
            source: identity of the provider that gave them.

        Raises:
            StorageError: there is no room, or the cache cannot be written. What was kept before is whole.
            ValueError: an answer holds NaN or an infinity.
        """
        self.put_encoded(
            {key: encode_entry(key, encode_body(each.body), each.usage, source) for key, each in entries.items()}
        )

    def damaged(self) -> tuple[str, ...]:
        """Keys of the entries whose checksum is wrong.

        Raises:
            StorageError: the cache as a whole cannot be read, or holds rows that are not ours.
        """
        return tuple(key for key, raw in self._raw(self._keys()) if not is_whole(key, raw))

    def repair(self) -> tuple[str, ...]:
        """Delete the damaged entries, so that they are asked for again; returns their keys.

        Raises:
            StorageError: the cache as a whole cannot be read or written, or holds rows that are not ours.
        """
        damaged = self.damaged()
        self.delete(damaged)
        return damaged

    def _decoded(self, key: str, raw: object) -> Entry:
        if not is_whole(key, raw):
            raise StorageError(
                f"{self.where}: entry {key} is damaged (its checksum is wrong) and was not used. Run `icm-api cache "
                f"repair {self.where}`, which deletes damaged entries so that they are asked for again, then resume"
            )
        assert isinstance(raw, bytes)
        return decode_entry(key, raw)
