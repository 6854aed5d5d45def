"""The OpenAI-compatible family as data: who speaks the format, with which limits and quirks.

It does: one entry a host, and rules for OpenAI's model families.
It does not: hold code for any host, prices, or lists of models. Hosts change: each note says when it was true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from icm_api.model.host import PROMPT_LIST, Entry

_BOTH = frozenset({"prompt_cache_key", "service_tier"})
_NOTHING: Mapping[str, Any] = MappingProxyType({})


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


_ALL = (
    Entry(
        "openai",
        "https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        openai_models=True,
        context_window=128_000,
        unkeyed=_BOTH,
        jobs="openai",
        job_apis=frozenset({"chat", "completions"}),
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
        prompt_list=PROMPT_LIST,
        jobs="together",
        job_apis=frozenset({"chat"}),
        notes="Serves one base model, meta-llama/Meta-Llama-3.1-8B, and others on endpoints of one's own. "
        'Chat models that think: extra_body={"reasoning": {"enabled": false}}.',
    ),
    Entry(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        api="completions",
        key_variable="FIREWORKS_API_KEY",
        top_logprobs=5,
        echo=True,
        prompt_list=PROMPT_LIST,
        extra={"context_length_exceeded_behavior": "error"},
        unkeyed=frozenset({"prompt_cache_key"}),
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
        notes="Lists no base model any more; logprobs are unverified.",
    ),
    Entry(
        "azure",
        "",
        key_variable="AZURE_OPENAI_API_KEY",
        openai_models=True,
        top_logprobs=5,
        context_window=128_000,
        unkeyed=_BOTH,
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
        plenty=500,
        prefill="always",
        notes="top_logprobs may be any number. Refuses echo. What it still had of a prompt changes the last digits of "
        "an answer: set extra_body.cache_prompt=false, and runs repeat to the byte.",
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
        unkeyed=frozenset({"prompt_cache_key"}),
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
        reads="vllm",
        key_variable="VLLM_API_KEY",
        key_required=False,
        completion_logprobs=20,
        echo=True,
        prompt_list=PROMPT_LIST,
        prefill="flags",
        notes="Any number of given token ids up to 128 is read exactly (logprob_token_ids).",
    ),
    Entry(
        "sglang",
        "http://127.0.0.1:30000/v1",
        api="completions",
        reads="sglang",
        key_variable="SGLANG_API_KEY",
        key_required=False,
        completion_logprobs=20,
        prefill="flags",
        notes="Given token ids are read exactly, on /generate. Chat lists the likeliest tokens alone.",
    ),
    Entry(
        "acs",
        "https://base-models.acsresearch.org/v1",
        api="completions",
        key_variable="ACS_API_KEY",
        completion_logprobs=20,
        notes="Base models (llama-8b, llama-405b), access on request; 8 requests at once a key. 429 budget_exceeded is "
        "final; 503 modal_cold_boot lasts 5 to 13 minutes, so leave client.retry_seconds at 900 or more.",
    ),
    Entry(
        "tinker",
        "https://tinker.thinkingmachines.dev/services/tinker-prod/oai/api/v1",
        api="completions",
        key_variable="TINKER_API_KEY",
        notes="Base models, e.g. Qwen/Qwen3-8B-Base. The OpenAI-compatible route is a beta; logprobs are unverified.",
    ),
    Entry(
        "bedrock",
        "",
        key_variable="AWS_BEARER_TOKEN_BEDROCK",
        extra={"reasoning_effort": "none"},
        notes="URL https://bedrock-mantle.REGION.api.aws/v1. Logprobs from GPT-5.x and 6.x alone, and only with effort "
        "none; Converse has none.",
    ),
    Entry(
        "litellm",
        "http://127.0.0.1:4000/v1",
        key_variable="LITELLM_API_KEY",
        key_required=False,
        unkeyed=_BOTH,
        notes="A proxy: logprobs are those of the host behind it. Some drop what they don't know (drop_params).",
    ),
    Entry(
        "deepinfra",
        "https://api.deepinfra.com/v1/openai",
        key_variable="DEEPINFRA_API_KEY",
        notes="Logprobs are unverified.",
    ),
    Entry(
        "nebius",
        "https://api.tokenfactory.nebius.com/v1",
        key_variable="NEBIUS_API_KEY",
        notes="Logprobs are unverified.",
    ),
    Entry(
        "novita",
        "https://api.novita.ai/openai/v1",
        key_variable="NOVITA_API_KEY",
        notes="Logprobs are unverified.",
    ),
    Entry(
        "baseten",
        "https://inference.baseten.co/v1",
        key_variable="BASETEN_API_KEY",
        notes="Logprobs are unverified.",
    ),
    Entry(
        "featherless",
        "https://api.featherless.ai/v1",
        key_variable="FEATHERLESS_API_KEY",
        notes="Logprobs are unverified.",
    ),
    Entry(
        "hf-router",
        "https://router.huggingface.co/v1",
        key_variable="HF_TOKEN",
        top_logprobs=5,
        notes="Inference Providers of the Hugging Face Hub: at most 5 alternatives, without bytes, if the "
        "host behind it gives any. Unverified.",
    ),
    Entry(
        "openai-compatible",
        "",
        key_variable="OPENAI_COMPATIBLE_API_KEY",
        key_required=False,
        unkeyed=_BOTH,
        notes="Any other host: say api, top_logprobs, echo and prefill as options.",
    ),
)

ENTRIES: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ALL})
"""The hosts by name."""
