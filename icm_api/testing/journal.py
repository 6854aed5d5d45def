"""What a server has been asked: counts, and on request the bodies.

It does: count from the server's thread and give whole snapshots to any other.
It does not: decide anything.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Any

from icm_api.testing.wire import Answer


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request: its path and its JSON body, as it came."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServerLog:
    """Counts at one moment.

    Attributes:
        requests: how many arrived, by path, those met by a fault included.
        statuses: how many were answered with each HTTP status.
        faults: how many met each kind of fault.
        prompt_tokens: in all prompts that were computed.
        cached_tokens: of these, how many a perfect prefix cache would have held.
        completion_tokens: generated.
    """

    requests: Mapping[str, int]
    statuses: Mapping[int, int]
    faults: Mapping[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())


class Journal:
    """Counts requests, and keeps the last `keep` bodies."""

    def __init__(self, keep: int) -> None:
        self._lock = Lock()
        self._requests = Counter[str]()
        self._statuses = Counter[int]()
        self._faults = Counter[str]()
        self._tokens = [0, 0, 0]
        self._kept: deque[RecordedRequest] = deque(maxlen=keep)

    def arrived(self, path: str, body: Mapping[str, Any], fault: str | None) -> None:
        """Count a request, before it is answered."""
        with self._lock:
            self._requests[path] += 1
            if fault is not None:
                self._faults[fault] += 1
            self._kept.append(RecordedRequest(path, body))

    def computed(self, answer: Answer) -> None:
        """Count the tokens of an answer."""
        with self._lock:
            self._tokens[0] += answer.prompt_tokens
            self._tokens[1] += answer.cached_tokens
            self._tokens[2] += answer.completion_tokens

    def answered(self, status: int) -> None:
        """Count a status."""
        with self._lock:
            self._statuses[status] += 1

    def snapshot(self) -> ServerLog:
        """The counts now."""
        with self._lock:
            return ServerLog(
                MappingProxyType(dict(self._requests)),
                MappingProxyType(dict(self._statuses)),
                MappingProxyType(dict(self._faults)),
                *self._tokens,
            )

    def kept(self) -> tuple[RecordedRequest, ...]:
        """The bodies kept, oldest first."""
        with self._lock:
            return tuple(self._kept)
