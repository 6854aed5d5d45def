"""Gemini's generateContent over plain HTTP: the likeliest first tokens of a reply, with their logprobs.

It does: write a prompt as a conversation, read the alternatives to the first token, classify errors.
It does not: retry, or read a label that takes several tokens beyond its first: such a label gets a bound, never a
guess. Many Gemini models refuse to give logprobs at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from icm_api.errors import CapabilityError, ConfigError, LogprobsUnavailableError, RequestError
from icm_api.model.base import Ask, Reading, Request, Response, forms_of, label_distribution
from icm_api.model.endpoints.http import advised, blotted, checked_url, host_of, kind_of, read_key, retry_after
from icm_api.model.reading.chat import chat_messages, estimated_tokens, instructed
from icm_api.model.reading.label_tokens import Place, TokenLogprob, read_forms
from icm_api.model.reading.writing import gemini_body, gemini_text, replies
from icm_api.types import Capabilities, Prompt, Usage

_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_MOST_LOGPROBS = 20
_BLOCKED = frozenset({"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"})
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class GeminiOptions:
    """What to ask for, and where.

    Attributes:
        top_logprobs: alternatives to list, from 1 to 20.
        base_url: where the API is, without /v1beta.
        allow_http: also ask other hosts than this machine without encryption.
        thinking: False asks for none, so that the first token is the label's. Models that refuse the setting, because
            they never think, need True; those that always think cannot be used.
        context_window: the most tokens of a prompt and its label.
    """

    top_logprobs: int = _MOST_LOGPROBS
    base_url: str = "https://generativelanguage.googleapis.com"
    allow_http: bool = False
    thinking: bool = False
    context_window: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.top_logprobs <= _MOST_LOGPROBS:
            raise ConfigError(f"gemini: top_logprobs must be from 1 to {_MOST_LOGPROBS}, got {self.top_logprobs}")
        if self.context_window < 1:
            raise ConfigError(f"gemini: context_window must be above 0, got {self.context_window}")


class GeminiProvider:
    """Label logprobs of a Gemini model; implements `Provider`.

    The key is read from GEMINI_API_KEY, or else GOOGLE_API_KEY.

    Args:
        model: its name, e.g. "gemini-2.5-flash".
        options: what to ask for, and where.
        transport: what carries requests, for tests; None is the network.

    Raises:
        ConfigError: there is no key, or the address would send it without encryption.
    """

    def __init__(
        self,
        model: str,
        options: GeminiOptions = GeminiOptions(),
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        url = checked_url(options.base_url, allow_http=options.allow_http)
        key = next((found for name in _KEYS if (found := read_key(name, required=False))), None)
        if key is None:
            raise ConfigError(f"gemini: no API key: set the environment variable {' or '.join(_KEYS)}")
        self._options, self._key = options, key
        self._identity = f"gemini/{host_of(url)}/{model}"
        self._path = f"/v1beta/{model if '/' in model else f'models/{model}'}:generateContent"
        self._http = httpx2.AsyncClient(
            base_url=url,
            # How long an answer may take is for the client to say.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            # How many requests are under way is for the caller to say.
            limits=httpx2.Limits(max_connections=None),
            transport=transport,
        )

    @property
    def identity(self) -> str:
        """`gemini/`, the host, and the model's name."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """The likeliest tokens. What a hosted model computes is not the same to the last digit every time."""
        options = self._options
        return Capabilities(
            options.context_window, "top_k", deterministic=False, top_logprobs=options.top_logprobs, generates=True
        )

    def count_tokens(self, text: str) -> int:
        """An estimate that is rather too large: the tokenizer is not public."""
        return estimated_tokens(text)

    async def score(self, prompts: Sequence[Prompt], ask: Ask) -> Sequence[Reading]:
        """The forms that the first token of a reply can be, one request per prompt."""
        bodies = await ask([self._request(prompt) for prompt in prompts])
        return [self._read(prompt, body) for prompt, body in zip(prompts, bodies, strict=True)]

    async def generate(
        self, texts: Sequence[str], ask: Ask, *, max_tokens: int, temperature: float, samples: int
    ) -> Sequence[Sequence[str]]:
        """`samples` replies to each text.

        Raises:
            RequestError: a request failed, or the model or a filter declined to answer.
        """

        def body(text: str) -> Mapping[str, Any]:
            return gemini_body(text, max_tokens, temperature, thinking=self._options.thinking)

        return await replies(texts, samples, ask, body, self._path, gemini_text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask one after the other.

        Raises:
            RequestError: a request failed; of which kind, and how long the server asks to wait.
            CapabilityError: the model gives no logprobs.
        """
        return [await self._send(request) for request in requests]

    def check(self, request: Request, body: Mapping[str, Any]) -> None:
        """Refuse an answer that says nothing of the labels, or where text was asked for, is none.

        Raises:
            RequestError: the model or a filter declined to answer, or there is no answer in it.
            LogprobsUnavailableError: it has no logprobs, or none of any label.
        """
        if request.prompt is not None:
            self._read(request.prompt, body)
            return
        self._check_answered(body)
        if not body.get("candidates"):
            raise RequestError(
                f"{self._identity}: the answer holds no candidates: {self._blotted(repr(body)):.200}",
                kind="broken_answer",
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _request(self, prompt: Prompt) -> Request:
        config: dict[str, Any] = {
            "responseLogprobs": True,
            "logprobs": self._options.top_logprobs,
            "maxOutputTokens": 1,
            "temperature": 0,
        }
        if not self._options.thinking:
            config["thinkingConfig"] = {"thinkingBudget": 0}
        body: dict[str, Any] = {"generationConfig": config}
        contents = []
        for message in chat_messages(instructed(prompt)):
            parts = [{"text": message["content"]}]
            if message["role"] == "system":
                body["systemInstruction"] = {"parts": parts}
            else:
                contents.append({"role": "model" if message["role"] == "assistant" else "user", "parts": parts})
        body["contents"] = contents
        return Request(body, self._path, prompt, tokens=self.count_tokens(prompt.text))

    def _check_answered(self, body: Mapping[str, Any]) -> None:
        if reason := declined(body):
            raise RequestError(
                f"{self._identity}: the model declined to answer ({self._blotted(reason)}): reword the instruction "
                "or the example, or use another model",
                kind="refused",
            )

    def _read(self, prompt: Prompt, body: Mapping[str, Any]) -> Reading:
        self._check_answered(body)
        try:
            read = read_forms(first_place(body), forms_of(prompt.verbalizer), loose_space=True)
            reading = Reading(read.forms, "top_k")
            label_distribution(prompt.verbalizer, reading)
        except LogprobsUnavailableError as error:
            raise LogprobsUnavailableError(f"{self._identity}: {error}") from None
        return reading

    async def _send(self, request: Request) -> Response:
        where = self._identity
        try:
            response = await self._http.post(
                self._path, json=dict(request.body), headers={"x-goog-api-key": self._key.get_secret_value()}
            )
        except httpx2.TimeoutException:
            raise RequestError(f"{where}: no answer in time", kind="timeout") from None
        except httpx2.TransportError as error:
            reason = self._blotted(f"{type(error).__name__}: {error}")
            raise RequestError(f"{where}: no connection ({reason})", kind="connection") from None
        try:
            answer = json.loads(response.content, parse_constant=str)
        except ValueError:
            answer = None
        if not response.is_success:
            raise self._refused(response, answer)
        if not isinstance(answer, Mapping):
            raise RequestError(
                f"{where}: the answer is no JSON object: {self._blotted(response.text)[:80]!r}",
                kind="broken_answer",
                status=response.status_code,
            )
        return Response(answer, usage_of(answer))

    def _refused(self, response: httpx2.Response, answer: object) -> RequestError | CapabilityError:
        """What an answer with an error status means."""
        error = answer.get("error") if isinstance(answer, Mapping) else None
        error = error if isinstance(error, Mapping) else {}
        text = self._blotted(str(error.get("message") or response.text))[:500]
        where, status = self._identity, response.status_code
        if status == 400 and "logprobs" in text.lower():
            return CapabilityError(
                f"{where} gives no logprobs ({text}): choose a Gemini model that does, or another provider"
            )
        details = [each for each in error.get("details") or () if isinstance(each, Mapping)]
        wait = retry_after(response.headers)
        if wait is None:
            wait = _retry_delay(details)
        kind = kind_of(status)
        if any(each.get("reason") == "API_KEY_INVALID" for each in details):
            kind = "authentication"
        elif status == 429 and _is_daily(details):
            kind = "quota"
        return RequestError(f"{where}: {advised(text, kind)}", kind=kind, status=status, retry_after=wait)

    def _blotted(self, text: str) -> str:
        return blotted(text, self._key.get_secret_value())


def declined(body: Mapping[str, Any]) -> str | None:
    """Why the model or a filter gave no answer; None where one was given.

    Example:
        >>> declined({"promptFeedback": {"blockReason": "OTHER"}}), declined({"candidates": [{"finishReason": "STOP"}]})
        ('OTHER', None)
    """
    reason = _first(body.get("candidates")).get("finishReason")
    blocked = _mapping(body.get("promptFeedback")).get("blockReason")
    return str(blocked) if blocked else reason if reason in _BLOCKED else None


def first_place(body: Mapping[str, Any]) -> Place:
    """The first token of a reply, and the likeliest ones in its place, of which it need not be one.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs.

    Example:
        >>> a, b = ({"token": token, "tokenId": at, "logProbability": -1.0 - at} for at, token in enumerate("ab"))
        >>> shape = {"topCandidates": [{"candidates": [b]}], "chosenCandidates": [a]}
        >>> [token.text for token in first_place({"candidates": [{"logprobsResult": shape}]}).listed]
        ['b', 'a']
    """
    candidate = _first(body.get("candidates"))
    result = _mapping(candidate.get("logprobsResult"))
    listed = _first(result.get("topCandidates")).get("candidates")
    top = tuple(_token(entry) for entry in listed or ())
    chosen = _first(result.get("chosenCandidates"))
    if not chosen and not top:
        raise LogprobsUnavailableError(
            f"the answer has no logprobs (finishReason {candidate.get('finishReason')}): choose a model that "
            "gives them; one that thinks first has none for its label"
        )
    return Place(_token(chosen) if chosen else top[0], top)


def _token(entry: object) -> TokenLogprob:
    known = _mapping(entry)
    return TokenLogprob(str(known.get("token", "")), known.get("logProbability"), id=known.get("tokenId"))


def usage_of(body: Mapping[str, Any]) -> Usage:
    """What a request cost, by the server's own count; a field that it leaves out is 0.

    Example:
        >>> usage_of({"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1}})
        Usage(requests=1, prompt_tokens=9, completion_tokens=1, cached_tokens=0)
    """
    counts = _mapping(body.get("usageMetadata"))

    def count(name: str) -> int:
        value = counts.get(name)
        return value if isinstance(value, int) else 0

    made = count("candidatesTokenCount") + count("thoughtsTokenCount")
    return Usage(1, count("promptTokenCount"), made, count("cachedContentTokenCount"))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _first(values: object) -> Mapping[str, Any]:
    return _mapping(values[0]) if isinstance(values, Sequence) and values else {}


def _retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds that google.rpc.RetryInfo asks to wait, written like "37s"."""
    for detail in details:
        written = str(detail.get("retryDelay", ""))
        if re.fullmatch(r"\d+(\.\d+)?s", written):
            return float(written[:-1])
    return None


def _is_daily(details: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a quota of the day is used up, for which no wait in a run is long enough."""
    violations = [each for detail in details for each in detail.get("violations") or () if isinstance(each, Mapping)]
    return any("perday" in str(each.get("quotaId", "")).lower() for each in violations)
