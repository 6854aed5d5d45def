"""How much of a prompt a perfect prefix cache would hold already.

It does: find the longest beginning, in tokens, that a sequence shares with any sequence before it.
It does not: hold keys and values, or round to blocks as real servers do.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

Ids = tuple[int, ...]

_MOST_TOKENS = 2**22


class PrefixCache:
    """Sequences seen, in sorted order, where the nearest relative of a sequence is its neighbour.

    Args:
        most_tokens: tokens held at most; the oldest sequences are forgotten first.

    Example:
        >>> cache = PrefixCache()
        >>> cache.add((1, 2, 3)), cache.longest((1, 2, 4)), cache.longest((2,))
        (None, 2, 0)
    """

    def __init__(self, most_tokens: int = _MOST_TOKENS) -> None:
        self._most = most_tokens
        self._held = 0
        self._sorted: list[Ids] = []
        self._ages: deque[Ids] = deque()

    def longest(self, ids: Ids) -> int:
        """How many leading tokens the sequence shares with one added before."""
        at = bisect_left(self._sorted, ids)
        return max((shared(ids, near) for near in self._sorted[max(0, at - 1) : at + 1]), default=0)

    def add(self, ids: Ids) -> None:
        """Remember a sequence."""
        at = bisect_left(self._sorted, ids)
        if at < len(self._sorted) and self._sorted[at] == ids:
            return
        insort(self._sorted, ids)
        self._ages.append(ids)
        self._held += len(ids)
        while self._held > self._most:
            oldest = self._ages.popleft()
            self._held -= len(oldest)
            del self._sorted[bisect_left(self._sorted, oldest)]


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens are equal.

    Example:
        >>> shared((1, 2, 3), (1, 2))
        2
    """
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))
