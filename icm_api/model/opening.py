"""From a spec such as "openai:gpt-6-luna" or "vllm:MODEL@http://127.0.0.1:8000/v1" to a provider.

It does: find the provider by name, here or among the entry points of other packages, import it only then, and check
the options.
It does not: put a client around it, or read a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from icm_api.errors import ConfigError, ProviderError
from icm_api.model.base import Provider

GROUP = "icm_api.models"
"""Entry points of this group name functions that take a model's name and options and return a `Provider`."""

Opener: TypeAlias = Callable[[str, Mapping[str, Any]], Provider]
_T = TypeVar("_T")

_HOSTED = (
    "openai",
    "openrouter",
    "together",
    "fireworks",
    "deepseek",
    "cerebras",
    "hyperbolic",
    "azure",
    "ollama",
    "llamacpp",
    "lmstudio",
    "mistral",
    "xai",
    "openai-compatible",
)


class _LocalOptions(BaseModel):
    """What `HuggingFaceProvider` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int = Field(default=8, ge=1)
    revision: str | None = None


def provider_from_spec(spec: str, options: Mapping[str, Any] | None = None) -> Provider:
    """Open the provider of a spec, `NAME`, `NAME:MODEL` or `NAME:MODEL@URL`.

    Args:
        spec: "pocket" is the embedded model; the others are in `provider_names`.
        options: what the provider takes besides the model; URL stands for the option base_url.

    Raises:
        ConfigError: there is no such provider, it needs a model, or an option is none of its own.
        ProviderError: a library that it needs is missing, or its model cannot be loaded.
    """
    name, _, model = spec.partition(":")
    return open_from_spec(name, model, options or {})


def open_from_spec(name: str, model: str, options: Mapping[str, Any]) -> Provider:
    """Open a provider by its name; see `provider_from_spec`."""
    opener = _BUILT_IN.get(name) or _third_party(name)
    if opener is None:
        names = provider_names()
        near = get_close_matches(name, names)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ConfigError(f"unknown provider {name!r}; {hint}known: {', '.join(names)}")
    model, given = _address(model, options)
    if not model and name != "pocket":
        raise ConfigError(f'provider {name!r} needs a model: "{name}:MODEL"')
    try:
        return opener(model, given)
    except ModuleNotFoundError as error:
        raise ProviderError(f"provider {name!r} needs the package {error.name!r}: pip install it") from error


def provider_names() -> tuple[str, ...]:
    """The providers that can be opened, those of other packages last."""
    return tuple(dict.fromkeys([*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))]))


def _third_party(name: str) -> Opener | None:
    for point in entry_points(group=GROUP, name=name):
        opener: Opener = point.load()
        return opener
    return None


def _address(model: str, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The model without `@URL`, and the options with it."""
    for scheme in ("@https://", "@http://"):
        bare, found, rest = model.rpartition(scheme)
        if found:
            if options.get("base_url"):
                raise ConfigError(f"two addresses: {scheme[1:]}{rest} in the spec, and the option base_url")
            return bare, {**options, "base_url": scheme[1:] + rest}
    return model, options


def checked_options(kind: type[_T], name: str, options: Mapping[str, Any]) -> _T:
    """The options as a value of their kind, a pydantic model or a dataclass.

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
            raise ConfigError(f"provider {name!r} has no option {option!r}; {hint}known: {', '.join(known)}")
    try:
        return TypeAdapter(kind).validate_python(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"provider {name!r}, option {where!r}: {first['msg']}, got {first['input']!r}") from None


def _pocket(model: str, options: Mapping[str, Any]) -> Provider:
    from icm_api.model.endpoints.pocket import PocketProvider, load_model

    if options:
        raise ConfigError(f"provider 'pocket' takes no options, got {', '.join(options)}")
    return PocketProvider(load_model(Path(model) if model else None))


def _huggingface(model: str, options: Mapping[str, Any]) -> Provider:
    from icm_api.model.endpoints.huggingface import HuggingFaceProvider

    return HuggingFaceProvider(model, **checked_options(_LocalOptions, "huggingface", options).model_dump())


def _anthropic(model: str, options: Mapping[str, Any]) -> Provider:
    from icm_api.model.endpoints.anthropic import AnthropicOptions, AnthropicProvider

    return AnthropicProvider(model, checked_options(AnthropicOptions, "anthropic", options))


def _gemini(model: str, options: Mapping[str, Any]) -> Provider:
    from icm_api.model.endpoints.gemini import GeminiOptions, GeminiProvider

    return GeminiProvider(model, checked_options(GeminiOptions, "gemini", options))


def _vllm(model: str, options: Mapping[str, Any]) -> Provider:
    from icm_api.model.catalog import Options
    from icm_api.model.endpoints.vllm import VllmProvider

    return VllmProvider(model, checked_options(Options, "vllm", options))


def _sglang(model: str, options: Mapping[str, Any]) -> Provider:
    from icm_api.model.catalog import Options
    from icm_api.model.endpoints.sglang import SglangProvider

    return SglangProvider(model, checked_options(Options, "sglang", options))


def _hosted(name: str) -> Opener:
    def opener(model: str, options: Mapping[str, Any]) -> Provider:
        from icm_api.model.catalog import ENTRIES, Options
        from icm_api.model.endpoints.openai import OpenAIProvider

        return OpenAIProvider(ENTRIES[name], model, checked_options(Options, name, options))

    return opener


_BUILT_IN: Mapping[str, Opener] = MappingProxyType(
    {
        "pocket": _pocket,
        "huggingface": _huggingface,
        **{name: _hosted(name) for name in _HOSTED},
        "vllm": _vllm,
        "sglang": _sglang,
        "anthropic": _anthropic,
        "gemini": _gemini,
    }
)
