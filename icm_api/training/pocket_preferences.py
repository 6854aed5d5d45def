"""The embedded model trained on preferences (DPO, arXiv 2305.18290): its last layer, by numpy; all else stays as it is.

A pair adds -log sigmoid(beta * (what the better reply has gained in log probability - what the worse one has)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_api.export import FormatName
from icm_api.training.options import PocketPreferenceTraining
from icm_api.training.pocket import PocketTrainer
from icm_api.training.pocket_reward import REPLIES, asked_in

Floats = NDArray[np.float64]


class PocketPreferenceTrainer(PocketTrainer):
    """The embedded model's last layer; implements `Trainer`.

    Args:
        model: folder of a model of its kind; empty for the one in the package.
        options: of the user.
        place: folder of its jobs.

    Raises:
        ProviderError: the weights cannot be read.
    """

    options: PocketPreferenceTraining

    @property
    def format(self) -> FormatName:
        """Preferences."""
        return "trl-dpo"

    def texts(self, row: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
        """Both replies.

        Args:
            row: of "trl-dpo".
        """
        return {repr(key): _asked(row, key) for key in REPLIES}

    def descent(self, rows: list[dict[str, Any]], head: Floats, scale: Floats) -> Callable[[Floats], Floats]:
        """What a step takes off the last layer: down the mean loss of all pairs."""
        tokens, beta = self._tokens(rows, scale), self.options.beta
        before = tokens.gained(tokens.logprobs(head))

        def step(head: Floats) -> Floats:
            logprobs = tokens.logprobs(head)
            pull = beta / (1 + np.exp(beta * (tokens.gained(logprobs) - before))) / len(rows)
            slopes = np.exp(logprobs)
            slopes[np.arange(len(tokens.wanted)), tokens.wanted] -= 1
            slopes *= (pull[tokens.pair] * tokens.sign)[:, None]
            off: Floats = self.options.learning_rate * slopes.T @ tokens.states
            return off

        return step

    def _tokens(self, rows: list[dict[str, Any]], scale: Floats) -> _Tokens:
        """All tokens of all replies."""
        sequences, wanted, pair, sign = [], [], [], []
        for at, row in enumerate(rows):
            for key, side in zip(REPLIES, (1.0, -1.0), strict=True):
                prompt, reply = map(self._network.encode, _asked(row, key))
                for place, token in enumerate(reply):
                    sequences.append((prompt, reply[:place]))
                    wanted.append(token)
                    pair.append(at)
                    sign.append(side)
        states = self._network.states(sequences) * scale
        return _Tokens(states, np.array(wanted), np.array(pair), np.array(sign), len(rows))


def _asked(row: Mapping[str, Any], key: str) -> tuple[str, str]:
    """A prompt, and a reply to it, straight after it."""
    asked, replied = row["prompt"], row[key]
    return (asked, replied) if isinstance(asked, str) else asked_in([*asked, *replied])


class _Tokens:
    """Tokens of replies: the state before each [tokens, width], which one it is, its pair, and 1 if of the better."""

    def __init__(
        self, states: Floats, wanted: NDArray[np.intp], pair: NDArray[np.intp], sign: Floats, pairs: int
    ) -> None:
        self.states, self.wanted, self.pair, self.sign, self._pairs = states, wanted, pair, sign, pairs

    def logprobs(self, head: Floats) -> Floats:
        """Log probabilities of the whole vocabulary at each place, [tokens, vocabulary]."""
        logits = self.states @ head.T
        logits -= logits.max(axis=1, keepdims=True)
        found: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return found

    def gained(self, logprobs: Floats) -> Floats:
        """Log p of the better reply less that of the worse one, per pair."""
        own = logprobs[np.arange(len(self.wanted)), self.wanted] * self.sign
        found: Floats = np.zeros(self._pairs)
        np.add.at(found, self.pair, own)
        return found
