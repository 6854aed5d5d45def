"""What all wire formats share: dialects as data, a call, an answer, what the server logs, and common fields of a body.

Knows no one format. A dialect says how a server that claims OpenAI's format differs; the routes of Anthropic, Gemini
and SGLang are served under every dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Any, Literal

from icm_api.errors import ConfigError
from icm_api.testing.backend import Backend, Ids, Positions, WireError

COMPLETION_FIELDS = frozenset((
    "model", "prompt", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n",
    "presence_penalty", "seed", "stop", "stream", "stream_options", "suffix", "temperature", "top_p", "user",
))  # fmt: skip
"""What OpenAI's own completions route knows. Source: `CompletionCreateParams` of the openai SDK 3.54."""

CHAT_FIELDS = frozenset((
    "messages", "model", "audio", "function_call", "functions", "logprobs", "max_completion_tokens", "metadata",
    "modalities", "moderation", "n", "parallel_tool_calls", "prediction", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier",
    "seed", "service_tier", "store", "stream", "stream_options", "temperature", "tool_choice", "tools",
    "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
))  # fmt: skip
"""What OpenAI's chat route knows, less what its current models refuse (`max_tokens`, `stop`, `logit_bias`, penalties).

Source: `CompletionCreateParams` of the openai SDK 3.54."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server's version of OpenAI's routes. Change a field with `dataclasses.replace`.

    Attributes:
        name: what the command line calls it.
        shape: of the logprobs in completions: "legacy" (parallel lists, alternatives keyed by text) or "content"
            (as in chat).
        echo: whether completions can repeat the prompt with its logprobs.
        most_completion_logprobs: largest `logprobs` in completions; None for no limit. Above it is a 400.
        most_top_logprobs: largest `top_logprobs` in chat; None for no limit. Above it is a 400.
        default_top_logprobs: of chat with `logprobs: true` and nothing more.
        extensions: fields beyond OpenAI's that have an effect.
        strict: a field that is not OpenAI's is a 400; otherwise it is ignored.
        prefill: when a last message of the assistant is continued: "never", if "asked", if asked with vLLM's
            "exact" pair of flags, or "always".
        tokenize: the field that holds the text on /tokenize; None if there is no such route.
        strip_space: chat reports the first token without its leading space, as some chat models write it.
        separator: what the chat template writes after the system message and after each answer.
    """

    name: str
    shape: Literal["legacy", "content"] = "legacy"
    echo: bool = True
    most_completion_logprobs: int | None = 20
    most_top_logprobs: int | None = 20
    default_top_logprobs: int = 0
    extensions: frozenset[str] = frozenset()
    strict: bool = False
    prefill: Literal["never", "asked", "exact", "always"] = "never"
    tokenize: Literal["prompt", "content"] | None = None
    strip_space: bool = False
    separator: str = "\n"


_VLLM = frozenset({"logprob_token_ids", "return_tokens_as_token_ids", "return_token_ids", "prompt_logprobs"})
_SGLANG = frozenset({"return_prompt_token_ids"})

DIALECTS = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            Dialect("openai", strict=True),
            Dialect("vllm", extensions=_VLLM, prefill="exact", tokenize="prompt"),
            Dialect("sglang", extensions=_SGLANG, prefill="asked", tokenize="prompt"),
            Dialect(
                "llama.cpp",
                shape="content",
                echo=False,
                most_completion_logprobs=None,
                most_top_logprobs=None,
                default_top_logprobs=20,
                prefill="always",
                tokenize="content",
            ),
            Dialect("fireworks", most_completion_logprobs=5, most_top_logprobs=5, extensions=frozenset({"echo_last"})),
        )
    }
)
"""The dialects by name."""


def get_dialect(dialect: str | Dialect) -> Dialect:
    """The dialect of a name; a dialect is returned as it is.

    Raises:
        ConfigError: no dialect has this name.

    Example:
        >>> get_dialect("fireworks").most_top_logprobs
        5
    """
    if isinstance(dialect, Dialect):
        return dialect
    if dialect not in DIALECTS:
        raise ConfigError(f"testing server: no dialect {dialect!r}; choose one of {', '.join(DIALECTS)}")
    return DIALECTS[dialect]


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request: its path and its JSON body, as it came."""

    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServerLog:
    """Counts at one moment.

    Attributes:
        requests: how many arrived, by path, those met by a fault included.
        statuses: how many were answered with each HTTP status.
        faults: how many met each kind of fault.
        prompt_tokens: in all prompts that were computed.
        cached_tokens: of these, how many a perfect prefix cache would have held.
        completion_tokens: generated.
        jobs: batch jobs taken, those included of which nobody was told.
        batched: questions of jobs that were answered.
    """

    requests: Mapping[str, int]
    statuses: Mapping[int, int]
    faults: Mapping[str, int]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    jobs: int = 0
    batched: int = 0

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.requests.values())


@dataclass(frozen=True, slots=True)
class Answer:
    """A payload, and the tokens that it took."""

    payload: object
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def of(cls, payload: object, parts: Sequence[Answer]) -> Answer:
        """A payload that took the tokens of several answers."""
        return cls(
            payload,
            sum(part.prompt_tokens for part in parts),
            sum(part.cached_tokens for part in parts),
            sum(part.completion_tokens for part in parts),
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One request and all that shapes its answer.

    Attributes:
        body: the request's JSON object.
        headers: with names in lower case.
        name: what the path named, or "".
        request_id: unique on this server.
        backend: the model.
        dialect: how OpenAI's routes behave.
        random: a function of the server's seed, the body, and how often it was answered before.
        fault: the fault of the content that this answer shall have.
        distort: applies that fault to logprobs; gives None if they shall be null.
    """

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    name: str
    request_id: str
    backend: Backend
    dialect: Dialect
    random: Random
    fault: str | None
    distort: Callable[[Positions], Positions | None]

    @property
    def model(self) -> str:
        """The model's name as the request gave it."""
        return str(self.body.get("model") or self.backend.name)


Handler = Callable[[Call], Answer]
"""Answers the requests of one route, or raises `WireError` for a request that the route refuses."""


def integer(body: Mapping[str, Any], name: str, default: int | None = None, low: int = 0) -> int | None:
    """A field that holds a whole number.

    Args:
        body: the object that has the field.
        name: of the field.
        default: the value if the field is missing or null.
        low: the least value allowed.

    Raises:
        WireError: it holds something else, or less than `low`.
    """
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or value < low:
        raise WireError(f"{name} must be an integer of at least {low}, got {value!r}.")
    return value


def temperature(body: Mapping[str, Any], default: float = 1.0) -> float:
    """The temperature, from 0 to 2, or the default if it is missing or null.

    Raises:
        WireError: the field holds something else.
    """
    value = body.get("temperature")
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise WireError(f"temperature must be a number from 0 to 2, got {value!r}.")
    return float(value)


def stops(value: object) -> tuple[str, ...]:
    """Stop strings: none for null, one or several.

    Raises:
        WireError: the value is something else.
    """
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(stop, str) and stop for stop in found):
        raise WireError(f"stop must be a string or a list of strings, got {value!r}.")
    return tuple(found)


def token_ids(value: object, name: str) -> Ids:
    """A list of token ids, the value of the field `name`.

    Raises:
        WireError: the value is something else.
    """
    if not isinstance(value, list) or not all(type(token) is int for token in value):
        raise WireError(f"{name} must be a list of token ids.")
    return tuple(value)


def content_text(content: object) -> str:
    """The text of a message: a string, or parts of type "text", joined.

    Raises:
        WireError: the content is something else, or a part is no text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise WireError(f"content must be a string or a list of text parts, got {content!r:.80}.")
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise WireError("only text parts are served here.")
    return "".join(map(str, texts))


def answer_text(text: str) -> str:
    """An answer as the chat template writes it: after a space, unless it begins with white space or is empty."""
    return text if not text or text[0].isspace() else f" {text}"


def chat_text(messages: Sequence[tuple[str, str]], separator: str, *, prefill: bool) -> str:
    r"""What the model reads of a conversation: the text that a completions prompt of the same examples would be.

    A system message is followed by its separator, a user's message by nothing, an answer is written after one space and
    followed by its separator. With `prefill`, the last answer is left open.

    Args:
        messages: pairs of role and content; the role is "system", "user" or "assistant".
        separator: written after a system message and after an answer.
        prefill: the last message is an answer to be continued.

    Example:
        >>> chat_text([("user", "27>82"), ("assistant", "False"), ("user", "82>27")], "\n", prefill=False)
        '27>82 False\n82>27'
    """
    pieces = []
    for at, (role, content) in enumerate(messages):
        if role == "user":
            pieces.append(content)
        elif role == "assistant":
            still_open = prefill and at == len(messages) - 1
            pieces.append(answer_text(content) + ("" if still_open else separator))
        else:
            pieces.append(content + separator)
    return "".join(pieces)
