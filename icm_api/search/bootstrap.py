"""Bootstrapping: the model's few-shot predictions become the demonstrations of the next round.

The predictions of a round are the leave-one-out distributions that scored it, so that a round costs one scoring and
no more. Each group gets its most probable legal labels. All labels change at once, which can take turns between two
labelings for ever: `rounds` ends a restart that comes back to where it was.

Source: Shrivastava et al. 2026 find bootstrapping with consistency close to annealing, at a small part of its cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from icm_api.objective import Objective
from icm_api.search.align import align, most_probable
from icm_api.search.kernel import State
from icm_api.search.start import Start
from icm_api.types import Labeling


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Every example gets what was predicted from all the others, relations kept."""

    objective: Objective
    start: Start
    move: ClassVar[str] = "round"
    settles: ClassVar[bool] = True

    def temperature(self, state: State) -> float:
        """Nothing is drawn at random."""
        return 0.0

    async def __call__(self, state: State) -> Labeling:
        """The labels most probable given all the others; no request if the score at hand has their distributions."""
        fixed = self.start.fixed
        free = [key for key in state.score.logprobs if key not in fixed]
        predicted = await self.objective.conditionals(free, state.labeling, near=state.score)
        return align(self.objective, predicted, fixed, most_probable)

    def requests(self) -> int:
        """None beside the scoring, if that gives the distributions; else one per free example."""
        whole = self.objective.estimator.gives_distributions
        return 0 if whole else len(self.start.free(self.objective.dataset))
