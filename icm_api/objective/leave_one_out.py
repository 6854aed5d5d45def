"""Exact leave-one-out: one request per labelled example, every other labelled example in its context.

Contexts are ordered by divide and conquer over the positions in the data set: to read the left half, the
right half comes first, and so on inside. Each context still holds all the others, but n contexts share
beginnings, so that a prefix cache sees n*log2(n)+n new demonstrations instead of about n*n/2. The tree
covers the whole data set, not what is labelled so far: labelling one more example then moves no
other, and an example's context is the same before and after it is labelled itself.

This file neither sums nor weighs the numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from icm_api.objective.estimator import Estimate, Lengths
from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, Labeling, Model, Prompt, Usage


def leave_one_out_context(position: int, size: int, labelled: Sequence[int]) -> list[int]:
    """The context of one example: all other labelled positions, in divide-and-conquer order.

    Args:
        position: of the example in the data set, in [0, size).
        size: of the data set.
        labelled: labelled positions, ascending; whether `position` is among them makes no difference.

    Returns:
        The other positions: first the half of the data set that the example is not in, last its nearest
        neighbours; ascending inside each such block.

    Example:
        >>> leave_one_out_context(0, 8, range(8)), leave_one_out_context(1, 8, range(8))
        ([4, 5, 6, 7, 2, 3, 1], [4, 5, 6, 7, 2, 3, 0])
    """
    low, high = 0, size
    first, last = 0, len(labelled)
    context: list[int] = []
    while high - low > 1:
        middle = (low + high) // 2
        cut = bisect_left(labelled, middle, first, last)
        if position < middle:
            context.extend(labelled[cut:last])
            high, last = middle, cut
        else:
            context.extend(labelled[first:cut])
            low, first = middle, cut
    return context


class LeaveOneOut:
    """The exact estimator (paper, section 2.1): log p(y_i | x_i, D without i) for each labelled i."""

    name = "leave_one_out"
    gives_distributions = True
    orders = 1

    async def estimate(self, labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, model: Model) -> Estimate:
        """One distribution per labelled example; `len(labeling)` requests.

        Args:
            labeling: complete or partial.
            dataset: holds its examples.
            prompts: turns an example and its demonstrations into a prompt.
            model: whom to ask.

        Returns:
            log p(y_i) and the distribution over all labels, per labelled example.

        Raises:
            ProviderError: the model gave no usable logprobs.
            PromptError: an example alone is longer than the context window.
        """
        ordered = sorted(labeling, key=dataset.position)
        asked = context_prompts(ordered, labeling, dataset, prompts)
        answers = await model.label_distributions(asked)
        distributions = dict(zip(ordered, answers, strict=True))
        logprobs = {key: read.logprob(labeling[key]) for key, read in distributions.items()}
        return Estimate(logprobs, self.name, distributions, costs=answers.costs)

    def requests(self, labelled: int, stretches: int) -> int:
        """One per labelled example."""
        return labelled

    def usage(self, lengths: Lengths) -> Usage:
        """One prompt per example with all others; at each halving of the data, each half is read once as context.

        Args:
            lengths: of the labelled examples.

        Example:
            >>> LeaveOneOut().usage(Lengths(0, (10,) * 8, (8,) * 8, 1000))
            Usage(requests=8, prompt_tokens=624, completion_tokens=0, cached_tokens=320)
        """
        size, whole = len(lengths.shown), sum(lengths.shown)
        tokens = sum(
            lengths.prompt(whole - own, asked) for own, asked in zip(lengths.shown, lengths.asked, strict=True)
        )
        fits = min(whole, max(0, lengths.window - lengths.head))
        fresh = lengths.head + fits * max(0, size - 1).bit_length() + sum(lengths.asked)
        return Usage(size, round(tokens), 0, max(0, round(tokens) - fresh))


def context_prompts(
    ids: Sequence[str], labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, *, together: bool = False
) -> list[Prompt]:
    """Per id, the prompt that asks for its label given all other labelled examples.

    Whether an id is itself labelled makes no difference: its own label is never in its prompt.

    Args:
        ids: of the examples to ask about.
        labeling: gives the demonstrations.
        dataset: holds the examples.
        prompts: turns an example and its demonstrations into a prompt.
        together: examples without a label have one context, in data set order; else contexts are those that they would
            have with a label.

    Raises:
        PromptError: an example alone is longer than the context window.
    """
    labelled = sorted(dataset.position(example_id) for example_id in labeling)
    # Rendered and counted once for all of them: of n prompts each shows n - 1.
    shown = prompts.after([(dataset[at], labeling[dataset[at].id]) for at in labelled])
    places = {position: place for place, position in enumerate(labelled)}
    contexts = [
        labelled
        if together and key not in labeling
        else leave_one_out_context(dataset.position(key), len(dataset), labelled)
        for key in ids
    ]
    return [
        shown.prompt_after(dataset.get(key), [places[at] for at in context])
        for key, context in zip(ids, contexts, strict=True)
    ]
