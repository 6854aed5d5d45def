"""Fine-tuning on this machine: LoRA by PEFT and TRL over transformers; what comes out is a folder of whole weights.

After a kill it goes on from the last checkpoint, one an epoch. How one is trained is in `local_training`.
"""

from __future__ import annotations

import asyncio
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from icm_api.errors import DataError, ProviderError
from icm_api.export import FormatName
from icm_api.model.endpoints.local_weights import load_tokenizer, window_of
from icm_api.model.options import LocalOptions
from icm_api.training.here import MODEL, OnStep, TrainerHere, read_rows
from icm_api.training.options import LocalTraining
from icm_api.training.values import Estimate, Job, TrainingData, Tuned

_PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate")


class LocalTrainer(TrainerHere):
    """LoRA on this machine; implements `Trainer`.

    Args:
        model: a folder, or a name on the Hugging Face hub.
        options: of the user.
        place: folder of its jobs.

    Raises:
        ProviderError: a package is missing, or the tokenizer cannot be loaded.
    """

    def __init__(self, model: str, options: LocalTraining, place: Path) -> None:
        absent = [name for name in _PACKAGES if find_spec(name) is None]
        if absent:
            raise ProviderError(f"to train here needs {', '.join(absent)}: pip install 'icm-api[train]'")
        super().__init__(place, options)
        self._model, self.options = model, options

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
        """Prompts and completions, or chat messages."""
        return "trl-sft" if self.options.data == "completion" else "openai-sft"

    async def estimate(self, data: TrainingData) -> Estimate:
        """Tokens by the model's own tokenizer, and seconds by two steps of training, whose outcome is thrown away.

        Args:
            data: to train on.

        Raises:
            DataError: a row is longer than the model's context window.
            ProviderError: the model cannot be loaded.
        """
        rows = read_rows(data.path)
        tokens = await asyncio.to_thread(self._tokens, rows, data.path)
        from icm_api.training.local_training import step_seconds

        steps = -(-len(rows) // self.options.batch_size) * self.options.epochs
        seconds = await asyncio.to_thread(partial(step_seconds, self._model, self.options, rows))
        return Estimate(len(rows), self.options.epochs, tokens * self.options.epochs, 0.0, seconds=seconds * steps)

    def _tokens(self, rows: list[dict[str, Any]], path: Path) -> int:
        """Tokens of one epoch."""
        tokenizer, window = self._loaded
        counts = []
        for number, row in enumerate(rows, 1):
            if "messages" in row:
                ids = tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True)["input_ids"]
            else:
                ids = tokenizer(row["prompt"] + row["completion"])["input_ids"]
            if len(ids) >= window:
                raise DataError(
                    f"{path}:{number}: the row has {len(ids)} tokens, more than the context window of {window} leaves; "
                    "shorten its texts, or train a model with a larger window"
                )
            counts.append(len(ids) + 1)
        return sum(counts)

    def train(self, rows: list[dict[str, Any]], folder: Path, on_step: OnStep) -> str | None:
        """Train from the last checkpoint on.

        Args:
            rows: of the export.
            folder: of the job.
            on_step: to be called after each step.

        Raises:
            ProviderError: the model cannot be loaded.
        """
        from icm_api.training.local_training import Ordered, train

        ordered = Ordered(self._model, self.options, folder / "checkpoints", folder / MODEL)
        return train(ordered, rows, on_step)

    def result(self, job: Job) -> Tuned:
        """The folder of the trained weights.

        Args:
            job: that has succeeded.
        """
        chat = {"chat_template": True} if self.options.data == "chat" else {}
        return Tuned(f"huggingface:{job.model}", chat)
