"""Scores by the embedded model: one weight for each number that its last layer gets after prompt and reply.

The weights are in `reward.safetensors` beside the model, where `icm_api.training` leaves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from icm_api.errors import ProviderError
from icm_api.model.endpoints.pocket import load_model
from icm_api.pocket.model import PocketModel

HEAD_FILE, HEAD = "reward.safetensors", "score.weight"
Floats = NDArray[np.float64]


class PocketHead:
    """The embedded model with a trained head; implements `Head`.

    Args:
        folder: of the model, with the head in it.

    Raises:
        ProviderError: a file is missing or is not what it should be.
    """

    def __init__(self, folder: Path) -> None:
        self._model = load_model(folder)
        try:
            raw = (folder / HEAD_FILE).read_bytes()
            self._weights: Floats = load_tensors(raw)[HEAD].astype(np.float64)
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise ProviderError(
                f"{folder} has no trained reward head ({HEAD_FILE}): {error}; `icm-api train RUN --reward --with "
                "pocket` makes one"
            ) from error
        self._mark = sha256(raw).hexdigest()[:8]

    @property
    def identity(self) -> str:
        """The model's name, and a hash of the head."""
        return f"pocket/{self._model.name}-reward-{self._mark}"

    @property
    def window(self) -> int:
        """Tokens, without the one before every text."""
        return self._model.context_window - 1

    def length(self, prompt: str, reply: str) -> int:
        """Tokens of a prompt with a reply."""
        return len(self._model.encode(prompt)) + len(self._model.encode(reply))

    def scores(self, asked: Sequence[tuple[str, str]]) -> Sequence[float]:
        """The score of each reply.

        Args:
            asked: prompts, each with a reply.
        """
        found: list[float] = (features(self._model, asked) @ self._weights).round(6).tolist()
        return found


def features(model: PocketModel, asked: Sequence[tuple[str, str]]) -> Floats:
    """What the embedded model has read from prompts with replies, the reply straight after the prompt.

    Args:
        model: the embedded model.
        asked: prompts, each with a reply.

    Returns:
        [replies, width].
    """
    return model.states([(model.encode(prompt), model.encode(reply)) for prompt, reply in asked])
