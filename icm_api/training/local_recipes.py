"""What each method takes of TRL: which network, which trainer, and the rows of an export as that trainer reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from icm_api.reward.local_head import scored_tokens
from icm_api.training.rewarded import spoken
from icm_api.training.values import Method

Rows: TypeAlias = Sequence[dict[str, Any]]
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train.

    Attributes:
        what: that is trained, for messages.
        network: of transformers.
        config: of TRL.
        trainer: of TRL.
        lora: what PEFT has to know of the network.
        loading: of the network.
        settings: of the config, from the options of the user.
        rows: from those of an export, with the tokenizer and the options of the user.
    """

    what: str
    network: Any
    config: Any
    trainer: Any
    lora: Mapping[str, Any]
    loading: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    settings: Callable[[Any], Mapping[str, Any]] = lambda options: {"max_length": None}
    rows: Callable[[Rows, Any, Any], list[dict[str, Any]]] = lambda rows, tokenizer, options: list(rows)


def scored_rows(rows: Rows, tokenizer: Any, options: Any) -> list[dict[str, Any]]:
    """Pairs as tokens, cut as they are when they are scored, with the margin if it is asked for.

    Args:
        rows: of "trl-reward".
        tokenizer: of transformers.
        options: of the user.
    """
    return [
        {
            "chosen_ids": scored_tokens(tokenizer, row["chosen"]),
            "rejected_ids": scored_tokens(tokenizer, row["rejected"]),
            **({"margin": row["margin"]} if options.margin else {}),
        }
        for row in rows
    ]


def preferred_rows(rows: Rows, tokenizer: Any, options: Any) -> list[dict[str, Any]]:
    """Preferences as messages, or as plain texts.

    Args:
        rows: of "trl-dpo".
        tokenizer: of transformers.
        options: of the user.
    """
    if options.data == "chat":
        return [{key: row[key] for key in ("prompt", "chosen", "rejected")} for row in rows]
    return [
        {"prompt": spoken(row["prompt"]), **{key: following(row, key) for key in ("chosen", "rejected")}}
        for row in rows
    ]


def prompt_rows(rows: Rows, tokenizer: Any, options: Any) -> list[dict[str, Any]]:
    """The prompts, each once, as messages or as plain texts; again from the first if they are fewer than a step takes.

    Args:
        rows: with prompts.
        tokenizer: of transformers.
        options: of the user.
    """
    prompts = {spoken(row["prompt"]): row["prompt"] for row in rows}
    found = [{"prompt": prompt if options.data == "chat" else text} for text, prompt in prompts.items()]
    return found * -(-options.batch_size // len(found)) if len(found) < options.batch_size else found


def settings_of_grpo(options: Any) -> dict[str, Any]:
    """A step has all replies to its prompts; what writes them is the network that is trained.

    Args:
        options: of the user.
    """
    return {
        "per_device_train_batch_size": options.batch_size * options.generations,
        "num_generations": options.generations,
        "max_completion_length": options.max_tokens,
        "temperature": options.temperature,
        "beta": options.beta,
        "use_vllm": False,
    }


def following(row: Mapping[str, Any], key: str) -> str:
    """A reply as it follows the prompt in plain text: after a space, unless white space is there.

    Args:
        row: of "trl-dpo".
        key: of the reply.
    """
    reply, prompt = spoken(row[key]), spoken(row["prompt"])
    return reply if isinstance(row[key], str) or prompt[-1:].isspace() else f" {reply}"


_CAUSAL = MappingProxyType({"task_type": "CAUSAL_LM"})
RECIPES: Mapping[Method, Recipe] = MappingProxyType(
    {
        "sft": Recipe("a causal language model", AutoModelForCausalLM, SFTConfig, SFTTrainer, _CAUSAL),
        "dpo": Recipe(
            "a causal language model",
            AutoModelForCausalLM,
            DPOConfig,
            DPOTrainer,
            _CAUSAL,
            settings=lambda options: {"max_length": None, "beta": options.beta},
            rows=preferred_rows,
        ),
        "reward": Recipe(
            "a network that scores",
            AutoModelForSequenceClassification,
            RewardConfig,
            RewardTrainer,
            MappingProxyType({"task_type": "SEQ_CLS", "modules_to_save": ["score"]}),
            MappingProxyType({"num_labels": 1}),
            rows=scored_rows,
        ),
        "grpo": Recipe(
            "a causal language model",
            AutoModelForCausalLM,
            GRPOConfig,
            GRPOTrainer,
            _CAUSAL,
            settings=settings_of_grpo,
            rows=prompt_rows,
        ),
    }
)
"""By method."""
