"""Tinker's own API: the logprobs of chosen token ids at chosen places of a prompt (`target_prompt_logprobs`).

It does: send, through the optional package `tinker`, and name what went wrong. Not verified against the paid service.
It does not: retry (one layer does, above), or choose ids and places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import isfinite
from typing import Any, TypeAlias

from icm_api.errors import RequestError
from icm_api.model.endpoints.http import kind_of
from icm_api.model.request import Request, Response, bytes_in_tokens
from icm_api.types import Capabilities, Usage

METHOD = "exact_ids"

Targets: TypeAlias = Sequence[tuple[int, Sequence[int]]]
"""Places of a prompt, the second token's being 1, with the ids whose logprobs are wanted there."""

Scores: TypeAlias = Callable[[Sequence[int], Targets], Awaitable[Sequence[Sequence[float]]]]
"""The logprobs of the targets of a prompt's token ids, in their order."""

TokensOf: TypeAlias = Callable[[str, bool], tuple[list[int], list[int]]]
"""The ids of a text and the character at which each begins, -1 for none; True: with what a model wants before it."""


class AnsweredError(RuntimeError):
    """What the package says of a request that failed.

    Args:
        said: by the package.
        status_code: of HTTP, if there was an answer.
    """

    def __init__(self, said: str, status_code: int | None) -> None:
        super().__init__(said)
        self.status_code = status_code


class TinkerEndpoint:
    """One base model at Tinker, read at any place of a prompt; implements `Endpoint`.

    Args:
        model: its name there.
        scores: asks for logprobs.
        context_window: tokens of the longest prompt.
    """

    def __init__(self, model: str, scores: Scores, context_window: int = 32_768) -> None:
        self._model, self._scores, self._window = model, scores, context_window

    @property
    def identity(self) -> str:
        """`tinker-native/` and the model's name."""
        return f"tinker-native/{self._model}"

    @property
    def capabilities(self) -> Capabilities:
        """Exact logprobs of given ids, after a prompt and inside it."""
        return Capabilities(self._window, METHOD, deterministic=False, prompt_logprobs=True)

    def count_tokens(self, text: str) -> int:
        """An estimate from the text's length, rather too large."""
        return bytes_in_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask one after the other.

        Raises:
            RequestError: a request failed: which kind of failure.
        """
        return [await self._send(request) for request in requests]

    async def close(self) -> None:
        """Nothing is held open."""

    async def _send(self, request: Request) -> Response:
        tokens, targets = request.body["tokens"], request.body["targets"]
        try:
            found = await self._scores(tokens, [(at, ids) for at, ids in targets])
        except (ConnectionError, TimeoutError) as error:
            raise RequestError(f"{self.identity}: {type(error).__name__}: {error}", kind="connection") from error
        except RuntimeError as error:
            status = getattr(error, "status_code", None)
            kind = kind_of(status, text=str(error)) if isinstance(status, int) else "server"
            raise RequestError(f"{self.identity}: {error}", kind=kind, status=status) from error
        # NaN is what it has for what was not scored, and no JSON.
        logprobs = [[value if isfinite(value) else None for value in row] for row in found]
        # One token is generated, since none can't be asked for.
        return Response({"logprobs": logprobs}, Usage(1, len(tokens), 1))


def open_tinker(model: str) -> tuple[Scores, TokensOf]:
    """What asks Tinker, and the model's tokenizer, through the package `tinker`.

    Its key is TINKER_API_KEY, which the package reads itself.

    Args:
        model: of the base models that Tinker serves, or weights by their "tinker://" path.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    import numpy as np
    import tinker

    named = {"model_path": model} if model.startswith("tinker://") else {"base_model": model}
    client = tinker.ServiceClient().create_sampling_client(**named)
    tokenizer = client.get_tokenizer()

    async def scores(tokens: Sequence[int], targets: Targets) -> Sequence[Sequence[float]]:
        wanted = np.full((len(tokens) - 1, max(len(ids) for _, ids in targets)), -1, dtype=np.int64)
        for at, ids in targets:
            wanted[at - 1, : len(ids)] = ids
        try:
            answer = await client.sample_async(
                prompt=tinker.ModelInput.from_ints(list(tokens)),
                num_samples=1,
                sampling_params=tinker.SamplingParams(max_tokens=1),
                target_prompt_logprobs=tinker.TensorData.from_numpy(wanted),
            )
        except tinker.TinkerError as error:
            status = getattr(error, "status_code", None)
            raise AnsweredError(f"{type(error).__name__}: {error}", status) from error
        found = await asyncio.to_thread(lambda: np.asarray(answer.target_prompt_logprobs.to_numpy(), dtype=float))
        return [found[at - 1, : len(ids)].tolist() for at, ids in targets]

    def tokens_of(text: str, special: bool) -> tuple[list[int], list[int]]:
        made: Any = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        starts = [begin if end > begin else -1 for begin, end in made["offset_mapping"]]
        return list(made["input_ids"]), starts

    return scores, tokens_of
