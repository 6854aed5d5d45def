"""What a search is likely to ask for, an engine each: which questions, given how many labels, and how often it waits.

How long chains go on, and how often a labeling comes again, which asks for nothing new, is known only afterwards. The
means here were printed by `python -m tests.benchmarks plans` over tasks, seeds and sizes; a single run differs from
them by about a quarter, and by up to half, or double, where labels are drawn at random (gibbs, anneal). Where relations
rule out that all labels are alike, searches settle sooner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from icm_api.config import SearchSettings
from icm_api.objective import Objective
from icm_api.search.gibbs import Gibbs
from icm_api.search.rounds import Rounds
from icm_api.search.start import Start

FURTHER, FURTHER_SETTLED = 0.5, 0.3
"""Share of the chains after the first that take place, where they begin at zero-shot predictions."""
WITNESS, WITNESS_SETTLED = 0.6, 0.1
"""Share of the witnesses that take place after such chains."""
ROUNDS, ROUNDS_SETTLED = 3.2, 2.2
"""Rounds of a chain."""
ENDS, ENDS_SETTLED = 0.9, 0.5
"""Labelings a chain that are compared in the end: what it began and ended with, without those of other chains."""
SCORED, SCORED_SETTLED = 1.6, 1.6
"""New labelings a restart of bootstrapping and of folds; and sweeps of folds."""
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


def _either(objective: Objective, open_ended: float, settled: float) -> float:
    return settled if objective.relations.rule_out_alike() else open_ended


def rounds(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """Zero-shot once, a random beginning for each witness, the rounds of all chains, and the choice between ends."""
    size, free = len(objective.dataset), len(start.free(objective.dataset))
    kernel = Rounds(objective, settings, start)
    known = sum(not chain.witness for chain in kernel.chains)
    # From the second on, those that would find nothing else are left out.
    own = min(known, 1 + (known - 1) * _either(objective, FURTHER, FURTHER_SETTLED))
    witnesses = (len(kernel.chains) - known) * (_either(objective, WITNESS, WITNESS_SETTLED) if known else 1.0)
    chains = own + witnesses
    lasting = min(settings.rounds, _either(objective, ROUNDS, ROUNDS_SETTLED))
    going = chains * (1 + lasting)
    # The choice is the last step: fewer steps than it takes to get there never come to it.
    ends = max(1.0, _either(objective, ENDS, ENDS_SETTLED) * chains)
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
    scores = min(steps + 1, settings.restarts * min(settings.rounds, _either(objective, SCORED, SCORED_SETTLED)))
    return *_restarts(objective, settings, start), _scored(len(objective.dataset), scores)


def folds(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    """As bootstrapping, and for each sweep a question per example, given the labels outside its fold."""
    found = bootstrap(objective, settings, start, steps)
    outside = len(objective.dataset) * (settings.folds - 1) // settings.folds
    sweeps = found[-1].scores
    return *found, _asked(outside, sweeps * len(start.free(objective.dataset)), sweeps * settings.folds)


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
