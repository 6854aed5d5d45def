"""From replies to probabilities, for models that give no logprobs: counts of sampled labels, or stated probabilities.

It does: read a reply as a label or as a statement, and estimate probabilities with their standard error.
It does not: ask a model anything, or take a reply for a label that it only resembles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from statistics import fmean, stdev

from icm_api.errors import CapabilityError, LogprobsUnavailableError
from icm_api.model.reading.reading import Below, Reading
from icm_api.types import Label, Verbalizer

_STATED_DECIMALS = 2
# A statement of 0 stands for anything that rounds to it.
_SMALLEST_STATED = 0.5 * 10**-_STATED_DECIMALS
# Several probabilities of two decimals rarely sum to 1 exactly; more than this off and it is no distribution.
_STATED_SLACK = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """Probabilities of labels from replies.

    Attributes:
        probabilities: per label, summing to 1; 0 for a label that every statement gave 0.
        standard_error: the largest among the labels.
        coverage: the share of replies that were one of the labels.
    """

    probabilities: Mapping[Label, float]
    standard_error: float
    coverage: float

    def reading(self, method: str) -> Reading:
        """The estimate as a reading of whole labels; a probability of 0 becomes a bound at what rounds to 0."""
        labels = {
            label: log(self.coverage * p) if p > 0 else Below(log(self.coverage * _SMALLEST_STATED))
            for label, p in self.probabilities.items()
        }
        return Reading({}, method, self.standard_error, labels)


def from_counts(counts: Mapping[Label, int], other: int, smoothing: float) -> Estimate:
    """Probabilities from how often each label was the reply.

    With n replies that were labels, L labels and smoothing a: p = (c + a) / (n + a L), the mean of the Dirichlet
    posterior under a symmetric prior a, and its standard deviation sqrt(p (1 - p) / (n + a L + 1)). No p is below
    a / (n + a L), so a label that never came has a probability that n and a decide, not the model.

    Args:
        counts: per label of the set, the replies that were it; 0 if none was.
        other: replies that were no label. They lower the coverage and nothing else.
        smoothing: a, above 0; 0.5 is Jeffreys' prior.

    Raises:
        ValueError: `smoothing` is not above 0.
        LogprobsUnavailableError: no reply was a label.

    Example:
        >>> found = from_counts({"True": 7, "False": 1}, other=2, smoothing=0.5)
        >>> found.probabilities["False"], found.coverage, round(found.standard_error, 4)
        (0.16666666666666666, 0.8, 0.1179)
    """
    if not smoothing > 0:
        raise ValueError(f"smoothing must be above 0, or a label that never came would be impossible; got {smoothing}")
    replies = sum(counts.values())
    if replies == 0:
        raise LogprobsUnavailableError(f"none of {other} replies was one of the labels {list(counts)}")
    weight = replies + smoothing * len(counts)
    probabilities = {label: (count + smoothing) / weight for label, count in counts.items()}
    error = max(sqrt(p * (1 - p) / (weight + 1)) for p in probabilities.values())
    return Estimate(probabilities, error, replies / (replies + other))


def from_statements(statements: Sequence[Mapping[Label, float]]) -> Estimate:
    """The mean of stated distributions, and the standard error of that mean from their spread.

    Args:
        statements: two or more, each summing to 1 over the same labels. Equal ones have a standard error of 0,
            which says that the model repeats itself, not that it is right.

    Raises:
        ValueError: fewer than two statements, which have no spread.

    Example:
        >>> found = from_statements([{"True": 0.6, "False": 0.4}, {"True": 0.8, "False": 0.2}])
        >>> round(found.probabilities["True"], 9), round(found.standard_error, 9)
        (0.7, 0.1)
    """
    if len(statements) < 2:
        raise ValueError(f"a mean of stated probabilities needs two statements or more, got {len(statements)}")
    columns = {label: [statement[label] for statement in statements] for label in statements[0]}
    error = max(stdev(column) for column in columns.values()) / sqrt(len(statements))
    return Estimate({label: fmean(column) for label, column in columns.items()}, error, 1.0)


def spoken_forms(verbalizer: Verbalizer) -> Mapping[str, Label]:
    """What a whole reply may be -> the label it then is: every surface form without the space around it.

    Raises:
        CapabilityError: two labels would be the same reply.

    Example:
        >>> dict(spoken_forms(Verbalizer({"True": [" True", " yes"], "False": [" False"]})))
        {'True': 'True', 'yes': 'True', 'False': 'False'}
    """
    spoken: dict[str, Label] = {}
    for label in verbalizer.labels:
        for form in verbalizer.forms(label):
            other = spoken.setdefault(form.strip(), label)
            if other != label:
                raise CapabilityError(
                    f"labels {other!r} and {label!r} are both written {form.strip()!r} apart from white space, which "
                    "a reply does not tell apart; give them forms that differ, or choose a provider with logprobs"
                )
    return spoken


def read_label(reply: str, spoken: Mapping[str, Label]) -> Label | None:
    """The label that a whole reply is, up to white space around it; None if it is anything else.

    Args:
        reply: the whole reply.
        spoken: as `spoken_forms` gives it.

    Example:
        >>> spoken = {"correct": "yes", "incorrect": "no"}
        >>> read_label(" incorrect\\n", spoken), read_label("It is correct", spoken)
        ('no', None)
    """
    return spoken.get(reply.strip())


def read_statement(reply: str, verbalizer: Verbalizer) -> Mapping[Label, float]:
    """The distribution that a reply states as a JSON object from each label as written to its probability.

    Args:
        reply: the whole reply.
        verbalizer: the label set.

    Returns:
        Per label its probability, scaled to sum to exactly 1.

    Raises:
        LogprobsUnavailableError: it is no such object, or no distribution; what came.

    Example:
        >>> dict(read_statement('{"True": 0.75, "False": 0.25}', Verbalizer.plain(["True", "False"])))
        {'True': 0.75, 'False': 0.25}
    """
    names = dict(zip(verbalizer.labels, _names(verbalizer), strict=True))
    try:
        stated = json.loads(reply)
    except (ValueError, RecursionError):
        stated = None
    if not isinstance(stated, dict) or set(stated) != set(names.values()):
        raise LogprobsUnavailableError(
            f"asked for a JSON object of probabilities of {list(names.values())}, the model wrote {reply!r:.200}"
        )
    values = {label: stated[name] for label, name in names.items()}
    # NaN fails the comparison; True is no number here.
    if not all(type(value) in (int, float) and 0 <= value <= 1 for value in values.values()):
        raise LogprobsUnavailableError(f"the model stated what are no probabilities: {reply!r:.200}")
    total = sum(values.values())
    if abs(total - 1) > _STATED_SLACK:
        raise LogprobsUnavailableError(
            f"the model stated probabilities that sum to {total:g}, not to 1: {reply!r:.200}"
        )
    return {label: value / total for label, value in values.items()}


def statement_question(verbalizer: Verbalizer, turn: int) -> str:
    """What to ask for a stated distribution; `turn` rotates the order in which the labels are named.

    Args:
        verbalizer: the label set.
        turn: rotates the order of the labels.

    Example:
        >>> statement_question(Verbalizer.plain(["True", "False"]), 1).partition(": ")[2]
        '"False", "True"'
    """
    names = [json.dumps(name, ensure_ascii=False) for name in _names(verbalizer, turn)]
    return (
        "How probable is each answer? Give a JSON object with the probability of each of these answers, with "
        f"{_STATED_DECIMALS} decimals, summing to 1: {', '.join(names)}"
    )


def statement_schema(verbalizer: Verbalizer, turn: int) -> dict[str, object]:
    """The JSON schema of a stated distribution, its labels in the order of the question.

    Args:
        verbalizer: the label set.
        turn: rotates the order of the labels.
    """
    names = _names(verbalizer, turn)
    return {
        "type": "object",
        "properties": {name: {"type": "number"} for name in names},
        "required": names,
        "additionalProperties": False,
    }


def _names(verbalizer: Verbalizer, turn: int = 0) -> list[str]:
    return [verbalizer.written(label).strip() for label in rotated(verbalizer.labels, turn)]


def rotated(labels: Sequence[Label], turn: int) -> tuple[Label, ...]:
    """The labels in order, beginning with another one each turn.

    Args:
        labels: in their order.
        turn: how far to rotate.

    Example:
        >>> rotated("abc", 4)
        ('b', 'c', 'a')
    """
    start = turn % len(labels)
    return (*labels[start:], *labels[:start])
