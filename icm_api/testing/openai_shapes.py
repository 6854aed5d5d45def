"""The three ways in which OpenAI's format and its kin write logprobs.

It does: turn positions into JSON.
It does not: choose between the shapes, or compute anything.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_api.testing.positions import Positions, Token


def show(token: Token, *, as_ids: bool) -> str:
    """A token as text, or as vLLM's "token_id:N", which no two tokens share."""
    return f"token_id:{token.id}" if as_ids else token.text


def legacy_shape(positions: Positions, *, as_ids: bool, offset: int) -> dict[str, Any]:
    """Parallel lists; the alternatives of a place are keyed by text and hold the chosen token too.

    Args:
        positions: the tokens; the first of a prompt has no logprob, and null in place of its alternatives.
        as_ids: show tokens by their ids.
        offset: characters of text before the first.
    """
    chosen = [position.chosen for position in positions]
    lengths = [len(token.text) for token in chosen]
    return {
        "tokens": [show(token, as_ids=as_ids) for token in chosen],
        "token_logprobs": [token.logprob for token in chosen],
        "top_logprobs": [
            None
            if position.chosen.logprob is None
            else {show(token, as_ids=as_ids): token.logprob for token in (position.chosen, *position.top)}
            for position in positions
        ],
        "text_offset": list(accumulate(lengths[:-1], initial=offset)) if positions else [],
    }


def content_shape(positions: Positions, *, as_ids: bool) -> list[dict[str, Any]]:
    """One object a token, with its alternatives as a list."""

    def entry(token: Token) -> dict[str, Any]:
        return {"token": show(token, as_ids=as_ids), "logprob": token.logprob, "bytes": list(token.raw)}

    return [entry(position.chosen) | {"top_logprobs": list(map(entry, position.top))} for position in positions]


def prompt_shape(positions: Positions, rows: NDArray[np.float64]) -> list[dict[str, Any] | None]:
    """vLLM's prompt logprobs: null, then per token alternatives keyed by id, the token itself first.

    Args:
        positions: all tokens of a prompt.
        rows: log probabilities at their places, [len(positions), vocab_size], from which ranks are counted.
    """

    def entry(token: Token, row: NDArray[np.float64]) -> dict[str, Any]:
        rank = 1 + int((row > row[token.id]).sum())
        return {"logprob": token.logprob, "rank": rank, "decoded_token": token.text}

    return [
        None
        if position.chosen.logprob is None
        else {str(token.id): entry(token, row) for token in (position.chosen, *position.top)}
        for position, row in zip(positions, rows, strict=True)
    ]
