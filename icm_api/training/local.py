"""Fine-tuning on this machine: LoRA by PEFT and TRL over transformers; what comes out is a folder of whole weights.

After a kill it goes on from the last checkpoint, one an epoch. How one is trained is in `local_training`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icm_api.errors import ConfigError, DataError, ProviderError
from icm_api.export import FormatName
from icm_api.model.endpoints.local_weights import load_tokenizer, window_of
from icm_api.model.options import LocalOptions
from icm_api.reward.local_head import scored_tokens
from icm_api.training.here import MODEL, OnStep, TrainerHere, read_rows
from icm_api.training.options import LocalReinforcement, LocalRewardTraining, LocalTraining
from icm_api.training.rewarded import Rewarding, spoken
from icm_api.training.values import Estimate, Job, Method, TrainingData, Tuned

if TYPE_CHECKING:
    from icm_api.training.local_training import Ordered

_PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate")


class LocalTrainer(TrainerHere):
    """LoRA on this machine; implements `Trainer`.

    Args:
        model: a folder, or a name on the Hugging Face hub.
        options: of the user.
        place: folder of its jobs.
        method: what is trained.

    Raises:
        ProviderError: a package is missing, or the tokenizer cannot be loaded.
    """

    def __init__(
        self, model: str, options: LocalTraining | LocalRewardTraining, place: Path, method: Method = "sft"
    ) -> None:
        absent = [name for name in _PACKAGES if find_spec(name) is None]
        if absent:
            raise ProviderError(f"to train here needs {', '.join(absent)}: pip install 'icm-api[train]'")
        super().__init__(place, options)
        self._model, self.options, self._method = model, options, method

    @cached_property
    def _loaded(self) -> tuple[Any, int]:
        """Tokenizer and context window."""
        tokenizer, config = load_tokenizer(self._model, LocalOptions())
        return tokenizer, window_of(self._model, config, tokenizer)

    @property
    def identity(self) -> str:
        """The model, by its folder or name."""
        return f"huggingface/{Path(self._model).resolve() if Path(self._model).is_dir() else self._model}"

    @property
    def format(self) -> FormatName:
        """Prompts and completions, or chat messages; preferences; pairs with a margin."""
        if self._method == "reward":
            return "trl-reward"
        if self._method != "sft":
            return "trl-dpo"
        return "trl-sft" if not self._chat else "openai-sft"

    @property
    def _chat(self) -> bool:
        return isinstance(self.options, LocalTraining) and self.options.data == "chat"

    async def estimate(self, data: TrainingData) -> Estimate:
        """Tokens by the model's own tokenizer, and seconds by two steps of training, whose outcome is thrown away.

        Args:
            data: to train on.

        Raises:
            ConfigError: the model has no chat template, and messages are to be trained on.
            DataError: a row is longer than the model's context window.
            ProviderError: the model cannot be loaded.
        """
        rows = read_rows(data.path)
        if isinstance(self.options, LocalReinforcement):
            return await asyncio.to_thread(self._estimate_replies, self.options, rows, data)
        tokens = await asyncio.to_thread(self._tokens, rows, data.path)
        from icm_api.training.local_training import step_seconds

        steps = -(-len(rows) // self.options.batch_size) * self.options.epochs
        seconds = await asyncio.to_thread(step_seconds, self._ordered(Path()), rows)
        return Estimate(len(rows), self.options.epochs, tokens * self.options.epochs, 0.0, seconds=seconds * steps)

    def _estimate_replies(
        self, options: LocalReinforcement, rows: list[dict[str, Any]], data: TrainingData
    ) -> Estimate:
        """Tokens if every reply is as long as it may be; no reply is written or scored."""
        tokenizer, window = self._loaded
        self._check_chat(tokenizer)
        prompts = {spoken(row["prompt"]): row["prompt"] for row in rows}
        lengths = [len(tokenizer(text)["input_ids"]) + options.max_tokens for text in prompts]
        if max(lengths) >= window:
            raise DataError(
                f"{data.path}: a prompt and a reply of up to {options.max_tokens} tokens are more than the context "
                f"window of {window} leaves; shorten the prompts, or give --option max_tokens"
            )
        replies = len(prompts) * options.generations * options.epochs
        asked = f"the reward model {options.reward} scores {replies:,} replies; what a run asks counts on its budget"
        tokens = sum(lengths) * options.generations * options.epochs
        return Estimate(len(prompts), options.epochs, tokens, 0.0, notes=(asked,))

    def _check_chat(self, tokenizer: Any) -> None:
        if self._chat and not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                f"{self._model!r} has no chat template: train it on plain texts, --option data=completion",
                option="data",
            )

    def _tokens(self, rows: list[dict[str, Any]], path: Path) -> int:
        """Tokens of one epoch."""
        tokenizer, window = self._loaded
        self._check_chat(tokenizer)
        counts = []
        for number, row in enumerate(rows, 1):
            for length in self._lengths(tokenizer, row):
                if length >= window:
                    raise DataError(
                        f"{path}:{number}: the row has {length} tokens, more than the context window of {window} "
                        "leaves; shorten its texts, or train a model with a larger window"
                    )
                counts.append(length + 1)
        return sum(counts)

    def _lengths(self, tokenizer: Any, row: dict[str, Any]) -> list[int]:
        """Tokens of each text that a row becomes."""
        if "messages" in row:
            return [len(tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True)["input_ids"])]
        if "completion" in row:
            return [len(tokenizer(row["prompt"] + row["completion"])["input_ids"])]
        prompt = row.get("prompt", [])
        if isinstance(prompt, str):
            return [len(tokenizer(prompt + row[key])["input_ids"]) for key in ("chosen", "rejected")]
        return [len(scored_tokens(tokenizer, [*prompt, *row[key]])) for key in ("chosen", "rejected")]

    def _ordered(self, folder: Path) -> Ordered:
        from icm_api.training.local_training import Ordered

        return Ordered(self._model, self.options, self._method, folder / "checkpoints", folder / MODEL)

    def train(self, rows: list[dict[str, Any]], folder: Path, on_step: OnStep) -> str | None:
        """Train from the last checkpoint on.

        Args:
            rows: of the export.
            folder: of the job.
            on_step: to be called after each step.

        Raises:
            ProviderError: the model cannot be loaded.
        """
        from icm_api.training.local_training import train

        ordered = self._ordered(folder)
        if not isinstance(self.options, LocalReinforcement):
            return train(ordered, rows, on_step)
        with Rewarding(self.options.reward) as reward:
            return train(replace(ordered, reward=reward), rows, on_step)

    def result(self, job: Job) -> Tuned:
        """The folder of the trained weights."""
        return Tuned(f"huggingface:{job.model}", {"chat_template": True} if self._chat else {})
