"""Text written by a network of transformers that is loaded already, each reply by a seed of its own.

It does: draw tokens by the model's probabilities at a temperature, with prompts of equal length side by side.
It does not: know requests or caches, cut prompts, or follow the model's own settings for sampling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icm_api.model.endpoints.prefix_tree import Tokens


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reply to write.

    Attributes:
        tokens: what it follows.
        most: the most tokens of it.
        temperature: 0 for the likeliest tokens.
        seed: what is drawn is a function of it and of the above.
    """

    tokens: Tokens
    most: int
    temperature: float
    seed: int


class Writer:
    """Writes replies.

    Args:
        network: of transformers, a causal language model.
        batch_size: the most replies written side by side.
    """

    def __init__(self, network: Any, batch_size: int) -> None:
        import torch
        from transformers import GenerationConfig

        self._torch, self._config = torch, GenerationConfig
        self._network, self._batch_size = network, batch_size
        ends = network.generation_config.eos_token_id
        self._ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])

    async def write(self, wanted: Sequence[Wanted]) -> list[list[int]]:
        """The tokens of each reply, with the one that ends it if it ends before the most.

        Between two batches others have their turn.

        Args:
            wanted: the replies.
        """
        # Equal lengths together: then nothing is padded, and a reply does not depend on its company.
        alike: dict[tuple[int, int, float], list[int]] = {}
        for at, each in enumerate(wanted):
            alike.setdefault((len(each.tokens), each.most, each.temperature), []).append(at)
        found: dict[int, list[int]] = {}
        for places in alike.values():
            for first in range(0, len(places), self._batch_size):
                await asyncio.sleep(0)
                some = places[first : first + self._batch_size]
                found.update(zip(some, self._batch([wanted[at] for at in some]), strict=True))
        return [found[at] for at in range(len(wanted))]

    def _batch(self, wanted: Sequence[Wanted]) -> list[list[int]]:
        torch, one = self._torch, wanted[0]
        ids = torch.tensor([each.tokens for each in wanted], device=self._network.device)
        # Said in full, since what is left out is filled in from the model's own settings.
        plain = {"temperature": 1.0, "top_k": 50, "top_p": 1.0, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
        config = self._config(
            max_new_tokens=one.most,
            min_new_tokens=0,
            do_sample=False,
            num_beams=1,
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=min(self._ends, default=0),
            **plain,
        )
        noise = _Noise(torch, [each.seed for each in wanted], one.temperature)
        with torch.inference_mode():
            rows = self._network.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                logits_processor=[noise] if one.temperature else [],
            )
        return [self._ended(row[len(one.tokens) :].tolist()) for row in rows]

    def _ended(self, tokens: list[int]) -> list[int]:
        end = next((at + 1 for at, token in enumerate(tokens) if token in self._ends), len(tokens))
        return tokens[:end]


class _Noise:
    """Gumbel noise on the logits: the likeliest token is then drawn by the probabilities.

    Unlike drawing from all rows at once, a row has a stream of random numbers of its own.
    """

    def __init__(self, torch: Any, seeds: Sequence[int], temperature: float) -> None:
        self._torch, self._temperature = torch, temperature
        self._streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """The logits at the temperature, with noise."""
        noise = self._torch.stack(
            [self._torch.empty(scores.shape[-1]).exponential_(generator=stream) for stream in self._streams]
        )
        return scores / self._temperature - noise.log().to(scores.device)
