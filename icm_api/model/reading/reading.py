"""What is read of a prompt, who reads it, and how raw numbers become a distribution over labels.

A reader turns prompts into requests and bodies into numbers. It does not send, retry, keep or count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf, isfinite, log, log1p
from typing import Protocol

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.request import Asks, Body
from icm_api.types import Answers, Label, LabelDistribution, Prompt, Verbalizer, logsumexp

# APIs write -9999, -99999 or -1e9 where they have no number; no real token is as unlikely as that.
_PLACEHOLDER = -9999.0
# A little more than 1 can come from rounding on the server; more than this is no probability.
_LARGEST_SUM = 1.02


@dataclass(frozen=True, slots=True)
class Below:
    """A form of whose log p no more is known than that it is at most `logprob`, and at least `least`."""

    logprob: float
    least: float = -inf


@dataclass(frozen=True, slots=True)
class Reading:
    """What a provider read for one prompt.

    Attributes:
        forms: raw log p of each surface form after the prompt, or a bound on it.
        method: how it was read.
        standard_error: of the probabilities, if they were sampled; else None.
        labels: raw log p of each whole label, or a bound on it, if the method cannot tell a label's forms
            apart; then `forms` is empty. None if forms were read.
        instead: what the model would write, with its probability, if that is mostly no label; else empty.
        normalised: the server has divided by the labels' sum, so how much they had together is not known.
    """

    forms: Mapping[str, float | Below]
    method: str
    standard_error: float | None = None
    labels: Mapping[Label, float | Below] | None = None
    instead: Mapping[str, float] = field(default_factory=dict)
    normalised: bool = False


class ReadsLabels(Protocol):
    """Reads label forms after prompts, by as many requests as that takes."""

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """The forms of each prompt's labels.

        Args:
            prompts: what stands before the label.
            client: asks the requests.

        Returns:
            A reading for each prompt, and what all requests cost.

        Raises:
            ProviderError: a request failed, or an answer can't be used.
        """
        ...


class ReadsInside(Protocol):
    """Reads marked positions inside a prompt: the written answer of every turn."""

    async def read_inside(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Sequence[Reading]]:
        """Per prompt and turn, the label forms given all that stands before the turn's answer.

        Args:
            prompts: whose turns are read.
            client: asks the requests.

        Raises:
            ProviderError: a request failed, or an answer can't be used.
        """
        ...


class Writes(Protocol):
    """Has the model write text."""

    async def write(self, texts: Sequence[str], client: Asks, sampling: Sampling) -> Answers[Sequence[str]]:
        """Continuations of each text, or replies to it from a chat model.

        Args:
            texts: what to continue or to reply to.
            client: asks the requests.
            sampling: how to write.

        Raises:
            ProviderError: a request failed.
            CapabilityError: the model can't sample so.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How text is written.

    Attributes:
        max_tokens: the most tokens of a reply.
        temperature: 0 for the likeliest tokens, 1 for the model's own probabilities.
        samples: replies to each text.
    """

    max_tokens: int
    temperature: float = 1.0
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Readers:
    """How a model is read.

    Attributes:
        labels: label forms after prompts.
        inside: positions inside prompts; None if the model gives no logprobs of prompts.
        text: writes text; None if the model writes none.
        method: how labels are read, if every one is a single likely token.
    """

    labels: ReadsLabels
    inside: ReadsInside | None = None
    text: Writes | None = None
    method: str = "exact"


def named(name: str, blot: Callable[[str], str], check: Callable[[Body], object]) -> Callable[[Body], None]:
    """The check, with the model's name before what it says, and keys blotted out.

    Args:
        name: the endpoint's identity.
        blot: removes keys from a message.
        check: raises if an answer can't be used.
    """

    def checked(body: Body) -> None:
        try:
            check(body)
        except LogprobsUnavailableError as error:
            raise LogprobsUnavailableError(f"{name}: {blot(str(error))}") from None
        except RequestError as error:
            raise RequestError(f"{name}: {blot(str(error))}", kind=error.kind) from None

    return checked


def forms_of(verbalizer: Verbalizer) -> list[str]:
    """All surface forms of a label set, in its order."""
    return [form for label in verbalizer.labels for form in verbalizer.forms(label)]


def label_distribution(verbalizer: Verbalizer, reading: Reading) -> LabelDistribution:
    """Merge the surface forms of each label, then normalise over the label set (DESIGN: label distribution).

    A form that the model did not list counts the middle of what it can have, and its label gets an interval. If no form
    of any label was listed, nothing is known: all labels are equally probable, and the coverage is 0.

    Args:
        verbalizer: the label set and its surface forms.
        reading: natural log p of each form (or of each whole label) after the prompt, not normalised, or a bound.

    Returns:
        The normalised distribution; its `coverage` is the mass on all labels before normalising, None if a server did
        that.

    Raises:
        LogprobsUnavailableError: a form is missing, a value is NaN, infinite, positive or a placeholder such
            as -9999, or together they are more than 1. Nothing is ever put in its place.

    Example:
        >>> both = Verbalizer({"True": [" True", " true"], "False": [" False"]})
        >>> read = Reading({" True": log(.3), " true": log(.1), " False": log(.4)}, "exact")
        >>> d = label_distribution(both, read)
        >>> round(d.probability("True"), 9), round(d.coverage, 9)
        (0.5, 0.8)
        >>> d = label_distribution(both, Reading({**read.forms, " False": Below(log(.1))}, "top_k"))
        >>> [round(p, 3) for p in d.intervals["False"]]
        [0.0, 0.2]
    """
    read = reading.forms if reading.labels is None else reading.labels
    written = {label: verbalizer.forms(label) if reading.labels is None else (label,) for label in verbalizer.labels}
    ranges = {label: _range(label, written[label], read) for label in verbalizer.labels}
    if not any(low > 0 for low, _ in ranges.values()):
        return _unknown(verbalizer, reading)
    # In logarithms if the forms are exact, so that nothing is lost of very small probabilities.
    merged = [_merged(written[label], read) for label in verbalizer.labels]
    total = logsumexp(merged)
    lowest = sum(low for low, _ in ranges.values())
    # Bounds may sum to more than 1; what was read may not.
    if lowest > _LARGEST_SUM:
        raise LogprobsUnavailableError(
            f"the labels' probabilities sum to {lowest:.3f}, more than 1: these are no logprobs"
        )
    intervals = _shares(ranges) if any(high > low for low, high in ranges.values()) else {}
    return LabelDistribution(
        verbalizer.labels,
        tuple(value - total for value in merged),
        None if reading.normalised else min(exp(total), 1.0),
        reading.method,
        intervals,
        reading.standard_error,
        reading.instead,
    )


def _shares(ranges: Mapping[Label, tuple[float, float]]) -> dict[Label, tuple[float, float]]:
    """The smallest and the largest share that each label can have in all of them."""
    found = {}
    for label, (low, high) in ranges.items():
        # Added up anew, since a difference of sums loses what is small.
        others = [each for other, each in ranges.items() if other != label]
        most, least = sum(each[1] for each in others), sum(each[0] for each in others)
        found[label] = (low / (low + most) if low else 0.0, high / (high + least) if high else 0.0)
    return found


def _unknown(verbalizer: Verbalizer, reading: Reading) -> LabelDistribution:
    labels = verbalizer.labels
    intervals = dict.fromkeys(labels, (0.0, 1.0))
    evenly = (-log(len(labels)),) * len(labels)
    return LabelDistribution(labels, evenly, 0.0, reading.method, intervals, None, reading.instead)


def _range(label: Label, forms: Sequence[str], read: Mapping[str, float | Below]) -> tuple[float, float]:
    """The smallest and the largest probability that a label's forms can have together."""
    low = high = 0.0
    for form in forms:
        value = read.get(form)
        number = value.logprob if isinstance(value, Below) else value
        if number is None or not isfinite(number) or not _PLACEHOLDER < number <= log1p(1e-6):
            raise LogprobsUnavailableError(
                f"no usable logprob for form {form!r} of label {label!r}: the model gave {number!r}"
            )
        high += exp(number)
        low += exp(value.least if isinstance(value, Below) else number)
    return low, high


def _merged(forms: Sequence[str], read: Mapping[str, float | Below]) -> float:
    values = []
    for form in forms:
        value = read[form]
        values.append(logsumexp([value.logprob, value.least]) - log(2) if isinstance(value, Below) else value)
    return logsumexp(values)
