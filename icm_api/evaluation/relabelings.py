"""Labelings to hold the one found against: the same labels elsewhere, other names for them; and agreement.

Pure functions of a labeling and a random generator: nothing is scored here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice, permutations
from random import Random

from icm_api.consistency import Relations
from icm_api.types import Label, Labeling

MOST_WAYS = 64
"""A group is shuffled over its legal labelings while it has at most this many."""
MOST_LABELS = 6
"""Renamings are all tried up to this many labels (6! = 720)."""


def rename(labeling: Mapping[str, Label], names: Mapping[Label, Label]) -> Labeling:
    """The same division under other names.

    Example:
        >>> rename({"a": "True", "b": "False"}, {"True": "False", "False": "True"})
        Labeling({'a': 'False', 'b': 'True'})
    """
    return Labeling({key: names[label] for key, label in labeling.items()})


def renamings(labels: Sequence[Label], most: int, rng: Random) -> list[dict[Label, Label]]:
    """Ways to name the labels otherwise: the one there is for two labels, else at most `most`, drawn at random."""
    if len(labels) <= MOST_LABELS:
        others = list(islice(permutations(labels), 1, None))
        return [dict(zip(labels, other, strict=True)) for other in rng.sample(others, min(most, len(others)))]
    drawn = {tuple(rng.sample(labels, len(labels))) for _ in range(most)} - {tuple(labels)}
    return [dict(zip(labels, other, strict=True)) for other in sorted(drawn)]


def agreement(one: Mapping[str, Label], other: Mapping[str, Label]) -> float:
    """Share of the examples labelled in both that have the same label in both; they share at least one.

    Example:
        >>> agreement({"a": "True", "b": "False"}, {"a": "True", "b": "True"})
        0.5
    """
    both = [key for key in one if key in other]
    return sum(one[key] == other[key] for key in both) / len(both)


def agreement_renamed(one: Mapping[str, Label], other: Mapping[str, Label], labels: Sequence[Label]) -> float:
    """Agreement after the renaming of `other` that agrees best: 1 where both divide the examples alike.

    For two labels that is agreement or 1 - agreement, whichever is larger. Beyond `MOST_LABELS` labels it is
    a lower bound: names are matched one by one, most frequent pair first.
    """
    both = [key for key in one if key in other]
    pairs = Counter((one[key], other[key]) for key in both)
    if len(labels) <= MOST_LABELS:
        best = max(sum(pairs[a, b] for a, b in zip(labels, way, strict=True)) for way in permutations(labels))
        return best / len(both)
    taken_one: set[Label] = set()
    taken_other: set[Label] = set()
    matched = 0
    for (a, b), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        if a not in taken_one and b not in taken_other:
            taken_one.add(a)
            taken_other.add(b)
            matched += count
    return matched / len(both)


def shuffled(labeling: Labeling, relations: Relations, rng: Random) -> Labeling:
    """The labels in other places: moved about inside each group, groups of one label exchanged between groups.

    Groups are what chains of relations connect. One with different labels gets one of its legal labelings with the
    same label counts; where that can only be its own, any legal one, so that what the constraints settle does not
    count as coherence. Groups whose labels are all alike, single examples among them, exchange labels with others
    of their size.

    Args:
        labeling: complete.
        relations: what is legal, and the groups.
        rng: all chance comes from here.
    """
    moved: dict[str, Label] = {}
    alike: dict[int, list[tuple[str, ...]]] = {}
    for group in relations.components:
        if len({labeling[key] for key in group}) == 1:
            alike.setdefault(len(group), []).append(group)
        else:
            moved.update(_other_way(labeling, relations, group, rng))
    for same_size in alike.values():
        labels = [labeling[group[0]] for group in same_size]
        rng.shuffle(labels)
        for group, label in zip(same_size, labels, strict=True):
            moved.update(dict.fromkeys(group, label))
    return Labeling({key: moved[key] for key in labeling})


def _other_way(labeling: Labeling, relations: Relations, group: tuple[str, ...], rng: Random) -> Mapping[str, Label]:
    own = Labeling({key: labeling[key] for key in group})
    legal = relations.legal_labelings(group, {}, MOST_WAYS) or ()
    same_counts = [way for way in legal if Counter(way.values()) == Counter(own.values())]
    for ways in (same_counts, legal):
        if any(way != own for way in ways):
            return rng.choice(ways)
    return dict(zip(group, rng.sample(list(own.values()), len(group)), strict=True))
