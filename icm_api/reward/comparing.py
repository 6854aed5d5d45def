"""Comparisons of two replies, what a reward model says of them, and how far place and length alone move it.

Pure values and arithmetic: nothing here asks a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Any, Protocol, TypeAlias, TypeVar

from icm_api.errors import IcmError
from icm_api.evaluation import Measure, Undefined, mean_interval
from icm_api.reward.bradley_terry import SMALLEST

_T = TypeVar("_T")
Asked: TypeAlias = str | Mapping[str, str]
"""A prompt: its text, or, if the run's template shows several texts above the replies, these by name."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two replies to one prompt.

    Attributes:
        prompt: what both answer; "" if the run's template shows nothing above the replies.
        one: a reply.
        other: another one.
    """

    prompt: Asked
    one: str
    other: str


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two replies is better, asked in both orders.

    Attributes:
        shown_first: probability that `one` is better, asked with `one` in first place.
        shown_second: the same, asked with `one` in second place.
        coverage: probability that fell on the labels before normalising, the smaller of the two; None if not known.

    Example:
        >>> told = Preference(0.9, 0.5)
        >>> round(told.probability, 3), round(told.place, 3), told.agrees
        (0.7, 0.2, True)
    """

    shown_first: float
    shown_second: float
    coverage: float | None = None

    @property
    def probability(self) -> float:
        """That `one` is better, the mean of both orders: what place alone adds in one order it takes in the other."""
        return (self.shown_first + self.shown_second) / 2

    @property
    def log_odds(self) -> float:
        """The same in nats, at most about 14."""
        return log_odds(self.probability)

    @property
    def place(self) -> float:
        """What first place adds to the probability of a reply, in [-1/2, 1/2]."""
        return (self.shown_first - self.shown_second) / 2

    @property
    def agrees(self) -> bool:
        """Whether both orders name the same reply; a tie in one of them agrees with anything."""
        return (self.shown_first - 0.5) * (self.shown_second - 0.5) >= 0

    @property
    def turned(self) -> Preference:
        """The same of the two replies in the other order."""
        return Preference(1 - self.shown_second, 1 - self.shown_first, self.coverage)


TIE = Preference(0.5, 0.5)
"""Of a reply and itself."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A comparison, or a ranking, that there is no answer to, while others are answered.

    Attributes:
        error: why.
    """

    error: IcmError


def answered(found: _T | Refused) -> _T:
    """What there is, or the error that there is instead.

    Args:
        found: of one comparison or ranking.

    Raises:
        IcmError: why there is no answer.

    Example:
        >>> answered(TIE) is TIE
        True
    """
    if isinstance(found, Refused):
        raise found.error
    return found


@dataclass(frozen=True, slots=True)
class Ranking:
    """Replies to one prompt, by how good they are.

    Attributes:
        scores: per reply, in the order given, its strength in nats, with mean 0 over the different replies: reply i is
            better than reply j with the log-odds `scores[i] - scores[j]`.
        met: (i, j) -> what was said of the two replies; empty if none were compared.

    Example:
        >>> Ranking((-0.5, 0.7, -0.2)).order
        (1, 2, 0)
    """

    scores: tuple[float, ...]
    met: Mapping[tuple[int, int], Preference] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, ...]:
        """Positions of the replies, the best first; of equals, the first given."""
        return tuple(sorted(range(len(self.scores)), key=lambda at: -self.scores[at]))

    @property
    def best(self) -> int:
        """Position of the best reply."""
        return self.order[0]

    def between(self, one: int, other: int) -> Preference:
        """What was said of two replies; if they did not meet, what their scores say.

        Args:
            one, other: positions of replies.
        """
        if (one, other) in self.met:
            return self.met[one, other]
        if (other, one) in self.met:
            return self.met[other, one].turned
        p = 1 / (1 + exp(self.scores[other] - self.scores[one]))
        return Preference(p, p)


class Ranks(Protocol):
    """What ranks replies: a judge of comparisons, or a model with a score for each reply."""

    async def rank_all(self, questions: Sequence[tuple[Asked, Sequence[str]]]) -> Sequence[Ranking | Refused]:
        """A ranking for each prompt with its replies, in order.

        Args:
            questions: prompts, each with one reply or more.
        """
        ...


@dataclass(frozen=True, slots=True)
class Biases:
    """How far place and length alone seem to move the preferences, after what calibration takes off.

    Attributes:
        pairs: comparisons that this rests on.
        first: mean probability of the reply in first place; 1/2 without bias. Averaging both orders takes it off.
        longer: mean probability of the reply with more characters, where their number differs. It is no bias if longer
            replies are better: compare it with what people prefer.
        disagree: share of the comparisons of which the two orders name different replies.
    """

    pairs: int
    first: Measure
    longer: Measure
    disagree: Measure

    def lines(self) -> list[str]:
        """The lines that say this to people."""
        return [
            f"{name}: {in_words(measure)}"
            for name, measure in (
                ("reply in first place preferred (0.5 is no bias, and both orders are averaged)", self.first),
                ("longer reply preferred", self.longer),
                ("orders name different replies", self.disagree),
            )
        ]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, ready for JSON."""
        measures = {"first": self.first, "longer": self.longer, "disagree": self.disagree}
        return {"pairs": self.pairs, **{name: plain(measure) for name, measure in measures.items()}}


def biases(told: Sequence[tuple[Comparison, Preference]]) -> Biases:
    """Position bias and length bias of some preferences.

    Args:
        told: comparisons, and what a reward model said of each.
    """
    longer = [
        each.probability if len(asked.one) > len(asked.other) else 1 - each.probability
        for asked, each in told
        if len(asked.one) != len(asked.other)
    ]
    preferences = [each for _, each in told]
    return Biases(
        len(told),
        _mean([0.5 + each.place for each in preferences], "no comparison"),
        _mean(longer, "no two replies differ in length"),
        _mean([float(not each.agrees) for each in preferences], "no comparison"),
    )


def log_odds(probability: float) -> float:
    """The log-odds of a probability, nats; one nearer to 0 or 1 than a millionth counts as that near.

    Args:
        probability: in [0, 1].

    Example:
        >>> round(log_odds(0.75), 4), round(log_odds(1.0), 1)
        (1.0986, 13.8)
    """
    p = min(max(probability, SMALLEST), 1 - SMALLEST)
    return log(p / (1 - p))


def in_words(measure: Measure) -> str:
    """A number with its limits, or why it has none.

    Args:
        measure: a share.

    Example:
        >>> in_words(Undefined("no comparison"))
        'no comparison'
    """
    if isinstance(measure, Undefined):
        return measure.note
    if measure.low is None or measure.high is None:
        return f"{measure.value:.3f} ({measure.note})"
    return f"{measure.value:.3f} (95%: {measure.low:.3f} to {measure.high:.3f})"


def plain(measure: Measure) -> dict[str, Any]:
    """A number with its limits as plain values.

    Args:
        measure: a share.
    """
    return {"value": measure.value, "low": measure.low, "high": measure.high, "note": measure.note}


def _mean(values: Sequence[float], none: str) -> Measure:
    return mean_interval(values) if values else Undefined(none)
