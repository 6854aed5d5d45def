"""In-context learners of real texts in closed form, and a server's backend that answers as one of them.

What a learner says of a text is the sum, in nats of log-odds, of a lean towards True; of what it believes of that text,
more of it the better the demonstrations fit its beliefs (the other way about, and less so, if they are the inverse); of
the share of True among the demonstrations; and of noise that is a hash of the order of the prompt.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from math import exp, log1p
from statistics import NormalDist
from zlib import crc32

import numpy as np

from icm_api.pocket.model import PocketModel
from icm_api.testing.backend import Backend, Ids, Position, PrefixCache, Row, Token, WireError

SEPARATOR = "\n\n"
TRUE, FALSE = " True", " False"
UNSURE = 0.8
"""Standard deviation of what is believed of a text, where what is so is 1 or -1: one belief in ten is wrong."""
_WHIM = 0.4
"""The same for texts of which nothing is known, such as made-up words."""
_FEW = 4.0
"""Demonstrations that count as shown without saying anything."""
_DECIMALS = 6
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Mind:
    """Weights in nats of log-odds.

    Attributes:
        alone: of a belief without demonstrations.
        gain: of a belief, if all demonstrations fit.
        contrary: what of the gain is left if the demonstrations are the inverse of all beliefs.
        base: of the share of True among the demonstrations, from -1 to 1.
        lean: towards True.
        noise: standard deviation of what an order of the prompt adds.
    """

    alone: float = 0.6
    gain: float = 4.0
    contrary: float = 0.3
    base: float = 1.5
    lean: float = 0.4
    noise: float = 0.0


MINDS: Mapping[str, Mind] = {"plain": Mind(), "order noise": Mind(noise=0.6)}


@dataclass(eq=False)
class Learner:
    """Answers as a mind does. A demonstration is a code: twice the number of its text, and 1 more if it is True.

    Attributes:
        mind: its weights.
        beliefs: per text as it is shown, without its label: what is believed, about 1 if it is so and -1 if not.
    """

    mind: Mind
    beliefs: Mapping[str, float]
    _numbers: dict[str, int] = field(default_factory=dict)
    _keys: list[int] = field(default_factory=list)
    _fits: list[float] = field(default_factory=list)
    _demonstrations: dict[str, int | None] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """The number of a text, a new one if it was not seen before.

        Args:
            text: as it is shown, without its label.
        """
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self._numbers)
            belief = self.beliefs.get(text)
            seen = _WHIM * normal(text) if belief is None else belief
            key = 2 * crc32(text.encode())
            self._keys += (key, key + 1)
            self._fits += (-seen, seen)
        return found

    def odds(self, shown: Sequence[int], query: int) -> float:
        """Log-odds of True, in nats.

        Args:
            shown: codes of the demonstrations, in their order.
            query: number of the text asked about.
        """
        mind, belief = self.mind, self._fits[2 * query + 1]
        weight = 1 / (len(shown) + _FEW)
        fit = sum(map(self._fits.__getitem__, shown)) * weight
        gain = mind.gain if fit > 0 else mind.gain * mind.contrary
        share = (2 * sum(code & 1 for code in shown) - len(shown)) * weight
        found = mind.lean + belief * (mind.alone + gain * fit) + mind.base * share
        if mind.noise:
            order = array("Q", map(self._keys.__getitem__, (*shown, 2 * query)))
            found += mind.noise * normal(order.tobytes())
        return round(found, _DECIMALS)

    def read(self, text: str) -> tuple[list[int], int]:
        """Codes of the demonstrations of a prompt, and the number of the text that it asks about.

        Args:
            text: of the whole prompt.
        """
        *before, query = text.split(SEPARATOR)
        codes = [code for piece in before if (code := self._code(piece)) is not None]
        return codes, self.number(query)

    def _code(self, piece: str) -> int | None:
        if piece not in self._demonstrations:
            ends = [label for label in (TRUE, FALSE) if piece.endswith(label)]
            self._demonstrations[piece] = (
                2 * self.number(piece.removesuffix(ends[0])) + (ends[0] == TRUE) if ends else None
            )
        return self._demonstrations[piece]


def normal(key: str | bytes) -> float:
    """A standard normal number, by hash."""
    raw = key.encode() if isinstance(key, str) else key
    drawn = int.from_bytes(blake2b(raw, digest_size=7).digest(), "big")
    return _NORMAL.inv_cdf((drawn + 0.5) / 2**56)


_PIECE = re.compile(r" ?\w+| ?[^\w\s]|\s")
_ANSWERS = 24
"""Tokens that an answer may begin with: the labels, and words that are none."""
_VOCABULARY = 16_384
_ELSEWHERE = 0.02
_NOWHERE = -30.0
_HELD = 2**22
"""Tokens that the server's prefix cache holds."""


class LearnerBackend(Backend):
    """A learner behind the testing server, with a token for every word.

    Args:
        learner: who answers.
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__(PocketModel.load())
        self.name, self.window = "learner", 2**20
        self._learner = learner
        self._ids: dict[str, int] = {}
        self._words: list[str] = []
        for word in (TRUE, FALSE, *(f" word{at}" for at in range(_ANSWERS - 2))):
            self._id(word)
        self._blocks = lru_cache(maxsize=2**16)(self._block)
        self._prefixes = PrefixCache(_HELD)
        self._elsewhere = np.full(_VOCABULARY, _NOWHERE)
        self._elsewhere[2:_ANSWERS] = np.log(_ELSEWHERE / (_ANSWERS - 2))

    def encode(self, text: str) -> Ids:
        """Token ids of a text."""
        *before, last = text.split(SEPARATOR)
        ids: list[int] = []
        for block in before:
            ids.extend(self._blocks(block + SEPARATOR))
        ids.extend(self._blocks(last))
        return tuple(ids)

    def _block(self, text: str) -> Ids:
        return tuple(map(self._id, _PIECE.findall(text)))

    def _id(self, word: str) -> int:
        found = self._ids.get(word)
        if found is None:
            if len(self._words) == _VOCABULARY:
                raise WireError(f"more than {_VOCABULARY} different words")
            found = self._ids[word] = len(self._words)
            self._words.append(word)
        return found

    def last(self, ids: Ids) -> Row:
        """Log probabilities (nats) of the token after all of `ids`, [vocabulary]."""
        return self._row(*self._learner.read("".join(map(self._words.__getitem__, ids))))

    def every(self, ids: Ids) -> Row:
        """Log probabilities (nats) at the place of each of `ids`: a row each, the same one where no label is."""
        rows, shown, begun = [self._elsewhere] * len(ids), list[int](), 0
        words = list(map(self._words.__getitem__, ids))
        for at, word in enumerate(words):
            ends = at + 1 == len(ids) or words[at + 1 : at + 3] == ["\n", "\n"]
            if word in (TRUE, FALSE) and ends:
                number = self._learner.number("".join(words[begun:at]))
                rows[at] = self._row(shown, number)
                shown.append(2 * number + (word == TRUE))
            if word == "\n" and words[at - 1 : at] == ["\n"]:
                begun = at + 1
        return rows  # type: ignore[return-value]

    def _row(self, shown: Sequence[int], query: int) -> Row:
        odds, row = self._learner.odds(shown, query), self._elsewhere.copy()
        row[0] = log1p(-_ELSEWHERE) - log1p(exp(-odds))
        row[1] = log1p(-_ELSEWHERE) - log1p(exp(odds))
        return row

    def known(self, ids: Ids) -> Ids:
        """The ids of a request, if all exist.

        Raises:
            WireError: one of them does not.
        """
        if ids and not 0 <= min(ids) <= max(ids) < len(self._words):
            raise WireError(f"Token ids must be from 0 to {len(self._words) - 1}.")
        return ids

    def token(self, token: int, row: Row | None) -> Token:
        """A token with its logprob in `row`; without a logprob if there is no row."""
        return Token(token, self._words[token].encode(), None if row is None else float(row[token]))

    def position(self, row: Row, chosen: int, top: int, wanted: Sequence[int] | None = None) -> Position:
        """A token and its alternatives, the `wanted` ones or the likeliest."""
        if wanted is None and row is self._elsewhere:
            # All words are alike there: one stands for them, since nobody reads what is no label.
            wanted = (2,) if top else ()
        elif wanted is None:
            wanted = np.argsort(-row[:_ANSWERS], kind="stable")[:top].tolist() if top else ()
        return Position(self.token(chosen, row), tuple(self.token(token, row) for token in wanted))
