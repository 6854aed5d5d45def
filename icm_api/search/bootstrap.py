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
        """The labels that the current score's distributions speak for; no request."""
        fixed = self.start.fixed
        predicted = {key: read for key, read in state.score.distributions.items() if key not in fixed}
        return align(self.objective, predicted, fixed, most_probable)

    def requests(self) -> int:
        """None beside the scoring."""
        return 0
