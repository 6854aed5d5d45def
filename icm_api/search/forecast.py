"""What a search is likely to ask for, an engine each: which questions, given how many labels, and how often it waits.

How long chains go on, and how often a labeling comes again, which asks for nothing new, is known only afterwards. What
is known before is how much relations leave open: the less, the sooner a search settles. The figures here were set by
searches on the embedded model (`python -m tests.benchmarks plans`), and not as their means: where some searches take
twice as long as others, and nothing tells which, *likely* is the amount from which most are less than a quarter away.
That is between the commonest course and the rare long one. By how much single runs differ from it, `spread` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log, log2
from typing import NamedTuple, TypeAlias

from icm_api.config import SearchSettings
from icm_api.consistency import MOST_WAYS
from icm_api.objective import INFORMATION, Objective, Shared
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

    def plus(self, more: Course, times: float = 1.0) -> Course:
        """With so much more of everything.

        Args:
            more: of each.
            times: how often.

        Example:
            >>> Course(2.0, 0.0, 3.0, 1.0).plus(Course(0.0, 0.0, 0.5, 0.25), 2)
            Course(chains=2.0, witness=0.0, rounds=4.0, ends=1.5)
        """
        return Course(*(own + times * its for own, its in zip(self, more, strict=True)))


SETTLED = Course(2.0, 0.0, 1.75, 0.7)
"""Where relations leave half of what labels could be: the first two chains end about alike, however many examples."""
OPEN = Course(3.0, 0.9, 2.75, 1.2)
"""Of `FEW` examples, where nothing is related: chains begin differently and end apart."""
DOUBLED = Course(0.0, 0.0, 0.15, 0.18)
"""What twice as many examples add to `OPEN`."""
PARTLY_SHOWN = Course(0.0, 0.0, 0.9, 0.1)
"""What estimator `shared` adds to `OPEN`, whose contexts show a part of the labels each and differ by which."""
FEW = 16
HALF = 0.5
"""Share of what labels could be, up to which relations settle searches as far as they can."""
BENT = 1.6
"""Power of what is open beyond: a little makes searches by rounds hardly longer."""
RANGES = {
    "bootstrap": (0.65, 1.35),
    "folds": (0.65, 1.35),
    "anneal": (0.6, 1.5),
    "gibbs": (0.4, 2.0),
}
"""From and to how many times what is likely nine of ten searches take."""
SETTLED_RANGES = (0.75, 1.3), (0.65, 3.0)
OPEN_RANGES = (0.55, 1.35), (0.3, 1.5)
"""The same of rounds that relations settle, and of others: inside prompts, and by next tokens. They hold for the worlds
of `tests.benchmarks.worlds` too: where the model knows the labels well, rounds settle at once, and go on for as long as
they may where it knows nothing of them."""
SCORED, SWEPT = (1.05, 1.95), (1.05, 1.8)
"""New labelings a restart of bootstrapping, where relations settle it and of `FEW` examples where nothing is related;
and of folds, as many as sweeps."""
RESCORED_MORE, RESCORED_BENT = 0.35, 0.75
"""What twice as many examples add where nothing is related; and the power of what is open, of these engines."""
STIRRED = (0.2, 0.3)
"""Share of gibbs' sweeps that change a label, and so ask nearly everything anew; in the others nothing is new."""
STIRRED_NEW = 0.9
"""Share of the questions of such a sweep that are new."""
TRIED, TRIED_BY_LOGPROB, GROWN = 2.1, 3.2, 1.5
"""Complete labelings a beginning of annealing by components, by information and by mean log p, where relations rule out
that all labels are alike; and labelings scored per step of growth."""
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


def left_open(objective: Objective, start: Start) -> float:
    """How far relations leave labels open, in information: 1 if nothing is related, 0 if all is known.

    Of a component with more than `MOST_WAYS` legal labelings, so many are counted.

    Args:
        objective: of the search.
        start: labels known beforehand.
    """
    free = [
        (len(component), [key for key in component if key not in start.fixed])
        for component in objective.relations.components
    ]
    each, many = log(len(objective.labels)), objective.relations.legal_labelings
    most = each * sum(len(ids) for _, ids in free)
    left = 0.0
    for size, ids in free:
        if size == 1:
            left += each * len(ids)
        elif ids:
            legal = many(ids, start.fixed, MOST_WAYS)
            left += log(MOST_WAYS if legal is None else max(1, len(legal)))
    return left / most if most else 0.0


def unsettled(objective: Objective, start: Start) -> float:
    """Where a search is between the most that relations settle, 0, and none, 1.

    Args:
        objective: of the search.
        start: labels known beforehand.
    """
    return min(1.0, max(0.0, (left_open(objective, start) - HALF) / (1 - HALF)))


def course_of(objective: Objective, start: Start) -> Course:
    """How rounds are likely to go on.

    Args:
        objective: of the search.
        start: labels known beforehand.
    """
    still_open = OPEN.plus(DOUBLED, doublings(objective))
    if isinstance(objective.estimator, Shared):
        still_open = still_open.plus(PARTLY_SHOWN)
    # A chain has two ends at most.
    still_open = still_open._replace(ends=min(2.0, still_open.ends))
    return SETTLED.mixed(still_open, unsettled(objective, start) ** BENT)


def doublings(objective: Objective) -> float:
    """How often `FEW` examples are doubled until there are as many."""
    return log2(max(1.0, len(objective.dataset) / FEW))


def spread(objective: Objective, settings: SearchSettings, start: Start) -> tuple[float, float]:
    """From and to how many times what is likely single runs take, as a rule.

    Args:
        objective: of the search.
        settings: of the search.
        start: labels known beforehand.
    """
    if settings.engine != "rounds":
        return RANGES[settings.engine]
    ranges = OPEN_RANGES if unsettled(objective, start) else SETTLED_RANGES
    return ranges[isinstance(objective.estimator, Shared)]


def rounds(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """Zero-shot once, a random beginning for each witness, the rounds of all chains, and the choice between ends."""
    size, free = len(objective.dataset), len(start.free(objective.dataset))
    kernel = Rounds(objective, settings, start)
    known, course = sum(not chain.witness for chain in kernel.chains), course_of(objective, start)
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
    return *_restarts(objective, settings, start), _rescored(objective, settings, start, steps)


def _rescored(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Asked:
    settled, still_open = SWEPT if settings.engine == "folds" else SCORED
    size = len(objective.dataset)
    still_open += RESCORED_MORE * doublings(objective)
    each = settled + (still_open - settled) * unsettled(objective, start) ** RESCORED_BENT
    return _scored(size, min(steps + 1, settings.restarts * min(settings.rounds, each)))


def folds(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """As bootstrapping, and for each sweep a question per example, given the labels outside its fold."""
    scored = _rescored(objective, settings, start, steps)
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
    settled, still_open = STIRRED
    stirred = sweeps * (settled + (still_open - settled) * unsettled(objective, start))
    return (
        *_restarts(objective, settings, start),
        _asked(size - 1, STIRRED_NEW * stirred * sampler.requests(), stirred * len(sampler.blocks())),
        _scored(size, settings.restarts + STIRRED_NEW * stirred),
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
    tried = TRIED if objective.statistic == INFORMATION else TRIED_BY_LOGPROB
    return *found, _scored(size, max(1.0, min(left, beginnings * tried)))


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
