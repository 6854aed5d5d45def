"""What a search is likely to ask for, an engine each: which questions, given how many labels, and how often it waits.

How long chains go on, and how often a labeling comes again, which asks for nothing new, is known only afterwards. The
means here were printed by `python -m tests.benchmarks plans` over tasks, seeds and sizes; by how much single runs
differ from them, `spread` says. Relations settle searches sooner, most of all where they rule out that all labels are
alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from icm_api.config import SearchSettings
from icm_api.objective import Objective
from icm_api.search.gibbs import Gibbs
from icm_api.search.rounds import Rounds
from icm_api.search.start import Start


class Course(NamedTuple):
    """How rounds go on.

    Attributes:
        chains: that begin at zero-shot predictions and take place.
        witness: share of the witnesses that take place after them.
        rounds: of a chain.
        ends: labelings a chain that are compared in the end: what it began and ended with, without those of others.
    """

    chains: float
    witness: float
    rounds: float
    ends: float

    def mixed(self, other: Course, share: float) -> Course:
        """The mean with another course, which takes place so often.

        Args:
            other: the other course.
            share: of it, from 0 to 1.

        Example:
            >>> Course(2.0, 0.0, 3.0, 1.0).mixed(Course(3.0, 1.0, 5.0, 1.0), 0.5)
            Course(chains=2.5, witness=0.5, rounds=4.0, ends=1.0)
        """
        return Course(*(own + share * (its - own) for own, its in zip(self, other, strict=True)))


SETTLED = Course(2.0, 0.05, 1.6, 0.55)
"""Where relations rule out that all labels are alike: the first two chains end alike."""
OPEN = Course(3.0, 0.95, 3.05, 1.45)
"""Where there are no relations: chains begin differently and end apart."""
SHORT, LONG = Course(2.0, 0.0, 1.8, 0.75), Course(3.0, 0.25, 3.3, 1.75)
"""Where there are others, either may be: which is known only afterwards."""
FEW, MANY, MOST_LONG = 6, 48, 0.5
"""From so many examples on some searches take the long course, and from so many half of them: ends that differ by a
label are the same, which of few examples is a large share."""
RELATED = 0.5
"""Share of the examples that have relations, from which on these decide."""
NEAR, FAR = (0.75, 1.35), (0.5, 2.0)
"""From and to how many times what is likely single runs take: of rounds whose course is known, and of others."""
SCORED, SWEPT = 1.4, 1.3
"""New labelings a restart of bootstrapping; and of folds, as many as sweeps."""
SAMPLED, SAMPLED_CHAIN = 0.45, 0.25
"""Share of gibbs' sweeps that score a new labeling; and share of the chain rule's questions that are new."""
TRIED, GROWN = 2.7, 1.5
"""Complete labelings a beginning of annealing by components; and labelings scored per step of growth."""
ADDED, CHANGED, REPAIRED = 1.5, 0.1, 1.5
"""Of the paper's search: labelings scored for each example added; the share of other steps that propose a new label;
and repairs scored for each of both where there are relations."""


class Asked(NamedTuple):
    """Questions of one kind that are likely to be asked, each once.

    Attributes:
        shown: examples in each labeling that is scored; or labels that each question is given.
        scores: labelings that are scored.
        questions: single questions.
        waits: how often all answers are waited for.
        noise: whether the texts are in made-up words.
        exact: whether labelings are scored by leave-one-out, whatever the estimator of the search.
    """

    shown: int
    scores: float = 0.0
    questions: float = 0.0
    waits: float = 0.0
    noise: bool = False
    exact: bool = False


Forecast: TypeAlias = tuple[Asked, ...]


def _scored(shown: int, scores: float) -> Asked:
    return Asked(shown, scores=scores, waits=scores)


def _asked(shown: int, questions: float, waits: float = 1.0) -> Asked:
    return Asked(shown, questions=questions, waits=waits)


def _seeds(objective: Objective, settings: SearchSettings, start: Start) -> int:
    """Labels that a random beginning has."""
    size = len(objective.dataset)
    return min(size, len(start.fixed) + min(settings.seed_labels, max(2, size // 4)))


def course_of(objective: Objective) -> Course:
    """How rounds are likely to go on.

    Args:
        objective: of the search.
    """
    if objective.relations.rule_out_alike():
        return SETTLED
    size = len(objective.dataset)
    if sum(bool(objective.relations.neighbours(key)) for key in objective.dataset.ids) < RELATED * size:
        return OPEN
    return SHORT.mixed(LONG, MOST_LONG * min(1.0, max(0.0, (size - FEW) / (MANY - FEW))))


def spread(objective: Objective, settings: SearchSettings) -> tuple[float, float]:
    """From and to how many times what is likely single runs take, as a rule.

    Args:
        objective: of the search.
        settings: of the search.
    """
    known = settings.engine == "rounds" and course_of(objective) in (SETTLED, OPEN)
    return NEAR if known else FAR


def rounds(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """Zero-shot once, a random beginning for each witness, the rounds of all chains, and the choice between ends."""
    size, free = len(objective.dataset), len(start.free(objective.dataset))
    kernel = Rounds(objective, settings, start)
    known, course = sum(not chain.witness for chain in kernel.chains), course_of(objective)
    own = min(known, course.chains)
    witnesses = (len(kernel.chains) - known) * (course.witness if known else 1.0)
    chains = own + witnesses
    going = chains * (1 + min(settings.rounds, course.rounds))
    # The choice is the last step: fewer steps than it takes to get there never come to it.
    ends = max(1.0, course.ends * chains)
    chosen = kernel.compared * ends if steps >= going else 0.0
    return (
        _asked(len(start.fixed), free * bool(known)),
        _asked(_seeds(objective, settings, start), witnesses * free, witnesses),
        _scored(size, min(going, steps + 1) + chosen),
    )


def _restarts(objective: Objective, settings: SearchSettings, start: Start) -> Forecast:
    """Beginnings at the model's own predictions: zero-shot first, then after random labels."""
    free = len(start.free(objective.dataset))
    further = settings.restarts - 1
    first = len(start.given) if start.warm or settings.start != "random" else _seeds(objective, settings, start)
    return _asked(first, free), _asked(_seeds(objective, settings, start), further * free, further)


def bootstrap(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """The beginnings, and a scoring for each new labeling."""
    return *_restarts(objective, settings, start), _rescored(objective, settings, steps, SCORED)


def _rescored(objective: Objective, settings: SearchSettings, steps: int, each: float) -> Asked:
    scores = min(steps + 1, settings.restarts * min(settings.rounds, each))
    return _scored(len(objective.dataset), scores)


def folds(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """As bootstrapping, and for each sweep a question per example, given the labels outside its fold."""
    scored = _rescored(objective, settings, steps, SWEPT)
    outside = len(objective.dataset) * (settings.folds - 1) // settings.folds
    sweeps = scored.scores
    return (
        *_restarts(objective, settings, start),
        scored,
        _asked(outside, sweeps * len(start.free(objective.dataset)), sweeps * settings.folds),
    )


def gibbs(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """The beginnings; in each sweep the chain rule's questions, block by block, and a scoring."""
    size = len(objective.dataset)
    sweeps = min(steps, settings.restarts * settings.rounds)
    sampler = Gibbs(objective, settings, start)
    waits = sweeps * SAMPLED_CHAIN * len(sampler.blocks())
    return (
        *_restarts(objective, settings, start),
        _asked(size - 1, sweeps * SAMPLED_CHAIN * sampler.requests(), waits),
        _scored(size, settings.restarts + sweeps * SAMPLED),
    )


def annealing(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """By components: growth from the seeds, restart after restart; then complete labelings, challengers among them."""
    size, labels = len(objective.dataset), len(objective.labels)
    warm = bool(start.warm) or settings.start == "zero-shot"
    sizes = list(_growth(_seeds(objective, settings, start), size, settings.growth))
    grown, left = settings.restarts - warm, float(steps + 1)
    found = [_asked(len(start.fixed), len(start.free(objective.dataset)))] if settings.start == "zero-shot" else []
    for before, after in zip(sizes, [*sizes[1:], size], strict=True):
        scores = min(left, grown * GROWN)
        left -= scores
        found += [_scored(before, scores), _asked(before, grown * (after - before), grown)]
    beginnings = settings.restarts + labels + (labels == 2)
    return *found, _scored(size, max(1.0, min(left, beginnings * TRIED)))


def _growth(first: int, size: int, share: float) -> Iterator[int]:
    """The sizes of a labeling that grows, before it is complete."""
    while first < size:
        yield first
        first += max(1, int(share * first))


def paper(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """Algorithm 1: one example a step, most of them new ones while related ones are open; then few change."""
    size = len(objective.dataset)
    related = sum(bool(objective.relations.neighbours(key)) for key in objective.dataset.ids) / size
    labelled = float(min(size, len(start.given) or settings.seed_labels))
    at: dict[int, list[float]] = {}
    for _ in range(steps):
        left = size - labelled
        weight = left * (1 + related * (settings.related_weight - 1))
        new = weight / (weight + labelled)
        scores = ADDED * new + (1 - new) * CHANGED * (labelled >= size - 1)
        repairs = REPAIRED * scores * (related > 0)
        sums = at.setdefault(round(labelled), [0.0, 0.0])
        sums[0] += scores + repairs
        sums[1] += new
        labelled = min(float(size), labelled + new)
    return tuple(Asked(shown, scores, asked, scores + asked) for shown, (scores, asked) in at.items())
