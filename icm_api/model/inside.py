"""Whether labels read inside a prompt are those that would come next after the same text.

It does: ask both ways at the same places, and compare what is said of labels, by intervals if no more is known.
It does not: look at other tokens, which some servers fill in, or decide what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log

from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.types import LabelDistribution, Prompt, ReadsInside, Usage, Verbalizer

# Logits in bfloat16 have steps of 1/8 from 16 on. Other kernels move a label's by a step here and there, both labels'
# by one each at worst: 0.25 nats, 0.06 in probability at most, and as a rule far less. An echo that is off by a token,
# filled in or on another scale is off by more at one of several places.
_MOST_NATS = 0.25
_MOST = 0.0625
# Logarithms of what is less likely than this are mostly rounding, and no label that a search believes in has it.
_MATTERS = 0.01


@dataclass(frozen=True, slots=True)
class InsideCheck:
    """What was found.

    Attributes:
        agrees: labels inside a prompt can be relied on.
        difference: the largest difference in a label's probability; 0 if nothing was compared.
        place: where that was, with both numbers; empty if nothing was compared.
        compared: numbers that were compared, a few for every place. Bounds that tell nothing apart are no comparison.
        trouble: why labels inside a prompt can't be relied on; empty if they can.
        costs: per distinct request, by its key, what it cost.
    """

    agrees: bool
    difference: float = 0.0
    place: str = ""
    compared: int = 0
    trouble: str = ""
    costs: Mapping[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pair:
    """What is known of one probability in both ways: its smallest and its largest value."""

    what: str
    inside: tuple[float, float]
    after: tuple[float, float]

    @property
    def apart(self) -> float:
        """By how much the two differ at least."""
        return max(self.inside[0] - self.after[1], self.after[0] - self.inside[1], 0.0)

    @property
    def nats(self) -> float:
        """By how much their logarithms differ at least, if one of them matters; else 0."""
        low, high = sorted((self.inside, self.after))
        return log(high[0] / max(low[1], 1e-30)) if self.apart and high[0] > _MATTERS else 0.0

    @property
    def tells(self) -> bool:
        """Whether a wrong number would have been seen."""
        widest = max(high - low for low, high in (self.inside, self.after))
        return widest <= 1 - 2 * _MOST


async def check_inside(model: ReadsInside, prompts: Sequence[Prompt]) -> InsideCheck:
    """Ask a model for labels inside one or two prompts, and for the same labels as what comes next.

    Args:
        model: that is asked: a request or so a prompt, and one for each of its turns.
        prompts: each with a few turns. Their queries are not asked about.

    Returns:
        Whether both say the same of the labels, and where they differ most. A model that can't read inside prompts, or
        whose numbers there are none, is no error.

    Raises:
        ProviderError: labels can't be read as what comes next, or a request failed.
        BudgetError, StorageError: as in `Model.label_distributions`.
    """
    # The written form of each label alone: what is rarely listed would be read from an echo in both ways.
    asked = [replace(prompt, verbalizer=_written(prompt.verbalizer)) for prompt in prompts]
    beginnings = [
        replace(prompt, turns=prompt.turns[:at], query=turn.text)
        for prompt in asked
        for at, turn in enumerate(prompt.turns)
    ]
    try:
        inside = await model.read_inside(asked)
    except (CapabilityError, LogprobsUnavailableError) as error:
        return InsideCheck(False, trouble=str(error))
    except RequestError as error:
        if error.kind != "bad_request":
            raise
        return InsideCheck(False, trouble=str(error))
    after = await model.label_distributions(beginnings)
    costs = {**inside.costs, **after.costs}
    found = [each for turns in inside for each in turns]
    apart = [each for each in zip(beginnings, found, after, strict=True) if _independent(each[1], each[2])]
    if not apart:
        said = "labels after a prompt are read from an echo too, so there is nothing to check"
        return InsideCheck(False, trouble=said, costs=costs)
    pairs = [
        pair
        for prompt, one, other in apart
        for pair in _pairs(f"after {len(prompt.turns)} turns and {prompt.query[-40:]!r}", one, other)
    ]
    told = [pair for pair in pairs if pair.tells]
    if not told:
        return InsideCheck(False, trouble="no label was listed, so there is nothing to compare", costs=costs)
    worst = max(told, key=lambda pair: max(pair.apart / _MOST, pair.nats / _MOST_NATS))
    agrees = worst.apart <= _MOST and worst.nats <= _MOST_NATS
    place = f"{worst.what} has {_shown(worst.inside)} inside the prompt and {_shown(worst.after)} as what comes next"
    trouble = "" if agrees else f"{place}; the prompt's logprobs may be off by a token or filled in"
    return InsideCheck(agrees, max(pair.apart for pair in told), place, len(told), trouble, costs)


def _written(verbalizer: Verbalizer) -> Verbalizer:
    return Verbalizer({label: (verbalizer.written(label),) for label in verbalizer.labels})


def _independent(inside: LabelDistribution, after: LabelDistribution) -> bool:
    """Whether they were read in different ways, if the way is not one that reads whatever is asked."""
    return inside.method != after.method or inside.method == "exact"


def _pairs(where: str, inside: LabelDistribution, after: LabelDistribution) -> Iterator[_Pair]:
    """Each label's share, and the mass on all labels together if it is known both ways."""
    for label in inside.labels:
        yield _Pair(f"label {label!r} {where}", _bounds(inside, label), _bounds(after, label))
    mass, next_mass = inside.coverage, after.coverage
    if mass is not None and next_mass is not None and not inside.intervals and not after.intervals:
        yield _Pair(f"all labels together {where}", (mass, mass), (next_mass, next_mass))


def _bounds(distribution: LabelDistribution, label: str) -> tuple[float, float]:
    value = exp(distribution.logprob(label))
    return distribution.intervals.get(label, (value, value))


def _shown(bounds: tuple[float, float]) -> str:
    low, high = (f"{value:.3g}" for value in bounds)
    return low if low == high else f"{low} to {high}"
