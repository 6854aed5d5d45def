"""From a spec such as "openai:gpt-4.1-mini" or "huggingface:FOLDER" to a trainer; what it needs is imported then."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from icm_api.errors import ConfigError
from icm_api.model.catalog import ENTRIES
from icm_api.model.open import split_address
from icm_api.model.options import checked_options
from icm_api.training.values import Method, Trainer

if TYPE_CHECKING:
    from icm_api.training.hosted import HostedTrainer

TRAINERS = ("openai", "azure", "together", "fireworks", "tinker-native", "huggingface", "pocket")
"""The providers that train."""
_METHODS: Mapping[Method, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        "dpo": (("openai", "azure", "together", "fireworks", "huggingface", "pocket"), "does not train on preferences"),
        "reward": (("huggingface", "pocket"), "trains no reward model"),
        "grpo": (("huggingface",), "does not train by a reward"),
    }
)
"""Which providers do it, and what is said of the others."""
_GONE = {
    "mistral": "Mistral takes no fine-tuning jobs any more",
    "anthropic": "Anthropic offers no fine-tuning",
    "gemini": "Gemini's API offers no fine-tuning",
}


def open_trainer(
    spec: str, options: Mapping[str, Any] | None = None, *, place: Path, method: Method = "sft"
) -> Trainer:
    """Open a trainer by the spec of the model that it shall train.

    Args:
        spec: `NAME:MODEL` or `NAME:MODEL@URL`, with the names that `open_model` knows.
        options: of the job, see `icm_api.training.options`.
        place: folder of its jobs, in which training on this machine leaves the model.
        method: what it shall train.

    Raises:
        ConfigError: there is no such trainer, it does not train that, it needs a model, there is no key, or an option
            is unknown or wrong.
        ProviderError: a library that it needs is missing.
    """
    name, _, rest = spec.partition(":")
    if name not in TRAINERS:
        near = get_close_matches(name, TRAINERS)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        why = f"{_GONE[name]}; " if name in _GONE else ""
        raise ConfigError(f"provider {name!r} does not train: {why}{hint}these do: {', '.join(TRAINERS)}")
    if method != "sft" and name not in _METHODS[method][0]:
        able, unable = _METHODS[method]
        raise ConfigError(f"provider {name!r} {unable}; these do: {', '.join(able)}")
    model, given = split_address(rest, options or {})
    if name == "pocket":
        return _pocket(model, given, place, method)
    if not model:
        raise ConfigError(f'trainer {name!r} needs a model: "{name}:MODEL"')
    if name == "tinker-native":
        from icm_api.training.options import TinkerTraining
        from icm_api.training.tinker_loop import TinkerTrainer

        return TinkerTrainer(model, checked_options(TinkerTraining, name, given), place)
    if name == "huggingface":
        from icm_api.training import options as kinds
        from icm_api.training.local import LocalTrainer

        of_methods: Mapping[Method, type[kinds.LocalTraining] | type[kinds.LocalRewardTraining]] = {
            "sft": kinds.LocalTraining,
            "dpo": kinds.LocalPreferenceTraining,
            "reward": kinds.LocalRewardTraining,
            "grpo": kinds.LocalReinforcement,
        }
        return LocalTrainer(model, checked_options(of_methods[method], name, given), place, method)
    return _hosted(name, model, given, method)


def _pocket(model: str, given: Mapping[str, Any], place: Path, method: Method) -> Trainer:
    from icm_api.training import options as kinds

    if method == "reward":
        from icm_api.training.pocket_reward import PocketRewardTrainer

        return PocketRewardTrainer(model, checked_options(kinds.PocketRewardTraining, "pocket", given), place)
    if method == "dpo":
        from icm_api.training.pocket_preferences import PocketPreferenceTrainer

        return PocketPreferenceTrainer(model, checked_options(kinds.PocketPreferenceTraining, "pocket", given), place)
    from icm_api.training.pocket import PocketTrainer

    return PocketTrainer(model, checked_options(kinds.PocketTraining, "pocket", given), place)


def _hosted(name: str, model: str, given: Mapping[str, Any], method: Method) -> HostedTrainer:
    from icm_api.training import options as kinds

    entry, preferences = ENTRIES[name], method == "dpo"
    if not entry.base_url and not given.get("base_url"):
        raise ConfigError(f'trainer {name!r} needs an address: "{name}:MODEL@https://HOST/PATH"', option="base_url")
    if name == "together":
        from icm_api.training.together_jobs import TogetherTrainer

        of_together = kinds.TogetherPreferenceTraining if preferences else kinds.TogetherTraining
        return TogetherTrainer(entry, model, checked_options(of_together, name, given), method)
    if name == "fireworks":
        from icm_api.training.fireworks_jobs import FireworksTrainer

        of_fireworks = kinds.FireworksPreferenceTraining if preferences else kinds.FireworksTraining
        return FireworksTrainer(entry, model, checked_options(of_fireworks, name, given), method)
    from icm_api.training.openai_jobs import OpenAITrainer

    of_openai = kinds.OpenAIPreferenceTraining if preferences else kinds.OpenAITraining
    return OpenAITrainer(entry, model, checked_options(of_openai, name, given), method)
