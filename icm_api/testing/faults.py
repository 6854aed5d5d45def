"""Faults to inject: which request meets which fault, by hashing alone, and what faults do to an answer's numbers.

Sends nothing (`app` does).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from hashlib import sha256
from math import ceil, nan
from time import time
from types import MappingProxyType

from icm_api.errors import ConfigError
from icm_api.testing.backend import Position, Positions, Token, WireError

RETRYABLE = (
    "429-seconds", "429-ms", "429-date", "429-none", "500", "503", "529", "slow", "cut", "truncated-json", "200-error",
)  # fmt: skip
"""Faults after which the same request is worth sending again.

`429-*`: rate limited, with `Retry-After` in seconds, `retry-after-ms`, `Retry-After` as a date, or without any;
`500`, `503`, `529`: server errors, the last Anthropic's overload; `slow`: a sound answer after a delay; `cut`: the
connection closes in the middle of the body; `truncated-json`: a body that ends early; `200-error`: an error with status
200, which OpenAI's routes put inside the first choice."""

CONTENT = ("null-logprobs", "-9999", "nan", "zeros", "all-equal", "missing-label", "duplicates", "refusal")
"""Faults of answers that look well (status 200).

`null-logprobs`: null in place of all logprobs; `-9999`, `nan`, `zeros`: that in place of every logprob (`nan` as the
literal NaN, which is no JSON); `all-equal`: -3.0 in place of every logprob, so that nothing but their equality gives it
away; `missing-label`: every token with a letter or digit is gone from the alternatives; `duplicates`: every alternative
is there twice (no effect if alternatives are keyed by text); `refusal`: the model declines. Anthropic's format has
no logprobs, so only a refusal has an effect there; SGLang's /v1/score has bare numbers, so no refusal or duplicates."""

HARMLESS = ("duplicates",)
"""Of those, what a client can read all the same."""

UNRETRYABLE = (
    "400", "filter", "401", "403", "404", "insufficient-quota", "429-too-large",
    *(kind for kind in CONTENT if kind not in HARMLESS),
)  # fmt: skip
"""Faults that sending the same request again does not mend: refused requests (`filter` by a content filter, with status
400), a 429 for want of money or for a request that is larger than the limit, and `CONTENT`."""

MISCOUNTS = (
    "usage-none",
    "usage-other-names",
    "usage-negative",
    "usage-floats",
    "usage-cached-above",
    "usage-constant",
)
"""Odd counts of tokens in sound answers of OpenAI's routes: none; by Anthropic's names; negative; floats; more cached
tokens than there are; and the same count for every prompt of more than 256 tokens, as if it were cut to a window."""

ECHOES = ("echo-shifted", "echo-constant", "echo-scaled")
"""Wrong logprobs of prompts, in sound answers.

`echo-shifted`: every token has the numbers of the one before it, as servers give them that forget the beginning-of-text
token; `echo-constant`: -3.0 at every word, with the others a nat apart; `echo-scaled`: three times the logprob."""

WORDS_ALONE = "echo-words-alone"
"""Logprobs of prompts that are right at words, and -1.0 at every other token: labels can be read all the same."""

_KINDS = (*RETRYABLE, *UNRETRYABLE, *HARMLESS, *MISCOUNTS, *ECHOES, WORDS_ALONE)
_CUT_TO = 256
_MOST_BODIES = 65_536
_EQUAL = -3.0

_TOO_LARGE = "Request too large for pocket on tokens per min (TPM): Limit 100, Requested 120."
_NO_MONEY = "You exceeded your current quota, please check your plan and billing details."
# Kind of fault -> status, OpenAI's error type, its code, message.
_ERRORS: Mapping[str, tuple[int, str, str | None, str]] = MappingProxyType(
    {
        "429": (429, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached."),
        "insufficient-quota": (429, "insufficient_quota", "insufficient_quota", _NO_MONEY),
        "429-too-large": (429, "tokens", "rate_limit_exceeded", _TOO_LARGE),
        "200-error": (502, "api_error", None, "Upstream overloaded"),
        "500": (500, "api_error", None, "The server had an error while processing your request."),
        "503": (503, "api_error", None, "The server is temporarily unavailable."),
        "529": (529, "overloaded_error", None, "Overloaded"),
        "400": (400, "invalid_request_error", None, "The request is not valid."),
        "filter": (400, "invalid_request_error", "content_filter", "The prompt was filtered by the content policy."),
        "401": (401, "authentication_error", "invalid_api_key", "Incorrect API key provided."),
        "403": (403, "permission_error", None, "You have no access to this model."),
        "404": (404, "not_found_error", "model_not_found", "The model does not exist."),
    }
)


@dataclass(frozen=True, slots=True)
class Faults:
    """Which requests meet which fault: a pure function of the seed, the body, and how often that body came before.

    Attributes:
        kinds: from `RETRYABLE`, `UNRETRYABLE`, `HARMLESS`, `MISCOUNTS`, `ECHOES` and `WORDS_ALONE`, drawn from evenly.
        rate: probability that a request is hit, from 0 to 1.
        seed: another seed, other requests.
        said: only requests in which this text occurs are hit; with a rate of 1 all of these are.
        times: how often at most one body is hit, so that a request sent again is served in the end; None for no
            limit.
        first_n: only the first so many requests of all are hit; None for no limit. With concurrent requests their
            order decides.
        retry_after: seconds that rate-limited answers ask to wait. As a date it is a whole second or more.
        delay: seconds that a slow answer takes longer.
        latency: the least and the most seconds that every answer waits, faults too, drawn evenly.

    Raises:
        ConfigError: a kind is unknown, there is none, or a number is out of range.
    """

    kinds: tuple[str, ...] = RETRYABLE
    rate: float = 1.0
    seed: int = 0
    times: int | None = 1
    first_n: int | None = None
    retry_after: float = 0.1
    delay: float = 1.0
    said: str = ""
    latency: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in _KINDS]
        if unknown or not self.kinds:
            raise ConfigError(f"faults: no kind {unknown or self.kinds}; choose from {', '.join(_KINDS)}")
        if not 0 <= self.rate <= 1 or self.retry_after < 0 or self.delay < 0:
            raise ConfigError(
                f"faults: rate={self.rate} must be from 0 to 1, and retry_after={self.retry_after} and "
                f"delay={self.delay} not negative"
            )
        if not 0 <= self.latency[0] <= self.latency[1]:
            raise ConfigError(f"faults: latency={self.latency} must be the least and the most seconds, not negative")


class FaultPlan:
    """Draws a fault, or none, for each request as it arrives.

    Args:
        faults: what to draw from; None for nothing.
    """

    def __init__(self, faults: Faults | None) -> None:
        self._faults = faults
        self._arrived = 0
        # Per body: how often it came, and how often it was hit.
        self._bodies: OrderedDict[bytes, tuple[int, int]] = OrderedDict()

    def draw(self, digest: bytes, raw: bytes = b"") -> str | None:
        """The kind of fault that the next request meets; None for no fault.

        Args:
            digest: a hash of the request's path and body.
            raw: the body.
        """
        faults = self._faults
        if faults is None or faults.said.encode() not in raw:
            return None
        self._arrived += 1
        came, hit = self._bodies.pop(digest, (0, 0))
        kind = None
        spared = (faults.times is not None and hit >= faults.times) or (
            faults.first_n is not None and self._arrived > faults.first_n
        )
        if not spared:
            drawn = sha256(f"{faults.seed}/{came}/".encode() + digest).digest()
            if int.from_bytes(drawn[:6], "big") < faults.rate * 2**48:
                kind = faults.kinds[int.from_bytes(drawn[6:12], "big") % len(faults.kinds)]
        self._bodies[digest] = came + 1, hit + (kind is not None)
        if len(self._bodies) > _MOST_BODIES:
            self._bodies.popitem(last=False)
        return kind


def error_of(kind: str) -> WireError | None:
    """The error answer of a fault; None for faults that answer with status 200."""
    known = _ERRORS.get(kind) or (_ERRORS["429"] if kind.startswith("429-") else None)
    if known is None:
        return None
    status, error_type, code, message = known
    return WireError(f"{message} (injected fault {kind})", status=status, kind=error_type, code=code)


def retry_headers(kind: str, retry_after: float) -> dict[str, str]:
    """The headers with which a rate-limited answer says how long to wait.

    Args:
        kind: of the fault.
        retry_after: seconds to wait.

    Returns:
        One header, or none for a kind that does not say.

    Example:
        >>> retry_headers("429-seconds", 2), retry_headers("429-ms", 0.1), retry_headers("429-none", 2)
        ({'retry-after': '2'}, {'retry-after-ms': '100'}, {})
    """
    if kind == "429-seconds":
        return {"retry-after": f"{retry_after:g}"}
    if kind == "429-ms":
        return {"retry-after-ms": str(ceil(1000 * retry_after))}
    if kind == "429-date":
        return {"retry-after": formatdate(ceil(time() + max(1.0, retry_after)), usegmt=True)}
    return {}


def miscounted(kind: str | None, payload: object) -> object:
    """An answer with its count of tokens as a fault of `MISCOUNTS` leaves it."""
    usage = payload.get("usage") if isinstance(payload, dict) else None
    if kind not in MISCOUNTS or not isinstance(payload, dict) or not isinstance(usage, dict):
        return payload
    sent, made = usage["prompt_tokens"], usage["completion_tokens"]
    odd: Mapping[str, object] = {
        "usage-none": None,
        "usage-other-names": {"input_tokens": sent, "output_tokens": made},
        "usage-negative": {"prompt_tokens": -sent, "completion_tokens": -made},
        "usage-floats": {"prompt_tokens": float(sent), "completion_tokens": str(made)},
        "usage-cached-above": {**usage, "prompt_tokens_details": {"cached_tokens": sent + 1}},
        "usage-constant": {**usage, "prompt_tokens": min(sent, _CUT_TO)},
    }
    return {**payload, "usage": odd[kind]}


def distort(kind: str | None, positions: Positions) -> Positions | None:
    """The positions as a fault of the content leaves them; None if their logprobs shall be null."""
    if kind == "null-logprobs":
        return None
    values = {"-9999": -9999.0, "nan": nan, "zeros": 0.0, "all-equal": _EQUAL}
    if kind in values:
        return tuple(_valued(position, values[str(kind)]) for position in positions)
    if kind == "duplicates":
        return tuple(replace(at, top=tuple(token for token in at.top for _ in range(2))) for at in positions)
    if kind == "missing-label":
        return tuple(_wordless(position) for position in positions)
    return positions


def misechoed(kind: str | None, positions: Positions) -> Positions:
    """A prompt's positions as a fault of `ECHOES`, or `WORDS_ALONE`, leaves them."""
    if kind == "echo-shifted":
        return tuple(
            _with_numbers_of(own, before) for own, before in zip(positions, positions[:1] + positions, strict=False)
        )
    if kind == "echo-constant":
        return tuple(_filled_in(each) if each.chosen.raw.strip().isalpha() else each for each in positions)
    if kind == "echo-scaled":
        return tuple(
            Position(_scaled(each.chosen, 3.0), tuple(_scaled(token, 3.0) for token in each.top)) for each in positions
        )
    if kind == WORDS_ALONE:
        return tuple(
            each if each.chosen.raw.strip().isalpha() else Position(_scaled(each.chosen, 0.0, -1.0), ())
            for each in positions
        )
    return positions


def _filled_in(position: Position) -> Position:
    top = tuple(_scaled(token, 0.0, _EQUAL - at) for at, token in enumerate(position.top))
    return Position(_scaled(position.chosen, 0.0, _EQUAL), top)


def _scaled(token: Token, by: float, more: float = 0.0) -> Token:
    return token if token.logprob is None else replace(token, logprob=by * token.logprob + more)


def _with_numbers_of(own: Position, other: Position) -> Position:
    """The token of one place with the logprob and the alternatives of another."""
    if own.chosen.logprob is None or other.chosen.logprob is None:
        return own
    return Position(replace(own.chosen, logprob=other.chosen.logprob), other.top)


def _valued(position: Position, value: float) -> Position:
    def valued(token: Token) -> Token:
        return token if token.logprob is None else replace(token, logprob=value)

    return Position(valued(position.chosen), tuple(map(valued, position.top)))


def _wordless(position: Position) -> Position:
    """Without words; if the chosen token is a word, the likeliest other alternative replaces it."""
    top = tuple(token for token in position.top if not token.raw.strip().isalnum())
    if not position.chosen.raw.strip().isalnum():
        return replace(position, top=top)
    newline = Token(ord("\n"), b"\n", position.chosen.logprob)
    return Position(top[0] if top else newline, top)
