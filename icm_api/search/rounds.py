"""The default search: calibrated rounds that start from what the model knows.

A chain begins at calibrated zero-shot predictions. Every round asks for each label given all others, in a new order of
the demonstrations, and relabels everything at once: each component gets its most probable legal labels by the sum of
calibrated zero-shot log p and the calibrated log p of the last rounds. Calibration takes off what all predictions
share, so that a round cannot tip towards one label; averaging over orders takes off what one order of demonstrations
happens to favour.

The chains differ in how they calibrate, since no way is right for all data: `batch` expects about equal classes,
`centres` less so, and `none` believes the model's own shares, which is best where nearly all examples have one label.
One that comes to the labels at which another ended, or all but the same, is over.
If they end at different labels, one more starts at random labels and never hears zero-shot: a witness. In the end every
chain's labels and those that it started from are compared, over several orders that are the same for all, by the share
of the labels that the texts explain: J of each divided by what its labels cost to guess, so that even classes have no
advantage (or by U, if that is what the objective maximises). The witness has to be ahead by more than orders differ.
So the labels handed out are never worth less than those that the search began with, but for one case: where the texts
explain little even of the best, and not clearly more than of raw zero-shot labels, what is ahead is so by chance or
finds another concept, and the model's answers to each text alone are handed out.

Sources: calibration over the batch, Zhou et al. 2024 (arXiv 2309.17249); predictions as the next round's
demonstrations, Shrivastava et al. 2026. What each part is worth is measured by `python -m tests.benchmarks real`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.objective import INFORMATION, Calibration, Objective, explained, pooled
from icm_api.search.align import align, most_probable
from icm_api.search.kernel import Info, State, better, taken
from icm_api.search.start import Start, random_start
from icm_api.types import Labeling, Predictions, Score

AVERAGED = 5
"""Rounds whose predictions a relabelling adds up."""
ORDERS = 3
"""The fewest orders of the demonstrations over which the ends are compared; the first is the data set's own."""
ALIKE = 0.03
"""Share of the labels by which two ends may differ, or by one, and still be the same for the purpose."""
MOSTLY = 0.5
"""Share of what labels cost to guess; labels of which the texts explain as much speak for themselves."""
AHEAD = 0.15
"""Share by which other labels must explain more than raw zero-shot ones, to be handed out in their place."""
CLEARLY = 0.1
"""Share by which each text alone must explain more of calibrated zero-shot labels than of raw ones, likewise."""
STILL = 2
"""Rounds in a row that change no label, after which a chain is over."""


class Chain(NamedTuple):
    """How one chain of rounds goes.

    Attributes:
        calibration: of zero-shot predictions and of every round.
        witness: it starts at random labels, and zero-shot predictions have no part in it.
    """

    calibration: Calibration
    witness: bool


class Candidate(NamedTuple):
    """A labeling that may be handed out.

    Attributes:
        labeling: complete.
        witness: whether it must be ahead of the others by more than orders differ.
    """

    labeling: Labeling
    witness: bool


@dataclass(frozen=True, slots=True)
class RoundsState(State):
    """What rounds need to go on.

    Attributes:
        zero_shot: predictions for the free examples without demonstrations, not calibrated; empty until a chain needs
            them.
        recent: calibrated predictions of the chain's last rounds, the latest last.
        still: rounds in a row that changed no label.
        candidates: what the chains before began and ended with.
        chosen: whether the ends have been compared.
    """

    zero_shot: Predictions = field(default_factory=dict)
    recent: tuple[Predictions, ...] = ()
    still: int = 0
    candidates: tuple[Candidate, ...] = ()
    chosen: bool = False


@dataclass(frozen=True)
class Rounds:
    """The kernel of engine "rounds"; implements `Kernel`.

    Attributes:
        objective: what is maximised.
        settings: of the search.
        start: labels known beforehand.
    """

    objective: Objective
    settings: SearchSettings
    start: Start

    async def init(self) -> tuple[State, Info]:
        """Zero-shot predictions, and the first chain's first labels."""
        return await self._begin(RoundsState(await self.objective(Labeling())), 0, 0)

    async def step(self, state: State) -> tuple[State, Info]:
        """One round, the first labels of the next chain if this one is over, or the choice between all ends."""
        assert isinstance(state, RoundsState)
        number = state.step + 1
        if not self._over(state):
            return await self._round(state, number)
        end = Candidate(state.labeling, self.chains[state.restart].witness)
        ended = replace(state, candidates=(*state.candidates, end))
        following = self._next(ended)
        if following is None:
            return await self._choose(ended, number)
        return await self._begin(ended, number, following)

    def finished(self, state: State) -> bool:
        """Whether the ends have been compared, or a person has labelled everything."""
        assert isinstance(state, RoundsState)
        return state.chosen or not self.start.free(self.objective.dataset)

    def most_requests(self, steps: int) -> int:
        """Zero-shot once; then every step scores one labeling, and the choice scores each candidate in every order."""
        size = len(self.objective.dataset)
        chains = min(len(self.chains), steps + 1)
        random_chains = sum(chain.witness for chain in self.chains[:chains])
        scores = steps + 1 + 2 * chains * self.compared
        return (1 + random_chains) * size + scores * self.objective.requests(size)

    @property
    def chains(self) -> tuple[Chain, ...]:
        """The chains, in the order in which they run; at most `settings.restarts`."""
        known = () if self.settings.start == "random" else tuple(Chain(way, witness=False) for way in self._ways)
        witnesses = (Chain(self._ways[0], witness=True),) * self.settings.restarts
        return (*known, *witnesses)[: self.settings.restarts]

    @property
    def compared(self) -> int:
        """Scores of each end: as many as ORDERS take, and two at least, so that their spread is known."""
        return max(2, -(-ORDERS // self.objective.estimator.orders))

    @property
    def _ways(self) -> tuple[Calibration, ...]:
        given = self.settings.calibration
        names = ("batch", "centres", "none") if given is None else (given,)
        return tuple(Calibration(name, self.settings.prior) for name in names)

    def _next(self, state: RoundsState) -> int | None:
        """The next chain that may find something else; None if there is none.

        A third chain from zero-shot predictions may not, if it would begin as one before it did; nor a witness, if all
        chains ended at about the same labels.
        """
        starts, ends = ([each.labeling for each in state.candidates[which::2]] for which in (0, 1))
        for restart in range(state.restart + 1, len(self.chains)):
            chain = self.chains[restart]
            if chain.witness:
                agreed = len(ends) > 1 and all(alike(ends[0], end) for end in ends)
                return None if agreed else restart
            first = self._aligned([chain.calibration(state.zero_shot)])
            if len(starts) == 1 or not any(alike(first, start) for start in starts):
                return restart
        return None

    def _over(self, state: RoundsState) -> bool:
        """Whether the chain has settled, has had its rounds, or has come to where one before it ended."""
        if state.still >= STILL or state.step - state.began >= self.settings.rounds:
            return True
        ends = [each.labeling for each in state.candidates[1::2]]
        return state.step > state.began and any(alike(state.labeling, end) for end in ends)

    async def _begin(self, state: RoundsState, number: int, restart: int) -> tuple[State, Info]:
        """A chain's first labels: calibrated zero-shot, those of an earlier run, or few-shot after random ones."""
        chain, fixed = self.chains[restart], self.start.fixed
        free = self.start.free(self.objective.dataset)
        zero_shot = state.zero_shot
        if chain.witness:
            rng = draw(self.settings.seed, number, "seed labels")
            shown = random_start(self.objective, self.settings, self.start, rng)
            predicted: Predictions = await self.objective.conditionals(free, shown)
        else:
            zero_shot = predicted = zero_shot or await self.objective.conditionals(free, fixed)
        labeling = self._aligned([chain.calibration(predicted)])
        if restart == 0:
            labeling = labeling.assign(self.start.given)
        score = await self._ordered(number)(labeling)
        info = taken(state, score, "begin", "seed", step=number, restart=restart)
        begun = RoundsState(
            score,
            better(state.best, score, len(self.objective.dataset)),
            number,
            state.accepted,
            restart,
            number,
            zero_shot=zero_shot,
            candidates=(*state.candidates, Candidate(labeling, chain.witness)),
        )
        return begun, info

    async def _round(self, state: RoundsState, number: int) -> tuple[State, Info]:
        """Relabel everything from what was predicted by now, and ask again in another order."""
        chain = self.chains[state.restart]
        asked = await self.objective.completed(state.score)
        free = self.start.free(self.objective.dataset)
        latest = chain.calibration({key: asked.distributions[key] for key in free})
        recent = (*state.recent, latest)[-AVERAGED:]
        heard = recent if chain.witness else (chain.calibration(state.zero_shot), *recent)
        labeling = self._aligned(heard)
        score = await self._ordered(number)(labeling, near=state.score)
        same = labeling == state.labeling
        info = taken(state, score, "relabel", "round", step=number, restart=state.restart)
        after = replace(
            state,
            score=score,
            best=better(state.best, score, len(self.objective.dataset)),
            step=number,
            accepted=state.accepted + (not same),
            recent=recent,
            still=state.still + 1 if same else 0,
        )
        return after, info

    async def _choose(self, state: RoundsState, number: int) -> tuple[State, Info]:
        """The candidate worth most on average over several orders, the same ones for all."""
        # Of several candidates with one labeling the first counts, which is no witness if any is not.
        candidates: dict[Labeling, Candidate] = {}
        for candidate in state.candidates:
            candidates.setdefault(candidate.labeling, candidate)
        orders = [self.objective, *(self._ordered(-at) for at in range(1, self.compared))]
        scores = {labeling: [await order(labeling) for order in orders] for labeling in candidates}
        worth = self.objective.worth
        chosen = choose([(each, [worth(score) for score in scores[key]]) for key, each in candidates.items()])
        if self._doubtful(state, scores[chosen]):
            starts = [self._alone(chain.calibration, state) for chain in self.chains if not chain.witness]
            raw, own = starts[-1][0], alone(starts)
            for labeling in (raw, own):
                if labeling not in scores:
                    scores[labeling] = [await order(labeling) for order in orders]
            if self._share(scores[chosen]) < self._share(scores[raw]) + AHEAD:
                chosen = own
        score = scores[chosen][0]
        info = taken(state, score, "choose", "choose", step=number, restart=state.restart)
        rivals = tuple(own for labeling, (own, *_) in scores.items() if labeling != chosen)
        reordered = tuple(scores[chosen][1:])
        after = replace(state, score=score, best=score, step=number, chosen=True, rivals=rivals, reordered=reordered)
        return after, info

    def _doubtful(self, state: RoundsState, scores: Sequence[Score]) -> bool:
        """Whether labels have to be clearly ahead of raw zero-shot ones, if there are any."""
        compared = self.objective.statistic == INFORMATION and state.zero_shot and not self.start.warm
        return bool(compared) and self._share(scores) < MOSTLY

    def _share(self, scores: Sequence[Score]) -> float:
        """What the texts explain of a labeling, on average over orders."""
        relations = self.objective.relations
        return fmean(explained(each.distributions, each.labeling, relations) for each in scores)

    def _alone(self, calibration: Calibration, state: RoundsState) -> tuple[Labeling, float]:
        """Zero-shot labels, and the share of them that each text alone explains."""
        labeling = self._aligned([calibration(state.zero_shot)])
        asked = Labeling({key: labeling[key] for key in state.zero_shot})
        return labeling, explained(state.zero_shot, asked, self.objective.relations)

    def _aligned(self, parts: Sequence[Predictions]) -> Labeling:
        return align(self.objective, pooled(parts), self.start.fixed, most_probable)

    def _ordered(self, number: int) -> Objective:
        return self.objective.reordered(draw(self.settings.seed, number, "order of demonstrations"))


def alike(one: Labeling, other: Labeling) -> bool:
    """Whether two labelings of the same examples differ by at most one label, or by next to none of many.

    Args:
        one: complete.
        other: complete.

    Example:
        >>> alike(Labeling({"a": "T", "b": "F"}), Labeling({"a": "T", "b": "T"}))
        True
    """
    return sum(other[key] != label for key, label in one.items()) <= max(1, ALIKE * len(one))


def alone(labelings: Sequence[tuple[Labeling, float]]) -> Labeling:
    """The last of zero-shot labelings, unless another explains clearly more. One in which all is alike says nothing.

    Args:
        labelings: each with the share of it that each text alone explains; the least calibrated last.

    Example:
        >>> one, two, same = (Labeling(dict(zip("abcd", labels))) for labels in ("TFTF", "TTFF", "TTTT"))
        >>> alone([(one, 0.35), (two, 0.30)]) == two, alone([(one, 0.35), (two, 0.15)]) == one
        (True, True)
        >>> alone([(one, 0.05), (same, 0.0)]) == one
        True
    """
    labelings = [each for each in labelings if not _one_label(each[0])] or labelings
    best, plain = max(labelings, key=lambda each: each[1]), labelings[-1]
    return best[0] if best[1] > plain[1] + CLEARLY else plain[0]


def _one_label(labeling: Labeling) -> bool:
    """Whether a labeling is about the same as giving everything one label."""
    commonest = Counter(labeling.values()).most_common(1)[0][0]
    return alike(labeling, Labeling(dict.fromkeys(labeling, commonest)))


def choose(candidates: Sequence[tuple[Candidate, Sequence[float]]]) -> Labeling:
    """The labeling that is worth most on average; a witness only if it is ahead by more than orders differ.

    The margin is the standard error, over the orders, of the difference between the two.

    Args:
        candidates: each with its value in the same orders; at least one.

    Example:
        >>> one, two = Labeling({"a": "T"}), Labeling({"a": "F"})
        >>> choose([(Candidate(one, False), [0.30, 0.34]), (Candidate(two, True), [0.36, 0.30])]) == one
        True
        >>> choose([(Candidate(one, False), [0.30, 0.34]), (Candidate(two, True), [0.46, 0.50])]) == two
        True
    """
    own = [each for each in candidates if not each[0].witness] or list(candidates)
    best = max(own, key=lambda each: fmean(each[1]))
    ahead = max(candidates, key=lambda each: fmean(each[1]))
    differences = [theirs - ours for theirs, ours in zip(ahead[1], best[1], strict=True)]
    error = stdev(differences) / sqrt(len(differences)) if len(differences) > 1 else 0.0
    return ahead[0].labeling if fmean(differences) > error else best[0].labeling
