"""From a spec such as "pocket" or "openai:gpt-6-luna" to a client.

It does: put the client, the cache and the meter around the provider of that name.
It does not: know the names, read keys or configuration, or import a backend that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icm_api.config import ClientSettings
from icm_api.model.client.cache import ResponseCache
from icm_api.model.client.client import Client
from icm_api.model.client.meter import Meter
from icm_api.model.opening import provider_from_spec


def open_provider(
    spec: str,
    *,
    cache: Path | None = None,
    settings: ClientSettings | None = None,
    meter: Meter | None = None,
    options: Mapping[str, Any] | None = None,
) -> Client:
    """Open a model endpoint by its spec.

    Args:
        spec: `NAME`, `NAME:MODEL` or `NAME:MODEL@URL`. "pocket" is the embedded model, "pocket:DIR" another one of
            its kind, "huggingface:NAME_OR_DIR" any causal language model that transformers can load, "openai:MODEL"
            and others a hosted one.
        cache: directory that keeps answers for later runs; None keeps them in memory only.
        settings: concurrency, limits and retries for hosted models; the defaults if None.
        meter: holds what is sent to a budget; None for no bound.
        options: what the provider takes besides the model.

    Returns:
        A client, to be used in `async with` or closed with `close()`.

    Raises:
        ConfigError: there is no provider of that name, the spec lacks a model, or an option is none of its own.
        ProviderError: the model cannot be loaded, or a library that it needs is missing.
        StorageError: the cache cannot be opened.
    """
    provider = provider_from_spec(spec, options)
    kept = None if cache is None else ResponseCache(cache)
    return Client(provider, kept, settings=settings, meter=meter)
