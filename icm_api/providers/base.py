"""What a provider of label probabilities is, and how raw numbers become a distribution over labels.

A provider translates: a prompt into a request, a response into logprobs of surface forms. It does not retry,
cache, count or decide; the client around it does. New providers implement `Provider` and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, log1p
from typing import Any, Protocol

from icm_api.errors import LogprobsUnavailableError
from icm_api.types import LabelDistribution, Prompt, Usage, Verbalizer

# APIs write -9999, -99999 or -1e9 where they have no number; no real token is as unlikely as that.
_PLACEHOLDER = -9999.0
# A little more than 1 can come from rounding on the server; more than this is no probability.
_LARGEST_SUM = 1.02


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do, and how exactly.

    Attributes:
        context_window: the most tokens a prompt and its label may have together.
        method: how label logprobs are read; copied into every distribution.
        deterministic: the same request always gives the same numbers.
    """

    context_window: int
    method: str
    deterministic: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt, and `body`: the JSON-able content of all that shapes its answer, apart from provider and model."""

    prompt: Prompt
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """`body`: what came back, as it came, JSON-able. `usage`: what it cost."""

    body: Mapping[str, Any]
    usage: Usage


class Provider(Protocol):
    """A model that gives label logprobs.

    `identity` names provider, host and model (dated or fingerprinted) and so is part of every cache key.
    """

    @property
    def identity(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def count_tokens(self, text: str) -> int:
        """How many tokens the model sees in this text."""
        ...

    def request(self, prompt: Prompt) -> Request:
        """Translate a prompt; sends nothing."""
        ...

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask the model; answers stand in the order of the requests."""
        ...

    def read(self, request: Request, body: Mapping[str, Any]) -> Mapping[str, float]:
        """Raw log p of each surface form after the prompt, from a response's body."""
        ...

    async def close(self) -> None:
        """Release what was opened."""
        ...


class LabelScorer(Protocol):
    """What the objective needs of a model: distributions over labels, token counts, and what it has cost."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def usage(self) -> Usage: ...

    def count_tokens(self, text: str) -> int: ...

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Sequence[LabelDistribution]: ...


def logsumexp(values: Sequence[float]) -> float:
    """log of the sum of exponentials, without overflow.

    Example:
        >>> round(logsumexp([-1000.0, -1000.0]), 6)
        -999.306853
    """
    top = max(values)
    return top if not isfinite(top) else top + log(sum(exp(value - top) for value in values))


def label_distribution(verbalizer: Verbalizer, form_logprobs: Mapping[str, float], method: str) -> LabelDistribution:
    """Merge the surface forms of each label, then normalise over the label set (DESIGN: label distribution).

    Args:
        verbalizer: the label set and its surface forms.
        form_logprobs: natural log p of each form after the prompt, not normalised.
        method: how the numbers were read.

    Returns:
        The normalised distribution; its `coverage` is the mass on all labels before normalising.

    Raises:
        LogprobsUnavailableError: a form is missing, a value is NaN, infinite, positive or a placeholder such
            as -9999, or together they are 0 or more than 1. Nothing is ever put in its place.

    Example:
        >>> both = Verbalizer({"True": [" True", " true"], "False": [" False"]})
        >>> d = label_distribution(both, {" True": log(.3), " true": log(.1), " False": log(.4)}, "exact")
        >>> round(d.probability("True"), 9), round(d.coverage, 9)
        (0.5, 0.8)
    """
    merged = []
    for label in verbalizer.labels:
        values = []
        for form in verbalizer.forms(label):
            value = form_logprobs.get(form)
            if value is None or not isfinite(value) or not _PLACEHOLDER < value <= log1p(1e-6):
                raise LogprobsUnavailableError(
                    f"no usable logprob for form {form!r} of label {label!r}: the model gave {value!r}"
                )
            values.append(value)
        merged.append(logsumexp(values))
    total = logsumexp(merged)
    if not 0 < exp(total) <= _LARGEST_SUM:
        raise LogprobsUnavailableError(
            f"the labels' probabilities sum to {exp(total):.3f}, not to between 0 and 1: these are no logprobs"
        )
    return LabelDistribution(verbalizer.labels, tuple(value - total for value in merged), min(exp(total), 1.0), method)
