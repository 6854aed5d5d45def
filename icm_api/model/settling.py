"""An entry of the catalogue once the options and the tier of a user are put over it, and what does not fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar

from icm_api.errors import ConfigError
from icm_api.model.decision_hosts import DecisionEntry
from icm_api.model.host import Entry
from icm_api.model.options import DecisionOptions, Options

_LIMITS = frozenset({"max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens"})
"""Names of the most reply tokens, in the bodies of one host or another."""


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
    if _LIMITS & {*options.leave_out} and not _LIMITS & options.extra_body.keys():
        raise ConfigError(
            "leave_out: replies need a limit, for the budget too: put it into extra_body by the name that the host has "
            f"for it, one of {', '.join(sorted(_LIMITS - {*options.leave_out}))}",
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
