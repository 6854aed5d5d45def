"""Requests that are not sent yet: in which order they go, and which of them travel together.

It does: send the first of those that share a beginning ahead of the rest, fill lists with requests of one group, and
have a list that failed fall apart into halves. A list goes ahead as a whole: a server reads it from the beginning.
It does not: send, or judge an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import chain

from icm_api.model.request import Request


class Waiting:
    """Requests by their keys.

    Args:
        requests: by any key, in the order in which they go.
        most: the most requests of one group that travel together.

    Example:
        >>> alike = {key: Request({}, group="completions") for key in "abcde"}
        >>> waiting = Waiting(alike, most=4)
        >>> first = waiting.take()
        >>> first, waiting.take()
        (('a', 'b', 'c', 'd'), ('e',))
        >>> waiting.divide(first)
        (('a', 'b'), ('c', 'd'))
        >>> waiting.take(), waiting.take(), len(waiting)
        (('a', 'b'), ('c', 'd'), 0)
    """

    def __init__(self, requests: Mapping[str, Request], most: int) -> None:
        self._requests, self._most = requests, most
        self._ready: deque[str] = deque()
        self._behind: dict[str, list[str]] = {}
        self._parts: deque[tuple[str, ...]] = deque()
        for alike in self._alike():
            # As many as may travel with the first do.
            fewest = most if requests[alike[0]].group else 1
            self._ready += alike[:fewest]
            if alike[fewest:]:
                self._behind[alike[0]] = alike[fewest:]

    def __len__(self) -> int:
        """How many could be taken one by one."""
        return len(self._ready) + len(self._parts)

    def take(self) -> tuple[str, ...]:
        """The keys of those that go next, which are no longer waiting; at least one must be."""
        if not self._ready:
            return self._parts.popleft()
        taken = [self._ready.popleft()]
        group = self._requests[taken[0]].group
        while group and self._ready and len(taken) < self._most and self._requests[self._ready[0]].group == group:
            taken.append(self._ready.popleft())
        return tuple(taken)

    def divide(self, keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Have a list go again in two halves, after all else: what is sound lands before it is known what is not.

        Args:
            keys: at least two.

        Returns:
            The halves.
        """
        half = len(keys) // 2
        parts = keys[:half], keys[half:]
        self._parts += parts
        return parts

    def release(self, keys: tuple[str, ...]) -> None:
        """Have those go next that share a beginning with these, while the server still has it in its cache.

        Args:
            keys: that were answered or failed for good.
        """
        for key in reversed(keys):
            self._ready.extendleft(reversed(self._behind.pop(key, ())))

    def _alike(self) -> Iterable[list[str]]:
        """The keys of each group together, and within it of those that share a beginning."""
        found: dict[str, dict[str, list[str]]] = {}
        for key, request in self._requests.items():
            group = request.group if self._most > 1 else ""
            # Who shares no beginning is alone with it.
            found.setdefault(group, {}).setdefault(request.prefix or f"\0{key}", []).append(key)
        return chain.from_iterable(each.values() for each in found.values())
