"""What a probe found out about an endpoint, and how it reads as text and as JSON.

It does: hold each finding with what else is to be said of it, and sum them up in a verdict.
It does not: ask or measure anything (that is `probe`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, TypeVar

from icm_api.types import Capabilities, Label, Usage

_T = TypeVar("_T")
_NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Finding(Generic[_T]):
    """One thing that was looked at.

    Attributes:
        value: what was found; None where it is unknown.
        note: why it is unknown, or what else there is to say.
        warning: what a user should know before a run; empty where all is well.
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


@dataclass(frozen=True, slots=True)
class Probe:
    """What an endpoint really returns.

    Attributes:
        identity: provider, host and model.
        capabilities: what the endpoint can do: those of its provider, less what was found not to hold.
        findings: what was looked at.
        usage: what looking cost.
        trouble: why the endpoint is of no use; empty where it is of use.
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
        shown = [f"  {_TITLES[name]:<20}{_shown(name, finding)}" for name, finding in self._each().items()]
        usage = self.usage
        cost = f"{usage.requests:,} requests, {usage.prompt_tokens:,} prompt tokens"
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
}


def _shown(name: str, finding: Finding[Any]) -> str:
    value = "unknown" if finding.value is None else _value(name, finding.value)
    return f"{value} ({finding.note})" if finding.note else value


def _value(name: str, value: Any) -> str:
    match name:
        case "coverage":
            return f"{value:.1%}"
        case "bounds":
            return ", ".join(f"{label} from {low:.3g} to {high:.3g}" for label, (low, high) in value.items()) or "none"
        case "single_tokens":
            return ", ".join(f"{form!r} {'yes' if single else 'no'}" for form, single in value.items())
        case "difference":
            return "the same answer" if value == 0 else f"probabilities differ by up to {value:.2g}"
        case "cached":
            return f"{value:,} tokens"
        case "limits":
            return ", ".join(f"{amount:,.0f} {kind.partition('_')[0]}" for kind, amount in value.items())
        case "seconds":
            return f"{value:.3f}"
        case "echo":
            return f"within {value:.2g} of those of the next token"
        case _:
            return str(value)
