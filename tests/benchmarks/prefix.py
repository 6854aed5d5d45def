"""New tokens that a prefix cache meets in one leave-one-out scoring: file order against divide and conquer.

Prompts are those that the library builds for claims of the pocket world, counted on a trie of the embedded
model's tokens; file order is the same builder with the other examples in the order of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from icm_api.objective.leave_one_out import context_prompts
from icm_api.pocket.model import PocketModel
from icm_api.pocket.world import make_claims
from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, Example, Labeling, Prompt, PromptTemplate, Verbalizer

SIZE = 256


def new_tokens(prompts: Sequence[Prompt], encode: Callable[[str], tuple[int, ...]]) -> int:
    """Nodes of the trie over the prompts' tokens: what a perfect prefix cache has to compute."""
    root: dict[int, dict] = {}  # type: ignore[type-arg]
    nodes = 0
    for prompt in prompts:
        node = root
        for token in encode(prompt.text):
            if token not in node:
                node[token] = {}
                nodes += 1
            node = node[token]
    return nodes


def both_orders(size: int) -> tuple[int, int]:
    """New tokens in file order and in the order that the library uses, at `size` examples."""
    model = PocketModel.load()
    claims = make_claims("comparisons", size, seed=0)
    dataset = Dataset(Example(claim.id, {"text": claim.text}, claim.group) for claim in claims)
    labeling = Labeling({claim.id: str(claim.truth) for claim in claims})
    builder = PromptBuilder(
        PromptTemplate(separator="\n"), Verbalizer.plain(["True", "False"]), lambda text: len(text), 10**9
    )
    file_order = [
        builder.prompt(example, [(other, labeling[other.id]) for other in dataset if other.id != example.id])
        for example in dataset
    ]
    ours = context_prompts(dataset.ids, labeling, dataset, builder)
    return new_tokens(file_order, model.encode), new_tokens(ours, model.encode)


def report() -> Iterator[str]:
    """The figures, a line each."""
    file_order, ours = both_orders(SIZE)
    yield f"leave-one-out at {SIZE} examples, new tokens on a prefix trie"
    yield f"  file order          {file_order:>10,}"
    yield f"  divide and conquer  {ours:>10,}   {ours / file_order:.1%} of file order"
