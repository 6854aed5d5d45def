"""The embedded model as a provider: exact label logprobs with numpy alone, no network and no key.

It does: turn a prompt into segments of tokens, ask the model once for a whole batch, and sum the logprobs of
the tokens of each surface form.
It does not: hold the model's arithmetic (that is `icm_api.pocket`), cache answers, truncate, or retry.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from icm_api.errors import ProviderError
from icm_api.model.request import Request, Response
from icm_api.pocket.model import PocketModel
from icm_api.types import Capabilities, Usage

_BOS_TOKENS = 1

# The model computes in float64, and its numbers move by less than 1e-9 with the rest of the batch and with
# the number of BLAS threads. Six decimals hide that, so equal requests give equal bytes, and lose nothing.
_DECIMALS = 6

_MEMOISED_SEGMENTS = 65_536

_Tokens = tuple[int, ...]
_Rows = dict[tuple[int, _Tokens], int]


class PocketEndpoint:
    """Label logprobs of the embedded model; implements `Endpoint`.

    Args:
        model: a loaded model; the one in the package if None.

    Raises:
        ProviderError: the weights in the package cannot be read.
    """

    def __init__(self, model: PocketModel | None = None) -> None:
        self._model = load_model(None) if model is None else model
        # Demonstrations and queries come back in every prompt; each is cut into tokens once.
        self._encode = lru_cache(maxsize=_MEMOISED_SEGMENTS)(self._model.encode)

    @property
    def identity(self) -> str:
        """`pocket/` and the model's name, which holds a hash of its weights."""
        return f"pocket/{self._model.name}"

    @property
    def capabilities(self) -> Capabilities:
        """Exact and deterministic. The window is what is left for text: the model's, less its BOS."""
        return Capabilities(self._model.context_window - _BOS_TOKENS, "exact", deterministic=True, batches=True)

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without the BOS that the model puts before every prompt."""
        return len(self._encode(text))

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Score the forms of all requests in one batch, in which equal beginnings are computed once.

        Usage counts a prompt's tokens with BOS, and no completion tokens: scoring generates nothing.

        Raises:
            ProviderError: a prompt with its label is longer than the context window, or a form's tokens would
                share a token with the prompt's last word.
        """
        sequences: list[tuple[_Tokens, ...]] = []
        rows: _Rows = {}
        prepared: list[tuple[int, dict[str, _Tokens]]] = []
        for index, request in enumerate(requests):
            pieces = _cuttable(request.prompt.segments if request.prompt else (request.body["prompt"],))
            segments = tuple(self._encode(piece) for piece in pieces)
            forms = self._form_tokens(pieces[-1], request.body["forms"])
            length = sum(map(len, segments))
            self._check_length(length + max(map(len, forms.values())))
            for tokens in forms.values():
                # A form's later tokens are asked for given its earlier ones, as one more segment.
                for earlier in (tokens[:at] for at in range(len(tokens))):
                    if (index, earlier) not in rows:
                        rows[index, earlier] = len(sequences)
                        sequences.append((*segments, earlier) if earlier else segments)
            prepared.append((length, forms))
        logprobs = self._model.next_token_logprobs(sequences)
        return [
            Response(
                {"logprobs": {form: _total(logprobs, rows, index, tokens) for form, tokens in forms.items()}},
                Usage(requests=1, prompt_tokens=_BOS_TOKENS + length),
            )
            for index, (length, forms) in enumerate(prepared)
        ]

    async def close(self) -> None:
        """Nothing is open."""

    def _form_tokens(self, end: str, forms: Sequence[str]) -> dict[str, _Tokens]:
        """Tokens of each form as they stand after the end of the prompt."""
        tokens = {form: self._encode(form) for form in forms}
        for form, own in tokens.items():
            if self._model.encode(end + form) != self._encode(end) + own:
                raise ProviderError(
                    f"{self.identity}: form {form!r} shares a token with the end of the prompt, {end[-20:]!r}, so its "
                    "tokens have no probability of their own; begin the form with a space or a newline"
                )
        return tokens

    def _check_length(self, length: int) -> None:
        window = self._model.context_window - _BOS_TOKENS
        if length > window:
            raise ProviderError(
                f"{self.identity}: a prompt with its label has {length} tokens, more than the {window} that "
                "fit the context window; put fewer demonstrations or shorter texts into the context"
            )


def load_model(directory: Path | None) -> PocketModel:
    """The embedded model from a directory, or from the package if None.

    Raises:
        ProviderError: a file is missing or is not what it should be.
    """
    try:
        return PocketModel.load(directory)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        where = "the package: install it again" if directory is None else f"{directory}: give a directory with its"
        files = "config.json, model.safetensors and tokenizer.json"
        raise ProviderError(f"cannot load the embedded model from {where} ({files}): {error!r}") from error


def _cuttable(segments: Sequence[str]) -> list[str]:
    """The same text in pieces whose tokens, joined, are the tokens of the whole.

    The tokenizer promises that for cuts after a newline, or before a space or newline; others are undone.
    """
    pieces: list[str] = []
    for segment in segments:
        if not pieces or pieces[-1].endswith("\n") or segment.startswith((" ", "\n")):
            pieces.append(segment)
        else:
            pieces[-1] += segment
    return pieces


def _total(logprobs: NDArray[np.float64], rows: _Rows, index: int, tokens: _Tokens) -> float:
    """log p of a form: the sum over its tokens, each given those before it."""
    total = sum(float(logprobs[rows[index, tokens[:at]], token]) for at, token in enumerate(tokens))
    return round(float(total), _DECIMALS)
