"""Any causal language model that transformers can load, on this machine: exact logprobs of whole labels.

It does: tokenize prompt and label together, compute beginnings that prompts share once (KV cache), and read
the logprobs of every label token.
It does not: use chat templates, generate, truncate, run code from a model repository, cache answers, or set
the number of threads. The weights are loaded when something is first asked: tokens can be counted without them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from icm_api.errors import ProviderError
from icm_api.model.endpoints.local_weights import fingerprint, load_network, load_tokenizer, tokens_before, window_of
from icm_api.model.endpoints.prefix_tree import Step, Tokens, common, plan
from icm_api.model.options import LocalOptions
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities, Usage

# float32 logits differ by some 1e-6 with the shapes of a batch. Four decimals hide that except for numbers
# that near a rounding edge, about one in a hundred; every further decimal would show it ten times as often.
_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class _Read:
    """One number to read: the logprob of `token` after the first `position` tokens, added to sum `slot`."""

    position: int
    token: int
    slot: int


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
        self._before = tokens_before(self._tokenizer)
        self._window = window_of(model, config, self._tokenizer)

    @cached_property
    def _network(self) -> Any:
        return load_network(self._model, self._options)

    @cached_property
    def _scorer(self) -> _Scorer:
        return _Scorer(self._network, self._options.batch_size)

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
        return Capabilities(self._window - len(self._before), "exact", deterministic, batches=True)

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without special ones."""
        return len(self._encode([text])[0])

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Score the forms of all requests; beginnings that any of them share are computed once.

        Usage counts a prompt's tokens with BOS, and no completion tokens: scoring generates nothing. Between two
        forward passes others have their turn, so that Ctrl-C need not wait for a whole round.

        Raises:
            ProviderError: a prompt with its label is longer than the context window, or in the model's tokens
                one form begins another.
        """
        bodies = [request.body for request in requests]
        texts = [body["prompt"] + form for body in bodies for form in ("", *body["forms"])]
        encoded = iter(self._encode(texts))
        wanted: dict[Tokens, list[_Read]] = {}
        lengths, slots = [], 0
        for body in bodies:
            plain = next(encoded)
            whole = [next(encoded) for _ in body["forms"]]
            start = len(self._before) + min(common(plain, ids) for ids in whole)
            sequences = [(*self._before, *ids) for ids in whole]
            self._check(body["forms"], sequences, start)
            for slot, sequence in enumerate(sequences, slots):
                reads = [_Read(at, sequence[at], slot) for at in range(start, len(sequence))]
                wanted.setdefault(sequence[:-1], []).extend(reads)
            slots += len(sequences)
            lengths.append(len(self._before) + len(plain))
        totals = iter(await self._scorer.score(wanted, slots))
        return [
            Response(
                {"logprobs": {form: round(next(totals), _DECIMALS) for form in body["forms"]}},
                Usage(requests=1, prompt_tokens=length),
            )
            for body, length in zip(bodies, lengths, strict=True)
        ]

    async def close(self) -> None:
        """Nothing is open."""

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


class _Scorer:
    """Sums of token logprobs over many sequences, each distinct beginning computed once."""

    def __init__(self, network: Any, batch_size: int) -> None:
        import torch
        from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

        self._torch, self._new_cache = torch, DynamicCache
        self._network, self._batch_size = network, batch_size
        taken = inspect.signature(network.forward).parameters
        self._keeps = "logits_to_keep" in taken
        # The name it has from transformers 5.24 on, or the one before.
        self._cache_name = "cache" if "cache" in taken else "past_key_values"
        # Plain keys and values can be cut back to a shared beginning; recurrent states and the like cannot.
        layers = DynamicCache(config=network.config).layers
        plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)
        self._shares = plain and not network._is_stateful

    async def score(self, wanted: Mapping[Tokens, Sequence[_Read]], slots: int) -> list[float]:
        """The sums, by slot."""
        sums = [0.0] * slots
        sequences = sorted(wanted)
        # Made without the configuration, so that layers which look back a little way can be cut back too.
        cache = self._new_cache() if self._shares else None
        for step in plan(sequences, self._batch_size, share=self._shares):
            await asyncio.sleep(0)
            rows = step.rows if step.end is None else step.rows[:1]
            tokens = [sequences[row][step.start : step.end] for row in rows]
            reads = _reads(wanted, sequences, step)
            columns = sorted({read.position for _, read in reads})
            if cache is not None and cache.get_seq_length() > step.start:
                cache.crop(step.start - cache.get_seq_length())
            past = cache if step.end is not None else self._copies(cache, len(rows))
            table = self._forward(tokens, [column - step.start - 1 for column in columns], past)
            where = {column: at for at, column in enumerate(columns)}
            for row, read in reads:
                sums[read.slot] += float(table[row, where[read.position], read.token])
        return sums

    def _copies(self, cache: Any, count: int) -> Any:
        """The cache for `count` rows at once, as views that the next forward pass copies."""
        if cache is None:
            return None
        copies = self._new_cache()
        for index, layer in enumerate(cache.layers):
            if layer.get_seq_length():
                copies.update(layer.keys, layer.values, index)
                copy = copies.layers[index]
                copy.keys, copy.values = (x.expand(count, -1, -1, -1) for x in (copy.keys, copy.values))
        return copies

    def _forward(self, rows: Sequence[Tokens], columns: list[int], cache: Any) -> Any:
        """Log probabilities after the tokens at `columns`, as a tensor [rows, columns, vocabulary].

        Rows are padded on the right. That is exact: attention is causal, so no token sees the padding after
        it, and positions count from the left, as every model does by itself.
        """
        torch, device = self._torch, self._network.device
        past, width = (0 if cache is None else cache.get_seq_length()), max(map(len, rows))
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.ones((len(rows), past + width), dtype=torch.long)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row)
            mask[at, past + len(row) :] = 0
        # Where nothing is to be read, one column all the same: none would be an odd thing to ask of a model.
        kept = torch.tensor(columns or [width - 1], device=device)
        with torch.inference_mode():
            logits = self._network(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                use_cache=cache is not None,
                **{self._cache_name: cache},
                **({"logits_to_keep": kept} if self._keeps else {}),
            ).logits
            logits = logits if self._keeps else logits[:, kept]
            return torch.log_softmax(logits.cpu().double(), dim=-1)


def _reads(
    wanted: Mapping[Tokens, Sequence[_Read]], sequences: Sequence[Tokens], step: Step
) -> list[tuple[int, _Read]]:
    """What to read from a step's result, each with the row of the result it stands in."""
    return [
        (at if step.end is None else 0, read)
        for at, row in enumerate(step.rows)
        for read in wanted[sequences[row]]
        if step.start < read.position and (step.end is None or read.position <= step.end)
    ]
