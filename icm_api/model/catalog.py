"""The OpenAI-compatible family as data: who speaks the format, with which limits and quirks.

It does: one entry a host, rules for OpenAI's model families, and the options a user may set over an entry.
It does not: hold code for any host, prices, or lists of models. Hosts change: each note says when it was true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from icm_api.model.request import bytes_in_tokens
from icm_api.types import Capabilities

Api: TypeAlias = Literal["chat", "completions"]
ChatStyle: TypeAlias = Literal["turns", "one_message"]
Prefill: TypeAlias = Literal["never", "always", "prefix", "flags"]
Reads: TypeAlias = Literal["openai", "vllm", "sglang"]

JobShape: TypeAlias = Literal["openai", "together"]

_BOTH = frozenset({"prompt_cache_key", "service_tier"})
_NOTHING: Mapping[str, Any] = MappingProxyType({})
# What is assumed of a model of which nothing is known: enough for few-shot prompts, and no model of today has less.
_ASSUMED_WINDOW = 8192
TURN_TOKENS = 10
"""What a chat template writes around a question and its answer, in tokens."""
HEAD_TOKENS = 64
"""What it writes around an instruction, in tokens."""
PROMPT_LIST = 64
"""Prompts a request, for hosts that take lists: more of them save little, and a list that fails is sent again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One host, or one kind of server.

    Attributes:
        name: what a spec calls it.
        base_url: with its version; empty if the user has to give it.
        api: "chat" for chat models, "completions" for base models, if a spec doesn't say.
        reads: whose own ways to read labels the server has: those of any host of the format, vLLM's or SGLang's.
        key_variable: environment variable that holds the key.
        key_required: False for servers that may want none.
        top_logprobs: most alternatives that chat lists.
        completion_logprobs: most alternatives that completions list.
        plenty: alternatives to ask for if the usual ones hold no label; 0 if more cannot be had.
        counted: chat takes `logprobs` as the number of alternatives.
        echo: completions can repeat the prompt with its logprobs.
        prompt_list: most prompts that one request of completions is given; 1 if no list of them is known to work.
        prefill: how a chat answer can be begun: not at all, by a last message of the assistant ("always"), by one
            marked with `"prefix": true`, or with vLLM's pair of flags.
        openai_models: the model names are OpenAI's, so `FAMILIES` apply.
        extra: part of every body.
        leave_out: fields that are in no body.
        unkeyed: fields it knows that change what a request costs and not what is answered, so that they are no part of
            a cache key: "prompt_cache_key", "service_tier".
        jobs: in whose shape it takes batch jobs; None if it is not known to take any.
        job_apis: whose questions go in them.
        context_window: tokens assumed if the options don't say.
        notes: what else to know.
        checked: when that was true, year and month.
    """

    name: str
    base_url: str
    api: Api = "chat"
    reads: Reads = "openai"
    key_variable: str = ""
    key_required: bool = True
    top_logprobs: int = 20
    completion_logprobs: int = 5
    plenty: int = 0
    counted: bool = False
    echo: bool = False
    prompt_list: int = 1
    prefill: Prefill = "never"
    openai_models: bool = False
    extra: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    leave_out: frozenset[str] = frozenset()
    unkeyed: frozenset[str] = frozenset()
    jobs: JobShape | None = None
    job_apis: frozenset[Api] = frozenset()
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


@dataclass(frozen=True, slots=True)
class Host:
    """One model at a host, as its entry and the options together have it.

    Attributes:
        entry: as `settled` gave it.
        model: its name there.
        identity: the entry's name, the host and its path, and the model's name.
        chat_style: how a chat model is shown demonstrations.
        blot: removes the key from a message.
    """

    entry: Entry
    model: str
    identity: str
    chat_style: ChatStyle = "turns"
    blot: Callable[[str], str] = field(default=str, compare=False, repr=False)

    @property
    def chat(self) -> bool:
        """It takes messages, not text."""
        return self.entry.api == "chat"

    @property
    def most(self) -> int:
        """The most alternatives that an answer lists."""
        return self.entry.top_logprobs if self.chat else self.entry.completion_logprobs

    @property
    def echoes(self) -> bool:
        """It can repeat a prompt with its logprobs."""
        return self.entry.echo and not self.chat

    @property
    def together(self) -> int:
        """The most prompts that one request is given."""
        return 1 if self.chat else self.entry.prompt_list

    @property
    def walks(self) -> bool:
        """An answer can be begun, so that a label of several tokens can be followed."""
        return not self.chat or self.entry.prefill != "never"

    def capabilities(self, method: str, *, prompt_logprobs: bool) -> Capabilities:
        """What it can do, read by this method. Never called deterministic: servers batch, and rounding depends on it.

        Args:
            method: how labels are read.
            prompt_logprobs: positions inside a prompt can be read.
        """
        return Capabilities(
            self.entry.context_window - (HEAD_TOKENS if self.chat else 0),
            method,
            deterministic=False,
            top_logprobs=self.most,
            prompt_logprobs=prompt_logprobs,
            generates=True,
            options=("top_logprobs", "extra_body", *(("api",) if self.chat else ())),
            together=self.together,
        )

    def count_tokens(self, text: str) -> int:
        """An estimate from the text's length, rather too large: a token for every three bytes."""
        return bytes_in_tokens(text) + (TURN_TOKENS if self.chat and self.chat_style == "turns" else 0)


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
