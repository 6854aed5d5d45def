"""Any causal language model that transformers can load, on this machine: exact logprobs of whole labels.

It does: tokenize prompt and label together, compute beginnings that prompts share once (KV cache), and read
the logprobs of every label token.
It does not: use chat templates, generate, truncate, run code from a model repository, cache answers, or set
the number of threads. torch and transformers are imported when a provider is made, and only here.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from icm_api.errors import ConfigError, ProviderError
from icm_api.model.endpoints.prefix_tree import Step, Tokens, common, plan
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities, Usage

# float32 logits differ by some 1e-6 with the shapes of a batch. Four decimals hide that except for numbers
# that near a rounding edge, about one in a hundred; every further decimal would show it ten times as often.
_DECIMALS = 4

_DTYPES = ("float32", "bfloat16", "float16", "float64")
_SAMPLED_NUMBERS = 1024


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
        device: as torch names it, e.g. "cpu", "cuda", "mps".
        dtype: "float32", "bfloat16", "float16" or "float64".
        batch_size: the most prompts computed side by side; it bounds memory.
        revision: branch, tag or commit on the hub.

    Raises:
        ConfigError: an argument is unusable.
        ProviderError: torch or transformers is missing, or the model cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = 8,
        revision: str | None = None,
    ) -> None:
        if dtype not in _DTYPES:
            raise ConfigError(f"dtype {dtype!r} is none of {', '.join(_DTYPES)}")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        self._tokenizer, network = _load(model, device, dtype, revision)
        self._scorer = _Scorer(network, batch_size)
        self._before = _tokens_before(self._tokenizer)
        self._window = _window(model, network.config, self._tokenizer)
        self._deterministic = dtype == "float64"
        name = Path(model).resolve().name if Path(model).is_dir() else model
        self._identity = f"huggingface/{name}@{_fingerprint(network, self._tokenizer)}"

    @property
    def identity(self) -> str:
        """`huggingface/`, the model's name, and a fingerprint of its weights, configuration and tokenizer."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """Exact. The window is what is left for text: the model's, less its BOS.

        Deterministic in float64 only. In narrower types the last decimal can depend on what else was asked in
        the same batch.
        """
        return Capabilities(self._window - len(self._before), "exact", self._deterministic, batches=True)

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without special ones."""
        return len(self._encode([text])[0])

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Score the forms of all requests; beginnings that any of them share are computed once.

        Usage counts a prompt's tokens with BOS, and no completion tokens: scoring generates nothing.

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
        totals = iter(self._scorer.score(wanted, slots))
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

    def score(self, wanted: Mapping[Tokens, Sequence[_Read]], slots: int) -> list[float]:
        """The sums, by slot."""
        sums = [0.0] * slots
        sequences = sorted(wanted)
        # Made without the configuration, so that layers which look back a little way can be cut back too.
        cache = self._new_cache() if self._shares else None
        for step in plan(sequences, self._batch_size, share=self._shares):
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


def _load(model: str, device: str, dtype: str, revision: str | None) -> tuple[Any, Any]:
    """Tokenizer and network, ready to be asked."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ProviderError(
            f"a local model needs torch and transformers ({error}); run: pip install 'icm-api[local]'"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
        network = AutoModelForCausalLM.from_pretrained(
            model, revision=revision, dtype=getattr(torch, dtype), use_safetensors=True
        )
        return tokenizer, network.to(device).eval()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ProviderError(
            f"cannot load {model!r} on {device!r} as a causal language model: {error} (give a directory with "
            "config.json, tokenizer files and *.safetensors, or a name on a hub that can be reached)"
        ) from error


def _tokens_before(tokenizer: Any) -> Tokens:
    """The special tokens that the tokenizer puts before a text by default."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    return tuple(whole[: next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)])


def _window(model: str, config: Any, tokenizer: Any) -> int:
    """The context window in tokens, special ones included."""
    window = getattr(config.get_text_config(), "max_position_embeddings", None)
    # A tokenizer without a limit says 1e30.
    window = window or (tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None)
    if window is None:
        raise ProviderError(
            f"{model!r}: neither config.json (max_position_embeddings) nor tokenizer_config.json "
            "(model_max_length) says how long a context may be; add one of them"
        )
    return int(window)


def _fingerprint(network: Any, tokenizer: Any) -> str:
    """A hash that another model of the same name and shape does not share.

    It covers the configuration, the tokenizer, and of every tensor its name, shape and numbers spread evenly
    over it. Training moves nearly all numbers, so a sample tells at once what hashing gigabytes would.
    """
    import torch

    config = network.config.to_dict()
    for elsewhere in ("_name_or_path", "_commit_hash", "transformers_version"):
        config.pop(elsewhere, None)
    digest = sha256(json.dumps(config, sort_keys=True, default=str).encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = json.dumps(tokenizer.get_vocab(), sort_keys=True) if backend is None else backend.to_str()
    digest.update(vocabulary.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, len(flat) // _SAMPLED_NUMBERS)].cpu().contiguous()
        digest.update(sample.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
