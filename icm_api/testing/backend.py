"""What the wire formats ask of a model: tokens, distributions over the next token, generated text, cached tokens.

Knows no wire format. Not thread-safe: one thread does all the work. Token ids and counts are without BOS, which the
model puts before every sequence by itself. Logprobs are rounded to six decimals, as the pocket provider does, so that
the other sequences of a batch change nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random

import numpy as np
from numpy.typing import NDArray

from icm_api.pocket.model import PocketModel

Ids = tuple[int, ...]
Row = NDArray[np.float64]

_DECIMALS = 6
_MEMOISED_TEXTS = 4096
_MEMOISED_ROWS = 4096
_CACHED_TOKENS = 2**22
# Of a backend that answers at once: characters that are tokenized, and what it says of the next token.
_EXACT_UP_TO = 256
_LIKELY = ((" True", 0.6), (" False", 0.3))


class WireError(Exception):
    """A request that a server refuses.

    Args:
        message: what the answer says.
        status: of the answer, an HTTP status.
        kind: OpenAI's word for the type of the error.
        code: OpenAI's word for the error itself, if it has any.
    """

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "invalid_request_error", code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.kind, self.code = message, status, kind, code


@dataclass(frozen=True, slots=True)
class Token:
    """A token as a server reports it; `logprob` is None if the token has none."""

    id: int
    raw: bytes
    logprob: float | None

    @property
    def text(self) -> str:
        """Its text, with a replacement character for bytes that are none by themselves."""
        return self.raw.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Position:
    """A token and its alternatives, most likely first. The token may be one of them."""

    chosen: Token
    top: tuple[Token, ...]


Positions = tuple[Position, ...]


class PrefixCache:
    """How much of a prompt a perfect prefix cache would hold already; real servers round to blocks.

    Sequences are kept in sorted order: the one that shares most with a sequence is its neighbour there.

    Args:
        most_tokens: tokens held at most; the oldest sequences are forgotten first.

    Example:
        >>> cache = PrefixCache()
        >>> cache.add((1, 2, 3)), cache.longest((1, 2, 4)), cache.longest((2,))
        (None, 2, 0)
    """

    def __init__(self, most_tokens: int = _CACHED_TOKENS) -> None:
        self._most = most_tokens
        self._held = 0
        self._sorted: list[Ids] = []
        self._ages: deque[Ids] = deque()

    def longest(self, ids: Ids) -> int:
        """How many leading tokens the sequence shares with a sequence added before."""
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


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to generate.

    Attributes:
        most_tokens: end after so many tokens.
        temperature: 0 is the likeliest token every time.
        stop: end before any of these texts.
        random: draws the tokens.
        answer: end before a token that begins with white space, unless it is the first. The embedded model was
            taught labels and no end of an answer; this is what its chat template has for one.
    """

    most_tokens: int
    temperature: float
    stop: tuple[str, ...]
    random: Random
    answer: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """What was generated: all tokens, their distributions [vocabulary] each, and the text up to the stop."""

    ids: Ids
    rows: tuple[Row, ...]
    text: str
    stopped: bool


class Backend:
    """The embedded model and its prefix caches.

    Args:
        model: the embedded model.

    Attributes:
        name: the model's name.
        window: most tokens of a prompt and what is generated together.
        instant: whether every answer is made up at once.
        marked_prefixes: what Anthropic's `cache_control` has marked so far.
    """

    instant = False

    def __init__(self, model: PocketModel) -> None:
        self._model = model
        self.name, self.window = model.name, model.context_window - 1
        self.marked_prefixes = PrefixCache()
        self._prefixes = PrefixCache()
        self._encode = lru_cache(maxsize=_MEMOISED_TEXTS)(model.encode)
        self._last = lru_cache(maxsize=_MEMOISED_ROWS)(self._computed)

    def _computed(self, ids: Ids) -> Row:
        row: Row = np.round(self._model.next_token_logprobs([(ids,)])[0], _DECIMALS)
        return row

    def encode(self, text: str) -> Ids:
        """Token ids of a text."""
        return self._encode(text)

    def last(self, ids: Ids) -> Row:
        """Log probabilities (nats) of the token after all of `ids`, [vocabulary]."""
        return self._last(ids)

    def every(self, ids: Ids) -> Row:
        """Log probabilities (nats) at the place of each of `ids`, [len(ids), vocabulary]; at least one id."""
        rows: Row = np.round(self._model.all_logprobs(ids), _DECIMALS)
        return rows

    def cached(self, ids: Ids) -> int:
        """How many tokens of a prompt are cached; from now on all of them are."""
        found = self._prefixes.longest(ids)
        self._prefixes.add(ids)
        return found

    def fits(self, ids: Ids, most_tokens: int = 0) -> Ids:
        """The ids, if they and `most_tokens` more fit the model's window.

        Raises:
            WireError: they do not.
        """
        if len(ids) + most_tokens > self.window:
            raise WireError(
                f"This model's maximum context length is {self.window} tokens. However, you requested "
                f"{len(ids) + most_tokens} tokens ({len(ids)} in the prompt, {most_tokens} in the completion). "
                "Please reduce the length of the prompt or completion.",
                code="context_length_exceeded",
            )
        return ids

    def known(self, ids: Ids) -> Ids:
        """The ids of a request, if all exist.

        Raises:
            WireError: one of them does not.
        """
        if ids and not 0 <= min(ids) <= max(ids) < self._model.vocab_size:
            raise WireError(f"Token ids must be from 0 to {self._model.vocab_size - 1}.")
        return ids

    def generate(self, ids: Ids, sampling: Sampling) -> Generation:
        """Continue a prompt until a stop, or the most tokens."""
        made: Ids = ()
        rows: tuple[Row, ...] = ()
        raw, text = b"", ""
        for _ in range(min(sampling.most_tokens, self.window - len(ids))):
            row = self.last(ids + made)
            token = _pick(row, sampling)
            piece = self._model.decode_bytes(token)
            if sampling.answer and made and piece[:1].isspace():
                return Generation(made, rows, text, stopped=True)
            made, rows, raw = (*made, token), (*rows, row), raw + piece
            text = raw.decode("utf-8", "replace")
            places = [text.find(stop) for stop in sampling.stop if stop in text]
            if places:
                return Generation(made, rows, text[: min(places)], stopped=True)
        return Generation(made, rows, text, stopped=False)

    def token(self, token: int, row: Row | None) -> Token:
        """A token with its logprob in `row`, a distribution [vocabulary]; without a logprob if there is no row."""
        return Token(token, self._model.decode_bytes(token), None if row is None else float(row[token]))

    def position(self, row: Row, chosen: int, top: int, wanted: Sequence[int] | None = None) -> Position:
        """A token and its alternatives.

        Args:
            row: log probabilities (nats) at its place, [vocabulary].
            chosen: the token's id.
            top: how many of the likeliest tokens are its alternatives.
            wanted: ids of the alternatives, in place of the likeliest.

        Returns:
            The token and the alternatives, each with its logprob.
        """
        if wanted is None:
            wanted = np.argsort(-row, kind="stable")[:top].tolist() if top else ()
        return Position(self.token(chosen, row), tuple(self.token(token, row) for token in wanted))


class InstantBackend(Backend):
    """Answers at once, and always the same: for measuring clients, whose own work then is all there is.

    Long texts are not tokenized: they count a token for every four characters. Nothing is cached.
    """

    instant = True

    def __init__(self, model: PocketModel) -> None:
        super().__init__(model)
        self.name, self.window = f"{model.name}-instant", 2**31 - 1
        rest = 1 - sum(probability for _, probability in _LIKELY)
        probabilities = np.full(model.vocab_size, rest / (model.vocab_size - len(_LIKELY)))
        for text, probability in _LIKELY:
            (token,) = model.encode(text)
            probabilities[token] = probability
        self._row: Row = np.round(np.log(probabilities), _DECIMALS)
        self._placed = lru_cache(maxsize=_MEMOISED_ROWS)(partial(super().position, self._row))

    def encode(self, text: str) -> Ids:
        """Token ids of a short text; zeros for a long one."""
        return super().encode(text) if len(text) <= _EXACT_UP_TO else (0,) * (len(text) // 4)

    def last(self, ids: Ids) -> Row:
        """The one distribution, [vocabulary]."""
        return self._row

    def every(self, ids: Ids) -> Row:
        """The one distribution at every place, [len(ids), vocabulary]."""
        return np.broadcast_to(self._row, (len(ids), len(self._row)))

    def position(self, row: Row, chosen: int, top: int, wanted: Sequence[int] | None = None) -> Position:
        """A token and its alternatives by the one distribution, whatever the row."""
        return self._placed(chosen, top, None if wanted is None else tuple(wanted))

    def cached(self, ids: Ids) -> int:
        """None of them."""
        return 0


def _pick(row: Row, sampling: Sampling) -> int:
    if sampling.temperature <= 0:
        return int(row.argmax())
    weights = np.exp((row - row.max()) / sampling.temperature).cumsum()
    return min(int(np.searchsorted(weights, sampling.random.random() * weights[-1], "right")), len(row) - 1)
