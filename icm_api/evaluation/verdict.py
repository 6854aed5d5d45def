"""Coherent? What to make of a labeling by itself: coherent, not coherent, collapsed or unsure, with reasons.

A pure function of the measurements, whose thresholds are in `thresholds`. None of it can tell a concept from another
that divides the examples alike, and none of it says which label is which: that is for `naming`, and whether the labels
are right is for a person, see `checked`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from icm_api.evaluation.coherence import Coherence
from icm_api.evaluation.intervals import exact_lower_limit
from icm_api.evaluation.measures import Measures, Opinion, Rival
from icm_api.evaluation.notes import notes
from icm_api.evaluation.null import Null
from icm_api.evaluation.thresholds import (
    AGREEING,
    COHERENT,
    CONTRADICTED,
    CORE_COHERENT,
    COVERED,
    FEWEST,
    FLIPPING,
    INCOHERENT,
    LEARNED,
    LITTLE,
    NAMED,
    NAMING_SPREAD,
    ONE_SIDED,
    OPINIONATED,
    PART_GAP,
    RIVAL_MARGIN,
    SHARED,
    STRONG_SPREAD,
    STRONGLY,
    WEAK,
)

Name: TypeAlias = Literal["coherent", "not coherent", "collapsed", "unsure"]

STRONGER = "ask for a concept that the model holds, word the prompt so that it is plain, or use a stronger model"
MORE = "label more examples at once, word the prompt so that the concept is plain, or use a stronger model"
CHECK_GIVEN = (
    "look again at the labels that you gave; if they are right, the model sees something else in the texts than you "
    "do, and its labels are of use only if a check passes"
)
GIVEN_MEANS = "the labels that you gave do not fit what the model finds in the texts by itself"
CONTRAST = (
    "add texts that should get another label, such as the opposite of each claim, and say by [[constraints]] which "
    "texts cannot have the same label"
)
UNCOLLAPSED = (
    "leave [search] engine and statistic out, as the default has no liking for labels that are all alike; label more "
    "examples at once; or say by [[constraints]] which examples cannot have the same label"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to make of the labels by themselves.

    Attributes:
        name: "coherent": more so than by chance, and nothing speaks against them. "not coherent": no coherent division
            was found. "collapsed": one label took (nearly) all, although there is a coherent division.
            "unsure": something speaks against the labels, or too little for them.
        reasons: why, in sentences; those that decided come first.
        advice: what to do, in sentences.
        means: if it is "unsure", what that means for someone who knows no statistics.
    """

    name: Name
    reasons: tuple[str, ...]
    advice: tuple[str, ...]
    means: str = ""

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        said = {"reasons": list(self.reasons), "advice": list(self.advice)}
        return {"coherent": self.name, **({"means": self.means} if self.means else {}), **said}


def one_sided(coherence: Coherence, given: Collection[str] = ()) -> bool:
    """Whether (nearly) all labels that no person gave are alike, and the others do not predict them.

    Args:
        coherence: of the labels found.
        given: ids whose labels a person gave.
    """
    free = [label for key, label in coherence.labeling.items() if key not in given]
    majority = max(Counter(free).values(), default=0)
    return majority > ONE_SIDED * len(free) and coherence.share < COHERENT


def judge(measures: Measures) -> Verdict:
    """The verdict on a labeling, from its measures alone.

    Args:
        measures: by `diagnostics.diagnose`.

    Returns:
        Name, reasons and advice; the notes that hold whatever the name come last among the reasons.
    """
    by_itself = _of_one_sided if measures.one_sided else _doubted
    verdict, against = by_itself(measures) or _of_coherence(measures), _contradicted(measures)
    # Where labels are coherent that divide the examples as the model does, a person has told it the names; but not
    # where it is sure of the opposite names by itself.
    exchanged = measures.opinion.rival.agreement_renamed >= AGREEING and verdict.name == "coherent"
    exchanged = exchanged and not _sure_of_the_opposite(measures)
    verdict = verdict if against is None or exchanged else against
    return replace(verdict, reasons=(*verdict.reasons, *notes(measures)))


def _sure_of_the_opposite(m: Measures) -> bool:
    """Whether the model, asked about each text by itself, strongly gives the labels each other's names."""
    return m.prior.auroc is not None and m.prior.auroc <= 1 - STRONGLY and m.prior.spread >= STRONG_SPREAD


def _of_one_sided(m: Measures) -> Verdict:
    label = max(m.counts, key=lambda name: m.counts[name])
    alike = f"{m.counts[label]} of {m.size} labels are {label!r}, and such labels say nothing about the examples"
    other = m.opinion.rival.coherence
    if other.share >= COHERENT and not one_sided(other) and _beats_chance(m):
        better = ", by the run's own objective too" if other.value > m.found.value else ""
        return Verdict(
            "collapsed",
            (
                alike,
                f"there is a coherent division all the same: bootstrapping from zero-shot predictions finds one of "
                f"which the other labels explain {other.share:.0%}{better}",
            ),
            (UNCOLLAPSED,),
        )
    if m.prior.spread >= OPINIONATED or other.share >= INCOHERENT:
        means = f"nearly all texts got the label {label!r}: that may be so, or the model may only be fond of that label"
        return Verdict("unsure", (alike, _beside(m)), (CONTRAST,), means)
    return Verdict(
        "not coherent",
        (alike, f"nor is a division beside it coherent: the best tried explains {max(other.share, 0):.0%} of itself"),
        (STRONGER,),
    )


def _beside(m: Measures) -> str:
    label = max(m.counts, key=lambda name: m.counts[name])
    if m.prior.spread < OPINIONATED:
        share = f"{m.opinion.rival.coherence.share:.0%}"
        return f"a division beside it explains {share} of itself: too much for chance, too little to rest on"
    return (
        "no coherent division was found beside it, yet without demonstrations the model sees the examples as different "
        f"(its log-odds vary by {m.prior.spread:.2f} nats): nearly all may truly be {label!r}, which looks like a "
        "collapse"
    )


def _contradicted(m: Measures) -> Verdict | None:
    """Given labels that the model, left to itself, would surely not give.

    Those that it is unsure of may be wrong as often as not: to be told of them is what a person is asked for. A few of
    those it is sure of are wrong in good runs too.
    """
    opinion = m.opinion
    if not opinion.given or opinion.contradicted <= CONTRADICTED or opinion.rival.coherence.share < COHERENT:
        return None
    if not _surely_many(opinion):
        return None
    return Verdict(
        "unsure",
        (
            f"the given labels contradict what the model finds by itself: a second opinion that does not use them "
            f"is coherent (explains {opinion.rival.coherence.share:.0%}), is sure of them, and has only "
            f"{opinion.given_shared} of the {opinion.given} given labels; it agrees with "
            f"{opinion.rival.agreement:.0%} of the labels found",
        ),
        (CHECK_GIVEN,),
        GIVEN_MEANS,
    )


def _surely_many(opinion: Opinion) -> bool:
    """Whether surely many of the given labels are not what the second opinion has."""
    return exact_lower_limit(opinion.given - opinion.given_shared, opinion.given) > CONTRADICTED


def _doubted(m: Measures) -> Verdict | None:
    """What speaks against labels, however coherent they are by themselves."""
    rivals = [rival for rival in (m.opinion.rival, *m.ends) if _rivals(rival, m)]
    if rivals:
        return _of_rival(max(rivals, key=lambda rival: rival.coherence.value), m)
    if m.coverage is not None and m.coverage[0] < COVERED:
        return Verdict(
            "unsure",
            (f"on average only {m.coverage[0]:.0%} of the model's probability fell on the labels",),
            ("put what the model does write under [prompt.forms], or make the prompt ask for these labels",),
            "asked for one of these labels, the model mostly wants to say something else",
        )
    if m.size < FEWEST:
        few = f"{m.size} examples are too few to judge by"
        return Verdict(
            "unsure", (few,), ("label more examples at once",), "there are too few texts to see a pattern in"
        )
    return None


def _rivals(rival: Rival, m: Measures) -> bool:
    """Whether it is another opinion, coherent, and about as much so as the labels found.

    The same division with the names exchanged is none, unless the search itself should have preferred it, or the model
    is sure of those names where a person gave others; nor is one to which the model, asked about each text by itself,
    leans clearly less where the two differ, or which that does not name where it names the labels found; nor is one
    against which a few answers of a person speak: many would rather speak against the answers.
    """
    if m.prior.spread >= NAMING_SPREAD and rival.leaning is not None and rival.leaning > 0:
        return False
    if m.prior.names and rival.auroc is not None and rival.auroc < NAMED:
        return False
    if rival is m.opinion.rival and 2 * m.opinion.given_shared < m.opinion.given and not _surely_many(m.opinion):
        return False
    told = m.opinion.given > 0 and not _sure_of_the_opposite(m)
    named = told or rival.coherence.value <= m.found.value
    exchanged = rival.agreement_renamed >= AGREEING and named
    return (
        not exchanged
        and rival.agreement < SHARED
        and rival.coherence.share >= COHERENT
        and rival.coherence.share > m.found.share - RIVAL_MARGIN
    )


def _of_rival(rival: Rival, m: Measures) -> Verdict:
    opinion = m.opinion
    share = f"it agrees on {rival.agreement:.0%} of the examples and explains {rival.coherence.share:.0%}"
    if rival is opinion.rival and 2 * opinion.given_shared < opinion.given:
        has = f"{opinion.given_shared} of the {opinion.given}"
        reason = f"the given labels contradict a {rival.name} that does without them, and has only {has}; {share}"
        return Verdict("unsure", (reason,), (CHECK_GIVEN,), GIVEN_MEANS)
    if rival.coherence.value > m.found.value:
        how = "is better by the run's own objective: the search stopped short"
        advice = "run with more restarts, or with another engine, and compare"
        means = "there is another way to label these texts that fits better: the search stopped too early"
    else:
        how = "is about as coherent: there is more than one concept here"
        advice = (
            "say which is meant: icm-api queue RUN --out answers.csv lists first the examples on which the two differ; "
            "fill in some labels, and run again into another folder (--out) with that file under [data] fixed; or "
            "label more examples at once"
        )
        means = "two ways to label these texts fit about as well, and the model cannot tell which of them you mean"
    return Verdict("unsure", (f"another labeling ({rival.name}) {how}; {share}",), (advice,), means)


def _of_coherence(m: Measures) -> Verdict:
    explained = (
        f"the other labels explain {max(m.found.share, 0):.0%} of the labels ({m.found.gain:.2f} nats per example)"
    )
    little = m.prior.told < LITTLE
    if m.null is not None and m.null.close and (m.null.share >= COHERENT or not little):
        much = "the labels may follow in part how the texts look, or the model's whims about them"
        means = "the labels follow a pattern, but it may be how the texts look and not what they say"
        if m.null.share < COHERENT:
            much = f"and each text alone {_share(m.prior.alone)}: that is little, and more than chance"
            means = "the model sees a pattern in the texts, but a faint one"
        return Verdict("unsure", (f"{_of_null(m.null)}: {much}",), (MORE,), means)
    if m.null is not None and (not m.null.beaten or m.null.share < WEAK or little):
        alone = f", and each text alone {_share(m.prior.alone)}" if m.null.beaten else ""
        return Verdict("not coherent", (f"{_of_null(m.null)}{alone}: the model finds no concept in them",), (STRONGER,))
    if m.core >= max(CORE_COHERENT, m.found.share + PART_GAP) and _beats_chance(m):
        part = (
            f"only a part of the examples is coherent: of the best two thirds of the components {m.core:.0%} is "
            f"explained, of all {max(m.found.share, 0):.0%}; the others may have no answer"
        )
        look = (
            "look at the examples that the model is least sure of (icm-api queue RUN --uncertain --out answers.csv), "
            "and take those without an answer out of the data"
        )
        return Verdict(
            "unsure", (part,), (look,), "a part of the texts follows a pattern; the others may have no answer"
        )
    weak = m.null is None and m.found.share < INCOHERENT
    if weak or not _beats_chance(m):
        reason = explained if weak else f"{explained}, and shuffled labels do as well"
        return Verdict("not coherent", (f"{reason}: the model finds no concept in them",), (STRONGER,))
    if m.null is None and m.found.share < COHERENT:
        much = f"{explained}: too little to tell a weak concept from noise"
        return Verdict("unsure", (much,), (STRONGER,), "the labels follow a weak pattern, which may be chance")
    if m.orders and m.orders.flipped > FLIPPING:
        reason = f"in other orders of the demonstrations {m.orders.flipped:.0%} of the predictions change"
        means = "what the model says of many texts changes with the order in which the others are shown to it"
        return Verdict("unsure", (reason, explained), ("label more examples at once, or use a stronger model",), means)
    return Verdict("coherent", (_of_context(m, explained),), ())


def _of_context(m: Measures, explained: str) -> str:
    """What the context adds over the texts alone, which is said and decides nothing."""
    prior = m.prior
    alone, together = _share(prior.alone), _share(prior.in_context)
    beside = "" if m.null is None else f"; texts of made-up words tell it {_of_noise(m.null)} of theirs"
    if prior.in_context - prior.alone >= LEARNED:
        return (
            f"each text tells the model {alone} of what could be known of its label, and together with the other "
            f"labels {together}{beside}; {explained}"
        )
    return (
        f"the model learns nothing from the other labels here: each text alone tells it {alone} of what could be known "
        f"of its label, and together with the others {together}{beside}. So these labels are what the model thought "
        "before, its prior"
    )


def _of_null(null: Null) -> str:
    return (
        f"the texts tell the model {_share(null.share)} of what could be known of these labels, and texts "
        f"of made-up words tell it {_of_noise(null)} of theirs"
    )


def _of_noise(null: Null) -> str:
    return _share(null.share - null.ahead)


def _share(share: float) -> str:
    return f"{min(max(share, 0), 1):.0%}"


def _beats_chance(m: Measures) -> bool:
    """More coherent than every shuffle. If nothing could be shuffled, the share explained decides alone."""
    return m.chance is None or not m.chance.exceeded
