"""In which order to compute many token sequences, so that a beginning shared by several is computed once.

It does: plan forward passes, depth first along the tree of all sequences, for a cache that can be cut back.
It does not: know a model, hold numbers, or import anything heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass.

    Attributes:
        rows: the sequences that are computed side by side, each from `start` to its end. They share their first `start`
            tokens. Those are in the cache already; what the cache holds after them is to be cut off.
        start: where the pass begins.
        others: further sequences, with how many of their first tokens the pass computes, since they share them with
            its row. Then it has one row, which stays in the cache; else it leaves nothing behind.
    """

    rows: Sequence[int]
    start: int
    others: Sequence[tuple[Sequence[int], int]] = ()


def plan(sequences: Sequence[Tokens], batch_size: int, *, share: bool = True) -> Iterator[Step]:
    """The forward passes that compute every position of every sequence.

    A pass goes from a fork to the end of one sequence, along those that most others share. What forks off is computed
    from the cache, the last fork first.

    Args:
        sequences: distinct, sorted, none empty, none the beginning of another: see `without_beginnings`.
        batch_size: the most rows in a step.
        share: False for a model whose cache can't be cut back: every sequence is computed whole.

    Example:
        >>> for step in plan([(1, 2, 3), (1, 2, 4), (5,)], batch_size=8):
        ...     print(list(step.rows), step.start, [(list(rows), end) for rows, end in step.others])
        [0] 0 [([1], 2)]
        [1] 2 []
        [2] 0 []
    """
    everything = range(len(sequences))
    if not share or len(sequences) < 2:
        yield from _tails(sequences, everything, 0, batch_size)
        return
    stack: list[tuple[Sequence[int], int, bool]] = [(everything, 0, True)]
    while stack:
        rows, start, shared = stack.pop()
        if not shared:
            yield from _tails(sequences, rows, start, batch_size)
            continue
        row, forks = _spine(sequences, rows, start)
        yield Step((row,), start, [(group, end) for groups, end in forks if end > start for group in groups])
        for groups, end in forks:
            stack.append(([group[0] for group in groups if len(group) == 1], end, False))
            stack += [(group, end, True) for group in groups if len(group) > 1]


def without_beginnings(sequences: Iterable[Tokens]) -> dict[Tokens, list[Tokens]]:
    """The sequences that begin no other one, sorted, each with those of the given ones that it holds.

    Example:
        >>> without_beginnings([(1,), (2,), (1, 3)])
        {(1, 3): [(1, 3), (1,)], (2,): [(2,)]}
    """
    found: dict[Tokens, list[Tokens]] = {}
    last: Tokens | None = None
    # Whatever begins a sequence stands right before it in sorted order.
    for sequence in sorted(sequences, reverse=True):
        if last is None or last[: len(sequence)] != sequence:
            last = sequence
        found.setdefault(last, []).append(sequence)
    return dict(reversed(found.items()))


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


def _spine(
    sequences: Sequence[Tokens], rows: Sequence[int], start: int
) -> tuple[int, list[tuple[list[Sequence[int]], int]]]:
    """The sequence that most others follow longest, and per fork what leaves it there, by position."""
    forks = []
    while len(rows) > 1:
        first, last = sequences[rows[0]], sequences[rows[-1]]
        # In sorted order, what the first and the last share, all share.
        start += common(first[start:], last[start:])
        groups = _by_token(sequences, rows, start)
        rows = max(groups, key=lambda group: (len(group), len(sequences[group[0]])))
        forks.append(([group for group in groups if group != rows], start))
    return rows[0], forks


def _by_token(sequences: Sequence[Tokens], rows: Sequence[int], at: int) -> list[Sequence[int]]:
    """The rows in runs of equal tokens at one position."""
    return [list(group) for _, group in groupby(rows, key=lambda row: sequences[row][at])]


def _tails(sequences: Sequence[Tokens], rows: Sequence[int], start: int, batch_size: int) -> Iterator[Step]:
    """Batches of rows that share no more; equal lengths together, so that little is padded."""
    ordered = sorted(rows, key=lambda row: len(sequences[row]))
    for at in range(0, len(ordered), batch_size):
        yield Step(ordered[at : at + batch_size], start)
