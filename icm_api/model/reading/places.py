"""The tokens of a text that a server sent back, at their places in it.

A prompt may have tens of thousands of tokens with twenty alternatives each, of which the few at labels are looked at.
So they stay in the columns in which they came, and a token is made of them when somebody asks for its place.
It does not: know a wire format, or judge numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Generic, TypeVar, overload

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.label_tokens import Place, TokenLogprob
from icm_api.model.reading.token_text import Spelling, decoded, spelled

_Kind = TypeVar("_Kind", bound=Hashable)
_UNDECODABLE = "\ufffd"


@dataclass(frozen=True, slots=True)
class Columns(Generic[_Kind]):
    """Tokens in a row, as a server lists them.

    Attributes:
        kinds: which token each is; equal if and only if they are the same but for their logprobs.
        logprobs: as the server gives them, which may be no numbers at all.
        tops: the alternatives to each: which tokens, and their logprobs.
        make: a token of its kind and its logprob.
    """

    kinds: Sequence[_Kind]
    logprobs: Sequence[object]
    tops: Sequence[Collection[tuple[_Kind, object]]]
    make: Callable[[_Kind, object], TokenLogprob]

    def token(self, at: int) -> TokenLogprob:
        """The token there, as the server shows it."""
        return self.make(self.kinds[at], self.logprobs[at])

    def top(self, at: int) -> list[TokenLogprob]:
        """The alternatives to it."""
        return [self.make(kind, logprob) for kind, logprob in self.tops[at]]

    def different(self) -> list[TokenLogprob]:
        """All that are listed anywhere, each once and without a logprob."""
        everyone = {kind for top in self.tops for kind, _ in top}.union(self.kinds)
        return [self.make(kind, None) for kind in everyone]


class Places(Sequence[Place]):
    """The tokens of a text, each made when it is asked for.

    Args:
        columns: the tokens, and perhaps more after those of the text.
        spelling: in which they are shown.
        starts: the character at which each of them begins, in order.

    Attributes:
        starts: as given.
        logprobs: as the server gives them.
    """

    def __init__(self, columns: Columns[Any], spelling: Spelling, starts: Sequence[int]) -> None:
        self.starts = starts
        self.logprobs = columns.logprobs[: len(starts)]
        self._columns, self._spelling = columns, spelling

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, at: int) -> Place: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Place, ...]: ...
    def __getitem__(self, at: int | slice) -> Place | tuple[Place, ...]:
        if isinstance(at, slice):
            return tuple(self[each] for each in range(len(self))[at])
        at = range(len(self))[at]
        columns, spelling = self._columns, self._spelling
        (token,) = decoded([columns.token(at)], spelling)
        return Place(token, decoded(columns.top(at), spelling), self.starts[at])


def placed(columns: Columns[Any], text: str) -> Places:
    """The tokens at their places in the text, without those that a server put after it.

    Servers' own offsets are not used: some count a beginning-of-text token that the text does not have.

    Args:
        columns: the tokens as the server lists them.
        text: that was sent.

    Raises:
        LogprobsUnavailableError: they are not those of the text.

    Example:
        >>> tokens = ("<s>", "Is", " so", "!")
        >>> columns = Columns(tokens, [None] * 4, [()] * 4, TokenLogprob)
        >>> [place.start for place in placed(columns, "Is so")]
        [-3, 0, 2]
    """
    kinds = [*dict.fromkeys(columns.kinds)]
    tokens = [columns.make(kind, None) for kind in kinds]
    # Here the text itself says how its tokens are spelled.
    for spelling in dict.fromkeys((spelled(columns.different()), *Spelling)):
        shown = [token.written.decode("utf-8", "replace") for token in decoded(tokens, spelling)]
        written = dict(zip(kinds, shown, strict=True))
        starts = _starts([written[kind] for kind in columns.kinds], text)
        if starts is not None:
            return Places(columns, spelling, starts[: bisect_left(starts, len(text))])
    raise LogprobsUnavailableError(
        "the echoed tokens are not those of the prompt that was sent, so which belongs to a label is unknown"
    )


def _starts(tokens: Sequence[str], text: str) -> list[int] | None:
    """Where in the text each token begins, if they write it. A server may put a token before it, and more after it."""
    ends = list(accumulate(map(len, tokens), initial=0))
    at = "".join(tokens).find(text)
    if at >= 0:
        return [start - at for start in ends[:-1]]
    for before in (0, 1):
        starts = _aligned(tokens[before:], text)
        if starts is not None:
            return [-1] * before + starts
    return None


def _aligned(tokens: Sequence[str], text: str) -> list[int] | None:
    """Where each token begins, of which some show only parts of a character; None if they don't fit the text."""
    starts: list[int] = []
    at = hidden = 0
    for token in tokens:
        if at >= len(text):
            starts.append(len(text))
        elif _UNDECODABLE in token:
            starts.append(at)
            hidden += len(token)
        else:
            found = text.find(token, at, at + hidden + len(token))
            if found < 0:
                return None
            starts.append(found)
            at, hidden = found + len(token), 0
    return starts if at >= len(text) else None
