"""Measures of a finished labeling without gold: is it coherent, and more so than it would be by chance?

Everything is asked through the objective, so that it is cached, counted, and the same for the same inputs. Labels are
looked at and never changed; what the measurements mean is decided in `verdict`.

The second opinion is what the model finds if it starts from nothing but itself, by a short bootstrap (Shrivastava et
al. 2026): zero-shot predictions, made legal, become the demonstrations of the next round. No label that a person gave,
no random seed label and no label found takes part, so agreement with it is evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum, sqrt
from statistics import fmean
from typing import Any

from icm_api.chance import draw
from icm_api.config import DiagnosticsSettings
from icm_api.evaluation.coherence import (
    Coherence,
    agreement,
    agreement_renamed,
    coherence,
    core_share,
    rename,
    renamings,
    shuffled,
)
from icm_api.evaluation.measures import Chance, Judged, Measures, Opinion, Orders, Rival
from icm_api.evaluation.null import null_of
from icm_api.evaluation.queue import margins
from icm_api.evaluation.verdict import SALIENT, Verdict, judge, one_sided
from icm_api.objective import INFORMATION, Objective, shifted
from icm_api.search.align import align, most_probable
from icm_api.types import Label, Labeling, Predictions, Score, Usage

_TRIES = 20
"""Draws of a shuffle that changes something, before it is given up."""
_PLACES = 5
"""Of the run, at which the label balance is looked up."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finished labeling, judged.

    Attributes:
        verdict: what to make of the labels.
        measures: what that rests on.
        repeats: the same examples labelled again: the most probable labels in other orders of the demonstrations,
            and the labels of other restarts and of the second opinion if they are coherent.
        usage: requests and tokens that judging asked for, beyond those that the search had asked for.
    """

    verdict: Verdict
    measures: Measures
    repeats: tuple[Labeling, ...] = ()
    usage: Usage = field(default_factory=Usage)

    def lines(self) -> list[str]:
        """For people."""
        return self.verdict.lines()

    def as_json(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {**self.verdict.as_json(), "measures": self.measures.as_json()}


async def diagnose(
    objective: Objective, judged: Judged, settings: DiagnosticsSettings | None = None, seed: int = 0
) -> Diagnosis:
    """Judge a finished labeling; no gold label is looked at.

    Takes at most `settings.most_requests` requests: n for each other labeling that is looked at.

    Args:
        objective: the run's.
        judged: the labels found, and what is known of the run.
        settings: how much to spend.
        seed: of shuffles, orders and renamings.

    Returns:
        The verdict, what it rests on, and what it cost.

    Raises:
        ProviderError: the model gave no usable logprobs.

    Example:
        ``diagnosis = await diagnose(found.objective, Judged(found.score, found.ends, found.start.fixed))``
    """
    settings = settings or DiagnosticsSettings()
    objective = replace(objective, tally=objective.tally.part())
    score = await objective.completed(judged.score)
    found = coherence(score)
    lopsided = one_sided(found, judged.fixed)
    orders, repeats = await _orders(objective, score, settings.orders, seed)
    opinion, spread = await _opinion(objective, judged, settings.rounds)
    ends = [end for end in dict.fromkeys(judged.ends) if end != score.labeling]
    # Labels that are all alike stay what they are when shuffled.
    measured = ("second opinion", opinion.rival.coherence) if lopsided else ("found", found)
    measures = Measures(
        labels=objective.labels,
        found=found,
        one_sided=lopsided,
        core=core_share(score, objective.relations.components),
        counts=_counts(score.labeling, objective.labels),
        drift=_drift(judged.path, objective.labels),
        chance=await _chance(objective, measured, settings.shuffles, seed),
        renamed=await _renamed(objective, score.labeling, settings.renamings, seed),
        ends=tuple([await _rival(objective, "another restart", end, score.labeling) for end in ends[: settings.ends]]),
        ends_agreeing=sum(end == score.labeling for end in judged.ends),
        orders=orders,
        opinion=opinion,
        spread=spread,
        coverage=_coverage(score),
        margins=margins(score)[: settings.contested],
        conflicts=Counter(objective.relations[at].constraint for at in sorted(score.broken)),
        null=await null_of(objective, score, seed) if settings.null and objective.statistic == INFORMATION else None,
        requests=objective.tally.usage.requests,
    )
    others = [other.coherence for other in (opinion.rival, *measures.ends)]
    repeats += [other.labeling for other in others if other.share >= SALIENT]
    return Diagnosis(judge(measures), measures, tuple(repeats), objective.tally.usage)


def _counts(labeling: Mapping[str, Label], labels: Sequence[Label]) -> dict[Label, int]:
    counted = Counter(labeling.values())
    return {label: counted[label] for label in labels}


def _drift(path: Sequence[Labeling], labels: Sequence[Label]) -> tuple[Mapping[Label, float], ...]:
    labelled = [labeling for labeling in path if labeling]
    if not labelled:
        return ()
    places = sorted({round(at * (len(labelled) - 1) / (_PLACES - 1)) for at in range(_PLACES)})
    return tuple(
        {label: count / len(labelled[at]) for label, count in _counts(labelled[at], labels).items()} for at in places
    )


def _coverage(score: Score) -> tuple[float, float]:
    covered = [read.coverage for read in score.distributions.values()]
    return fmean(covered), min(covered)


async def _rival(objective: Objective, name: str, labeling: Labeling, found: Labeling) -> Rival:
    return Rival(
        name,
        coherence(await objective(labeling)),
        agreement(labeling, found),
        agreement_renamed(found, labeling, objective.labels),
    )


async def _opinion(objective: Objective, judged: Judged, rounds: int) -> tuple[Opinion, float]:
    """The plain chain; if its labels are not coherent, the debiased one, if it is more so."""
    first, found = await zero_shot(objective), judged.score.labeling
    chain = await bootstrap_chain(objective, first, rounds, debias=False)
    rival = await _rival(objective, "second opinion", chain.labeling, found)
    if rival.coherence.share < SALIENT:
        other = await bootstrap_chain(objective, first, rounds, debias=True)
        second = await _rival(objective, "second opinion, debiased", other.labeling, found)
        if second.coherence.share > rival.coherence.share:
            chain, rival = other, second
    shared = sum(chain.labeling[key] == label for key, label in judged.fixed.items())
    return Opinion(rival, chain.rounds, chain.debiased, len(judged.fixed), shared), opinion_spread(first)


async def _chance(objective: Objective, measured: tuple[str, Coherence], shuffles: int, seed: int) -> Chance | None:
    name, one = measured
    gains: list[float] = []
    for number in range(shuffles):
        rng = draw(seed, number, f"shuffle of {name}")
        tries = (shuffled(one.labeling, objective.relations, rng) for _ in range(_TRIES))
        other = next((labeling for labeling in tries if labeling != one.labeling), None)
        if other is not None:
            gains.append(coherence(await objective(other)).gain)
    return Chance(name, one.gain, tuple(gains)) if gains else None


async def _renamed(objective: Objective, found: Labeling, most: int, seed: int) -> tuple[Rival, ...]:
    ways = renamings(objective.labels, most, draw(seed, 0, "renamings"))
    name = "the inverse" if len(objective.labels) == 2 else "other names"
    return tuple([await _rival(objective, name, rename(found, way), found) for way in ways])


async def _orders(objective: Objective, score: Score, orders: int, seed: int) -> tuple[Orders | None, list[Labeling]]:
    """Demonstrations are ordered by place in the data set: a data set in another order gives other contexts."""
    found: list[float] = []
    best: list[Labeling] = []
    for number in range(orders):
        reordered = objective.reordered(draw(seed, number, "order of demonstrations"))
        again = await reordered.completed(await reordered(score.labeling))
        found.append(coherence(again).predictability)
        best.append(Labeling({key: read.best for key, read in again.distributions.items()}))
    flips = [labeling[key] != read.best for labeling in best for key, read in score.distributions.items()]
    return (Orders(tuple(found), fmean(flips)) if orders else None), best


@dataclass(frozen=True, slots=True)
class Chain:
    """The outcome of a bootstrap.

    Attributes:
        labeling: complete.
        rounds: taken; fewer than asked for if a round changed nothing.
        debiased: every round's predictions were taken relative to their mean, see `debiased`.
    """

    labeling: Labeling
    rounds: int
    debiased: bool


async def zero_shot(objective: Objective) -> Predictions:
    """The model's prediction for every example with no demonstrations; n requests.

    Args:
        objective: gives the predictions.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    ids = objective.dataset.ids
    return await objective.conditionals(ids, Labeling())


async def bootstrap_chain(objective: Objective, first: Predictions, rounds: int, *, debias: bool) -> Chain:
    """Predict, make legal, and again with those labels as demonstrations; n requests per round after the first.

    Args:
        objective: gives predictions and relations.
        first: zero-shot predictions.
        rounds: at most; at least 1.
        debias: take predictions relative to their mean, see `debiased`.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    ids, predictions, labeling = objective.dataset.ids, first, Labeling()
    for number in range(1, rounds + 1):
        if number > 1:
            predictions = await objective.conditionals(ids, labeling)
        found = align(objective, debiased(predictions) if debias else predictions, Labeling(), most_probable)
        if found == labeling:
            return Chain(labeling, number, debias)
        labeling = found
    return Chain(labeling, rounds, debias)


def debiased(predictions: Predictions) -> Predictions:
    """Predictions relative to the mean log p of each label (batch calibration, Zhou et al. 2024, section 3).

    A model that says True to everything still says it more readily to some examples; without that bias,
    the labels are about balanced, which is wrong if the truth is not.

    Args:
        predictions: of at least one example.

    Returns:
        The same examples, each distribution divided by the mean and normalised again.

    Example:
        >>> from math import log
        >>> from icm_api.types import LabelDistribution
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.9, 0.6)}
        >>> [found.best for found in debiased(read).values()]
        ['T', 'F']
    """
    reads = list(predictions.values())
    shifts = [-fsum(values) / len(reads) for values in zip(*(read.logprobs for read in reads), strict=True)]
    return {key: shifted(read, shifts) for key, read in predictions.items()}


def opinion_spread(predictions: Predictions) -> float:
    """How differently the model sees the examples: standard deviation of its log-odds, in nats.

    For K labels, the root of 2 / (K - 1) times the summed variances of the log p of each label, less its mean over
    labels; with two labels that is the standard deviation of the log-odds. A bias to one label that all examples
    share does not change it.

    Args:
        predictions: of at least one example.

    Example:
        >>> from math import log
        >>> from icm_api.types import LabelDistribution
        >>> read = {p: LabelDistribution(("T", "F"), (log(p), log(1 - p)), 1.0, "exact") for p in (0.25, 0.75)}
        >>> round(opinion_spread(read) / log(3), 6)
        1.0
    """
    centred = [
        [value - fsum(read.logprobs) / len(read.logprobs) for value in read.logprobs] for read in predictions.values()
    ]
    variances = 0.0
    for values in zip(*centred, strict=True):
        mean = fsum(values) / len(values)
        variances += fsum((value - mean) ** 2 for value in values) / len(values)
    return sqrt(2 * variances / (len(centred[0]) - 1))
