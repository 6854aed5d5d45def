"""What a user may set of a model besides its name, one class for each kind of model, and how it is checked.

What a host makes of it, `settling` knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from icm_api.errors import ConfigError
from icm_api.model.host import Api, ChatStyle, Prefill

# The most alternatives that Gemini lists.
_MOST_GEMINI_LOGPROBS = 20

_T = TypeVar("_T")


class Options(BaseModel):
    """What a user may set over an entry; None leaves the entry's.

    Attributes:
        base_url: where the API is, with its version.
        api: "chat" or "completions".
        chat_style: demonstrations as "turns", or all in "one_message".
        context_window: tokens that the model can take.
        top_logprobs: most alternatives to ask for.
        echo: completions can repeat the prompt with its logprobs.
        prompt_list: most prompts of one request of completions; 1 sends each alone.
        prefill: how a chat answer can be begun, see `Entry`.
        key_variable: environment variable that holds the key.
        extra_body: put into every body, over all but what asks for logprobs.
        leave_out: fields that this library puts into every body, and the host does not take: "temperature",
            "max_tokens", "max_completion_tokens". The most tokens of a reply must then be in `extra_body` by the name
            that the host has for it.
        prompt_cache_key: sent with every question, for hosts that route requests with an equal key to one prefix cache
            (openai, azure, fireworks, mistral). It is no part of this library's own cache keys.
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
    prompt_list: int | None = Field(default=None, ge=1)
    prefill: Prefill | None = None
    key_variable: str | None = None
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    leave_out: tuple[Literal["temperature", "max_tokens", "max_completion_tokens"], ...] = ()
    prompt_cache_key: str | None = Field(default=None, min_length=1)
    allow_http: bool = False
    http_client: Literal["httpx2", "aiohttp"] = "httpx2"


class DecisionOptions(BaseModel):
    """What a user may set over an entry; None leaves the entry's.

    Attributes:
        base_url: where the API is, with its version.
        questions: most questions of one request; 1 asks each alone.
        clamp: the smallest probability that the host reports for what is smaller still.
        context_window: tokens that input and questions may have together.
        key_variable: environment variable that holds the key.
        extra_body: put into every body.
        allow_http: send requests and key unencrypted to other machines.
        http_client: "httpx2", or "aiohttp" for high concurrency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base_url: str | None = None
    questions: int | None = Field(default=None, ge=1)
    clamp: float | None = Field(default=None, ge=0, lt=0.5)
    context_window: int | None = Field(default=None, ge=1)
    key_variable: str | None = None
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    allow_http: bool = False
    http_client: Literal["httpx2", "aiohttp"] = "httpx2"


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
                raise ConfigError(f"anthropic: {name} must be {wanted}, got {getattr(self, name)!r}", option=name)


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

    top_logprobs: int = _MOST_GEMINI_LOGPROBS
    base_url: str = "https://generativelanguage.googleapis.com"
    allow_http: bool = False
    thinking: bool = False
    context_window: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.top_logprobs <= _MOST_GEMINI_LOGPROBS:
            told = f"gemini: top_logprobs must be from 1 to {_MOST_GEMINI_LOGPROBS}, got {self.top_logprobs}"
            raise ConfigError(told, option="top_logprobs")
        if self.context_window < 1:
            told = f"gemini: context_window must be above 0, got {self.context_window}"
            raise ConfigError(told, option="context_window")


class LocalOptions(BaseModel):
    """What a local model of transformers takes.

    Attributes:
        device: as torch names it, e.g. "cpu", "cuda", "mps"; "auto" is the fastest that there is.
        dtype: "auto" is what the weights are kept in, mostly bfloat16: half the memory of "float32", and on many
            machines half the time. In "float64" no answer depends on what else is asked.
        device_map: spreads a large model over devices, e.g. "auto"; needs accelerate, and takes the place of `device`.
        gguf_file: the file of quantised weights in the directory or on the hub; needs gguf.
        batch_size: the most prompts computed side by side; it bounds memory.
        revision: branch, tag or commit on the hub.
        chat_template: texts to write are replies by the tokenizer's chat template, not continuations. Labels are read
            after plain text all the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device_map: str | None = None
    gguf_file: str | None = None
    batch_size: int = Field(default=8, ge=1)
    revision: str | None = None
    chat_template: bool = False


def checked_options(kind: type[_T], name: str, options: Mapping[str, Any]) -> _T:
    """The options as a value of their kind, a pydantic model or a dataclass.

    Args:
        kind: the class of the options.
        name: of the provider, for messages.
        options: by name.

    Raises:
        ConfigError: one is unknown or has a wrong value: which, and the nearest valid name.
    """
    known = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {})
    for option in options:
        if option not in known:
            near = get_close_matches(option, known)
            hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
            if option == "timeout":
                hint = "how long an answer may take is client.timeout, for all providers; "
            told = f"provider {name!r} has no option {option!r}; {hint}known: {', '.join(known)}"
            raise ConfigError(told, option=option)
    try:
        return TypeAdapter(kind).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        told = f"provider {name!r}, option {where!r}: {first['msg']}, got {first['input']!r}"
        raise ConfigError(told, option=where.partition(".")[0]) from None
