"""The default search: grow, relabel whole components, restart; annealing with moves that waste little.

It differs from Algorithm 1 in these ways, each measured in `tests/benchmarks`:
- Growth takes several examples a step, whole components with their best legal labels, and is always accepted:
  every example has to be labelled, and U of a small labeling says nothing about U of a larger one.
- What to relabel is read off the conditionals of the current labeling, which usually came with its score: the
  legal relabeling of a component that promises the largest dU is tried first.
- A restart ends when the most promising relabelings have all been refused, not after a fixed time.
- Several restarts share one number of steps, and the best complete labeling of all of them wins, also over
  labelings that growth would miss: every example labelled alike, and the inverse of the best.

Nothing here talks to a model except through the objective.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, product
from math import fsum
from random import Random

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.consistency import MOST_WAYS
from icm_api.objective import Objective
from icm_api.search.align import LARGEST_UNIT, most_probable, units
from icm_api.search.kernel import Info, Kind, State, Updates, better, logarithmic, metropolis, touched
from icm_api.search.start import Start, random_start, zero_shot_labels
from icm_api.types import Label, Labeling, Score

_KINDS: Mapping[str, Kind] = {"seed": "begin", "challenge": "begin", "grow": "grow", "relabel": "relabel"}


@dataclass(frozen=True)
class ComponentAnnealing:
    """The kernel of engine "anneal" that moves whole groups; implements `Kernel`.

    Attributes:
        objective: U(D).
        settings: of the search.
        steps: that all restarts together may take.
        start: labels known beforehand.
    """

    objective: Objective
    settings: SearchSettings
    steps: int
    start: Start = field(default_factory=Start)

    @cached_property
    def _units(self) -> list[tuple[str, ...]]:
        return units(self.objective.dataset, self.objective.relations, LARGEST_UNIT)

    async def init(self) -> tuple[State, Info]:
        """The first restart's seeds, or the labels to start from."""
        return await self._seed(State(await self.objective(Labeling())), number=0, restart=0)

    async def step(self, state: State) -> tuple[State, Info]:
        """Relabel what promises to raise U, else grow while something is unlabelled, else begin the next restart."""
        number = state.step + 1
        updates = self._relabeling(state)
        if updates is not None:
            return await self._relabel(state, number, updates)
        if self._growing(state):
            return await self._grow(state, number)
        if state.restart + 1 >= self.settings.restarts:
            return await self._challenge(state, number, state.restart + 1)
        return await self._seed(state, number, state.restart + 1)

    def finished(self, state: State) -> bool:
        """Whether the last restart and all challengers are over, and nothing promising is left to try."""
        last = state.restart + 1 >= self.settings.restarts + self._challengers
        done = last and not self._growing(state) and self._relabeling(state) is None
        return done or not self.start.free(self.objective.dataset)

    def most_requests(self, steps: int) -> int:
        """Every step scores one labeling of at most full size; growth asks once more per example it adds."""
        size = len(self.objective.dataset)
        per_step = self.objective.requests(size)
        return (steps + 2) * per_step + (self.settings.restarts + 1) * size

    def _growing(self, state: State) -> bool:
        return len(state.labeling) < len(self.objective.dataset)

    def _temperature(self, state: State) -> float:
        settings = self.settings
        schedule = logarithmic(settings.initial_temperature, settings.minimum_temperature, settings.cooling)
        return schedule(state.step + 1 - state.began)

    async def _seed(self, state: State, number: int, restart: int) -> tuple[State, Info]:
        """K examples with random labels beside the fixed ones, or the labels to start from."""
        rng = draw(self.settings.seed, number, "seed labels")
        if restart == 0 and (self.start.warm or self.settings.start == "zero-shot"):
            labeling = await zero_shot_labels(self.objective, self.settings, self.start)
        else:
            labeling = random_start(self.objective, self.settings, self.start, rng)
        score = await self.objective(labeling)
        before = replace(state, step=number, began=number, restart=restart, refused=frozenset())
        return await self._moved(before, number, "seed", score, accepted=True)

    @property
    def _challengers(self) -> int:
        labels = len(self.objective.labels)
        return labels + (labels == 2)

    async def _challenge(self, state: State, number: int, restart: int) -> tuple[State, Info]:
        """Begin anew at a labeling that no growth leads to: all free labels alike, or the inverse of the best."""
        labels, at = self.objective.labels, restart - self.settings.restarts
        if at < len(labels):
            labeling = Labeling(dict.fromkeys(self.objective.dataset.ids, labels[at]))
        else:
            found = state.best.labeling if state.best else state.labeling
            labeling = Labeling({key: labels[1 - labels.index(label)] for key, label in found.items()})
        score = await self.objective(labeling.assign(self.start.fixed))
        before = replace(state, step=number, began=number, restart=restart, refused=frozenset())
        return await self._moved(before, number, "challenge", score, accepted=True)

    async def _grow(self, state: State, number: int) -> tuple[State, Info]:
        """Add the next units, related ones first, each with its best legal labels given the current ones."""
        labeling, relations = state.labeling, self.objective.relations
        left = [tuple(key for key in unit if key not in labeling) for unit in self._units]
        left = [unit for unit in left if unit]
        weights = [
            self.settings.related_weight
            if any(other in labeling for key in unit for other in relations.neighbours(key))
            else 1.0
            for unit in left
        ]
        most = max(1, int(self.settings.growth * len(labeling)))
        block = _draw_units(left, weights, most, draw(self.settings.seed, number, "grow"))
        score = await self.objective(await label_units(self.objective, block, labeling), near=state.score)
        return await self._moved(state, number, "grow", score, accepted=True)

    async def _relabel(self, state: State, number: int, updates: Updates) -> tuple[State, Info]:
        score = await self.objective(state.labeling.assign(dict(updates)), near=state.score)
        change = score.value - state.score.value
        # Equal labelings would take turns for ever; and so would a worse and a better one while growth waits.
        accepted = change > 0 or (
            change < 0
            and not self._growing(state)
            and metropolis(change, self._temperature(state), self.settings.seed, number)
        )
        moved, info = await self._moved(state, number, "relabel", score, accepted=accepted)
        return moved if accepted else replace(moved, refused=state.refused | {updates}), info

    async def _moved(self, state: State, number: int, move: str, score: Score, *, accepted: bool) -> tuple[State, Info]:
        # What to try next is read off the distributions.
        after = await self.objective.completed(score) if accepted else state.score
        # What begins anew proposes all its labels, also those that happen to be there already.
        kind = _KINDS[move]
        anew = tuple(score.labeling) if kind == "begin" else ()
        examples, old, new = touched(state.labeling, score.labeling, drawn=anew)
        change, temperature = score.value - state.score.value, self._temperature(state)
        info = Info(number, state.restart, kind, move, examples, old, new, change, temperature, accepted, after)
        return (
            replace(
                state,
                score=after,
                best=better(state.best, after, len(self.objective.dataset)),
                step=number,
                accepted=state.accepted + (accepted and kind != "begin"),
                refused=frozenset(),
            ),
            info,
        )

    def _relabeling(self, state: State) -> Updates | None:
        """The most promising relabeling that was not refused yet, None if the restart is over."""
        growing = self._growing(state)
        patience = self.settings.growth_patience if growing else self.settings.patience
        if len(state.refused) >= patience or (not growing and self._exhausted(state)):
            return None
        ranked = sorted(self._promises(state), key=lambda promise: -promise[0])
        for promise, updates in ranked:
            if updates not in state.refused:
                return updates if promise > 0 or not growing else None
        return None

    def _exhausted(self, state: State) -> bool:
        """Whether a complete labeling is not worth more steps of this restart."""
        starts = self.settings.restarts + self._challengers
        spent = state.step - state.began >= self.steps // starts
        if state.best is None or state.best is state.score:
            return spent
        # Growth has been near a challenger that is not best; and what an earlier restart found, it refined.
        challenger = state.restart >= self.settings.restarts
        return spent or challenger or state.best.labeling == state.labeling

    def _promises(self, state: State) -> list[tuple[float, Updates]]:
        """Relabelings of single units, and of all units that gain by it at once, with the dU they promise.

        The promise counts the relabelled examples themselves; what their new labels do to the others is known
        only once the proposal is scored.
        """
        promises: list[tuple[float, Updates]] = []
        together: dict[str, Label] = {}
        gained, gaining = 0.0, 0
        for unit in self._units:
            ways = [(self._promise(state, way), way) for way in self._other_ways(unit, state.labeling)]
            promises.extend((promise, frozenset(way.items())) for promise, way in ways)
            promise, way = max(ways, key=lambda each: each[0], default=(0.0, {}))
            if promise > 0:
                together.update(way)
                gained, gaining = gained + promise, gaining + 1
        if gaining > 1:
            promises.append((gained, frozenset(together.items())))
        return promises

    def _other_ways(self, unit: tuple[str, ...], labeling: Labeling) -> Iterator[dict[str, Label]]:
        """The changes that turn a unit's labelled part into each other labeling of it.

        All of them while they are few, illegal ones included, since U may be largest with a broken relation;
        else the legal ones, and single changes.
        """
        fixed, labels = self.start.fixed, self.objective.labels
        inside = [key for key in unit if key in labeling and key not in fixed]
        ways: Iterable[Mapping[str, Label]]
        if len(labels) ** len(inside) <= MOST_WAYS:
            ways = (dict(zip(inside, way, strict=True)) for way in product(labels, repeat=len(inside)))
        else:
            legal = self.objective.relations.legal_labelings(inside, fixed, MOST_WAYS)
            ways = chain(legal or (), ({key: label} for key in inside for label in labels))
        for way in ways:
            changes = {key: label for key, label in way.items() if labeling[key] != label}
            if changes:
                yield changes

    def _promise(self, state: State, changes: Mapping[str, Label]) -> float:
        distributions, labeling = state.score.distributions, state.labeling
        gain = fsum(
            distributions[key].logprob(label) - distributions[key].logprob(labeling[key])
            for key, label in changes.items()
        )
        broken = self.objective.broken(labeling.assign(changes), near=state.score)
        resolved = state.score.inconsistency - self.objective.relations.weight(broken)
        return self.objective.alpha * gain / len(labeling) + resolved


async def label_units(objective: Objective, open_units: Sequence[tuple[str, ...]], labeling: Labeling) -> Labeling:
    """Label units at once, each with the labels most probable given `labeling` among those that are legal.

    Args:
        objective: gives the predictions; one request per example.
        open_units: examples without a label, in units that are labelled together.
        labeling: the labels that the predictions are given, and with which no relation is to be broken.

    Returns:
        `labeling` and the new labels.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    ids = [key for unit in open_units for key in unit]
    predicted = await objective.conditionals(ids, labeling)
    labels: dict[str, Label] = {}
    for unit in open_units:
        labels.update(most_probable(objective, unit, predicted, labeling))
    return labeling.assign(labels)


def _draw_units(
    candidates: Sequence[tuple[str, ...]], weights: Sequence[float], examples: int, rng: Random
) -> list[tuple[str, ...]]:
    """Units drawn by weight without replacement, until they hold at least this many examples."""
    left = list(zip(candidates, weights, strict=True))
    drawn: list[tuple[str, ...]] = []
    while left and sum(map(len, drawn)) < examples:
        at = rng.choices(range(len(left)), [weight for _, weight in left])[0]
        drawn.append(left.pop(at)[0])
    return drawn
