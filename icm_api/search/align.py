"""From predictions to labels that keep the relations: whole groups at once, by one of two rules.

`most_probable` takes the legal labels with the largest joint probability; `most_confident` lets the example that the
model is surest of have its way, and the others align (Wen et al. 2025, v2, appendix G). A group is what chains of
relations connect. Nothing here asks the model or looks at U.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from icm_api.consistency import Relations
from icm_api.objective import Objective
from icm_api.types import Dataset, Label, LabelDistribution, Labeling

MOST_WAYS = 64
"""A group is enumerated while it has at most this many labelings."""

Predictions: TypeAlias = Mapping[str, LabelDistribution]
Rule: TypeAlias = Callable[[Objective, Sequence[str], Predictions, Labeling], Mapping[str, Label]]


def align(objective: Objective, predicted: Predictions, context: Labeling, rule: Rule) -> Labeling:
    """Labels for all predicted examples, group by group.

    Args:
        objective: holds the relations.
        predicted: a distribution for each example to label.
        context: labels of other examples, which relations are held against.
        rule: `most_probable` or `most_confident`.

    Returns:
        `context` and the new labels.
    """
    labels: dict[str, Label] = {}
    for group in objective.relations.components:
        unit = [key for key in group if key in predicted]
        if unit:
            labels.update(rule(objective, unit, predicted, context))
    return context.assign(labels)


def most_probable(
    objective: Objective, unit: Sequence[str], predicted: Predictions, context: Labeling
) -> Mapping[str, Label]:
    """The legal labels with the largest sum of log p; one by one, the surest first, where they are too many."""
    best = objective.best_legal(unit, [predicted[key] for key in unit], context, MOST_WAYS)
    return one_by_one(objective, unit, predicted, context) if best is None else best


def most_confident(
    objective: Objective, unit: Sequence[str], predicted: Predictions, context: Labeling
) -> Mapping[str, Label]:
    """The surest example keeps its label; the others get the most probable labels that are legal with it."""
    [first, *others] = by_confidence(unit, predicted)
    if not others:
        return one_by_one(objective, unit, predicted, context)
    anchored = one_by_one(objective, [first], predicted, context)
    reads = [predicted[key] for key in others]
    best = objective.best_legal(others, reads, context.assign(anchored), MOST_WAYS)
    return one_by_one(objective, unit, predicted, context) if best is None else {**anchored, **best}


def one_by_one(
    objective: Objective, unit: Sequence[str], predicted: Predictions, context: Labeling
) -> Mapping[str, Label]:
    """The surest first, each with its most probable label that is legal with those before it.

    An example to which they leave no legal label gets its most probable one: U counts what that breaks.
    """
    labels: dict[str, Label] = {}
    for key in by_confidence(unit, predicted):
        legal = objective.relations.legal_labelings([key], {**context, **labels}, len(objective.labels))
        allowed = [way[key] for way in legal or ()] or objective.labels
        labels[key] = max(allowed, key=predicted[key].logprob)
    return labels


def by_confidence(unit: Sequence[str], predicted: Predictions) -> list[str]:
    """The surest first; equally sure ones as they came.

    Example:
        >>> from math import log
        >>> reads = {
        ...     key: LabelDistribution(("True", "False"), (log(p), log(1 - p)), 1.0, "exact")
        ...     for key, p in {"a": 0.6, "b": 0.1, "c": 0.7}.items()
        ... }
        >>> by_confidence(["a", "b", "c"], reads)
        ['b', 'c', 'a']
    """
    return sorted(unit, key=lambda key: -max(predicted[key].logprobs))


def units(dataset: Dataset, relations: Relations, limit: int) -> list[tuple[str, ...]]:
    """Examples that are labelled together: connected groups of relations while small, else one by one.

    Args:
        limit: a group with more members than this falls apart into single examples.

    Returns:
        A partition of the ids, in data set order of each unit's first member.
    """
    found: dict[tuple[str, ...], None] = {}
    for example_id in dataset.ids:
        group = relations.component(example_id)
        found[group if len(group) <= limit else (example_id,)] = None
    return list(found)
