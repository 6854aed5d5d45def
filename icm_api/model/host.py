"""What a host of a known wire is: its entry in the catalogue, and one model there.

It does not: name any host (that is `catalog`), or hold code for one.
"""

from __future__ import annotations

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
