"""What the wire formats ask of a model: tokens, distributions over the next token, generated text, cached tokens.

It does: memoise encodings and distributions, generate with a given random generator, count prefix-cache hits.
It does not: know any wire format. It is not thread-safe: one thread does all the work.

Token ids and counts are without BOS, which the model puts before every sequence by itself. Logprobs are rounded to six
decimals, as the pocket provider does, which hides what the company of a sequence in a batch moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from icm_api.pocket.model import PocketModel
from icm_api.testing.positions import Position, Token, WireError
from icm_api.testing.prefixes import PrefixCache

Ids = tuple[int, ...]
Row = NDArray[np.float64]

_DECIMALS = 6
_MEMOISED_TEXTS = 4096
_MEMOISED_ROWS = 4096


class Model(Protocol):
    """The part of `PocketModel` that is served."""

    name: str
    context_window: int
    vocab_size: int

    def encode(self, text: str) -> Ids: ...

    def decode_bytes(self, token: int) -> bytes: ...

    def last(self, ids: Ids) -> Row:
        """Log probabilities of the token after all of `ids`, [vocab_size]."""
        ...

    def every(self, ids: Ids) -> Row:
        """Log probabilities at the place of each of `ids`, [len(ids), vocab_size]."""
        ...


class Embedded:
    """The embedded model itself."""

    def __init__(self, model: PocketModel) -> None:
        self._model = model
        self.name, self.context_window, self.vocab_size = model.name, model.context_window, model.vocab_size
        self.encode: Callable[[str], Ids] = lru_cache(maxsize=_MEMOISED_TEXTS)(model.encode)
        self.decode_bytes = model.decode_bytes

    def last(self, ids: Ids) -> Row:
        """Log probabilities of the token after all of `ids`."""
        row: Row = self._model.next_token_logprobs([(ids,)])[0]
        return row

    def every(self, ids: Ids) -> Row:
        """Log probabilities at the place of each of `ids`, of which there must be one."""
        rows: Row = self._model.all_logprobs(ids)
        return rows


class Instant:
    """Answers at once, and always the same: for measuring clients, whose own work then is all there is.

    Long texts are not tokenized: they count a token for every four characters.
    """

    _exact_up_to = 256
    _likely = {" True": 0.6, " False": 0.3}  # noqa: RUF012 - read only

    def __init__(self, model: PocketModel) -> None:
        self._model = model
        self.name, self.context_window, self.vocab_size = f"{model.name}-instant", 2**31, model.vocab_size
        self.decode_bytes = model.decode_bytes
        probabilities = np.full(model.vocab_size, (1 - sum(self._likely.values())) / (model.vocab_size - 2))
        for text, probability in self._likely.items():
            (token,) = model.encode(text)
            probabilities[token] = probability
        self._row: Row = np.log(probabilities)

    def encode(self, text: str) -> Ids:
        """Token ids of a short text; zeros for a long one."""
        return self._model.encode(text) if len(text) <= self._exact_up_to else (0,) * (len(text) // 4)

    def last(self, ids: Ids) -> Row:
        """The one distribution."""
        return self._row

    def every(self, ids: Ids) -> Row:
        """The one distribution at every place."""
        return np.broadcast_to(self._row, (len(ids), len(self._row)))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to generate.

    Attributes:
        most_tokens: end after so many.
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
    """What was generated: all tokens, the distributions they came from, and the text up to the stop."""

    ids: Ids
    rows: tuple[Row, ...]
    text: str
    stopped: bool


class Backend:
    """A model and its prefix caches.

    Attributes:
        window: most tokens of a prompt and what is generated together.
        name: the model's name.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.encode = model.encode
        self.name = model.name
        self.window = model.context_window - 1
        self.instant = isinstance(model, Instant)
        self._prefixes = PrefixCache()
        self.marked_prefixes = PrefixCache()
        self._last = lru_cache(maxsize=_MEMOISED_ROWS)(self._rounded)

    def _rounded(self, ids: Ids) -> Row:
        row: Row = np.round(self._model.last(ids), _DECIMALS)
        return row

    def fits(self, ids: Ids, most_tokens: int = 0) -> Ids:
        """The ids, if they and so many more fit the model's window.

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

    def cached(self, ids: Ids) -> int:
        """How much of a prompt is cached; from now on all of it is."""
        if self.instant:
            return 0
        found = self._prefixes.longest(ids)
        self._prefixes.add(ids)
        return found

    def last(self, ids: Ids) -> Row:
        """Log probabilities of the next token."""
        return self._last(ids)

    def every(self, ids: Ids) -> Row:
        """Log probabilities at the place of each token."""
        rows: Row = np.round(self._model.every(ids), _DECIMALS)
        return rows

    def generate(self, ids: Ids, sampling: Sampling) -> Generation:
        """Continue a prompt until a stop, or the most tokens."""
        made: list[int] = []
        rows: list[Row] = []
        raw = b""
        for _ in range(min(sampling.most_tokens, self.window - len(ids))):
            row = self.last((*ids, *made))
            token = _pick(row, sampling)
            piece = self._model.decode_bytes(token)
            if sampling.answer and made and piece[:1].isspace():
                return Generation(tuple(made), tuple(rows), raw.decode("utf-8", "replace"), stopped=True)
            made.append(token)
            rows.append(row)
            raw += piece
            text = raw.decode("utf-8", "replace")
            places = [text.find(stop) for stop in sampling.stop if stop in text]
            if places:
                return Generation(tuple(made), tuple(rows), text[: min(places)], stopped=True)
        return Generation(tuple(made), tuple(rows), raw.decode("utf-8", "replace"), stopped=False)

    def token(self, token: int, row: Row | None) -> Token:
        """A token with its logprob in this distribution; None where there is none."""
        return Token(token, self._model.decode_bytes(token), None if row is None else float(row[token]))

    def position(self, row: Row, chosen: int, top: int, wanted: Sequence[int] | None = None) -> Position:
        """A token, and the `top` likeliest at its place, or the `wanted` ones."""
        if wanted is None:
            wanted = np.argsort(-row, kind="stable")[:top].tolist() if top else ()
        return Position(self.token(chosen, row), tuple(self.token(token, row) for token in wanted))


def _pick(row: Row, sampling: Sampling) -> int:
    if sampling.temperature <= 0:
        return int(row.argmax())
    weights = np.exp((row - row.max()) / sampling.temperature).cumsum()
    return min(int(np.searchsorted(weights, sampling.random.random() * weights[-1], "right")), len(row) - 1)
