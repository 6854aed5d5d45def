"""Simulated annealing as in the paper, Algorithm 1: one example a step, then `consistency_fix`.

Presets `paper` and `reference` run this kernel; `default` runs the one in `group_anneal`. The loop over steps
is `search.loop`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from icm_api.config import SearchSettings
from icm_api.objective import Objective
from icm_api.search.draws import draw
from icm_api.search.fix import consistency_fix, most_options
from icm_api.search.kernel import Info, State, better, metropolis, touched
from icm_api.search.proposals import sampling_weights, seed_ids
from icm_api.search.schedules import logarithmic
from icm_api.search.start import Start
from icm_api.types import Labeling, Score


@dataclass(frozen=True, slots=True)
class Annealing:
    """Algorithm 1: draw an example, give it the label the model finds most probable, repair, accept or not."""

    objective: Objective
    settings: SearchSettings
    start: Start = field(default_factory=Start)

    async def init(self) -> tuple[State, Info]:
        """K examples with random labels beside the fixed ones, or the labels to start from; made consistent."""
        rng = draw(self.settings.seed, 0, "seed labels")
        first = self.start.given
        if not self.start.warm:
            ids = seed_ids(self.start.free(self.objective.dataset), self.settings.seed_labels, rng)
            first = first.assign({key: rng.choice(self.objective.labels) for key in ids})
        empty = await self.objective(Labeling())
        score = await self._fix(await self.objective(first, near=empty), 0)
        state = State(score, best=better(None, score, len(self.objective.dataset)))
        examples, old, new = touched(empty.labeling, score.labeling)
        change = score.utility - empty.utility
        return state, Info(0, 0, "seed", examples, old, new, change, self._temperature(state), True, score)

    async def step(self, state: State) -> tuple[State, Info]:
        """One turn of Algorithm 1's loop."""
        number = state.step + 1
        settings, objective = self.settings, self.objective
        weights = sampling_weights(objective.dataset, objective.relations, state.labeling, settings.related_weight)
        if self.start.fixed:
            drawable = zip(objective.dataset.ids, weights, strict=True)
            weights = [0.0 if key in self.start.fixed else weight for key, weight in drawable]
        drawn = draw(settings.seed, number, "example").choices(objective.dataset.ids, weights)[0]
        read = await objective.conditionals([drawn], state.labeling, near=state.score)
        proposed = state.labeling.assign({drawn: read[drawn].best})
        score = await self._fix(await objective(proposed, near=state.score), number)
        change = score.utility - state.score.utility
        temperature = self._temperature(state)
        accepted = metropolis(change, temperature, settings.seed, number)
        after = score if accepted else state.score
        changed = after.labeling != state.labeling
        examples, old, new = touched(state.labeling, score.labeling, drawn=(drawn,))
        return (
            State(
                after,
                best=better(state.best, after, len(objective.dataset)),
                step=number,
                accepted=state.accepted + changed,
            ),
            Info(number, 0, "relabel", examples, old, new, change, temperature, accepted, after),
        )

    async def _fix(self, score: Score, number: int) -> Score:
        rng, repairs = draw(self.settings.seed, number, "fix"), self.settings.repairs
        return await consistency_fix(self.objective, score, rng, repairs=repairs, fixed=self.start.fixed)

    def _temperature(self, state: State) -> float:
        """T of the step after `state`: by steps (paper) or by accepted changes (published code)."""
        settings = self.settings
        schedule = logarithmic(settings.initial_temperature, settings.minimum_temperature, settings.cooling)
        return schedule(state.accepted + 1 if settings.cool_by == "accepted" else state.step + 1)

    def finished(self, state: State) -> bool:
        """Never before the budget is, where there is a label to change: there is always another proposal."""
        return not self.start.free(self.objective.dataset)

    def most_requests(self, steps: int) -> int:
        """Every step may score the labeling, and every option of `repairs` conflicts, at full size."""
        objective, size = self.objective, len(self.objective.dataset)
        per_score = objective.estimator.requests(size)
        options = most_options(objective.relations, len(objective.labels)) * self.settings.repairs
        return (steps + 1) * (1 + per_score * (1 + options)) + size + per_score
