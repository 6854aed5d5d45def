"""What the judge says of planted data sets, on seeds on which none of its thresholds was chosen.

`found` counts runs whose labels agree with gold on 80% or more; a run is right if its verdict fits the labels it has.
`cost` is what judging asks for, relative to what the search asked for. `queue` is the share of questions with no
right answer among as many groups at the head of the queue for a person.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from icm_api.evaluation.queue import queue_of
from icm_api.model import open_model
from tests.planted import CASES, Outcome, answerable, outcome

SEEDS = range(300, 310)


async def outcomes(case: str, seeds: Sequence[int] = SEEDS) -> list[Outcome]:
    """One planted case, labelled and judged on each seed; nothing is shared between seeds."""
    found = []
    for seed in seeds:
        async with open_model("pocket") as model:
            found.append(await outcome(CASES[case](seed), model, seed))
    return found


def queue_head(one: Outcome) -> float | None:
    """Share of groups without a right answer among as many at the head of the queue; None where all or none are."""
    claims = one.planted.claims
    groups = {claim.id: claim.group for claim in claims}
    open_groups = frozenset(groups.values()) - answerable(claims)
    if not open_groups or len(open_groups) == len(frozenset(groups.values())):
        return None
    score, objective = one.judged.score, one.objective
    queue = queue_of(score, objective.dataset, objective.relations, repeats=one.diagnosis.repeats)
    return fmean(groups[key] in open_groups for key in queue[: len(open_groups)])


def row(case: str, found: Sequence[Outcome]) -> str:
    """A line of the table."""
    said = Counter(one.diagnosis.headline for one in found)
    verdicts = ", ".join(f"{count} {name}" for name, count in said.most_common())
    shares = sorted(one.diagnosis.measures.found.share for one in found)
    asked = sum(one.diagnosis.measures.requests for one in found)
    searched = sum(one.search_requests for one in found)
    cost = f"{asked / searched:6.0%}" if searched else "     -"
    right, hit = sum(one.right for one in found), sum(one.found for one in found)
    heads = [share for one in found if (share := queue_head(one)) is not None]
    queue = f"; queue {fmean(heads):.0%}" if heads else ""
    return (
        f"  {case:<30}{right:>3} of {len(found):<4}{hit:>4}  {shares[0]:>6.2f} to {shares[-1]:<5.2f} {cost}   "
        f"{verdicts}{queue}"
    )


def report() -> Iterator[str]:
    """The figures, a line each."""
    yield f"verdicts on planted data sets, seeds {SEEDS[0]} to {SEEDS[-1]}"
    yield f"  {'case':<30}{'right':>9}{'found':>6}  {'explained':>14}   cost   verdicts"
    for case in CASES:
        yield row(case, asyncio.run(outcomes(case)))
