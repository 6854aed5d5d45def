"""Anthropic's Messages API, which gives no logprobs: label probabilities are estimated, and every result says so.

It does: ask for the label several times and count replies ("sampled"), or ask for probabilities several times and
average them ("stated"); mark shared demonstrations for the prompt cache; classify errors.
It does not: retry, or set a temperature (current models refuse one): replies are drawn at the model's own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import anthropic
import httpx2

from icm_api.errors import ConfigError, LogprobsUnavailableError, RequestError
from icm_api.model.base import Ask, Reading, Request, Response, forms_of
from icm_api.model.endpoints.http import advised, blotted, checked_url, host_of, kind_of, read_key, retry_after
from icm_api.model.reading.chat import chat_messages, estimated_tokens, instructed
from icm_api.model.reading.sampling import (
    from_counts,
    from_statements,
    read_label,
    read_statement,
    spoken_forms,
    statement_question,
    statement_schema,
)
from icm_api.model.reading.writing import anthropic_body, replies
from icm_api.types import Capabilities, Label, Prompt, Usage, Verbalizer

_PATH = "/v1/messages"
_KEY = "ANTHROPIC_API_KEY"
# At most four blocks of a request may be marked for the cache.
_MOST_MARKS = 4
# Beside a label, a reply has a number or quotes, and tokens of the model's own.
_SPARE_TOKENS = 16
_CONNECT_SECONDS = 10.0
_LIMITS = {
    "requests_per_minute": "anthropic-ratelimit-requests-limit",
    "tokens_per_minute": "anthropic-ratelimit-tokens-limit",
}


@dataclass(frozen=True, slots=True)
class AnthropicOptions:
    """How to estimate, and where to ask.

    Attributes:
        estimate: "sampled" counts replies, "stated" averages stated probabilities. They are different quantities.
        samples: requests per prompt. The standard error falls with its square root.
        smoothing: a of p = (c + a) / (n + a L) in "sampled"; see `sampling.from_counts`.
        base_url: where the API is, without /v1.
        allow_http: also ask other hosts than this machine without encryption.
        max_tokens: most tokens of a reply; None is enough for a label, or for a statement.
        cache_control: mark demonstrations for the prompt cache: writing costs a quarter more, reading a tenth.
        thinking: False has the model answer at once, as a label after a prompt should be; models that always think
            need True, and then a larger `max_tokens`.
        context_window: the most tokens of a prompt and its reply.
    """

    estimate: Literal["sampled", "stated"] = "sampled"
    samples: int = 20
    smoothing: float = 0.5
    base_url: str = "https://api.anthropic.com"
    allow_http: bool = False
    max_tokens: int | None = None
    cache_control: bool = True
    thinking: bool = False
    context_window: int = 200_000

    def __post_init__(self) -> None:
        least = 2 if self.estimate == "stated" else 1
        problems = {
            "estimate": (self.estimate in ("sampled", "stated"), '"sampled" or "stated"'),
            "samples": (self.samples >= least, f"at least {least} where estimate is {self.estimate!r}"),
            "smoothing": (self.smoothing > 0, "above 0"),
            "max_tokens": (self.max_tokens is None or self.max_tokens >= 1, "at least 1"),
            "context_window": (self.context_window >= 1, "at least 1"),
        }
        for name, (fine, wanted) in problems.items():
            if not fine:
                raise ConfigError(f"anthropic: {name} must be {wanted}, got {getattr(self, name)!r}")


class AnthropicProvider:
    """Estimated label probabilities of a Claude model; implements `Provider`.

    The key is read from ANTHROPIC_API_KEY.

    Args:
        model: its name, e.g. "claude-haiku-5-5".
        options: how to estimate, and where to ask.
        transport: what carries requests, for tests; None is the network.

    Raises:
        ConfigError: there is no key, or the address would send it without encryption.
    """

    def __init__(
        self,
        model: str,
        options: AnthropicOptions = AnthropicOptions(),
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        url = checked_url(options.base_url, allow_http=options.allow_http)
        key = read_key(_KEY)
        assert key is not None
        self._model, self._options, self._key = model, options, key
        self._identity = f"anthropic/{host_of(url)}/{model}"
        self._sdk = anthropic.AsyncAnthropic(
            api_key=key.get_secret_value(),
            base_url=url,
            max_retries=0,
            # How long an answer may take is for the client to say.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            http_client=None if transport is None else httpx2.AsyncClient(transport=transport),
        )

    @property
    def identity(self) -> str:
        """`anthropic/`, the host, and the model's name."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """Estimated by the method that the options name, so not deterministic."""
        options = self._options
        return Capabilities(
            options.context_window,
            options.estimate,
            deterministic=False,
            generates=True,
            requests_per_prompt=options.samples,
        )

    def count_tokens(self, text: str) -> int:
        """An estimate that is rather too large: the tokenizer is not public."""
        return estimated_tokens(text)

    async def score(self, prompts: Sequence[Prompt], ask: Ask) -> Sequence[Reading]:
        """Estimate each prompt's label probabilities from `samples` requests.

        Raises:
            CapabilityError: two labels are written alike but for white space.
            LogprobsUnavailableError: no reply to a prompt was a label, or a statement is none.
        """
        for prompt in prompts:
            spoken_forms(prompt.verbalizer)
        samples = range(self._options.samples)
        bodies = iter(await ask([self._request(prompt, sample) for prompt in prompts for sample in samples]))
        return [self._read(prompt, [next(bodies) for _ in samples]) for prompt in prompts]

    async def generate(
        self, texts: Sequence[str], ask: Ask, *, max_tokens: int, temperature: float, samples: int
    ) -> Sequence[Sequence[str]]:
        """`samples` replies to each text, at the model's own temperature.

        Raises:
            CapabilityError: another temperature than 1 is asked for.
            RequestError: a request failed, or the model refused.
        """

        def body(text: str) -> Mapping[str, Any]:
            return anthropic_body(text, max_tokens, temperature, thinking=self._options.thinking)

        return await replies(texts, samples, ask, body, _PATH, _text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask one after the other.

        Raises:
            RequestError: a request failed; of which kind, and how long the server asks to wait.
        """
        return [await self._send(request) for request in requests]

    def check(self, request: Request, body: Mapping[str, Any]) -> None:
        """Refuse what is no answer. A reply that is merely no label is one: it lowers the coverage.

        Raises:
            RequestError: the model refused, or the prompt was too long.
            LogprobsUnavailableError: a statement of probabilities is none.
        """
        reason = body.get("stop_reason")
        if reason == "refusal":
            details = self._blotted(repr(body.get("stop_details")))
            raise RequestError(
                f"{self._identity}: the model refused to answer ({details:.200}); change the template or the "
                "instruction, or take the example out",
                kind="refused",
            )
        if reason == "model_context_window_exceeded":
            raise RequestError(f"{self._identity}: the prompt is too long; use fewer examples", kind="bad_request")
        try:
            _text(body)
        except (KeyError, TypeError) as error:
            raise RequestError(
                f"{self._identity}: the answer is no message: {self._blotted(repr(body)):.200}", kind="broken_answer"
            ) from error
        if "output_config" in request.body and request.prompt is not None:
            self._statement(request.prompt.verbalizer, body)

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    def _request(self, prompt: Prompt, sample: int) -> Request:
        """One of the requests that a prompt takes."""
        stated = self._options.estimate == "stated"
        shown = conversation(prompt if stated else instructed(prompt), cached=self._options.cache_control)
        body: dict[str, Any] = {"max_tokens": self._most_tokens(prompt.verbalizer), **shown}
        if not self._options.thinking:
            body["thinking"] = {"type": "disabled"}
        if stated:
            question = statement_question(prompt.verbalizer, sample)
            body["messages"][-1]["content"] += f"\n\n{question}"
            schema = statement_schema(prompt.verbalizer, sample)
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        # Requests that arrive together would all miss the cache that the first of them writes.
        shares = self._options.cache_control and prompt.turns
        prefix = sha256(repr((prompt.instruction, prompt.turns)).encode()).hexdigest() if shares else ""
        return Request(body, _PATH, prompt, sample, prefix, tokens=self.count_tokens(prompt.text))

    def _most_tokens(self, verbalizer: Verbalizer) -> int:
        if self._options.max_tokens is not None:
            return self._options.max_tokens
        # A token is a byte at least. A statement names every label, with a number; one cut short would be lost.
        longest = max(len(form.encode()) for form in forms_of(verbalizer)) + _SPARE_TOKENS
        return longest if self._options.estimate == "sampled" else 2 * longest * len(verbalizer.labels)

    async def _send(self, request: Request) -> Response:
        body = {"model": self._model, **request.body}
        try:
            response = await self._sdk.post(_PATH, body=body, cast_to=httpx2.Response)
        except anthropic.APIError as error:
            raise self._classified(error) from None
        try:
            answer = json.loads(response.content, parse_constant=str)
            used = answer["usage"]
            cached = used.get("cache_read_input_tokens") or 0
            written = used.get("cache_creation_input_tokens") or 0
            usage = Usage(1, used["input_tokens"] + cached + written, int(used["output_tokens"]), cached)
            _text(answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestError(
                f"{self._identity}: the answer is no message: {self._blotted(response.text)!r:.200}",
                kind="broken_answer",
                status=response.status_code,
            ) from error
        return Response(answer, usage, _limits(response.headers))

    def _read(self, prompt: Prompt, bodies: Sequence[Mapping[str, Any]]) -> Reading:
        method = self._options.estimate
        if method == "stated":
            return from_statements([self._statement(prompt.verbalizer, body) for body in bodies]).reading(method)
        spoken = spoken_forms(prompt.verbalizer)
        replies = [_text(body) for body in bodies]
        found = Counter(read_label(reply, spoken) for reply in replies)
        counts = {label: found[label] for label in prompt.verbalizer.labels}
        if not any(counts.values()):
            reasons = sorted({str(body.get("stop_reason")) for body in bodies})
            raise LogprobsUnavailableError(
                f"{self._identity}: none of {len(replies)} replies is one of {list(spoken)}, but for example "
                f"{replies[0]!r:.100} (stop_reason {', '.join(reasons)}). Have the instruction say that the answer is "
                "one of these alone, show demonstrations, or raise max_tokens if replies are cut short"
            )
        return from_counts(counts, found[None], self._options.smoothing).reading(method)

    def _statement(self, verbalizer: Verbalizer, body: Mapping[str, Any]) -> Mapping[Label, float]:
        try:
            return read_statement(_text(body), verbalizer)
        except LogprobsUnavailableError as error:
            raise LogprobsUnavailableError(
                f"{self._identity}: {error} (stop_reason {body.get('stop_reason')})"
            ) from None

    def _classified(self, error: anthropic.APIError) -> RequestError:
        """What kind of failure it was."""
        if isinstance(error, anthropic.APITimeoutError):
            return RequestError(f"{self._identity}: no answer in time", kind="timeout")
        if not isinstance(error, anthropic.APIStatusError):
            reason = self._blotted(f"{error.__cause__ or error!r}")
            return RequestError(f"{self._identity}: no connection: {reason:.300}", kind="connection")
        spent = error.type == "billing_error" or "spend_limit" in (error.error_code or "")
        kind = "quota" if spent else kind_of(error.status_code)
        text = self._blotted(error.api_message or error.message)
        if kind == "bad_request" and "thinking" in text:
            text += ": set thinking=true, with a larger max_tokens, for a model that always thinks"
        wait = retry_after(error.response.headers)
        return RequestError(
            f"{self._identity}: {advised(text, kind)}", kind=kind, status=error.status_code, retry_after=wait
        )

    def _blotted(self, text: str) -> str:
        return blotted(text, self._key.get_secret_value())


def conversation(prompt: Prompt, *, cached: bool) -> dict[str, Any]:
    """`system` and `messages`; with `cached`, marked where a beginning is likely to be shared with other prompts."""
    messages: list[dict[str, Any]] = [dict(message) for message in chat_messages(prompt)]
    system = messages.pop(0)["content"] if prompt.instruction else None
    for at in _marked_turns(len(prompt.turns)) if cached else ():
        answer = messages[2 * at + 1]
        answer["content"] = [{"type": "text", "text": answer["content"], "cache_control": {"type": "ephemeral"}}]
    return {"messages": messages} | ({"system": system} if system else {})


def _marked_turns(turns: int) -> list[int]:
    """The demonstrations after which to mark: those by which half, three quarters, ... and all are over.

    Leave-one-out by divide and conquer puts the half that most prompts share first, then the quarter, and so on, so
    prompts share beginnings that end there.

    Example:
        >>> _marked_turns(8), _marked_turns(1), _marked_turns(0)
        ([3, 5, 6, 7], [0], [])
    """
    ends = {turns - -(-turns // 2**halving) for halving in range(1, _MOST_MARKS)} | {turns}
    return sorted(end - 1 for end in ends if end > 0)


def _text(body: Mapping[str, Any]) -> str:
    """What the model said, without what it thought."""
    return "".join(block["text"] for block in body["content"] if block["type"] == "text")


def _limits(headers: Mapping[str, str]) -> Mapping[str, float]:
    found = {name: headers.get(header, "") for name, header in _LIMITS.items()}
    return {name: float(value) for name, value in found.items() if value.isdecimal()}
