"""A scoring head on the embedded model: Bradley and Terry's model on what its last layer gets, by Newton's method.

The model itself stays as it is. A pair adds -log sigmoid(score of the better - score of the worse - margin).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from icm_api.export import FormatName
from icm_api.reward.pocket_head import HEAD, HEAD_FILE, features
from icm_api.training.here import MODEL, OnStep
from icm_api.training.options import PocketRewardTraining
from icm_api.training.pocket import OnPocket, copied

Floats = NDArray[np.float64]
REPLIES = ("chosen", "rejected")
"""To a prompt: where a row has the better one and the worse one."""
_EXACT = 1e-9


class PocketRewardTrainer(OnPocket):
    """A head on the embedded model; implements `Trainer`.

    Args:
        model: folder of a model of its kind; empty for the one in the package.
        options: of the user.
        place: folder of its jobs.

    Raises:
        ProviderError: the weights cannot be read.
    """

    def __init__(self, model: str, options: PocketRewardTraining, place: Path) -> None:
        # What the head gets of each reply is computed once.
        super().__init__(model, options, place, 1)
        self.options = options

    @property
    def format(self) -> FormatName:
        """Pairs with a margin."""
        return "trl-reward"

    def texts(self, row: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
        """Both replies.

        Args:
            row: of "trl-reward".
        """
        return {repr(key): asked_in(row[key]) for key in REPLIES}

    def train(self, rows: list[dict[str, Any]], folder: Path, on_step: OnStep) -> str | None:
        """Newton's method on the mean loss of all pairs with a penalty on the weights.

        Args:
            rows: of the export.
            folder: of the job.
            on_step: to be called after each step.

        Raises:
            StorageError: the folder cannot be written.
        """
        both = [features(self._network, [asked_in(row[key]) for row in rows]) for key in REPLIES]
        margins = np.array([row["margin"] if self.options.margin else 0.0 for row in rows])
        spread = np.vstack(both).std(axis=0) + _EXACT
        gains = (both[0] - both[1]) / spread
        weights: Floats = np.zeros(gains.shape[1])
        began, epochs = monotonic(), self.options.epochs
        for step in range(1, epochs + 1):
            change = _step(weights, gains, margins, self.options.penalty)
            weights = weights - change
            last = step == epochs or bool(np.abs(change).max() < _EXACT)
            left = (monotonic() - began) / step * (epochs - step)
            if not on_step(1.0 if last else step / epochs, left) and not last:
                return None
            if last:
                break
        copied(self._folder, folder / MODEL, {HEAD_FILE: save_tensors({HEAD: weights / spread})})
        return None


def _step(weights: Floats, gains: Floats, margins: Floats, penalty: float) -> Floats:
    """What Newton's method takes off the weights [width], halved until the loss does not grow."""
    wrong = 1 / (1 + np.exp(gains @ weights - margins))
    slope = penalty * weights - gains.T @ wrong / len(gains)
    curvature = (gains * (wrong * (1 - wrong))[:, None]).T @ gains / len(gains) + penalty * np.eye(len(weights))
    change: Floats = np.array(np.linalg.solve(curvature, slope), dtype=np.float64)
    before = _loss(weights, gains, margins, penalty)
    while _loss(weights - change, gains, margins, penalty) > before and np.abs(change).max() > _EXACT:
        change *= 0.5
    return change


def _loss(weights: Floats, gains: Floats, margins: Floats, penalty: float) -> float:
    return float(np.logaddexp(0, margins - gains @ weights).mean() + penalty / 2 * weights @ weights)


def asked_in(messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """The prompt and the reply of a chat as the embedded model reads them: straight one after the other.

    Args:
        messages: the last of them is the reply.
    """
    *asked, reply = (message["content"] for message in messages)
    return "".join(asked), reply
