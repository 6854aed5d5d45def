"""From a spec such as "openai:gpt-6-luna" or "vllm:MODEL@http://127.0.0.1:8000/v1" to a model.

It does: find the provider by name, in the catalogue or among the entry points of other packages, import what it needs
only then, and put reader, client and endpoint together.
It does not: read a configuration.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from icm_api.config import ClientSettings
from icm_api.errors import ConfigError, ProviderError
from icm_api.model.catalog import ENTRIES
from icm_api.model.client.client import Client
from icm_api.model.client.limits import Limiting
from icm_api.model.client.meter import Meter, Metering
from icm_api.model.client.opening import open_cache
from icm_api.model.decision_hosts import DECISION_ENTRIES, DecisionEntry, DecisionHost
from icm_api.model.host import Entry, Host
from icm_api.model.job import TakesJobs
from icm_api.model.language_model import LanguageModel
from icm_api.model.options import (
    AnthropicOptions,
    DecisionOptions,
    GeminiOptions,
    LocalOptions,
    Options,
    checked_options,
)
from icm_api.model.reading.reading import Readers, Writes
from icm_api.model.request import Endpoint
from icm_api.model.settling import check_jobs, no_tier, settled, settled_decisions, unkeyed

if TYPE_CHECKING:
    from icm_api.model.endpoints.openai_sdk import Connection

GROUP = "icm_api.models"
"""Entry points of this group name functions that take a model's name and options and return an `Opened`."""
_KEY_LOG = "SSLKEYLOGFILE"


class Opened(NamedTuple):
    """An endpoint, and how it is read."""

    endpoint: Endpoint
    readers: Readers


Opener: TypeAlias = Callable[[str, Mapping[str, Any]], Opened]


def open_model(
    spec: str,
    *,
    cache: Path | str | None = None,
    settings: ClientSettings | None = None,
    meter: Metering | None = None,
    limits: Limiting | None = None,
    options: Mapping[str, Any] | None = None,
    memory: int = 100_000,
    jobs: Path | None = None,
) -> LanguageModel:
    """Open a language model by its spec.

    Args:
        spec: `NAME`, `NAME:MODEL` or `NAME:MODEL@URL`. "pocket" is the embedded model, "pocket:DIR" another of its
            kind, "huggingface:NAME_OR_DIR" any causal language model that transformers can load, "openai:MODEL" and
            others a hosted model.
        cache: directory that keeps answers for later runs, or the address of a Redis server that does, such as
            "redis://HOST:6379/0"; None keeps them in memory only.
        settings: concurrency, limits and retries for hosted models; the defaults if None.
        meter: counts what is sent and holds it to a budget; without a bound if None.
        limits: requests and tokens a minute that several processes share; those of the settings if None.
        options: what the provider takes besides the model.
        memory: the most answers held in memory, 8 MB of them at most if there is a cache.
        jobs: directory in which batch jobs are noted, for `settings.tier` "batch"; None for one in `cache`.

    Returns:
        The model, to be used in `async with` or closed with `close()`.

    Raises:
        ConfigError: there is no provider of that name, the spec lacks a model, or an option is unknown or wrong.
        ProviderError: the model can't be loaded, or a library that it needs is missing.
        StorageError: the cache can't be opened.
    """
    settings, meter = settings or ClientSettings(), meter or Meter()
    endpoint, readers = open_endpoint(spec, options, tier=settings.tier)
    sender = None
    if settings.tier == "batch" and isinstance(endpoint, TakesJobs):
        from icm_api.model.client.jobs import Jobs

        assert isinstance(meter, Meter), "jobs are sent by the process that holds the budget"
        folder = jobs or (cache / "jobs" if isinstance(cache, Path) else None)
        if folder is None:
            raise ConfigError("client.tier: batch jobs are noted, so that none is sent twice: name a cache, or jobs")
        sender = Jobs(endpoint.job_host(), folder, settings, meter, cached=cache is not None)
    kept = None if cache is None else open_cache(cache)
    client = Client(endpoint, kept, memory=memory, settings=settings, meter=meter, limits=limits, jobs=sender)
    return LanguageModel(readers, client)


def open_endpoint(spec: str, options: Mapping[str, Any] | None = None, *, tier: str | None = None) -> Opened:
    """The endpoint of a spec and its readers, without a client.

    Args:
        spec: as `open_model` takes it.
        options: what the provider takes besides the model; `@URL` stands for the option base_url.
        tier: of the host's service, see `ClientSettings.tier`; None for the usual one.

    Raises:
        ConfigError: there is no such provider, it needs a model, or an option is unknown or wrong.
        ProviderError: a library that it needs is missing, or its model can't be loaded.
    """
    name, _, rest = spec.partition(":")
    if tier is not None and name not in ENTRIES and (tier, name) != ("batch", "anthropic"):
        raise no_tier(name, tier)
    opener = _own(name, tier) or _third_party(name)
    if opener is None:
        names = provider_names()
        near = get_close_matches(name, names)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ConfigError(f"unknown provider {name!r}; {hint}known: {', '.join(names)}", option="")
    model, given = split_address(rest, options or {})
    if not model and name != "pocket":
        raise ConfigError(f'provider {name!r} needs a model: "{name}:MODEL"', option="")
    try:
        return opener(model, given)
    except ModuleNotFoundError as error:
        raise ProviderError(f"provider {name!r} needs the package {error.name!r}: pip install it") from error
    except OSError as error:
        # Python opens it with every set of certificates, some packages as they are imported.
        if error.filename is None or error.filename != os.environ.get(_KEY_LOG):
            raise
        raise ConfigError(
            f"the environment variable {_KEY_LOG} names a file that can't be written ({error.strerror}): unset it, or "
            "name another"
        ) from error


def provider_names() -> tuple[str, ...]:
    """The providers that can be opened, those of other packages last."""
    return tuple(
        dict.fromkeys([*_OPENERS, *ENTRIES, *DECISION_ENTRIES, *(point.name for point in entry_points(group=GROUP))])
    )


def _own(name: str, tier: str | None) -> Opener | None:
    if name in ENTRIES:
        return lambda model, options: _openai(name, model, options, tier)
    if name in DECISION_ENTRIES:
        return lambda model, options: _decisions(name, model, options)
    return _OPENERS.get(name)


def _third_party(name: str) -> Opener | None:
    for point in entry_points(group=GROUP, name=name):
        opener: Opener = point.load()
        return opener
    return None


def split_address(model: str, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The model without `@URL`, and the options with it.

    Args:
        model: of a spec, what follows the provider's name.
        options: of the provider.

    Raises:
        ConfigError: the options have an address too.

    Example:
        >>> split_address("m@http://127.0.0.1:8000/v1", {})
        ('m', {'base_url': 'http://127.0.0.1:8000/v1'})
    """
    for scheme in ("@https://", "@http://"):
        bare, found, rest = model.rpartition(scheme)
        if found:
            if options.get("base_url"):
                told = f"two addresses: {scheme[1:]}{rest} in the spec, and the option base_url"
                raise ConfigError(told, option="base_url")
            return bare, {**options, "base_url": scheme[1:] + rest}
    return model, options


def _openai(name: str, model: str, options: Mapping[str, Any], tier: str | None) -> Opened:
    """Any host in the catalogue."""
    from icm_api.model.endpoints.openai import OpenAIEndpoint
    from icm_api.model.reading import openai, sglang, vllm

    given = checked_options(Options, name, options)
    entry = settled(ENTRIES[name], given)
    # Before the key is asked for: what a host does not have, no key mends.
    beside = unkeyed(entry, given, tier)
    check_jobs(entry, tier)
    connection, identity, blot = _reached(name, model, entry, given)
    host = Host(entry, model, identity, given.chat_style, blot)
    readers = {"openai": openai, "vllm": vllm, "sglang": sglang}[entry.reads].readers(host)
    capabilities = host.capabilities(readers.method, prompt_logprobs=readers.inside is not None)
    return Opened(OpenAIEndpoint(host, capabilities, connection, beside), readers)


def _decisions(name: str, model: str, options: Mapping[str, Any]) -> Opened:
    """Any host of decision models."""
    from icm_api.model.endpoints.decisions import DecisionsEndpoint
    from icm_api.model.reading.decisions import METHOD, Decisions

    given = checked_options(DecisionOptions, name, options)
    entry = settled_decisions(DECISION_ENTRIES[name], given)
    connection, identity, blot = _reached(name, model, entry, given)
    host = DecisionHost(entry, model, identity, given.extra_body, blot)
    return Opened(DecisionsEndpoint(host, connection), Readers(Decisions(host), method=METHOD))


def _reached(
    name: str, model: str, entry: Entry | DecisionEntry, given: Options | DecisionOptions
) -> tuple[Connection, str, Callable[[str], str]]:
    """The connection to a host, the identity of a model there, and what removes the key from a message."""
    from icm_api.model.endpoints.http import blotted, checked_url, host_of, read_key
    from icm_api.model.endpoints.openai_sdk import Connection

    url = checked_url(entry.base_url, allow_http=given.allow_http)
    key = read_key(entry.key_variable, required=entry.key_required)
    secret = key.get_secret_value() if key else ""
    return Connection(url, key, given.http_client), f"{name}/{host_of(url)}/{model}", lambda text: blotted(text, secret)


def _tinker(model: str, options: Mapping[str, Any]) -> Opened:
    from icm_api.model.endpoints.tinker import TinkerEndpoint, open_tinker
    from icm_api.model.reading.targeted import TargetedIds

    if options:
        raise ConfigError(f"provider 'tinker-native' takes no options, got {', '.join(options)}")
    scores, tokens_of = open_tinker(model)
    endpoint = TinkerEndpoint(model, scores)
    reader = TargetedIds(endpoint.identity, tokens_of)
    return Opened(endpoint, Readers(reader, reader))


def _anthropic(model: str, options: Mapping[str, Any]) -> Opened:
    from icm_api.model.endpoints.anthropic import AnthropicEndpoint
    from icm_api.model.reading.anthropic import AnthropicReader

    given = checked_options(AnthropicOptions, "anthropic", options)
    endpoint = AnthropicEndpoint(model, given)
    reader = AnthropicReader(endpoint.identity, given, endpoint.blotted)
    return Opened(endpoint, Readers(reader, text=reader))


def _gemini(model: str, options: Mapping[str, Any]) -> Opened:
    from icm_api.model.endpoints.gemini import GeminiEndpoint
    from icm_api.model.reading.gemini import GeminiReader

    given = checked_options(GeminiOptions, "gemini", options)
    endpoint = GeminiEndpoint(model, given)
    reader = GeminiReader(endpoint.identity, endpoint.path, given, endpoint.blotted)
    return Opened(endpoint, Readers(reader, text=reader))


def _pocket(model: str, options: Mapping[str, Any]) -> Opened:
    from icm_api.model.endpoints.pocket import PocketEndpoint, load_model
    from icm_api.model.reading.local import WritesText

    if options:
        raise ConfigError(f"provider 'pocket' takes no options, got {', '.join(options)}", option=next(iter(options)))
    endpoint = PocketEndpoint(load_model(Path(model) if model else None))
    return _local(endpoint, WritesText(endpoint, chat=False))


def _huggingface(model: str, options: Mapping[str, Any]) -> Opened:
    from icm_api.model.endpoints.huggingface import HuggingFaceEndpoint
    from icm_api.model.reading.local import WritesText

    given = checked_options(LocalOptions, "huggingface", options)
    endpoint = HuggingFaceEndpoint(model, given)
    return _local(endpoint, WritesText(endpoint, chat=given.chat_template))


def _local(endpoint: Endpoint, text: Writes) -> Opened:
    from icm_api.model.reading.local import ReadsForms

    reader = ReadsForms(endpoint)
    return Opened(endpoint, Readers(reader, inside=reader, text=text))


_OPENERS: Mapping[str, Opener] = MappingProxyType(
    {
        "pocket": _pocket,
        "huggingface": _huggingface,
        "anthropic": _anthropic,
        "gemini": _gemini,
        "tinker-native": _tinker,
    }
)
