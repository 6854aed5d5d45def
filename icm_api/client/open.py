"""From a spec string such as "pocket" or "huggingface:gpt2" to a client.

It does: find the provider by name, import it only then, and put the client and the cache around it.
It does not: read keys or configuration, or import a backend that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

from icm_api.client.cache import ResponseCache
from icm_api.client.client import Client
from icm_api.errors import ConfigError
from icm_api.providers.base import Provider


def _pocket(model: str) -> Provider:
    from icm_api.providers.pocket import PocketProvider, load_model

    return PocketProvider(load_model(Path(model) if model else None))


def _huggingface(model: str) -> Provider:
    if not model:
        raise ConfigError('provider "huggingface" needs a model: "huggingface:NAME_OR_DIRECTORY"')
    from icm_api.providers.huggingface import HuggingFaceProvider

    return HuggingFaceProvider(model)


_OPENERS: Mapping[str, Callable[[str], Provider]] = MappingProxyType({"pocket": _pocket, "huggingface": _huggingface})


def open_provider(spec: str, *, cache: Path | None = None) -> Client:
    """Open a model endpoint by its spec.

    Args:
        spec: `NAME` or `NAME:MODEL`. "pocket" is the embedded model, "pocket:DIR" another one of its kind,
            "huggingface:NAME_OR_DIR" any causal language model that transformers can load.
        cache: directory that keeps answers for later runs; None keeps them in memory only.

    Returns:
        A client, to be used in `async with` or closed with `close()`.

    Raises:
        ConfigError: there is no provider of that name, or the spec lacks a model.
        ProviderError: the model cannot be loaded, or a library that it needs is missing.
        StorageError: the cache cannot be opened.
    """
    name, _, model = spec.partition(":")
    opener = _OPENERS.get(name)
    if opener is None:
        near = get_close_matches(name, _OPENERS)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ConfigError(f"unknown provider {name!r} in spec {spec!r}; {hint}known: {', '.join(_OPENERS)}")
    provider = opener(model)
    return Client(provider, None if cache is None else ResponseCache(cache))
