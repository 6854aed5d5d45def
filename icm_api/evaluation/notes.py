"""What else to know of a labeling, whatever its verdict: one-sidedness, drift, chance, other opinions, a witness."""

from __future__ import annotations

from collections.abc import Iterator

from icm_api.evaluation.measures import Measures
from icm_api.evaluation.thresholds import COHERENT, COVERED, DRIFTED, LOPSIDED, NAMING_SPREAD, ONE_SIDED
from icm_api.wording import count_of


def notes(m: Measures) -> Iterator[str]:
    """What else to know.

    Args:
        m: by `diagnostics.diagnose`.

    Returns:
        Sentences.
    """
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
            f"{m.ends_agreeing} of {count_of(total, 'restart')} ended at these labels; the least alike agrees on "
            f"{least:.0%} ({renamed:.0%} with the names exchanged)"
            if m.ends
            else f"all {count_of(total, 'restart')} ended at these labels"
        )
    for constraint, count in m.conflicts.items():
        yield f"{count_of(count, f'relation of {constraint} is', f'relations of {constraint} are')} broken"
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
