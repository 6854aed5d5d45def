"""A learner behind the testing server: any client and any wire then meets a world."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from icm_api.pocket.model import PocketModel
from icm_api.testing.backend import Backend, Ids, Row
from tests.benchmarks.worlds.learner import Learner

_ELSEWHERE = 1e-12
"""Probability of each token that writes no label."""


class WorldBackend(Backend):
    """The embedded model's tokens, and what a learner says of the next one.

    Args:
        learner: whom to ask.
    """

    def __init__(self, learner: Learner) -> None:
        model = PocketModel.load()
        super().__init__(model)
        self.name, self.window = "world", 2**20
        self._learner, self._bytes, self._size = learner, model.decode_bytes, model.vocab_size
        self._forms = [model.encode(f" {label}") for label in learner.mind.labels]

    def last(self, ids: Ids) -> Row:
        """Log probabilities (nats) of the token after all of `ids`, [vocabulary]."""
        begun = self._begun(ids)
        text = b"".join(map(self._bytes, ids[: len(ids) - begun])).decode("utf-8", "replace")
        row = np.zeros(self._size)
        for form, logprob in zip(self._forms, self._learner.read_text(text), strict=True):
            if form[:begun] == ids[len(ids) - begun :] and len(form) > begun:
                row[form[begun]] += np.exp(logprob)
        row[row == 0] = _ELSEWHERE
        return np.asarray(np.log(row / row.sum()))

    def every(self, ids: Ids) -> Row:
        """Log probabilities (nats) at the place of each of `ids`, [len(ids), vocabulary]."""
        return np.array([self.last(ids[:at]) for at in range(len(ids))])

    def _begun(self, ids: Ids) -> int:
        """How many tokens of a label the prompt ends in."""
        return next((size for size in self._ends() if ids and self._is_part(ids, size)), 0)

    def _ends(self) -> Iterator[int]:
        return iter(range(max(map(len, self._forms)) - 1, 0, -1))

    def _is_part(self, ids: Ids, size: int) -> bool:
        return any(len(form) > size and form[:size] == ids[-size:] for form in self._forms)
