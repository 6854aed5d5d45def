"""From predictions to labels that keep the relations: a whole component at once, by one of two rules.

`most_probable` takes the legal labels with the largest joint probability; with `most_confident`, the example that the
model is surest of keeps its label, and the others align (Wen et al. 2025, v2, appendix G). A component is what chains
of relations connect. Nothing here asks the model or looks at U.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum, inf
from typing import TypeAlias

from icm_api.consistency import MOST_WAYS, Relations
from icm_api.objective import Objective
from icm_api.types import Dataset, Label, Labeling, Predictions

LARGEST_UNIT = 8
"""The examples of a component larger than this are labelled one at a time."""

Rule: TypeAlias = Callable[[Objective, Sequence[str], Predictions, Labeling], Mapping[str, Label]]


def align(objective: Objective, predicted: Predictions, context: Labeling, rule: Rule) -> Labeling:
    """Labels for all predicted examples, component by component.

    Args:
        objective: holds the relations.
        predicted: a distribution for each example to label.
        context: labels of other examples, with which no relation is to be broken.
        rule: `most_probable` or `most_confident`.

    Returns:
        `context` and the new labels.
    """
    labels: dict[str, Label] = {}
    for component in objective.relations.components:
        unit = [key for key in component if key in predicted]
        if unit:
            labels.update(rule(objective, unit, predicted, context))
    return context.assign(labels)


def most_probable(
    objective: Objective, unit: Sequence[str], predicted: Predictions, context: Labeling
) -> Mapping[str, Label]:
    """The legal labels with the largest sum of log p.

    Args:
        objective: holds the relations.
        unit: the examples to label together.
        predicted: a distribution for each of them.
        context: labels of other examples, with which no relation is to be broken.

    Returns:
        A label per example of `unit`. If more than `MOST_WAYS` labelings are legal, or none is, they are labelled
        one by one, the surest first.
    """
    best = _best_legal(objective.relations, unit, predicted, context)
    return _one_by_one(objective, unit, predicted, context) if best is None else best


def most_confident(
    objective: Objective, unit: Sequence[str], predicted: Predictions, context: Labeling
) -> Mapping[str, Label]:
    """The surest example keeps its label; the others get the most probable labels that are legal with it.

    Args:
        objective: holds the relations.
        unit: the examples to label together.
        predicted: a distribution for each of them.
        context: labels of other examples, with which no relation is to be broken.

    Returns:
        A label per example of `unit`; one by one, as by `most_probable`, if there is no better way.
    """
    [first, *others] = _by_confidence(unit, predicted)
    if not others:
        return _one_by_one(objective, unit, predicted, context)
    anchored = _one_by_one(objective, [first], predicted, context)
    best = _best_legal(objective.relations, others, predicted, context.assign(anchored))
    return _one_by_one(objective, unit, predicted, context) if best is None else {**anchored, **best}


def _best_legal(
    relations: Relations, unit: Sequence[str], predicted: Predictions, context: Labeling
) -> Mapping[str, Label] | None:
    """The legal labels with the largest sum of log p; None if none is legal, or more than `MOST_WAYS` are."""
    best, most = None, -inf
    for labels in relations.legal_labelings(unit, context, MOST_WAYS) or ():
        fit = fsum(predicted[key].logprob(labels[key]) for key in unit)
        if fit > most:
            best, most = labels, fit
    return best


def _one_by_one(
    objective: Objective, unit: Sequence[str], predicted: Predictions, context: Labeling
) -> Mapping[str, Label]:
    """The surest first, each with its most probable label that is legal with those before it.

    An example to which they leave no legal label gets its most probable one: U counts what that breaks.
    """
    labels: dict[str, Label] = {}
    for key in _by_confidence(unit, predicted):
        legal = objective.relations.legal_labelings([key], {**context, **labels}, len(objective.labels))
        allowed = [way[key] for way in legal or ()] or objective.labels
        labels[key] = max(allowed, key=predicted[key].logprob)
    return labels


def _by_confidence(unit: Sequence[str], predicted: Predictions) -> list[str]:
    """The surest first; equally sure examples in the order given."""
    return sorted(unit, key=lambda key: -max(predicted[key].logprobs))


def units(dataset: Dataset, relations: Relations, limit: int) -> list[tuple[str, ...]]:
    """Examples that are labelled together: whole components if they are small, else single examples.

    Args:
        dataset: the examples.
        relations: what connects them.
        limit: the most examples of a component that is kept whole.

    Returns:
        A partition of the ids, in data set order of each unit's first member.
    """
    found: dict[tuple[str, ...], None] = {}
    for example_id in dataset.ids:
        component = relations.component(example_id)
        found[component if len(component) <= limit else (example_id,)] = None
    return list(found)
