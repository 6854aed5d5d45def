"""What to make of a labeling: salient, not salient, collapsed or unsure, with reasons and what to do.

A pure function of the measurements. Thresholds were chosen on some seeds of the embedded model's world, amended once,
and confirmed on others (`python -m tests.benchmarks verdicts`); for another model they are a starting point, and the
numbers that they are applied to are in every summary. None of this can distinguish a concept from another that divides
the examples alike: it says that the model finds a division coherent, not that it is the division that was meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from icm_api.evaluation.coherence import Coherence
from icm_api.evaluation.measures import Measures, Rival
from icm_api.evaluation.null import Null

Name: TypeAlias = Literal["salient", "not salient", "collapsed", "unsure"]

SALIENT = 0.5
"""Share of the label entropy explained from which labels count as coherent. Concepts that the embedded model holds
explain 0.64 to 0.98, and once 0.50; the most coherent labels of its concept-free task up to 0.36, of its noise 0.15."""
NOT_SALIENT = 0.4
"""Below this share, labels are not coherent; between the two, it is too close to say."""
WEAK = 0.3
"""Share of the label entropy that is information below which labels are not coherent, if the search maximises that: at
most 0.26 on two sets that SmolLM2-135M knows nothing of, 0.32 or more on five that it does."""
CORE_SALIENT = 0.6
"""Share explained of the best two thirds of the components from which a part may be coherent by itself. Chosen for
being best, such a part of noise explains up to 0.4; if a third of the questions had no answer, 0.68 to 0.95."""
PART_GAP = 0.27
"""And by which the best two thirds must be ahead of all: 0.29 to 0.49 ahead if a third of the questions had no
answer, at most 0.24 if all had."""
ONE_SIDED = 0.9
"""A label that more examples have than this is nearly all there is: unless the few others are predicted too (share
explained at least `SALIENT`), the labels have collapsed."""
AGREEING = 0.8
"""Two labelings that agree on fewer examples than this are two opinions; noise and myths cost less than a fifth."""
GIVEN_SHARED = 0.7
"""A second opinion that has fewer of a person's labels than this contradicts them."""
RIVAL_MARGIN = 0.1
"""Nats per example by which another labeling may be less coherent and still count as equally so: several times
what another order of the demonstrations changes (0.03 at most in exploration)."""
OPINIONATED = 0.38
"""Standard deviation, in nats, of zero-shot log-odds from which the model sees the examples as different: at most
0.31 if it knows nothing of them, 0.45 or more if it does, also if nearly all are true."""
FLIPPING = 0.15
"""Share of examples whose most probable label may change with the order of demonstrations."""
COVERED = 0.5
"""Less probability than this on the labels, on average, and the model was mostly about to say something else."""
FEWEST = 8
"""With fewer examples, no share explained means much."""

STRONGER = "ask for a concept that the model holds, word the prompt so that it is plain, or use a stronger model"
CONTRAST = "add examples that contrast, such as the opposite of each claim, and constraints between them"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to make of the labels.

    Attributes:
        name: "salient": coherent beyond chance, and nothing speaks against them. "not salient": no coherent division
            was found. "collapsed": one label took (nearly) all, although there is a coherent division.
            "unsure": something speaks against the labels, or too little for them.
        reasons: why, in sentences; those that decided come first.
        advice: what to do, in sentences.
    """

    name: Name
    reasons: tuple[str, ...]
    advice: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"verdict: {self.name}",
            *(f"  - {reason}" for reason in self.reasons),
            *(f"  what to do: {step}" for step in self.advice),
        ]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"verdict": self.name, "reasons": list(self.reasons), "advice": list(self.advice)}


def one_sided(coherence: Coherence, given: Collection[str] = ()) -> bool:
    """Whether (nearly) all labels that no person gave are alike, and the others do not predict them.

    Args:
        coherence: of the labels found.
        given: ids whose labels a person gave.
    """
    free = [label for key, label in coherence.labeling.items() if key not in given]
    majority = max(Counter(free).values(), default=0)
    return majority > ONE_SIDED * len(free) and coherence.share < SALIENT


def judge(measures: Measures) -> Verdict:
    """The verdict on a labeling, from its measures alone.

    Args:
        measures: by `diagnostics.diagnose`.

    Returns:
        Name, reasons and advice; the notes that hold whatever the name come last among the reasons.
    """
    by_itself = _of_one_sided if measures.one_sided else _doubted
    verdict = _contradicted(measures) or by_itself(measures) or _of_coherence(measures)
    return Verdict(verdict.name, (*verdict.reasons, *_notes(measures)), verdict.advice)


def _of_one_sided(m: Measures) -> Verdict:
    label = max(m.counts, key=lambda name: m.counts[name])
    alike = f"{m.counts[label]} of {m.size} labels are {label!r}, and such labels say nothing about the examples"
    other = m.opinion.rival.coherence
    if other.share >= SALIENT and not one_sided(other) and _beats_chance(m):
        better = ", by the run's own objective too" if other.utility > m.found.utility else ""
        return Verdict(
            "collapsed",
            (
                alike,
                f"there is a coherent division all the same: bootstrapping from zero-shot predictions finds one of "
                f"which the other labels explain {other.share:.0%}{better}",
            ),
            (
                "add constraints between examples (opposite pairs, exclusive answers), or give those there are more "
                'weight, or lower alpha; label more examples at once; or try engine = "bootstrap"',
            ),
        )
    if m.spread >= OPINIONATED or other.share >= NOT_SALIENT:
        return Verdict("unsure", (alike, _beside(m)), (CONTRAST,))
    return Verdict(
        "not salient",
        (alike, f"nor is a division beside it coherent: the best tried explains {max(other.share, 0):.0%} of itself"),
        (STRONGER,),
    )


def _beside(m: Measures) -> str:
    label = max(m.counts, key=lambda name: m.counts[name])
    if m.spread < OPINIONATED:
        share = f"{m.opinion.rival.coherence.share:.0%}"
        return f"a division beside it explains {share} of itself: too much for chance, too little to rest on"
    return (
        "no coherent division was found beside it, yet without demonstrations the model sees the examples as different "
        f"(its log-odds vary by {m.spread:.2f} nats): nearly all may truly be {label!r}, which looks like a collapse"
    )


def _contradicted(m: Measures) -> Verdict | None:
    """Given labels that the model, left to itself, would not give."""
    opinion, shared = m.opinion, m.opinion.given_agreement
    if shared is None or shared >= GIVEN_SHARED or opinion.rival.coherence.share < SALIENT:
        return None
    return Verdict(
        "unsure",
        (
            f"the given labels contradict what the model finds by itself: a second opinion that does not use them "
            f"is coherent (explains {opinion.rival.coherence.share:.0%}) and has only {opinion.given_shared} of "
            f"the {opinion.given} given labels; it agrees with {opinion.rival.agreement:.0%} of the labels found",
        ),
        ("check the given labels; if they are meant so, the concept is not the model's own: trust its labels less",),
    )


def _doubted(m: Measures) -> Verdict | None:
    """What speaks against labels, however coherent they are by themselves."""
    rivals = [rival for rival in (m.opinion.rival, *m.ends) if _rivals(rival, m)]
    if rivals:
        return _of_rival(max(rivals, key=lambda rival: rival.coherence.utility), m)
    if m.coverage[0] < COVERED:
        return Verdict(
            "unsure",
            (f"on average only {m.coverage[0]:.0%} of the model's probability fell on the labels",),
            ("put what the model does write under [prompt.forms], or make the prompt ask for these labels",),
        )
    if m.size < FEWEST:
        return Verdict("unsure", (f"{m.size} examples are too few to judge by",), ("label more examples at once",))
    return None


def _rivals(rival: Rival, m: Measures) -> bool:
    """Whether it is another opinion, coherent, and about as much so as the labels found."""
    return (
        rival.agreement < AGREEING
        and rival.coherence.share >= SALIENT
        and rival.coherence.gain > m.found.gain - RIVAL_MARGIN
    )


def _of_rival(rival: Rival, m: Measures) -> Verdict:
    if rival.coherence.utility > m.found.utility:
        how = "is better by the run's own objective: the search stopped short"
        advice = 'run with more steps or restarts, or with engine = "bootstrap", and compare'
    elif rival.agreement_renamed >= AGREEING:
        how = "is about as coherent, and has the labels the other way round: the search cannot tell which name is which"
        advice = "give a person's labels for a few examples, which settle the names"
    else:
        how = "is about as coherent: there is more than one concept here"
        advice = "look at examples on which the two differ, and give a person's labels for some of them"
    share = f"it agrees on {rival.agreement:.0%} of the examples and explains {rival.coherence.share:.0%}"
    return Verdict("unsure", (f"another labeling ({rival.name}) {how}; {share}",), (advice,))


def _of_coherence(m: Measures) -> Verdict:
    if m.null is not None and (not m.null.beaten or m.null.share < WEAK):
        return Verdict("not salient", (f"{_of_null(m.null)}: the model finds no concept in them",), (STRONGER,))
    explained = (
        f"the other labels explain {max(m.found.share, 0):.0%} of the labels ({m.found.gain:.2f} nats per example)"
    )
    if m.core >= max(CORE_SALIENT, m.found.share + PART_GAP) and _beats_chance(m):
        part = (
            f"only a part of the examples is coherent: of the best two thirds of the components {m.core:.0%} is "
            f"explained, of all {max(m.found.share, 0):.0%}; the others may have no answer"
        )
        return Verdict("unsure", (part,), ("look at the most contested examples, and drop those without an answer",))
    weak = m.null is None and m.found.share < NOT_SALIENT
    if weak or not _beats_chance(m):
        reason = explained if weak else f"{explained}, and shuffled labels do as well"
        return Verdict("not salient", (f"{reason}: the model finds no concept in them",), (STRONGER,))
    if m.found.share < SALIENT:
        return Verdict("unsure", (f"{explained}: too little to tell a weak concept from noise",), (STRONGER,))
    if m.orders and m.orders.flipped > FLIPPING:
        reason = f"in other orders of the demonstrations {m.orders.flipped:.0%} of the predictions change"
        return Verdict("unsure", (reason, explained), ("label more examples at once, or use a stronger model",))
    mirrored = [way for way in m.renamed if way.coherence.gain > m.found.gain - RIVAL_MARGIN]
    supported = m.opinion.given_agreement is not None or (
        m.opinion.rival.agreement >= AGREEING and m.opinion.rival.coherence.share >= SALIENT
    )
    if mirrored and not supported:
        reason = (
            f"the same division under other names ({mirrored[0].name}) is about as coherent: from random seeds a "
            "search can settle on the exact opposite"
        )
        return Verdict("unsure", (reason, explained), ("give a person's labels for a few examples",))
    return Verdict("salient", (explained,), ())


def _of_null(null: Null) -> str:
    return (
        f"the labels are worth {null.found:.2f} nats per example, {max(null.share, 0):.0%} of the most that such "
        f"labels can be, where the same search finds {null.noise:.2f} in made-up words "
        f"(standard error {null.error:.2f})"
    )


def _beats_chance(m: Measures) -> bool:
    """More coherent than every shuffle. If nothing could be shuffled, the share explained decides alone."""
    return m.chance is None or not m.chance.exceeded


def _notes(m: Measures) -> Iterator[str]:
    """What else to know, whatever the verdict."""
    if m.chance and m.chance.margin is not None:
        spread = "" if m.chance.z is None else f" ({m.chance.z:.1f} standard deviations)"
        yield (
            f"labels ({m.chance.of}) are {m.chance.margin:.2f} nats per example more coherent than shuffled "
            f"ones{spread}; {m.chance.exceeded} of {len(m.chance.shuffled)} shuffles are at least as coherent"
        )
    nearest = max(m.renamed, key=lambda way: way.coherence.gain)
    if nearest.coherence.gain > m.found.gain - RIVAL_MARGIN:
        yield (
            f"with the names exchanged ({nearest.name}) the labels are about as coherent: which name is which is not "
            "settled by it"
        )
    opinion = m.opinion.rival
    if opinion.coherence.share >= SALIENT:
        yield f"a second opinion from zero-shot predictions agrees on {opinion.agreement:.0%} of the examples"
    else:
        yield "a second opinion from zero-shot predictions came to nothing coherent, and so has no weight"
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
    if not m.one_sided and m.found.majority > ONE_SIDED:
        yield f"{m.found.majority:.0%} of the labels are one and the same: read accuracy beside balanced accuracy"
    for constraint, count in m.conflicts.items():
        yield f"{count} relations of {constraint} are broken"
    if m.coverage[0] < COVERED:
        yield f"mean coverage is {m.coverage[0]:.2f}, smallest {m.coverage[1]:.2f}"
