"""The OpenAI-compatible family as data: who speaks the format, with which limits and quirks.

It does: one entry a host, rules for OpenAI's model families, and the options a user may set over an entry.
It does not: hold code for any host, prices, or lists of models. Hosts change: each note says when it was true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from icm_api.errors import ConfigError

Api: TypeAlias = Literal["chat", "completions"]
ChatStyle: TypeAlias = Literal["turns", "one_message"]
Prefill: TypeAlias = Literal["never", "always", "prefix", "flags"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})
# What is assumed of a model of which nothing is known: enough for few-shot prompts, and no model of today has less.
_ASSUMED_WINDOW = 8192


@dataclass(frozen=True, slots=True)
class Entry:
    """One host, or one kind of server.

    Attributes:
        name: what a spec calls it.
        base_url: with its version; empty where the user has to give it.
        api: "chat" for chat models, "completions" for base models, where a spec doesn't say.
        key_variable: environment variable that holds the key.
        key_required: False for servers that may want none.
        top_logprobs: most alternatives that chat lists.
        completion_logprobs: most alternatives that completions list.
        counted: chat takes `logprobs` as the number of alternatives.
        echo: completions can repeat the prompt with its logprobs.
        prefill: how a chat answer can be begun: not at all, by a last message of the assistant ("always"), by one
            marked with `"prefix": true`, or with vLLM's pair of flags.
        openai_models: the model names are OpenAI's, so `FAMILIES` apply.
        extra: part of every body.
        context_window: tokens assumed where the options don't say.
        notes: what else to know.
        checked: when that was true, year and month.
    """

    name: str
    base_url: str
    api: Api = "chat"
    key_variable: str = ""
    key_required: bool = True
    top_logprobs: int = 20
    completion_logprobs: int = 5
    counted: bool = False
    echo: bool = False
    prefill: Prefill = "never"
    openai_models: bool = False
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    context_window: int = _ASSUMED_WINDOW
    notes: str = ""
    checked: str = "2026-11"


@dataclass(frozen=True, slots=True)
class Family:
    """What OpenAI's models of one family want in a chat body: `pattern` matches their names from the start."""

    pattern: str
    limit: Literal["max_tokens", "max_completion_tokens"]
    extra: Mapping[str, Any]


# Logprobs come from GPT-5.1 and later only without reasoning; the first of GPT-5 cannot do without it, and says so.
FAMILIES = (
    Family(r"(ft:)?(gpt-[5-9]|gpt-\d\d)", "max_completion_tokens", MappingProxyType({"reasoning_effort": "none"})),
    Family(r"(ft:)?gpt-[34]", "max_tokens", _NOTHING),
    Family(r"", "max_completion_tokens", _NOTHING),
)
"""Rules for OpenAI's own models, first match first. Source: OpenAI's deployment checklist, 2026-11."""


def family_of(model: str) -> Family:
    """The rule for one of OpenAI's models.

    Example:
        >>> family_of("gpt-6-luna").limit, family_of("gpt-4.1-mini").limit
        ('max_completion_tokens', 'max_tokens')
    """
    return next(family for family in FAMILIES if re.match(family.pattern, model))


class Options(BaseModel):
    """What a user may set over an entry; None leaves the entry's.

    Attributes:
        base_url: where the API is, with its version.
        api: "chat" or "completions".
        chat_style: demonstrations as "turns", or all in "one_message".
        context_window: tokens that the model can take.
        top_logprobs: most alternatives to ask for.
        echo: completions can repeat the prompt with its logprobs.
        prefill: how a chat answer can be begun, see `Entry`.
        key_variable: environment variable that holds the key.
        extra_body: put into every body, over all but what asks for logprobs.
        allow_http: send requests and key unencrypted to other machines.
        http_client: "httpx2", or "aiohttp" for high concurrency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base_url: str | None = None
    api: Api | None = None
    chat_style: ChatStyle = "turns"
    context_window: int | None = Field(default=None, ge=1)
    top_logprobs: int | None = Field(default=None, ge=1)
    echo: bool | None = None
    prefill: Prefill | None = None
    key_variable: str | None = None
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    allow_http: bool = False
    http_client: Literal["httpx2", "aiohttp"] = "httpx2"


def settled(entry: Entry, options: Options) -> Entry:
    """The entry with the user's options in place of its own.

    Raises:
        ConfigError: neither says where the API is.

    Example:
        >>> settled(ENTRIES["openai"], Options(api="completions")).api
        'completions'
    """
    given = options.model_dump(include={"base_url", "api", "context_window", "echo", "prefill"}, exclude_none=True)
    if options.key_variable is not None:
        given |= {"key_variable": options.key_variable, "key_required": bool(options.key_variable)}
    if options.top_logprobs is not None:
        given |= {"top_logprobs": options.top_logprobs, "completion_logprobs": options.top_logprobs}
    changed = replace(entry, **given, extra={**entry.extra, **options.extra_body})
    if not changed.base_url:
        raise ConfigError(f"provider {entry.name!r} has no fixed address: write {entry.name}:MODEL@https://HOST/v1")
    return changed


_ALL = (
    Entry(
        "openai",
        "https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        openai_models=True,
        context_window=128_000,
        notes="No base models since 2026-09-28. gpt-6-astra, gpt-6.1-sol, gpt-5 and o-models give no logprobs.",
    ),
    Entry(
        "openrouter",
        "https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        extra={"provider": {"require_parameters": True, "allow_fallbacks": False}},
        notes="Most hosts behind it give no logprobs; pin one: extra_body.provider.order. By default it drops what "
        "a host doesn't know, hence require_parameters.",
    ),
    Entry(
        "together",
        "https://api.together.xyz/v1",
        api="completions",
        key_variable="TOGETHER_API_KEY",
        completion_logprobs=20,
        counted=True,
        echo=True,
        notes='Serves base models. Chat models that think: extra_body={"reasoning": {"enabled": false}}.',
    ),
    Entry(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        api="completions",
        key_variable="FIREWORKS_API_KEY",
        top_logprobs=5,
        echo=True,
        extra={"context_length_exceeded_behavior": "error"},
        notes="By default it cuts prompts that are too long, hence the extra field.",
    ),
    Entry(
        "deepseek",
        "https://api.deepseek.com/v1",
        key_variable="DEEPSEEK_API_KEY",
        extra={"thinking": {"type": "disabled"}},
        notes="Was seen to fill in 0 or -9999. Answers can be begun at https://api.deepseek.com/beta with "
        "prefill='prefix'.",
    ),
    Entry(
        "cerebras",
        "https://api.cerebras.ai/v1",
        key_variable="CEREBRAS_API_KEY",
        completion_logprobs=20,
        notes="gpt-oss-120b gives no logprobs. Logprobs of the prompt are unverified.",
    ),
    Entry(
        "hyperbolic",
        "https://api.hyperbolic.xyz/v1",
        api="completions",
        key_variable="HYPERBOLIC_API_KEY",
        notes="Served Llama 3.1 405B base; logprobs are unverified.",
    ),
    Entry(
        "azure",
        "",
        key_variable="AZURE_OPENAI_API_KEY",
        openai_models=True,
        top_logprobs=5,
        context_window=128_000,
        notes="Model is the deployment's name, URL https://RESOURCE.openai.azure.com/openai/v1. Where that name isn't "
        "the model's, set extra_body.reasoning_effort='none' for GPT-5.1 and later.",
    ),
    Entry(
        "ollama",
        "http://127.0.0.1:11434/v1",
        key_variable="OLLAMA_API_KEY",
        key_required=False,
        completion_logprobs=20,
        context_window=4096,
        extra={"reasoning_effort": "none"},
        notes="Cuts prompts longer than its num_ctx silently: set both it and context_window.",
    ),
    Entry(
        "llamacpp",
        "http://127.0.0.1:8080/v1",
        key_variable="LLAMA_API_KEY",
        key_required=False,
        completion_logprobs=20,
        prefill="always",
        notes="top_logprobs may be any number. Refuses echo.",
    ),
    Entry(
        "lmstudio",
        "http://127.0.0.1:1234/v1",
        key_variable="LMSTUDIO_API_KEY",
        key_required=False,
        notes="Logprobs are unverified.",
    ),
    Entry(
        "mistral",
        "https://api.mistral.ai/v1",
        key_variable="MISTRAL_API_KEY",
        prefill="prefix",
        notes="The SDK knows logprobs, no documentation does: unverified.",
    ),
    Entry(
        "xai",
        "https://api.x.ai/v1",
        key_variable="XAI_API_KEY",
        top_logprobs=8,
        notes="grok-4.20 and later ignore logprobs silently.",
    ),
    Entry(
        "vllm",
        "http://127.0.0.1:8000/v1",
        api="completions",
        key_variable="VLLM_API_KEY",
        key_required=False,
        completion_logprobs=20,
        echo=True,
        prefill="flags",
        notes="Any number of given token ids up to 128 is read exactly (logprob_token_ids).",
    ),
    Entry(
        "sglang",
        "http://127.0.0.1:30000/v1",
        api="completions",
        key_variable="SGLANG_API_KEY",
        key_required=False,
        completion_logprobs=20,
        prefill="flags",
        notes="Given token ids are read exactly, on /generate. Chat lists the likeliest tokens alone.",
    ),
    Entry(
        "openai-compatible",
        "",
        key_variable="OPENAI_COMPATIBLE_API_KEY",
        key_required=False,
        notes="Any other host: say api, top_logprobs, echo and prefill as options.",
    ),
)

ENTRIES: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ALL})
"""The hosts by name."""
