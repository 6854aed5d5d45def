"""What a probe finds out about an endpoint: each finding, what exchanges with the endpoint show, the report.

It does: note every exchange, read from them alternatives, forms that are single tokens, limits and times, and sum all
findings up in a verdict, as text and as JSON.
It does not: decide what to ask (that is `probe`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median
from time import monotonic
from typing import Any, Generic, TypeVar

from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.model.reading.exact_ids import ids_after
from icm_api.model.reading.gemini import first_place
from icm_api.model.reading.label_tokens import Place, alternatives, read_forms
from icm_api.model.reading.openai_bodies import next_place
from icm_api.model.reading.reading import Below, Reading
from icm_api.model.request import Endpoint, Request, Response
from icm_api.types import Capabilities, Label, Usage
from icm_api.wording import count_of

_T = TypeVar("_T")
_NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Finding(Generic[_T]):
    """One thing that was looked at.

    Attributes:
        value: what was found; None if it is unknown.
        note: why it is unknown, or what else there is to say.
        warning: what a user should know before a run; empty if all is well.
    """

    value: _T | None = None
    note: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a probe looks at.

    Attributes:
        method: how the labels were read.
        alternatives: different tokens that an answer listed.
        coverage: probability on all labels together, in [0, 1].
        bounds: per label that was not listed the smallest and the largest probability that it can have.
        single_tokens: per surface form whether it is one token; forms of which that is unknown are left out.
        difference: the largest difference between a label's probabilities in two answers to the same question.
        cached: prompt tokens that the server had in its prefix cache when a long prompt came again.
        limits: what the server's headers allow in a minute.
        seconds: that one answer took, the median.
        echo: the largest difference between a label's probability in an echoed prompt and after the same prompt.
        route: the path that was asked.
        other_route: coverage by the other of chat and completions.
        rows: the smallest coverage on the first rows of the user's own data, with no demonstration.
        window: tokens of the context window, by the server's own word.
        demonstrations: how far a probability moves if all demonstrations get other labels (decision endpoints).
        questions: what two questions about one text are counted as, over what one is (decision endpoints).
    """

    method: Finding[str] = Finding(note=_NOT_MEASURED)
    alternatives: Finding[int] = Finding(note=_NOT_MEASURED)
    coverage: Finding[float] = Finding(note=_NOT_MEASURED)
    bounds: Finding[Mapping[Label, tuple[float, float]]] = Finding(note=_NOT_MEASURED)
    single_tokens: Finding[Mapping[str, bool]] = Finding(note=_NOT_MEASURED)
    difference: Finding[float] = Finding(note=_NOT_MEASURED)
    cached: Finding[int] = Finding(note=_NOT_MEASURED)
    limits: Finding[Mapping[str, float]] = Finding(note=_NOT_MEASURED)
    seconds: Finding[float] = Finding(note=_NOT_MEASURED)
    echo: Finding[float] = Finding(note=_NOT_MEASURED)
    route: Finding[str] = Finding()
    other_route: Finding[float] = Finding()
    rows: Finding[float] = Finding()
    window: Finding[int] = Finding()
    demonstrations: Finding[float] = Finding()
    questions: Finding[float] = Finding()


@dataclass(frozen=True, slots=True)
class Probe:
    """What an endpoint really returns.

    Attributes:
        identity: provider, host and model.
        capabilities: what the endpoint can do: those of its provider, less what was found not to hold.
        findings: what was looked at.
        usage: what looking cost.
        trouble: why the endpoint is of no use; empty if it is of use.
    """

    identity: str
    capabilities: Capabilities
    findings: Findings
    usage: Usage
    trouble: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know before a run."""
        return tuple(finding.warning for finding in self._each().values() if finding.warning)

    @property
    def verdict(self) -> str:
        """ "usable", "usable with warnings", or "unusable: " and why."""
        if self.trouble:
            return f"unusable: {self.trouble}"
        return "usable with warnings" if self.warnings else "usable"

    def lines(self) -> list[str]:
        """The report as text; of an endpoint that answered nothing, the verdict alone."""
        if self.trouble and not self.usage.requests:
            return [self.identity, self.verdict]
        looked = ((name, finding) for name, finding in self._each().items() if finding != Finding())
        shown = [f"  {_TITLES[name]:<20}{_shown(name, finding)}" for name, finding in looked]
        usage = self.usage
        cost = f"{count_of(usage.requests, 'request')}, {count_of(usage.prompt_tokens, 'prompt token')}"
        warnings = [f"warning: {warning}" for warning in self.warnings]
        return [self.identity, *shown, f"  {'asked for this':<20}{cost}", *warnings, self.verdict]

    def as_json(self) -> dict[str, Any]:
        """The report as plain values; what is unknown is null."""
        return {
            "endpoint": self.identity,
            "usable": not self.trouble,
            "verdict": self.verdict,
            "warnings": list(self.warnings),
            "capabilities": asdict(self.capabilities),
            "findings": {name: asdict(finding) for name, finding in self._each().items()},
            "usage": asdict(self.usage),
        }

    def _each(self) -> dict[str, Finding[Any]]:
        return {field.name: getattr(self.findings, field.name) for field in fields(self.findings)}


_TITLES = {
    "method": "labels read by",
    "alternatives": "alternatives listed",
    "coverage": "coverage",
    "bounds": "labels not listed",
    "single_tokens": "single tokens",
    "difference": "asked twice",
    "cached": "prefix cache",
    "limits": "limits a minute",
    "seconds": "seconds an answer",
    "echo": "prompt logprobs",
    "route": "route",
    "other_route": "the other route",
    "rows": "first rows",
    "window": "context window",
    "demonstrations": "other labels shown",
    "questions": "two questions",
}


def _shown(name: str, finding: Finding[Any]) -> str:
    value = "unknown" if finding.value is None else _value(name, finding.value)
    return f"{value} ({finding.note})" if finding.note else value


def _value(name: str, value: Any) -> str:
    match name:
        case "coverage":
            return f"{value:.1%}"
        case "other_route" | "rows":
            return f"coverage {value:.1%}"
        case "demonstrations":
            return f"probabilities move by up to {value:.2g}"
        case "questions":
            return f"cost {value:.2f} times one"
        case "window":
            return count_of(value, "token")
        case "bounds":
            return ", ".join(f"{label} from {low:.3g} to {high:.3g}" for label, (low, high) in value.items()) or "none"
        case "single_tokens":
            return ", ".join(f"{form!r} {'yes' if single else 'no'}" for form, single in value.items())
        case "difference":
            return "the same answer" if value == 0 else f"probabilities differ by up to {value:.2g}"
        case "cached":
            return count_of(value, "token")
        case "limits":
            return ", ".join(f"{amount:,.0f} {kind.partition('_')[0]}" for kind, amount in value.items())
        case "seconds":
            return f"{value:.3f}"
        case "echo":
            return f"within {value:.2g} of those of the next token"
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, its answer, and how many seconds that took."""

    request: Request
    response: Response
    seconds: float


class Recorder:
    """An endpoint that notes what is sent and what comes back; implements `Endpoint`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.exchanges: list[Exchange] = []
        self.slowed = 0

    @property
    def identity(self) -> str:
        """The endpoint's."""
        return self._endpoint.identity

    @property
    def capabilities(self) -> Capabilities:
        """The endpoint's."""
        return self._endpoint.capabilities

    def count_tokens(self, text: str) -> int:
        """As the endpoint does."""
        return self._endpoint.count_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Have the endpoint send them.

        Raises:
            ProviderError: as the endpoint raises it.
        """
        began = monotonic()
        try:
            responses = await self._endpoint.send(requests)
        except RequestError as error:
            self.slowed += error.kind == "rate_limit"
            raise
        seconds = monotonic() - began
        self.exchanges += [Exchange(*each, seconds) for each in zip(requests, responses, strict=True)]
        return responses

    async def close(self) -> None:
        """Whoever opened the endpoint closes it."""


def first_list(exchanges: Sequence[Exchange]) -> tuple[Place | None, bool]:
    """The first list of alternatives to a next token, and whether it begins an answer of a chat model."""
    for exchange in exchanges:
        body, asked = exchange.response.body, exchange.request.body
        try:
            if "candidates" in body:
                return first_place(body), True
            if "choices" in body and not asked.get("echo") and "logprob_token_ids" not in asked:
                return next_place(body), "messages" in asked
        except LogprobsUnavailableError:
            continue
    return None, False


def alternatives_found(place: Place | None, capabilities: Capabilities) -> Finding[int]:
    """How many different tokens an answer lists.

    Args:
        place: the first list; None if labels are read without any.
        capabilities: say how many were asked for.
    """
    if place is None:
        return Finding(note="labels are read without any")
    distinct = len(alternatives(place.top)) if place.top else 0
    twice = len(place.top) - distinct
    note = f"asked for {capabilities.top_logprobs}"
    return Finding(distinct, f"{note}; {twice} more are repeated or have no logprob" if twice else note)


def single_tokens(
    endpoint: Endpoint,
    reading: Reading,
    exchanges: Sequence[Exchange],
    listed: tuple[Place | None, bool],
    forms: Sequence[str],
) -> Finding[Mapping[str, bool]]:
    """Whether each form is one token to the model.

    Args:
        endpoint: counts tokens.
        reading: of a prompt; its method says where to look.
        exchanges: with the endpoint.
        listed: as `first_list` gave it.
        forms: all surface forms.
    """
    place, loose = listed
    found: dict[str, bool] = {}
    if reading.method == "exact":
        found = {form: endpoint.count_tokens(form) == 1 for form in forms}
    elif reading.method == "exact_ids":
        found = _by_tokenizer(exchanges, forms)
    elif place is not None:
        read = read_forms(place, forms, loose_space=loose)
        single = {form: not isinstance(value, Below) for form, value in read.forms.items()}
        found = {form: single[form] for form in forms if single[form] or form in read.begun}
    unknown = ", ".join(repr(form) for form in forms if form not in found)
    return Finding(found or None, f"unknown of {unknown}: no token of the answer tells" if unknown else "")


def _by_tokenizer(exchanges: Sequence[Exchange], forms: Sequence[str]) -> dict[str, bool]:
    """From what the server's tokenizer said of the forms after the prompt's last word."""
    scored = [each for each in exchanges if "tokens" not in each.response.body]
    if len(scored) == 1:
        # Each further token of a form takes a further request.
        return dict.fromkeys(forms, True)
    texts = {str(each.request.body.get("prompt")): each.response.body.get("tokens") or () for each in exchanges}
    found = {}
    for form in forms:
        for text, tokens in texts.items():
            before = texts.get(text.removesuffix(form)) if text.endswith(form) else None
            if before:
                try:
                    found[form] = len(ids_after(before, tokens, form)) == 1
                except CapabilityError:
                    continue
    return found


def limits_found(recorder: Recorder) -> Finding[Mapping[str, float]]:
    """What the server's headers allow in a minute, and whether it refused anything for the rate."""
    stated: dict[str, float] = {}
    for exchange in recorder.exchanges:
        stated |= exchange.response.limits or {}
    slowed = f"{recorder.slowed} of these few questions were refused for their rate" if recorder.slowed else ""
    silent = "the server's headers say nothing" if recorder.exchanges else "no question was answered"
    return Finding(stated or None, "" if stated else silent, slowed)


def seconds_found(exchanges: Sequence[Exchange]) -> Finding[float]:
    """The median of the seconds that an answer took."""
    if not exchanges:
        return Finding(note="no question was answered")
    return Finding(median(each.seconds for each in exchanges), f"median of {len(exchanges)}")
