"""Coherent? What to make of a labeling by itself: coherent, not coherent, collapsed or unsure, with reasons.

A pure function of the measurements, whose thresholds are in `thresholds`. None of it can tell a concept from another
that divides the examples alike, and none of it says which label is which: that is for `naming`, and whether the labels
are right is for a person, see `checked`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from icm_api.evaluation.coherence import Coherence
from icm_api.evaluation.intervals import exact_lower_limit
from icm_api.evaluation.measures import Measures, Rival
from icm_api.evaluation.null import Null
from icm_api.evaluation.thresholds import (
    AGREEING,
    COHERENT,
    CONTRADICTED,
    CORE_COHERENT,
    COVERED,
    DRIFTED,
    FEWEST,
    FLIPPING,
    INCOHERENT,
    LEARNED,
    LOPSIDED,
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
CHECK_GIVEN = "check the given labels; if they are meant so, the concept is not the model's own: trust its labels less"
CONTRAST = "add examples that contrast, such as the opposite of each claim, and constraints between them"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to make of the labels by themselves.

    Attributes:
        name: "coherent": more so than by chance, and nothing speaks against them. "not coherent": no coherent division
            was found. "collapsed": one label took (nearly) all, although there is a coherent division.
            "unsure": something speaks against the labels, or too little for them.
        reasons: why, in sentences; those that decided come first.
        advice: what to do, in sentences.
    """

    name: Name
    reasons: tuple[str, ...]
    advice: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"coherent": self.name, "reasons": list(self.reasons), "advice": list(self.advice)}


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
    return Verdict(verdict.name, (*verdict.reasons, *_notes(measures)), verdict.advice)


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
            (
                "add constraints between examples (opposite pairs, exclusive answers), or give those there are more "
                "weight, or lower alpha; label more examples at once; or try another engine",
            ),
        )
    if m.prior.spread >= OPINIONATED or other.share >= INCOHERENT:
        return Verdict("unsure", (alike, _beside(m)), (CONTRAST,))
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
    if exact_lower_limit(opinion.given - opinion.given_shared, opinion.given) <= CONTRADICTED:
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
    )


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
        )
    if m.size < FEWEST:
        return Verdict("unsure", (f"{m.size} examples are too few to judge by",), ("label more examples at once",))
    return None


def _rivals(rival: Rival, m: Measures) -> bool:
    """Whether it is another opinion, coherent, and about as much so as the labels found.

    The same division with the names exchanged is none, unless the search itself should have preferred it, or the model
    is sure of those names where a person gave others; nor is one to which the model, asked about each text by itself,
    leans clearly less where the two differ, or which that does not name where it names the labels found.
    """
    if m.prior.spread >= NAMING_SPREAD and rival.leaning is not None and rival.leaning > 0:
        return False
    if m.prior.names and rival.auroc is not None and rival.auroc < NAMED:
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
        return Verdict("unsure", (reason,), (CHECK_GIVEN,))
    if rival.coherence.value > m.found.value:
        how = "is better by the run's own objective: the search stopped short"
        advice = "run with more restarts, or with another engine, and compare"
    else:
        how = "is about as coherent: there is more than one concept here"
        advice = (
            "say which is meant: icm-api queue RUN --out answers.csv lists first the examples on which the two differ; "
            "fill in some labels, and run again into another folder (--out) with that file under [data] fixed; or "
            "label more examples at once"
        )
    return Verdict("unsure", (f"another labeling ({rival.name}) {how}; {share}",), (advice,))


def _of_coherence(m: Measures) -> Verdict:
    explained = (
        f"the other labels explain {max(m.found.share, 0):.0%} of the labels ({m.found.gain:.2f} nats per example)"
    )
    if m.null is not None and m.null.share >= COHERENT and m.null.close:
        much = "the labels may follow in part how the texts look, or the model's whims about them"
        return Verdict("unsure", (f"{_of_null(m.null)}: {much}",), (MORE,))
    if m.null is not None and (not m.null.beaten or m.null.share < WEAK):
        return Verdict("not coherent", (f"{_of_null(m.null)}: the model finds no concept in them",), (STRONGER,))
    if m.core >= max(CORE_COHERENT, m.found.share + PART_GAP) and _beats_chance(m):
        part = (
            f"only a part of the examples is coherent: of the best two thirds of the components {m.core:.0%} is "
            f"explained, of all {max(m.found.share, 0):.0%}; the others may have no answer"
        )
        return Verdict("unsure", (part,), ("look at the most contested examples, and drop those without an answer",))
    weak = m.null is None and m.found.share < INCOHERENT
    if weak or not _beats_chance(m):
        reason = explained if weak else f"{explained}, and shuffled labels do as well"
        return Verdict("not coherent", (f"{reason}: the model finds no concept in them",), (STRONGER,))
    if m.null is None and m.found.share < COHERENT:
        return Verdict("unsure", (f"{explained}: too little to tell a weak concept from noise",), (STRONGER,))
    if m.orders and m.orders.flipped > FLIPPING:
        reason = f"in other orders of the demonstrations {m.orders.flipped:.0%} of the predictions change"
        return Verdict("unsure", (reason, explained), ("label more examples at once, or use a stronger model",))
    return Verdict("coherent", (_of_context(m, explained),), ())


def _of_context(m: Measures, explained: str) -> str:
    """What the context adds over the texts alone, which is said and decides nothing."""
    prior = m.prior
    alone, together = (f"{min(max(share, 0), 1):.0%}" for share in (prior.alone, prior.in_context))
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
        f"the texts tell the model {min(max(null.share, 0), 1):.0%} of what could be known of these labels, and texts "
        f"of made-up words tell it {_of_noise(null)} of theirs"
    )


def _of_noise(null: Null) -> str:
    return f"{min(max(null.share - null.ahead, 0), 1):.0%}"


def _beats_chance(m: Measures) -> bool:
    """More coherent than every shuffle. If nothing could be shuffled, the share explained decides alone."""
    return m.chance is None or not m.chance.exceeded


def _notes(m: Measures) -> Iterator[str]:
    """What else to know, whatever the verdict."""
    yield from _of_sides(m)
    if m.chance and m.chance.margin is not None:
        spread = "" if m.chance.z is None else f" ({m.chance.z:.1f} standard deviations)"
        yield (
            f"labels ({m.chance.of}) are {m.chance.margin:.2f} nats per example more coherent than shuffled "
            f"ones{spread}; {m.chance.exceeded} of {len(m.chance.shuffled)} shuffles are at least as coherent"
        )
    opinion = m.opinion.rival
    if opinion.coherence.share < COHERENT:
        yield "a second opinion from zero-shot predictions came to nothing coherent, and so has no weight"
    elif m.prior.spread < NAMING_SPREAD:
        yield (
            "a second opinion from zero-shot predictions has no weight: the model sees too little difference between "
            "the examples to begin with"
        )
    else:
        yield f"a second opinion from zero-shot predictions agrees on {opinion.agreement:.0%} of the examples"
    total = m.ends_agreeing + len(m.ends)
    if total > 1:
        least = min((end.agreement for end in m.ends), default=1.0)
        renamed = min((end.agreement_renamed for end in m.ends), default=1.0)
        yield (
            f"{m.ends_agreeing} of {total} restarts ended at these labels; the least alike agrees on {least:.0%} "
            f"({renamed:.0%} with the names exchanged)"
            if m.ends
            else f"all {total} restarts ended at these labels"
        )
    for constraint, count in m.conflicts.items():
        yield f"{count} relations of {constraint} are broken"
    if m.coverage is not None and m.coverage[0] < COVERED:
        yield f"mean coverage is {m.coverage[0]:.2f}, smallest {m.coverage[1]:.2f}"
    if m.witness is not None:
        yield m.witness.says()


def _of_sides(m: Measures) -> Iterator[str]:
    """One-sidedness, and drift towards one label."""
    label = max(m.counts, key=lambda name: m.counts[name])
    if not m.one_sided and m.found.majority > ONE_SIDED:
        yield f"{m.found.majority:.0%} of the labels are one and the same: read accuracy beside balanced accuracy"
    elif not m.one_sided and m.found.majority >= LOPSIDED:
        yield f"{m.found.majority:.0%} of the labels are {label!r}: if you expect even shares, don't trust them"
    if len(m.drift) > 1:
        before, after = m.drift[0].get(label, 0.0), m.drift[-1].get(label, 0.0)
        if after - before > DRIFTED:
            yield (
                f"the share of {label!r} rose from {before:.0%} to {after:.0%} as the search went on: labels that "
                "drift to one side often follow the model's bias and not the texts"
            )
