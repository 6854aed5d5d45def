"""What a search's kernel is: `init` and `step`, with the State that goes on apart from the Info about a step.

A kernel proposes and decides. It neither counts steps against a limit nor writes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, log
from typing import Literal, Protocol, TypeAlias

from icm_api.chance import draw
from icm_api.errors import ConfigError
from icm_api.types import Label, Labeling, Score

Kind: TypeAlias = Literal["begin", "grow", "relabel", "choose"]

Updates = frozenset[tuple[str, Label]]
"""Labels proposed together, as id and label."""


@dataclass(frozen=True, slots=True)
class State:
    """All that a search needs to go on, given the seed.

    Attributes:
        score: of the current labeling, which it holds.
        best: the best complete labeling seen so far, None before the first.
        step: proposals, rounds or sweeps so far, over all restarts.
        accepted: how many of them were taken and changed the labeling. To begin anew and to choose between ends are
            steps, but no proposals.
        restart: which restart this is, from 0.
        began: the step at which this restart began.
        refused: proposals turned down since the labeling last changed.
        seen: labelings that this restart has had, if the engine ends it when one of them returns.
        rivals: other complete labelings, as they were scored in the data set's own order when ends were compared.
        reordered: the best labeling, as it was scored then with the demonstrations in other orders.
    """

    score: Score
    best: Score | None = None
    step: int = 0
    accepted: int = 0
    restart: int = 0
    began: int = 0
    refused: frozenset[Updates] = field(default=frozenset())
    seen: frozenset[Labeling] = field(default=frozenset())
    rivals: tuple[Score, ...] = ()
    reordered: tuple[Score, ...] = ()

    @property
    def labeling(self) -> Labeling:
        """The current labeling."""
        return self.score.labeling


@dataclass(frozen=True, slots=True)
class Info:
    """What one step did.

    Attributes:
        step: its number; 0 is the beginning of the first restart.
        restart: the restart it belongs to.
        kind: "begin" (new first labels take the place of all before them), "grow" (labels are added), "relabel"
            (labels that are there may change) or "choose" (of all ends, this one is handed out).
        move: the engine's own name for it: "seed" (the first labels of a restart), "complete" (outside the budget,
            what was left open); annealing's "grow", "relabel" and "challenge" (a labeling that growth would miss);
            "round" of rounds and bootstrapping, all labels redone at once; "choose" of rounds, at the end; "sweep" of
            folds or gibbs, all redone in turn.
        examples: ids whose label was proposed, the drawn one first; empty if a round or sweep changed nothing.
        old: their labels before, None for unlabelled ones.
        new: their proposed labels.
        change: by how much the proposal changes what is maximised.
        temperature: T at this step; 0 if nothing is drawn by it.
        accepted: whether the proposal became the labeling, as every beginning and choice does.
        score: of the labeling after the step.
    """

    step: int
    restart: int
    kind: Kind
    move: str
    examples: tuple[str, ...]
    old: tuple[Label | None, ...]
    new: tuple[Label | None, ...]
    change: float
    temperature: float
    accepted: bool
    score: Score


class Kernel(Protocol):
    """A way to search: how to begin, and how to go one step on."""

    async def init(self) -> tuple[State, Info]:
        """The first labels.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        ...

    async def step(self, state: State) -> tuple[State, Info]:
        """One proposal, round or sweep.

        Args:
            state: after the step before.

        Returns:
            The next state, and what the step did.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        ...

    def finished(self, state: State) -> bool:
        """Whether nothing is left to try, however many steps are left."""
        ...

    def most_requests(self, steps: int) -> int:
        """The most requests that the search can take, seeding and completion included.

        Args:
            steps: that the search may take.
        """
        ...


def metropolis(change: float, temperature: float, seed: int, step: int) -> bool:
    """Accept if dU > 0, else with probability exp(dU / T) (paper, Algorithm 1).

    Args:
        change: dU of the proposal.
        temperature: T, > 0.
        seed: of the search.
        step: number of the step, of which the decision is a function.
    """
    return draw(seed, step, "accept").random() < acceptance_probability(change, temperature)


def better(best: Score | None, score: Score, size: int) -> Score | None:
    """The better of the best complete score so far and a new one; a partial labeling is never best.

    Args:
        best: None before the first complete labeling.
        score: the new one.
        size: examples in the data set.
    """
    if len(score.labeling) < size or (best is not None and score.value <= best.value):
        return best
    return score


def touched(
    old: Labeling, new: Labeling, *, drawn: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], tuple[Label | None, ...], tuple[Label | None, ...]]:
    """The examples that differ between two labelings, with their old and new labels, None if unlabelled.

    Args:
        old: the labeling before.
        new: the labeling proposed.
        drawn: ids that come first, also if their label is the same.

    Returns:
        Ids, old labels and new labels, equally long.
    """
    ids = tuple(dict.fromkeys((*drawn, *(key for key in {**old, **new} if old.get(key) != new.get(key)))))
    return ids, tuple(old.get(key) for key in ids), tuple(new.get(key) for key in ids)


def taken(
    before: State, score: Score, kind: Kind, move: str, *, step: int, restart: int, temperature: float = 0.0
) -> Info:
    """What a step did that is taken whatever it does to U; a beginning proposes all its labels.

    Args:
        before: the state before.
        score: of the labeling after it.
        kind: of the step.
        move: the engine's own name for it.
        step: its number.
        restart: it belongs to.
        temperature: T at this step.
    """
    anew = tuple(score.labeling) if kind == "begin" else ()
    examples, old, new = touched(before.labeling, score.labeling, drawn=anew)
    change = score.value - before.score.value
    return Info(step, restart, kind, move, examples, old, new, change, temperature, True, score)


Schedule = Callable[[int], float]


def logarithmic(initial: float, minimum: float, cooling: float) -> Schedule:
    """T(n) = max(minimum, initial / (1 + cooling * ln n)) (paper, Algorithm 1).

    Args:
        initial: T_0, > 0.
        minimum: T_min, > 0.
        cooling: beta, >= 0.

    Returns:
        A function from the step, counted from 1, to a temperature in units of U.

    Raises:
        ConfigError: a value outside its range.

    Example:
        >>> schedule = logarithmic(10.0, 0.01, 0.99)
        >>> schedule(1), round(schedule(100), 4)
        (10.0, 1.7988)
    """
    if initial <= 0 or minimum <= 0 or cooling < 0:
        raise ConfigError(
            f"temperatures must be above 0 and cooling at least 0, got initial {initial}, minimum {minimum}, "
            f"cooling {cooling}"
        )

    def temperature(step: int) -> float:
        return max(minimum, initial / (1.0 + cooling * log(max(step, 1))))

    return temperature


def acceptance_probability(change: float, temperature: float) -> float:
    """min(1, exp(dU / T)), which cannot overflow (paper, Algorithm 1).

    Args:
        change: dU of a proposal.
        temperature: T, > 0.

    Example:
        >>> acceptance_probability(1e6, 0.01), acceptance_probability(-1e6, 0.01)
        (1.0, 0.0)
    """
    return 1.0 if change >= 0 else exp(change / temperature)
