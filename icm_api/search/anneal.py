"""The paper's search: Algorithm 1, simulated annealing one example a step, and Algorithm 2, `consistency_fix`.

Presets `paper` and `reference` run this kernel; `default` runs the one in `component_anneal`. The loop over
steps is `search.loop`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from random import Random

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.consistency import MOST_WAYS, Relations
from icm_api.objective import Objective
from icm_api.search.kernel import Info, State, better, logarithmic, metropolis, touched
from icm_api.search.start import Start, seed_ids, zero_shot_labels
from icm_api.types import Dataset, Label, Labeling, Score


@dataclass(frozen=True, slots=True)
class Annealing:
    """Algorithm 1: draw an example, give it the label the model finds most probable, repair, accept or not.

    Implements `Kernel`.

    Attributes:
        objective: U(D).
        settings: of the search.
        start: labels known beforehand.
    """

    objective: Objective
    settings: SearchSettings
    start: Start = field(default_factory=Start)

    async def init(self) -> tuple[State, Info]:
        """K examples with random labels beside the fixed ones, or the labels to start from; then repaired."""
        rng = draw(self.settings.seed, 0, "seed labels")
        first = self.start.given
        if not self.start.warm and self.settings.start == "zero-shot":
            first = await zero_shot_labels(self.objective, self.settings, self.start)
        elif not self.start.warm:
            ids = seed_ids(self.start.free(self.objective.dataset), self.settings.seed_labels, rng)
            first = first.assign({key: rng.choice(self.objective.labels) for key in ids})
        empty = await self.objective(Labeling())
        score = await self._fix(await self.objective(first, near=empty), 0)
        state = State(score, best=better(None, score, len(self.objective.dataset)))
        examples, old, new = touched(empty.labeling, score.labeling)
        change = score.value - empty.value
        return state, Info(0, 0, "begin", "seed", examples, old, new, change, self._temperature(state), True, score)

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
        change = score.value - state.score.value
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
            Info(number, 0, "relabel", "relabel", examples, old, new, change, temperature, accepted, after),
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
        """Only if there is no label to change: else there is always another proposal."""
        return not self.start.free(self.objective.dataset)

    def most_requests(self, steps: int) -> int:
        """Every step may score the labeling, and every option of `repairs` conflicts, at full size."""
        objective, size = self.objective, len(self.objective.dataset)
        per_score = objective.requests(size)
        options = _most_options(objective.relations, len(objective.labels)) * self.settings.repairs
        return (steps + 1) * (1 + per_score * (1 + options)) + size + per_score


def sampling_weights(dataset: Dataset, relations: Relations, labeling: Labeling, related_weight: float) -> list[float]:
    """Weight of each example in data set order (paper, Algorithm 1, step "sample x_i").

    An unlabelled example that a relation ties to a labelled one weighs `related_weight`, all others 1;
    labelled examples can be drawn again.

    Args:
        dataset: the examples.
        relations: what ties them.
        labeling: complete or partial.
        related_weight: above 0.

    Returns:
        n weights, not normalised.
    """
    return [
        related_weight
        if example_id not in labeling and any(other in labeling for other in relations.neighbours(example_id))
        else 1.0
        for example_id in dataset.ids
    ]


async def consistency_fix(
    objective: Objective, score: Score, rng: Random, *, repairs: int = 10, fixed: Collection[str] = ()
) -> Score:
    """Resolve conflicts of a labeling while that raises U (paper, Algorithm 2).

    Args:
        objective: U(D).
        score: of the labeling to repair, which is left as it is.
        rng: draws which conflict comes next.
        repairs: the most conflicts looked at, M of the paper.
        fixed: ids whose labels no repair changes.

    Returns:
        The score of the repaired labeling, whose U is never below that of `score`.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    unsolved: set[int] = set()
    for _ in range(repairs):
        open_conflicts = sorted(score.broken - unsolved)
        if not open_conflicts:
            break
        conflict = rng.choice(open_conflicts)
        best = score
        for updates in legal_options(objective, score.labeling, conflict, fixed):
            tried = await objective(score.labeling.assign(updates), near=score)
            if tried.value > best.value:
                best = tried
        # A conflict whose every repair lowers U stays, so that the others get their turn.
        unsolved = unsolved | {conflict} if best is score else set()
        score = best
    return score


def legal_options(
    objective: Objective, labeling: Labeling, conflict: int, fixed: Collection[str] = ()
) -> Iterator[Mapping[str, Label]]:
    """Every way to resolve a broken relation, other labels and those of `fixed` ids staying as they are.

    The labelled part of the relation's whole component is enumerated if it has at most `MOST_WAYS` legal
    labelings, so that one repair does not open the next conflict; else the relation's own examples.

    Args:
        objective: holds the relations.
        labeling: that breaks it.
        conflict: position of the relation.
        fixed: ids whose labels stay.

    Yields:
        Labels to assign, by id.
    """
    relation = objective.relations[conflict]
    component = [key for key in objective.relations.component(relation.ids[0]) if key in labeling]
    stay = {key: labeling[key] for key in component if key in fixed}
    legal = objective.relations.legal_labelings([key for key in component if key not in stay], stay, MOST_WAYS)
    if legal is not None:
        # What only concerns fixed labels is broken in all of them.
        if not relation.is_broken(stay):
            yield from legal
        return
    free = [key for key in relation.ids if key not in fixed]
    for labels in product(objective.labels, repeat=len(free)):
        updates = dict(zip(free, labels, strict=True))
        if not relation.is_broken({**labeling, **updates}):
            yield updates


def _most_options(relations: Relations, labels: int) -> int:
    """The most options that any conflict can have; 0 if nothing can conflict."""
    found = 0
    for component in relations.components:
        if len(component) > 1:
            legal = relations.legal_labelings(component, {}, MOST_WAYS)
            widest = max(len(relations[at].ids) for key in component for at in relations.touching(key))
            found = max(found, labels**widest if legal is None else len(legal))
    return found
