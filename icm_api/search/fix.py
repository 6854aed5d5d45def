"""`consistency_fix`, Algorithm 2 of the paper: resolve conflicts, keeping a repair only where U rises.

It proposes and compares labelings; it never changes the one it was given, and draws nothing at random that is
not a function of the seed and the step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import product
from random import Random

from icm_api.consistency import Relations
from icm_api.objective import Objective
from icm_api.types import Label, Labeling, Score

LARGEST_GROUP = 64
"""Groups with more legal labelings than this are repaired one relation at a time."""


async def consistency_fix(
    objective: Objective, score: Score, rng: Random, *, repairs: int = 10, fixed: Collection[str] = ()
) -> Score:
    """Resolve conflicts of a labeling while that raises U (paper, Algorithm 2).

    Args:
        objective: U(D).
        score: of the labeling to repair, which is left as it is.
        rng: draws which conflict comes next.
        repairs: the most conflicts looked at, M of the paper.
        fixed: ids whose labels no repair changes.

    Returns:
        The score of the repaired labeling, whose U is never below that of `score`.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    unsolved: set[int] = set()
    for _ in range(repairs):
        open_conflicts = sorted(score.broken - unsolved)
        if not open_conflicts:
            break
        conflict = rng.choice(open_conflicts)
        best = score
        for updates in legal_options(objective, score.labeling, conflict, fixed):
            tried = await objective(score.labeling.assign(updates), near=score)
            if tried.utility > best.utility:
                best = tried
        # A conflict whose every repair lowers U stays, so that the others get their turn.
        unsolved = unsolved | {conflict} if best is score else set()
        score = best
    return score


def legal_options(
    objective: Objective, labeling: Labeling, conflict: int, fixed: Collection[str] = ()
) -> Iterator[Mapping[str, Label]]:
    """Every way to resolve a broken relation, other labels and those of `fixed` ids staying as they are.

    The labelled part of the relation's whole group is enumerated where it has at most `LARGEST_GROUP` legal
    labelings, so that one repair does not open the next conflict; else the relation's own examples.
    """
    relation = objective.relations[conflict]
    group = [key for key in objective.relations.component(relation.ids[0]) if key in labeling]
    stay = {key: labeling[key] for key in group if key in fixed}
    legal = objective.relations.legal_labelings([key for key in group if key not in stay], stay, LARGEST_GROUP)
    if legal is not None:
        # What only concerns fixed labels is broken in all of them.
        if not relation.is_broken(stay):
            yield from legal
        return
    free = [key for key in relation.ids if key not in fixed]
    for labels in product(objective.labels, repeat=len(free)):
        updates = dict(zip(free, labels, strict=True))
        if not relation.is_broken({**labeling, **updates}):
            yield updates


def most_options(relations: Relations, labels: int) -> int:
    """The most options that any conflict can have; 0 where nothing can conflict."""
    found = 0
    for group in relations.components:
        if len(group) > 1:
            legal = relations.legal_labelings(group, {}, LARGEST_GROUP)
            widest = max(len(relations[at].ids) for key in group for at in relations.touching(key))
            found = max(found, labels**widest if legal is None else len(legal))
    return found
