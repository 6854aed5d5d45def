"""The shared estimator: all examples of a fold are asked about after the same demonstrations.

log p(y_i | x_i, D without i) is approximated by log p(y_i | x_i, labels outside the fold of i) (Wen et al. 2025, v2,
appendix G), or by so many of those labels as are given. Then F contexts serve n questions: a prefix cache reads each
once, and many questions can travel in one request where the endpoint takes that. Folds are stretches of the data set,
which a search reorders from round to round; the examples of a group stay in one fold, as the label of one would all but
give away that of another.

This file neither sums nor weighs the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icm_api.objective.estimator import Estimate, Lengths
from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, Example, Labeling, Model, Prompt, Usage


@dataclass(frozen=True, slots=True)
class Shared:
    """Every label given labels outside its fold.

    Attributes:
        folds: F, the parts of the data set.
        demonstrations: the most labels in a context, those that follow the fold; None for all outside it.
    """

    folds: int = 4
    demonstrations: int | None = None
    name = "shared"
    gives_distributions = True

    async def estimate(self, labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, model: Model) -> Estimate:
        """One distribution per labelled example; `len(labeling)` requests with F beginnings.

        Args:
            labeling: complete or partial.
            dataset: holds its examples, and gives the folds.
            prompts: turns an example and its demonstrations into a prompt.
            model: whom to ask.

        Returns:
            log p(y_i) and the distribution over all labels, per labelled example.

        Raises:
            ProviderError: the model gave no usable logprobs.
            PromptError: an example alone is longer than the context window.
        """
        labelled = [dataset[at] for at in sorted(map(dataset.position, labeling))]
        asked: list[Prompt] = []
        for fold, context in self.contexts(labelled):
            shown = prompts.after([(example, labeling[example.id]) for example in context])
            asked += [shown.prompt(example) for example in fold]
        answers = await model.label_distributions(asked)
        ordered = [example.id for fold, _ in self.contexts(labelled) for example in fold]
        distributions = dict(zip(ordered, answers, strict=True))
        logprobs = {example.id: distributions[example.id].logprob(labeling[example.id]) for example in labelled}
        return Estimate(logprobs, self.name, distributions, costs=answers.costs)

    @property
    def orders(self) -> int:
        """The contexts that examples are asked about in, one a fold."""
        return self.folds

    def requests(self, labelled: int, stretches: int) -> int:
        """One per labelled example."""
        return labelled

    def usage(self, lengths: Lengths) -> Usage:
        """One prompt per example; those of a fold share their demonstrations, which are read once a fold.

        Args:
            lengths: of the labelled examples.

        Example:
            >>> Shared(4, 3).usage(Lengths(0, (10,) * 8, (8,) * 8, 1000))
            Usage(requests=8, prompt_tokens=304, completion_tokens=0, cached_tokens=120)
        """
        size = len(lengths.shown)
        if not size:
            return Usage()
        folds = min(self.folds, size)
        outside = size - -(-size // folds)
        shown = min(outside, outside if self.demonstrations is None else self.demonstrations)
        context = shown * sum(lengths.shown) / size
        tokens = sum(lengths.prompt(context, asked) for asked in lengths.asked)
        fits = min(context, max(0, lengths.window - lengths.head))
        return Usage(size, round(tokens), 0, round((size - folds) * (lengths.head + fits)))

    def contexts(self, labelled: Sequence[Example]) -> list[tuple[Sequence[Example], Sequence[Example]]]:
        """The folds, each with the examples that it is shown.

        Args:
            labelled: the labelled examples, in data set order.

        Returns:
            At most F pairs; the examples of each in data set order.

        Example:
            >>> examples = [Example(str(at), {"text": "x"}) for at in range(6)]
            >>> [[[each.id for each in part] for part in pair] for pair in Shared(3, 2).contexts(examples)]
            [[['0', '1'], ['2', '3']], [['2', '3'], ['4', '5']], [['4', '5'], ['0', '1']]]
        """
        groups: dict[str, list[int]] = {}
        for at, example in enumerate(labelled):
            groups.setdefault(f"={example.id}" if example.group is None else example.group, []).append(at)
        folds: list[list[int]] = [[]]
        size = -(-len(labelled) // self.folds)
        for group in groups.values():
            if folds[-1] and len(folds[-1]) + len(group) > size and len(folds) < self.folds:
                folds.append([])
            folds[-1] += group
        order = [at for fold in folds for at in fold]
        pairs: list[tuple[Sequence[Example], Sequence[Example]]] = []
        before = 0
        for fold in folds:
            before += len(fold)
            rest = (order[before:] + order[: before - len(fold)])[: self.demonstrations]
            pairs.append(([labelled[at] for at in sorted(fold)], [labelled[at] for at in sorted(rest)]))
        return pairs
