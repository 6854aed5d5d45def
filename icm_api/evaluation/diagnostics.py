"""Measures of a finished labeling without gold: is it coherent, and more so than it would be by chance?

Everything is asked through the objective, so that it is cached, counted, and the same for the same inputs. Labels are
looked at and never changed; what the measurements mean is decided in `verdict`.

The second opinion is what the model finds if it starts from nothing but itself, by a short bootstrap (Shrivastava et
al. 2026): zero-shot predictions, made legal, become the demonstrations of the next round. No label that a person gave,
no random seed label and no label found takes part, so agreement with it is evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, fsum, log
from statistics import fmean
from typing import Any

from icm_api.chance import draw
from icm_api.config import DiagnosticsSettings
from icm_api.consistency import Relations
from icm_api.evaluation.allowance import Allowance
from icm_api.evaluation.answers import UNCHECKED, headline, lines_of
from icm_api.evaluation.bootstrap import Chain, bootstrap_chain, opinion_spread, zero_shot
from icm_api.evaluation.coherence import (
    Coherence,
    agreement_renamed,
    coherence,
    core_share,
    legal_logprob,
    over_orders,
    rename,
    renamings,
    shuffled,
)
from icm_api.evaluation.distance import agreement
from icm_api.evaluation.measures import Chance, Judged, Measures, Opinion, Orders, Rival, Witness
from icm_api.evaluation.naming import Naming, Prior, Reading, auroc_of, leaning_of, name, readings_of, weakest_pair
from icm_api.evaluation.null import null_of
from icm_api.evaluation.queue import margins
from icm_api.evaluation.thresholds import COHERENT
from icm_api.evaluation.verdict import Verdict, judge, one_sided
from icm_api.objective import Calibration, Objective, information, information_terms
from icm_api.search.align import align, most_probable
from icm_api.types import Label, Labeling, Model, Predictions, Score, Tally, Usage

_TRIES = 20
"""Draws of a shuffle that changes something, before it is given up."""
_PLACES = 5
"""Of the run, at which the label balance is looked up."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finished labeling, judged.

    Attributes:
        verdict: what to make of the labels by themselves.
        naming: what says which label is which.
        measures: what both rest on.
        repeats: the same examples labelled again: the most probable labels in other orders of the demonstrations,
            and the labels of other restarts and of the second opinion if they are coherent.
        usage: requests and tokens that judging asked for, beyond those that the search had asked for.
    """

    verdict: Verdict
    naming: Naming
    measures: Measures
    repeats: tuple[Labeling, ...] = ()
    usage: Usage = field(default_factory=Usage)

    @property
    def headline(self) -> str:
        """The verdict in a few words; "unchecked", since nobody has looked at the labels."""
        return headline(self.verdict.name, self.naming.answer)

    def lines(self) -> list[str]:
        """For people."""
        return list(lines_of({"diagnosis": self.as_json()}, "RUN"))

    def as_json(self) -> dict[str, Any]:
        """For `summary.json`."""
        return {
            "verdict": self.headline,
            **self.verdict.as_json(),
            "named": self.naming.as_json(),
            "checked": {"answer": UNCHECKED},
            "measures": self.measures.as_json(),
        }


async def diagnose(
    objective: Objective,
    judged: Judged,
    settings: DiagnosticsSettings | None = None,
    seed: int = 0,
    witness: Model | None = None,
) -> Diagnosis:
    """Judge a finished labeling; no gold label is looked at.

    Takes n requests for each other labeling that is looked at, and looks at as many as `settings.share` of what the
    search asked for pays for; `settings.most_requests` requests at most.

    Args:
        objective: the run's.
        judged: the labels found, and what is known of the run.
        settings: how much to spend.
        seed: of shuffles, orders and renamings.
        witness: another model to score the labels once more, n requests.

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
    allowance = Allowance.of(judged.searched, settings.share, score, objective.tally)
    if judged.fixed:
        # The search saw them everywhere: zero-shot has to be asked anew, and must not leave the null too few examples.
        await zero_shot(objective)
        allowance = allowance.beside(objective.tally.usage)
    measures, seen = await _Judge(objective, replace(judged, score=score), settings, seed, allowance).measured()
    usage = objective.tally.usage
    if witness is not None:
        said, asked = await _witness(objective, score, witness)
        measures, usage = replace(measures, witness=said), usage + asked
    measures = replace(measures, requests=usage.requests, tokens=usage.prompt_tokens)
    others = [other.coherence for other in (measures.opinion.rival, *measures.ends)]
    repeats = [*seen, *(other.labeling for other in others if other.share >= COHERENT)]
    naming = name(measures.prior, len(judged.fixed), _readings(objective, score, measures, seed))
    return Diagnosis(judge(measures), naming, measures, tuple(repeats), usage)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Measures one labeling, as far as the allowance goes."""

    objective: Objective
    judged: Judged
    settings: DiagnosticsSettings
    seed: int
    allowance: Allowance

    async def measured(self) -> tuple[Measures, list[Labeling]]:
        """All but the witness, and the most probable labels in other orders."""
        judged, settings, objective, seed = self.judged, self.settings, self.objective, self.seed
        known = [await objective.completed(score) for score in judged.reordered]
        score, relations = over_orders([judged.score, *known]), _related(objective)
        # Labels that a person gave need not be what the model would say, and are left out: all, or, if the others tell
        # more of the labels then, those that it would not say.
        against = [key for key, label in judged.fixed.items() if score.distributions[key].best != label]
        counted = [(coherence(score, relations, out, objective.worth(score)), out) for out in (judged.fixed, against)]
        found, given = max(counted, key=lambda pair: pair[0].share)
        # Rivals need not agree on what a person said.
        free = score.labeling.without(judged.fixed) or score.labeling
        lopsided = one_sided(found, given)
        first = await zero_shot(objective)
        null = await null_of(objective, score, seed, given, self.allowance) if settings.null else None
        opinion = await self._opinion(first, free)
        orders, seen = await self._orders(known)
        ends = await self._ends(free, first)
        renamed = await self._renamed(first)
        # Labels that are all alike stay what they are when shuffled.
        other = opinion.rival.coherence
        measures = Measures(
            labels=objective.labels,
            found=found,
            one_sided=lopsided,
            core=core_share(score, objective.relations.components, relations),
            counts=_counts(score.labeling, objective.labels),
            drift=_drift(judged.path, objective.labels),
            chance=await self._chance(("second opinion", other, Labeling()) if lopsided else ("found", found, given)),
            renamed=renamed,
            ends=ends,
            ends_agreeing=sum(end == score.labeling for end in judged.ends),
            orders=orders,
            opinion=opinion,
            prior=_prior(objective, first, score),
            coverage=_coverage(score),
            margins=margins(score)[: settings.contested],
            conflicts=Counter(objective.relations[at].constraint for at in sorted(score.broken)),
            null=null,
            requests=0,
        )
        return measures, seen

    async def _scored(self, labeling: Labeling) -> Score:
        """With distributions if examples are related: a component's labels are judged beside its other legal ones."""
        known = (each for each in (self.judged.score, *self.judged.rivals) if each.labeling == labeling)
        score = next(known, None) or await self.objective(labeling)
        return await self.objective.completed(score) if len(self.objective.relations) else score

    def _rival(self, name: str, score: Score, found: Labeling, first: Predictions) -> Rival:
        labeling, objective = score.labeling, self.objective
        return Rival(
            name,
            coherence(score, _related(objective), value=objective.worth(score)),
            agreement(labeling, found, objective.labels),
            agreement_renamed(found, labeling, objective.labels),
            auroc_of(first, labeling),
            leaning_of(Calibration("batch")(first), found, labeling, objective.relations.component),
        )

    async def _opinion(self, first: Predictions, found: Labeling) -> Opinion:
        """The plain chain; if its labels are not coherent, the debiased one, if it is more so.

        If no round can be afforded, calibrated zero-shot labels, at which the default search begins.
        """
        objective, given = self.objective, self.judged.fixed
        # Each chain scores what it ends at.
        rounds = min(self.settings.rounds, self.allowance.at_most(2 * self.settings.rounds) // 2)
        if rounds:
            chain = await bootstrap_chain(objective, first, rounds, debias=False)
        else:
            labels = align(objective, Calibration("batch")(first), Labeling(), most_probable)
            chain = Chain(labels, 0, debiased=True)
        score = await self._scored(chain.labeling)
        rival = self._rival("second opinion", score, found, first)
        if rounds and rival.coherence.share < COHERENT:
            other = await bootstrap_chain(objective, first, rounds, debias=True)
            again = await self._scored(other.labeling)
            second = self._rival("second opinion, debiased", again, found, first)
            if second.coherence.share > rival.coherence.share:
                chain, rival, score = other, second, again
        against = [key for key, label in given.items() if chain.labeling[key] != label]
        contradicted = fsum(_sureness(score, key, len(objective.labels)) for key in against) / max(1, len(given))
        return Opinion(rival, chain.rounds, chain.debiased, len(given), len(given) - len(against), contradicted)

    async def _orders(self, known: Sequence[Score]) -> tuple[Orders | None, list[Labeling]]:
        """What the search saw in other orders of the demonstrations; else a data set in other orders gives some."""
        objective, own, scores = self.objective, self.judged.score, list(known)
        for number in range(0 if known else self.allowance.at_most(self.settings.orders)):
            other = objective.reordered(draw(self.seed, number, "order of demonstrations"))
            scores.append(await other.completed(await other(own.labeling)))
        found = [coherence(score, _related(objective)).predictability for score in scores]
        best = [Labeling({key: read.best for key, read in score.distributions.items()}) for score in scores]
        flips = [labels[key] != read.best for labels in best for key, read in own.distributions.items()]
        return (Orders(tuple(found), fmean(flips)) if scores else None), best

    async def _ends(self, found: Labeling, first: Predictions) -> tuple[Rival, ...]:
        others = [end for end in dict.fromkeys(self.judged.ends) if end != self.judged.score.labeling]
        known = {score.labeling for score in self.judged.rivals}
        rivals = []
        for end in others[: self.settings.ends]:
            if end in known or self.allowance.at_most(1):
                rivals.append(self._rival("another restart", await self._scored(end), found, first))
        return tuple(rivals)

    async def _renamed(self, first: Predictions) -> tuple[Rival, ...]:
        found, labels = self.judged.score.labeling, self.objective.labels
        ways = renamings(labels, self.settings.renamings, draw(self.seed, 0, "renamings"))
        name = "the inverse" if len(labels) == 2 else "other names"
        afforded = ways[: self.allowance.at_most(len(ways))]
        scores = [await self._scored(rename(found, way)) for way in afforded]
        return tuple(self._rival(name, score, found, first) for score in scores)

    async def _chance(self, measured: tuple[str, Coherence, Collection[str]]) -> Chance | None:
        name, one, given = measured
        gains: list[float] = []
        # Two or three of them say nothing.
        wanted = self.settings.shuffles
        for number in range(wanted if self.allowance.at_most(wanted) == wanted else 0):
            rng = draw(self.seed, number, f"shuffle of {name}")
            tries = (shuffled(one.labeling, self.objective.relations, rng) for _ in range(_TRIES))
            other = next((labeling for labeling in tries if labeling != one.labeling), None)
            if other is not None:
                gains.append(coherence(await self._scored(other), _related(self.objective), given).gain)
        return Chance(name, one.gain, tuple(gains)) if gains else None


def _related(objective: Objective) -> Relations | None:
    """What connects examples, if anything does."""
    return objective.relations if len(objective.relations) else None


def _prior(objective: Objective, first: Predictions, score: Score) -> Prior:
    """The zero-shot predictions beside the labels found, and what the context adds to them."""
    calibrate, evenly = Calibration("batch"), -log(len(objective.labels))
    ids = list(score.labeling)
    labels, relations = score.labeling, objective.relations
    most = -legal_logprob(labels, ids, relations, lambda *_: evenly)
    given = dict(score.distributions)
    alone, together = (information(calibrate(reads), labels, relations) * len(ids) for reads in (first, given))
    # Calibrated predictions are even on average, and would say that a rare label costs as little as any other.
    guessed = -fsum(term.on_average for term in information_terms(given, labels, relations))
    told = (alone + together) / guessed if guessed else 0.0
    alone, together = (share / most if most else 0.0 for share in (alone, together))
    return Prior(opinion_spread(first), auroc_of(first, labels), alone, together, told, weakest_pair(first, labels))


def _readings(objective: Objective, score: Score, measures: Measures, seed: int) -> tuple[Reading, ...]:
    """Some of the labels that the model is surest of, and what they are under the most coherent other names."""
    pair = measures.prior.exchanged
    if pair is not None:
        other = rename(
            score.labeling, {**{label: label for label in objective.labels}, pair.one: pair.other, pair.other: pair.one}
        )
    elif measures.renamed:
        other = max(measures.renamed, key=lambda way: way.coherence.gain).coherence.labeling
    else:
        other = rename(score.labeling, renamings(objective.labels, 1, draw(seed, 0, "renamings"))[0])
    return readings_of(objective.dataset, score.labeling, other, [row.id for row in reversed(margins(score))])


async def _witness(objective: Objective, score: Score, model: Model) -> tuple[Witness, Usage]:
    """The same labels in the same prompts, before another model; and what that cost."""
    other = replace(objective, model=model, tally=Tally())
    again = await other.completed(await other(score.labeling))
    reads = again.distributions
    agreeing = fmean(read.best == score.labeling[key] for key, read in reads.items())
    name = str(getattr(model, "identity", "another model"))
    share = coherence(again, _related(other)).share
    return Witness(name, share, auroc_of(reads, score.labeling), agreeing), other.tally.usage


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


def _coverage(score: Score) -> tuple[float, float] | None:
    covered = [read.coverage for read in score.distributions.values() if read.coverage is not None]
    return (fmean(covered), min(covered)) if covered else None


def _sureness(score: Score, key: str, labels: int) -> float:
    """How sure a label is, from 0, as probable as any, to 1, certain."""
    return max(0.0, (exp(score.logprobs[key]) - 1 / labels) / (1 - 1 / labels))
