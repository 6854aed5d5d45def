"""Sums of token logprobs over many sequences, by a network of transformers that is loaded already.

It does: compute each distinct beginning once (KV cache), and take logarithms where something is read and nowhere else.
It does not: know text, labels or requests.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icm_api.model.endpoints.prefix_tree import Step, Tokens, plan, without_beginnings

# Logits in double at once, some 30 MB: a vocabulary has up to 260,000.
_LOGITS = 2**22


@dataclass(frozen=True, slots=True)
class Read:
    """One number to read: the logprob of `token` after the first `position` tokens, added to sum `slot`."""

    position: int
    token: int
    slot: int


class Scorer:
    """Sums of token logprobs over many sequences, each distinct beginning computed once.

    Args:
        network: of transformers, a causal language model.
        batch_size: the most sequences computed side by side.
    """

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

    async def score(
        self, wanted: Mapping[Tokens, Sequence[Read]], slots: int, begin: Callable[[int, int], None]
    ) -> list[float]:
        """The sums, by slot.

        Between two forward passes others have their turn.

        Args:
            wanted: per sequence of tokens what to read in it or right after it.
            slots: how many sums there are.
            begin: hears of each forward pass, from 1, and of how many there are.
        """
        sums = [0.0] * slots
        held = without_beginnings(wanted)
        sequences = list(held)
        reads = [[read for part in parts for read in wanted[part]] for parts in held.values()]
        # Made without the configuration, so that layers which look back a little way can be cut back too.
        cache = self._new_cache() if self._shares else None
        steps = list(plan(sequences, self._batch_size, share=self._shares))
        for number, step in enumerate(steps, start=1):
            await asyncio.sleep(0)
            begin(number, len(steps))
            if cache is not None and cache.get_seq_length() > step.start:
                cache.crop(step.start - cache.get_seq_length())
            past = cache if step.others else self._copies(cache, len(step.rows))
            found = _reads(reads, step)
            rows = [sequences[row][step.start :] for row in step.rows]
            values = self._forward(rows, [(at, read.position - step.start - 1, read.token) for at, read in found], past)
            for (_, read), value in zip(found, values, strict=True):
                sums[read.slot] += value
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

    def _forward(self, rows: Sequence[Tokens], places: Sequence[tuple[int, int, int]], cache: Any) -> list[float]:
        """Log probabilities at places: row, column, and the token that follows the one at the column.

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
        columns = sorted({column for _, column, _ in places}) or [width - 1]
        kept = torch.tensor(columns, device=device)
        with torch.inference_mode():
            logits = self._network(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                use_cache=cache is not None,
                **{self._cache_name: cache},
                **({"logits_to_keep": kept} if self._keeps else {}),
            ).logits
            logits = logits if self._keeps else logits[:, kept]
            where = {column: at for at, column in enumerate(columns)}
            return self._logprobs(logits, [(row, where[column], token) for row, column, token in places])

    def _logprobs(self, logits: Any, places: Sequence[tuple[int, int, int]]) -> list[float]:
        """The places' logarithms, by row, column and token, with a few columns at a time in double."""
        found: dict[tuple[int, int, int], float] = {}
        distinct = list(dict.fromkeys((row, column) for row, column, _ in places))
        size = max(1, _LOGITS // logits.shape[-1])
        for first in range(0, len(distinct), size):
            at = {place: index for index, place in enumerate(distinct[first : first + size])}
            rows, columns = zip(*at, strict=True)
            table = self._torch.log_softmax(logits[list(rows), list(columns)].cpu().double(), dim=-1)
            here = [place for place in places if place[:2] in at]
            picked = table[[at[place[:2]] for place in here], [token for _, _, token in here]]
            found.update(zip(here, picked.tolist(), strict=True))
        return [found[place] for place in places]


def _reads(reads: Sequence[Sequence[Read]], step: Step) -> list[tuple[int, Read]]:
    """What to read from a step's result, each with the row of the result it stands in."""
    own = [(at, read) for at, row in enumerate(step.rows) for read in reads[row] if read.position > step.start]
    others = [
        (0, read)
        for rows, end in step.others
        for row in rows
        for read in reads[row]
        if step.start < read.position <= end
    ]
    return own + others
