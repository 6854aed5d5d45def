"""How alike two labelings are: labels that are three or more numbers by distance, all others by equality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum, isfinite

from icm_api.types import Label


def places_of(labels: Sequence[Label]) -> Mapping[Label, int]:
    """Per label its place in numeric order, from 0.

    Args:
        labels: the label set.

    Returns:
        Nothing unless the labels are three or more different numbers.

    Example:
        >>> places_of(["10", "1", "2"]), places_of(["1", "2"]), places_of(["good", "so so", "bad"])
        ({'1': 0, '2': 1, '10': 2}, {}, {})
    """
    try:
        values = {label: float(label) for label in labels}
    except ValueError:
        return {}
    usable = len(set(values.values())) == len(values) > 2 and all(map(isfinite, values.values()))
    return {label: at for at, label in enumerate(sorted(values, key=values.__getitem__))} if usable else {}


def agreement(one: Mapping[str, Label], other: Mapping[str, Label], labels: Sequence[Label] = ()) -> float:
    """Share of the examples labelled in both that have the same label in both; of numbers, how near they are.

    Args:
        one: a labeling.
        other: a labeling with at least one example in common.
        labels: the label set; if it is one of three or more numbers, distance counts.

    Returns:
        In [0, 1]. Of numbers, 1 less half the ratio of the mean distance to the distance of unrelated labels with the
        same shares, not below 0: so 0.5 if they have nothing to do with each other, as of two labels with even shares.

    Example:
        >>> agreement({"a": "True", "b": "False"}, {"a": "True", "b": "True"})
        0.5
        >>> one = {"a": "1", "b": "2", "c": "3"}
        >>> agreement(one, one, "123"), round(agreement(one, {"a": "2", "b": "2", "c": "3"}, "123"), 3)
        (1.0, 0.786)
    """
    both = [key for key in one if key in other]
    places = places_of(labels)
    if not places:
        return sum(one[key] == other[key] for key in both) / len(both)
    pairs = [(places[one[key]], places[other[key]]) for key in both]
    apart = fsum(abs(a - b) for a, b in pairs) / len(pairs)
    expected = fsum(abs(a - b) for a, _ in pairs for _, b in pairs) / len(pairs) ** 2
    return max(0.0, 1 - apart / (2 * expected)) if expected else float(not apart)
