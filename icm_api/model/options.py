"""What a user may set of a model besides its name, one class for each kind of model, and how it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from icm_api.errors import ConfigError
from icm_api.model.decision_hosts import DecisionEntry
from icm_api.model.host import Api, ChatStyle, Entry, Prefill

# The most alternatives that Gemini lists.
_MOST_GEMINI_LOGPROBS = 20

LIMITS = frozenset({"max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens"})
"""Names of the most reply tokens, in the bodies of one host or another."""

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


def unkeyed(entry: Entry, options: Options, tier: str | None) -> Mapping[str, str]:
    """The fields that are sent with every question beside what makes its cache key.

    Args:
        entry: of the catalogue.
        options: of the user.
        tier: as `ClientSettings.tier`.

    Raises:
        ConfigError: the host does not know a field.

    Example:
        >>> from icm_api.model.catalog import ENTRIES
        >>> unkeyed(ENTRIES["openai"], Options(), "flex")
        {'service_tier': 'flex'}
    """
    asked = {"prompt_cache_key": options.prompt_cache_key, "service_tier": None if tier == "batch" else tier}
    given = {name: value for name, value in asked.items() if value is not None}
    for name in given:
        if name not in entry.unkeyed:
            shown = "client.tier" if name == "service_tier" else "model.options.prompt_cache_key"
            raise ConfigError(f"{shown}: provider {entry.name!r} is not known to have it; leave it out")
    return given


def check_jobs(entry: Entry, tier: str | None) -> None:
    """Raise ConfigError if batch jobs are asked for where they are not known to be taken.

    Args:
        entry: as `settled` gave it.
        tier: as `ClientSettings.tier`.
    """
    if tier != "batch" or (entry.jobs is not None and entry.api in entry.job_apis):
        return
    if entry.jobs is None:
        raise no_tier(entry.name, tier)
    takes = ", ".join(sorted(entry.job_apis))
    raise ConfigError(
        f"client.tier: {entry.name} takes batch jobs of {takes} alone, and api is {entry.api!r}: choose a model for "
        f'which api = "{takes}" can be set under [model.options], or leave tier out'
    )


def no_tier(name: str, tier: str) -> ConfigError:
    """What to say of a tier of service that a provider does not have.

    Args:
        name: of the provider.
        tier: as `ClientSettings.tier`.
    """
    have = "openai, together and anthropic take batch jobs; " if tier == "batch" else ""
    return ConfigError(f"client.tier: provider {name!r} is not known to have it ({tier}); {have}leave it out")


class Hosted(Protocol):
    """What every entry of a catalogue has: a dataclass with a name and an address."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """What a spec calls it."""
        ...

    @property
    def base_url(self) -> str:
        """With its version; empty if the user has to give it."""
        ...


_Entry = TypeVar("_Entry", bound=Hosted)


def entry_with(entry: _Entry, key_variable: str | None, given: Mapping[str, Any]) -> _Entry:
    """An entry of any catalogue with the user's options in place of its own.

    Args:
        entry: of the catalogue.
        key_variable: environment variable that holds the key; empty if none is wanted, None for the entry's.
        given: options by the names that the entry has for them; None leaves the entry's.

    Raises:
        ConfigError: neither says where the API is.
    """
    own = {name: value for name, value in given.items() if value is not None}
    if key_variable is not None:
        own |= {"key_variable": key_variable, "key_required": bool(key_variable)}
    changed = replace(entry, **own)
    if not changed.base_url:
        raise ConfigError(
            f"provider {entry.name!r} has no fixed address: write {entry.name}:MODEL@https://HOST/v1", option=""
        )
    return changed


def settled(entry: Entry, options: Options) -> Entry:
    """The entry with the user's options in place of its own.

    Args:
        entry: of the catalogue.
        options: of the user.

    Raises:
        ConfigError: neither says where the API is.

    Example:
        >>> from icm_api.model.catalog import ENTRIES
        >>> settled(ENTRIES["openai"], Options(api="completions")).api
        'completions'
    """
    same = {"base_url", "api", "context_window", "echo", "prefill", "prompt_list"}
    if LIMITS & {*options.leave_out} and not LIMITS & options.extra_body.keys():
        raise ConfigError(
            "leave_out: replies need a limit, for the budget too: put it into extra_body by the name that the host has "
            f"for it, one of {', '.join(sorted(LIMITS - {*options.leave_out}))}",
            option="leave_out",
        )
    given: dict[str, Any] = {
        "extra": {**entry.extra, **options.extra_body},
        "leave_out": frozenset(options.leave_out),
    }
    if options.top_logprobs is not None:
        given |= {"top_logprobs": options.top_logprobs, "completion_logprobs": options.top_logprobs}
    return entry_with(replace(entry, **given), options.key_variable, options.model_dump(include=same))


def settled_decisions(entry: DecisionEntry, options: DecisionOptions) -> DecisionEntry:
    """The entry with the user's options in place of its own.

    Args:
        entry: of the catalogue.
        options: of the user.

    Raises:
        ConfigError: neither says where the API is.

    Example:
        >>> from icm_api.model.decision_hosts import DECISION_ENTRIES
        >>> settled_decisions(DECISION_ENTRIES["perplexity"], DecisionOptions(questions=8)).questions
        8
    """
    same = {"base_url", "questions", "clamp", "context_window"}
    return entry_with(entry, options.key_variable, options.model_dump(include=same))


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
