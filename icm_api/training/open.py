"""From a spec such as "openai:gpt-4.1-mini" or "huggingface:FOLDER" to a trainer; what it needs is imported then."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icm_api.errors import ConfigError
from icm_api.model.catalog import ENTRIES
from icm_api.model.open import split_address
from icm_api.model.options import checked_options
from icm_api.training.values import Trainer

if TYPE_CHECKING:
    from icm_api.training.hosted import HostedTrainer

TRAINERS = ("openai", "azure", "together", "fireworks", "tinker-native", "huggingface", "pocket")
"""The providers that train."""
_GONE = {
    "mistral": "Mistral takes no fine-tuning jobs any more",
    "anthropic": "Anthropic offers no fine-tuning",
    "gemini": "Gemini's API offers no fine-tuning",
}


def open_trainer(spec: str, options: Mapping[str, Any] | None = None, *, place: Path) -> Trainer:
    """Open a trainer by the spec of the model that it shall train.

    Args:
        spec: `NAME:MODEL` or `NAME:MODEL@URL`, with the names that `open_model` knows.
        options: of the job, see `icm_api.training.options`.
        place: folder of its jobs, in which training on this machine leaves the model.

    Raises:
        ConfigError: there is no such trainer, it needs a model, there is no key, or an option is unknown or wrong.
        ProviderError: a library that it needs is missing.
    """
    name, _, rest = spec.partition(":")
    if name not in TRAINERS:
        near = get_close_matches(name, TRAINERS)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        why = f"{_GONE[name]}; " if name in _GONE else ""
        raise ConfigError(f"provider {name!r} does not train: {why}{hint}these do: {', '.join(TRAINERS)}")
    model, given = split_address(rest, options or {})
    if name == "pocket":
        from icm_api.training.options import PocketTraining
        from icm_api.training.pocket import PocketTrainer

        return PocketTrainer(model, checked_options(PocketTraining, name, given), place)
    if not model:
        raise ConfigError(f'trainer {name!r} needs a model: "{name}:MODEL"')
    if name == "tinker-native":
        from icm_api.training.options import TinkerTraining
        from icm_api.training.tinker_loop import TinkerTrainer

        return TinkerTrainer(model, checked_options(TinkerTraining, name, given), place)
    if name == "huggingface":
        from icm_api.training.local import LocalTrainer
        from icm_api.training.options import LocalTraining

        return LocalTrainer(model, checked_options(LocalTraining, name, given), place)
    return _hosted(name, model, given)


def _hosted(name: str, model: str, given: Mapping[str, Any]) -> HostedTrainer:
    from icm_api.training.options import FireworksTraining, OpenAITraining, TogetherTraining

    entry = ENTRIES[name]
    if not entry.base_url and not given.get("base_url"):
        raise ConfigError(f'trainer {name!r} needs an address: "{name}:MODEL@https://HOST/PATH"', option="base_url")
    if name == "together":
        from icm_api.training.together_jobs import TogetherTrainer

        return TogetherTrainer(entry, model, checked_options(TogetherTraining, name, given))
    if name == "fireworks":
        from icm_api.training.fireworks_jobs import FireworksTrainer

        return FireworksTrainer(entry, model, checked_options(FireworksTraining, name, given))
    from icm_api.training.openai_jobs import OpenAITrainer

    return OpenAITrainer(entry, model, checked_options(OpenAITraining, name, given))
