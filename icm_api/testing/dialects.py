"""How servers that all claim OpenAI's format differ, as data.

It does: name the differences that a client of label probabilities meets.
It does not: hold code for any of them (that is `openai_wire`), or touch the formats of Anthropic, Gemini and SGLang's
own routes, which are served under every dialect.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from icm_api.errors import ConfigError

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


_VLLM = frozenset({"logprob_token_ids", "return_tokens_as_token_ids", "prompt_logprobs"})

DIALECTS = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            Dialect("openai", strict=True),
            Dialect("vllm", extensions=_VLLM, prefill="exact", tokenize="prompt"),
            Dialect("sglang", prefill="asked", tokenize="prompt"),
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
            Dialect(
                "fireworks",
                most_completion_logprobs=5,
                most_top_logprobs=5,
                extensions=frozenset({"echo_last"}),
            ),
        )
    }
)
"""The dialects by name."""


def get_dialect(dialect: str | Dialect) -> Dialect:
    """The dialect of a name; a dialect is itself.

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
