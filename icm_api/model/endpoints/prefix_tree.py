"""In which order to compute many token sequences, so that a beginning shared by several is computed once.

It does: plan forward passes, depth first along the tree of all sequences, for a cache that can be cut back.
It does not: know a model, hold numbers, or import anything heavy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass.

    Attributes:
        rows: the sequences it serves, which share their first `start` tokens. Those are in the cache already;
            what the cache holds after them is to be cut off.
        start: where the pass begins.
        end: all rows share their tokens up to here: computed once, and left in the cache. None if nothing
            more is shared: each row is computed to its own end, in one batch, and leaves nothing behind.
    """

    rows: Sequence[int]
    start: int
    end: int | None


def plan(sequences: Sequence[Tokens], batch_size: int, *, share: bool = True) -> Iterator[Step]:
    """The forward passes that compute every position of every sequence.

    Args:
        sequences: distinct, sorted, none empty.
        batch_size: the most rows in a step without an end.
        share: False for a model whose cache can't be cut back: every sequence is computed whole.

    Example:
        >>> for step in plan([(1, 2, 3), (1, 2, 4), (5,)], batch_size=8):
        ...     print(list(step.rows), step.start, step.end)
        [2] 0 None
        [0, 1] 0 2
        [0, 1] 2 None
    """
    everything = range(len(sequences))
    if not share or len(sequences) < 2:
        yield from _tails(sequences, everything, 0, batch_size)
        return
    stack = [(everything, 0)]
    while stack:
        rows, start = stack.pop()
        first, last = sequences[rows[0]], sequences[rows[-1]]
        # In sorted order, what the first and the last share, all share.
        end = start + common(first[start:], last[start:])
        if end > start:
            yield Step(rows, start, end)
        groups = _by_token(sequences, rows[1:] if len(first) == end else rows, end)
        stack += [(group, end) for group in groups if len(group) > 1]
        yield from _tails(sequences, [group[0] for group in groups if len(group) == 1], end, batch_size)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens are equal.

    Example:
        >>> common((1, 2, 3), (1, 2)), common((1,), (2,))
        (2, 0)
    """
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))


def _by_token(sequences: Sequence[Tokens], rows: range, at: int) -> list[range]:
    """The rows in runs of equal tokens at one position."""
    starts = [row for row in rows if row == rows[0] or sequences[row][at] != sequences[row - 1][at]]
    return [range(low, high) for low, high in zip(starts, [*starts[1:], rows.stop], strict=False)]


def _tails(sequences: Sequence[Tokens], rows: Sequence[int], start: int, batch_size: int) -> Iterator[Step]:
    """Batches of rows that share no more; equal lengths together, so that little is padded."""
    ordered = sorted(rows, key=lambda row: len(sequences[row]))
    for at in range(0, len(ordered), batch_size):
        yield Step(ordered[at : at + batch_size], start, None)
