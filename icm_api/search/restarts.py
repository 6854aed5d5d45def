"""Engines that relabel everything at once: first labels, then one update a step, then again; and their simplest update.

How an update goes is the business of `Bootstrap`, here, and of `folds` and `gibbs`. Nothing is refused for lowering U:
the best labeling of all rounds and restarts wins in the end.

A restart begins at the model's own predictions: the first one zero-shot (given the fixed labels, if there are any;
or at the labels of an earlier run), the others few-shot, after K random labels.

Bootstrapping: the few-shot predictions of a round become the demonstrations of the next. They usually came with the
score of the round, so that a round costs one scoring and no more. All labels change at once, so that two labelings can
take turns for ever: a restart ends when a labeling returns. Shrivastava et al. 2026 find bootstrapping with consistency
close to annealing, at a small part of its cost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.objective import Objective
from icm_api.search.align import align, most_probable
from icm_api.search.kernel import Info, State, better, taken, touched
from icm_api.search.start import Start, calibration_of, random_start
from icm_api.types import Labeling


class Update(Protocol):
    """How all labels are redone in one step."""

    @property
    def move(self) -> str:
        """The name of the move in `Info`."""
        ...

    @property
    def settles(self) -> bool:
        """Whether within a restart it is a function of the labeling: a labeling seen before brings nothing new."""
        ...

    def temperature(self, state: State) -> float:
        """T of the step after `state`, 0 if nothing is drawn at random."""
        ...

    async def __call__(self, state: State) -> Labeling:
        """The next complete labeling.

        Args:
            state: after the step before, with a complete labeling.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        ...

    def requests(self) -> int:
        """The most requests of one update, its scoring apart."""
        ...


@dataclass(frozen=True, slots=True)
class Restarts:
    """Restarts of at most `settings.rounds` updates; a restart ends early when a labeling that it had returns.

    Implements `Kernel`.

    Attributes:
        objective: U(D).
        settings: of the search.
        start: labels known beforehand.
        update: how all labels are redone in one step.
    """

    objective: Objective
    settings: SearchSettings
    start: Start
    update: Update

    async def init(self) -> tuple[State, Info]:
        """The first restart's first labels."""
        return await self._begin(State(await self.objective(Labeling())), 0, 0)

    async def step(self, state: State) -> tuple[State, Info]:
        """One update, or the first labels of the next restart if this one is over."""
        number = state.step + 1
        if self._over(state):
            return await self._begin(state, number, state.restart + 1)
        labeling = await self.update(state)
        if self.update.settles and labeling in state.seen:
            return self._settled(state, number, labeling)
        # Sampling can change nothing, and then the score is known.
        same = labeling == state.labeling
        score = state.score if same else await self.objective(labeling, near=state.score)
        move, temperature = self.update.move, self.update.temperature(state)
        info = taken(state, score, "relabel", move, step=number, restart=state.restart, temperature=temperature)
        after = replace(
            state,
            score=score,
            best=better(state.best, score, len(self.objective.dataset)),
            step=number,
            accepted=state.accepted + (not same),
            seen=state.seen | {labeling},
        )
        return after, info

    def finished(self, state: State) -> bool:
        """Whether the last restart is over, or a person has labelled everything."""
        last = state.restart + 1 >= self.settings.restarts
        return (last and self._over(state)) or not self.start.free(self.objective.dataset)

    def most_requests(self, steps: int) -> int:
        """Every step scores one labeling; before that, it predicts every free example, or updates."""
        free = len(self.start.free(self.objective.dataset))
        update = self.update.requests()
        begun = min(self.settings.restarts, steps + 1) if free > update else 1
        per_score = self.objective.requests(len(self.objective.dataset))
        return (steps + 1) * per_score + begun * free + (steps + 1 - begun) * update

    def _over(self, state: State) -> bool:
        return bool(state.refused) or state.step - state.began >= self.settings.rounds

    async def _begin(self, state: State, number: int, restart: int) -> tuple[State, Info]:
        labeling = await self._first_labels(number, restart)
        score = await self.objective(labeling)
        info = taken(state, score, "begin", "seed", step=number, restart=restart)
        best = better(state.best, score, len(self.objective.dataset))
        return State(score, best, number, state.accepted, restart, number, seen=frozenset({labeling})), info

    async def _first_labels(self, number: int, restart: int) -> Labeling:
        """What the model predicts given what is known; of that, fixed and earlier labels stay as they are."""
        objective, start = self.objective, self.start
        if restart == 0 and (start.warm or self.settings.start != "random"):
            known = kept = start.given
        else:
            rng = draw(self.settings.seed, number, "seed labels")
            known, kept = random_start(objective, self.settings, start, rng), start.fixed
        asked = [key for key in objective.dataset.ids if key not in kept]
        predicted = await objective.conditionals(asked, known)
        return align(objective, calibration_of(self.settings, "none")(predicted), kept, most_probable)

    def _settled(self, state: State, number: int, labeling: Labeling) -> tuple[State, Info]:
        """The labels are those of an earlier round: none of them is taken, and the restart is over."""
        examples, old, new = touched(state.labeling, labeling)
        info = Info(
            number, state.restart, "relabel", self.update.move, examples, old, new, 0.0, 0.0, False, state.score
        )
        turned_down = frozenset(zip(examples, (labeling[key] for key in examples), strict=True))
        return replace(state, step=number, refused=frozenset({turned_down})), info


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Every example gets what was predicted from all the others, relations kept.

    Implements `Update`.

    Attributes:
        objective: gives the predictions.
        settings: how they are calibrated.
        start: labels known beforehand.
    """

    objective: Objective
    settings: SearchSettings
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
        return align(self.objective, calibration_of(self.settings, "none")(predicted), fixed, most_probable)

    def requests(self) -> int:
        """None beside the scoring, if that gives the distributions; else one per free example."""
        whole = self.objective.estimator.gives_distributions
        return 0 if whole else len(self.start.free(self.objective.dataset))
