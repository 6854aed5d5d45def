"""Any causal language model that transformers can load, on this machine: exact logprobs of whole labels.

It does: tokenize prompt and label together, compute beginnings that prompts share once (KV cache), and read
the logprobs of every label token; and write text, by the chat template if an option says so.
It does not: use chat templates for labels, truncate, run code from a model repository, cache answers, or set
the number of threads. The weights are loaded when something is first asked: tokens can be counted without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from icm_api.errors import ConfigError, ProviderError
from icm_api.model.endpoints.local_questions import Asked, is_writing, seed_of
from icm_api.model.endpoints.local_scoring import Read, Scorer
from icm_api.model.endpoints.local_weights import (
    check_writes,
    fingerprint,
    load_network,
    load_tokenizer,
    tokens_before,
    window_of,
)
from icm_api.model.endpoints.local_writing import Wanted, Writer
from icm_api.model.endpoints.prefix_tree import Tokens, common
from icm_api.model.options import LocalOptions
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities, Usage

# float32 logits differ by some 1e-6 with the shapes of a batch. Four decimals hide that except for numbers
# that near a rounding edge, about one in a hundred; every further decimal would show it ten times as often.
_DECIMALS = 4


class HuggingFaceEndpoint:
    """Label logprobs of a local model through transformers; implements `Endpoint`.

    A label's tokens are those that follow the prompt's when both are tokenized together, as one text. Where
    that changes the prompt's last tokens, all labels are scored from the first changed token on, so they stay
    comparable; `coverage` then also holds the probability of the end of the prompt, cut the other way.

    Special tokens before a text (BOS) are added if the tokenizer does so by default, those after it never.

    Args:
        model: a directory, or a name on the Hugging Face hub.
        options: device, type of number and the like.

    Raises:
        ConfigError: an option is unusable.
        ProviderError: torch or transformers is missing, or the tokenizer or the configuration cannot be loaded.
    """

    def __init__(self, model: str, options: LocalOptions | None = None) -> None:
        self._model, self._options = model, options or LocalOptions()
        self._tokenizer, config = load_tokenizer(model, self._options)
        check_writes(model, config)
        if self._options.chat_template and not getattr(self._tokenizer, "chat_template", None):
            raise ConfigError(f"{model!r} has no chat template: leave the option chat_template out")
        self._before = tokens_before(self._tokenizer)
        self._window = window_of(model, config, self._tokenizer)
        self._under_way: tuple[int, int] | None = None

    @cached_property
    def _network(self) -> Any:
        return load_network(self._model, self._options)

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self._network, self._options.batch_size)

    @cached_property
    def _writer(self) -> Writer:
        return Writer(self._network, self._options.batch_size)

    @property
    def chat(self) -> bool:
        """Whether replies are written by the tokenizer's chat template."""
        return self._options.chat_template

    @cached_property
    def identity(self) -> str:
        """`huggingface/`, the model's name, and a fingerprint of its weights, configuration and tokenizer.

        Raises:
            ProviderError: the weights cannot be loaded.
        """
        name = Path(self._model).resolve().name if Path(self._model).is_dir() else self._model
        return f"huggingface/{name}@{fingerprint(self._network, self._tokenizer)}"

    @property
    def capabilities(self) -> Capabilities:
        """Exact. The window is what is left for text: the model's, less its BOS.

        Deterministic in float64 only. In narrower types the last decimal can depend on what else was asked in
        the same batch.
        """
        deterministic = self._options.dtype == "float64"
        return Capabilities(
            self._window - len(self._before),
            "exact",
            deterministic,
            batches=True,
            prompt_logprobs=True,
            generates=True,
        )

    @property
    def under_way(self) -> tuple[int, int] | None:
        """Which forward pass is being computed, from 1, and of how many; None if none is."""
        return self._under_way

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without special ones."""
        return len(self._encode([text])[0])

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Score the forms of all requests, and write the text that others ask for.

        Beginnings that prompts to be scored share are computed once. Usage counts a prompt's tokens with BOS, and the
        tokens that were written: scoring generates nothing. Between two forward passes others have their turn, so that
        Ctrl-C need not wait for a whole round.

        Raises:
            ProviderError: a prompt with its label or reply is longer than the context window, or in the model's tokens
                one form begins another.
        """
        scored = iter(await self._score([request for request in requests if not is_writing(request.body)]))
        written = iter(await self._write([request for request in requests if is_writing(request.body)]))
        return [next(written if is_writing(request.body) else scored) for request in requests]

    async def _write(self, requests: Sequence[Request]) -> list[Response]:
        wanted = []
        for request in requests:
            body = request.body
            text = body["prompt"]
            tokens = (*self._before, *self._encode([text])[0])
            if body.get("chat"):
                turns = [{"role": "user", "content": text}]
                shown = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
                # The template writes special tokens itself.
                tokens = tuple(self._encode([shown])[0])
            if not tokens or len(tokens) + body["max_tokens"] > self._window:
                raise ProviderError(
                    f"{self.identity}: a prompt of {len(tokens)} tokens and a reply of up to {body['max_tokens']} "
                    f"don't fit the context window of {self._window}, or the prompt is empty; change either"
                )
            wanted.append(Wanted(tokens, body["max_tokens"], body["temperature"], seed_of(request)))
        replies = await self._writer.write(wanted) if wanted else []
        return [
            Response(
                {"text": self._tokenizer.decode(reply, skip_special_tokens=True)},
                Usage(requests=1, prompt_tokens=len(each.tokens), completion_tokens=len(reply)),
            )
            for each, reply in zip(wanted, replies, strict=True)
        ]

    async def _score(self, requests: Sequence[Request]) -> list[Response]:
        if not requests:
            return []
        asked = [Asked.of(request.body) for request in requests]
        texts = [text + form for each in asked for text in each.texts for form in ("", *each.forms)]
        encoded = iter(self._encode(texts))
        wanted: dict[Tokens, list[Read]] = {}
        lengths, slots = [], 0
        for each in asked:
            length = 0
            for _ in each.texts:
                plain = next(encoded)
                whole = [next(encoded) for _ in each.forms]
                start = len(self._before) + min(common(plain, ids) for ids in whole)
                sequences = [(*self._before, *ids) for ids in whole]
                self._check(each.forms, sequences, start)
                for slot, sequence in enumerate(sequences, slots):
                    reads = [Read(at, sequence[at], slot) for at in range(start, len(sequence))]
                    wanted.setdefault(sequence[:-1], []).extend(reads)
                slots += len(sequences)
                length = len(self._before) + len(plain)
            lengths.append(length)
        try:
            totals = iter(await self._scorer.score(wanted, slots, self._begin))
        finally:
            self._under_way = None
        return [
            Response(
                each.answer([{form: round(next(totals), _DECIMALS) for form in each.forms} for _ in each.texts]),
                Usage(requests=1, prompt_tokens=length),
            )
            for each, length in zip(asked, lengths, strict=True)
        ]

    async def close(self) -> None:
        """Nothing is open."""

    def _begin(self, batch: int, of: int) -> None:
        self._under_way = (batch, of)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _check(self, forms: Sequence[str], sequences: Sequence[Tokens], start: int) -> None:
        """Refuse what could only be scored wrongly."""
        longest = max(map(len, sequences))
        if longest > self._window:
            raise ProviderError(
                f"{self.identity}: a prompt with its label has {longest} tokens, more than the context "
                f"window of {self._window}; put fewer demonstrations or shorter texts into the context"
            )
        if start == 0:
            raise ProviderError(
                f"{self.identity}: no token stands before the label, and the model has no BOS; give a prompt"
            )
        for form, one in zip(forms, sequences, strict=True):
            for longer, other in zip(forms, sequences, strict=True):
                if form != longer and other[: len(one)] == one:
                    raise ProviderError(
                        f"{self.identity}: in this model's tokens form {form!r} begins form {longer!r} or "
                        "equals it, so one probability would contain the other; drop or change one of them"
                    )
