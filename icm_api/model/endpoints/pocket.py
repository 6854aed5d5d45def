"""The embedded model as a provider: exact label logprobs, and text, with numpy alone, no network and no key.

It does: turn a prompt into segments of tokens, ask the model once for a whole batch, and sum the logprobs of
the tokens of each surface form; draw the tokens of a text one after the other.
It does not: hold the model's arithmetic (that is `icm_api.pocket`), cache answers, truncate, or retry.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from safetensors import SafetensorError

from icm_api.errors import ProviderError
from icm_api.model.endpoints.local_questions import Asked, is_writing, seed_of
from icm_api.model.request import Request, Response
from icm_api.pocket.model import PocketModel
from icm_api.pocket.trie import Floats
from icm_api.types import Capabilities, Usage

_BOS_TOKENS = 1

# The model computes in float64, and its numbers move by less than 1e-9 with the rest of the batch and with
# the number of BLAS threads. Six decimals hide that, so equal requests give equal bytes, and lose nothing.
_DECIMALS = 6

_MEMOISED_SEGMENTS = 65_536

_Tokens = tuple[int, ...]
_Segments = tuple[_Tokens, ...]
_Rows = dict[tuple[int, int, _Tokens], int]


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
        return Capabilities(
            self._model.context_window - _BOS_TOKENS,
            "exact",
            deterministic=True,
            batches=True,
            prompt_logprobs=True,
            generates=True,
        )

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without the BOS that the model puts before every prompt."""
        return len(self._encode(text))

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Score the forms of all requests in one batch, in which equal beginnings are computed once; write for others.

        Usage counts a prompt's tokens with BOS, and the tokens that were written: scoring generates nothing.

        Raises:
            ProviderError: a prompt with its label or text is longer than the context window, or a form's tokens would
                share a token with the prompt's last word.
        """
        scored = iter(self._score([request for request in requests if not is_writing(request.body)]))
        written = iter(self._write([request for request in requests if is_writing(request.body)]))
        return [next(written if is_writing(request.body) else scored) for request in requests]

    def _write(self, requests: Sequence[Request]) -> list[Response]:
        """Texts, a token of each in turn. A text ends before white space: the model was taught no other end of one."""
        prompts = [tuple(self._encode(request.body["prompt"])) for request in requests]
        for prompt, request in zip(prompts, requests, strict=True):
            self._check_length(len(prompt) + request.body["max_tokens"])
        draws = [Random(seed_of(request)) for request in requests]
        made: list[_Tokens] = [()] * len(requests)
        going = [at for at, request in enumerate(requests) if request.body["max_tokens"]]
        while going:
            rows = self._model.next_token_logprobs([(prompts[at], *((token,) for token in made[at])) for at in going])
            still = []
            for at, row in zip(going, rows.round(_DECIMALS), strict=True):
                token = _drawn(row, requests[at].body["temperature"], draws[at])
                if made[at] and self._model.decode_bytes(token)[:1].isspace():
                    continue
                made[at] = (*made[at], token)
                if len(made[at]) < requests[at].body["max_tokens"]:
                    still.append(at)
            going = still
        return [
            Response(
                {"text": b"".join(map(self._model.decode_bytes, tokens)).decode("utf-8", "replace")},
                Usage(1, _BOS_TOKENS + len(prompt), len(tokens)),
            )
            for prompt, tokens in zip(prompts, made, strict=True)
        ]

    def _score(self, requests: Sequence[Request]) -> list[Response]:
        sequences: list[_Segments] = []
        rows: _Rows = {}
        asked = [Asked.of(request.body) for request in requests]
        placed = [self._places(*both) for both in zip(requests, asked, strict=True)]
        for index, places in enumerate(placed):
            for place, (segments, forms) in enumerate(places):
                for tokens in forms.values():
                    # A form's later tokens are asked for given its earlier ones, each of which is one more segment.
                    for earlier in (tokens[:at] for at in range(len(tokens))):
                        if (index, place, earlier) not in rows:
                            rows[index, place, earlier] = len(sequences)
                            sequences.append((*segments, *((token,) for token in earlier)))
        logprobs = self._model.next_token_logprobs(sequences)

        def total(index: int, place: int, tokens: _Tokens) -> float:
            """log p of a form: the sum over its tokens, each given those before it."""
            parts = [float(logprobs[rows[index, place, tokens[:at]], token]) for at, token in enumerate(tokens)]
            return round(sum(parts), _DECIMALS)

        return [
            Response(
                each.answer(
                    [
                        {form: total(index, place, tokens) for form, tokens in forms.items()}
                        for place, (_, forms) in enumerate(placed[index])
                    ]
                ),
                Usage(requests=1, prompt_tokens=_BOS_TOKENS + sum(map(len, placed[index][-1][0]))),
            )
            for index, each in enumerate(asked)
        ]

    async def close(self) -> None:
        """Nothing is open."""

    def _places(self, request: Request, asked: Asked) -> list[tuple[_Segments, dict[str, _Tokens]]]:
        """Per place the segments before it, which requests may share, and the tokens of each form there."""
        found, before = list[tuple[_Segments, dict[str, _Tokens]]](), list[_Tokens]()
        for at, piece in enumerate(asked.pieces):
            cuts: Sequence[str] = (piece,)
            if request.prompt is not None and at == 0:
                cuts = request.prompt.segments
                if asked.inside:
                    # What stands before the first answer, cut after the instruction.
                    cuts = (cuts[0], piece.removeprefix(cuts[0])) if request.prompt.instruction else (piece,)
            pieces = _cuttable(cuts)
            before += map(self._encode, pieces)
            forms = {form: self._encode(form) for form in asked.forms}
            # What is written in the text is no part of the tokens before it, as little as a form may be.
            for form in (*forms, *asked.pieces[at + 1 : at + 2]):
                self._check_apart(pieces[-1], form)
            self._check_length(sum(map(len, before)) + max(map(len, forms.values())))
            found.append((tuple(before), forms))
        return found

    def _check_apart(self, end: str, form: str) -> None:
        """Refuse a form that would share a token with the end of the text before it."""
        if not form:
            return
        # The tokenizer promises that nothing reaches across these cuts.
        last = end[max(end.rfind("\n") + 1, end.rfind(" "), 0) :]
        first = form[: min(at for at in (form.find(" ", 1), form.find("\n", 1), len(form)) if at > 0)]
        if self._encode(last + first) != self._encode(last) + self._encode(first):
            raise ProviderError(
                f"{self.identity}: form {first!r} shares a token with the end of the prompt, {end[-20:]!r}, so its "
                "tokens have no probability of their own; begin the form with a space or a newline"
            )

    def _check_length(self, length: int) -> None:
        window = self._model.context_window - _BOS_TOKENS
        if length > window:
            raise ProviderError(
                f"{self.identity}: a prompt with its label has {length} tokens, more than the {window} that "
                "fit the context window; put fewer demonstrations or shorter texts into the context"
            )


def _drawn(row: Floats, temperature: float, draws: Random) -> int:
    """A token by its log probability [vocabulary] at a temperature; the likeliest at 0."""
    if temperature <= 0:
        return int(row.argmax())
    weights = np.exp((row - row.max()) / temperature).cumsum()
    return min(int(np.searchsorted(weights, draws.random() * weights[-1], "right")), len(row) - 1)


def load_model(directory: Path | None) -> PocketModel:
    """The embedded model from a directory, or from the package if None.

    Raises:
        ProviderError: a file is missing or is not what it should be.
    """
    try:
        return PocketModel.load(directory)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        where = "the package" if directory is None else str(directory)
        files = "config.json, model.safetensors and tokenizer.json"
        todo = (
            "install it again" if directory is None else f"give a directory with {files}, as `icm-api train` makes it"
        )
        why = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else repr(error)
        raise ProviderError(f"cannot load the embedded model from {where} ({why}): {todo}") from error


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
