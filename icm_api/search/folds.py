"""Folds: a whole fold is relabelled at once, given all labels outside it (Wen et al. 2025, v2, appendix G).

One step is a sweep over all folds in turn, so that it costs a prediction per example and one scoring; scoring every
fold apart would cost F of them. The examples of a fold share one context to the letter, in data set order, which a
prefix cache reads once a fold. Later folds see the new labels of earlier ones. Per component, the surest example then
keeps its label and the others align.

A component stays within a fold. Split, the label of one example of a pair would be in the other's context and, by the
relation between them, all but give it away: a pair once wrong would stay wrong. The paper splits example by example,
and so are components split here that are larger than a fold. The split is drawn once a restart, which makes a sweep a
function of the labeling, and lets a restart end when its labels return.

The paper conditions by fine-tuning on the other folds; this is the same scheme in context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.errors import ConfigError
from icm_api.objective import Objective
from icm_api.search.align import align, most_confident, units
from icm_api.search.kernel import State
from icm_api.search.start import Start
from icm_api.types import LabelDistribution, Labeling


@dataclass(frozen=True, slots=True)
class Folds:
    """Every fold in turn gets what is predicted from the labels outside it, relations kept.

    Implements `Update`.

    Attributes:
        objective: U(D), and the predictions.
        settings: of the search.
        start: labels known beforehand.

    Raises:
        ConfigError: there are more folds than examples to label.
    """

    objective: Objective
    settings: SearchSettings
    start: Start
    move: ClassVar[str] = "sweep"
    settles: ClassVar[bool] = True

    def __post_init__(self) -> None:
        free, folds = len(self.start.free(self.objective.dataset)), self.settings.folds
        if folds > free > 0:
            raise ConfigError(f"search.folds is {folds}, and there are {free} examples to label: use fewer folds")

    def temperature(self, state: State) -> float:
        """Nothing but the split is drawn at random."""
        return 0.0

    async def __call__(self, state: State) -> Labeling:
        """One sweep; a request per free example.

        Args:
            state: after the step before.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        labeling, fixed = state.labeling, self.start.fixed
        predicted: dict[str, LabelDistribution] = {}
        for fold in self.split(state.began):
            outside = labeling.without(fold)
            reads = dict(zip(fold, await self._predict(fold, outside), strict=True))
            predicted |= reads
            aligned = align(self.objective, reads, fixed, most_confident)
            labeling = outside.assign({key: aligned[key] for key in fold})
        # Components within one fold stay as they are; larger ones are made to agree across folds.
        return align(self.objective, predicted, fixed, most_confident)

    def requests(self) -> int:
        """One per free example."""
        return len(self.start.free(self.objective.dataset))

    def split(self, began: int) -> list[list[str]]:
        """The folds of one restart, without fixed examples; their sizes differ by at most a component's.

        Args:
            began: the step at which the restart began.

        Returns:
            At most F lists of ids, each in data set order, none empty.
        """
        objective, folds = self.objective, self.settings.folds
        dataset = objective.dataset
        parts = [
            free
            for unit in units(dataset, objective.relations, len(dataset) // folds)
            if (free := [key for key in unit if key not in self.start.fixed])
        ]
        draw(self.settings.seed, began, "folds").shuffle(parts)
        found: list[list[str]] = [[] for _ in range(folds)]
        # The largest first, each to the smallest fold: as even as whole components allow.
        for part in sorted(parts, key=len, reverse=True):
            min(found, key=len).extend(part)
        return [sorted(fold, key=dataset.position) for fold in found if fold]

    async def _predict(self, fold: Sequence[str], outside: Labeling) -> Sequence[LabelDistribution]:
        """log p(y | x_i, all labels outside the fold), in one context for all."""
        dataset, prompts = self.objective.dataset, self.objective.prompts
        shown = [(example, outside[example.id]) for example in dataset if example.id in outside]
        asked = [prompts.prompt(dataset.get(key), shown) for key in fold]
        return await self.objective.read(asked)
