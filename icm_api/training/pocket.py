"""The embedded model fine-tuned with numpy alone: its last layer learns the completions, all else stays as it is.

The weights before the last layer never change, so that each position's state is computed once. It follows from the log
probabilities of all tokens, of which there are more than the state has numbers.
"""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from icm_api.errors import DataError, StorageError
from icm_api.export import FormatName
from icm_api.model.endpoints.pocket import load_model
from icm_api.pocket.model import WEIGHTS, PocketModel
from icm_api.training.here import MODEL, OnStep, TrainerHere, read_rows
from icm_api.training.options import PocketTraining, TrainingOptions
from icm_api.training.values import Estimate, Job, TrainingData, Tuned

Floats = NDArray[np.float64]
HEAD, NORM, WEIGHTS_FILE = "lm_head.weight", "model.norm.weight", "model.safetensors"


class OnPocket(TrainerHere):
    """Training on top of the embedded model; implements `Trainer` but for what is trained, and on which rows.

    Args:
        model: folder of a model of its kind; empty for the one in the package.
        options: of the user.
        place: folder of its jobs.
        passes: how often the model reads each row.

    Raises:
        ProviderError: the weights cannot be read.
    """

    def __init__(self, model: str, options: TrainingOptions, place: Path, passes: int) -> None:
        super().__init__(place, options)
        self._folder, self._passes = Path(model) if model else WEIGHTS, passes
        self._network = load_model(Path(model) if model else None)

    @property
    def identity(self) -> str:
        """The model's name, which holds a hash of its weights."""
        return f"pocket/{self._network.name}"

    @abstractmethod
    def texts(self, row: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
        """What is read of a row: its name -> a prompt, and what follows straight after it.

        Args:
            row: of the export.
        """

    async def estimate(self, data: TrainingData) -> Estimate:
        """Tokens by the model's own tokenizer.

        Args:
            data: to train on.

        Raises:
            DataError: a text with its prompt is longer than the context window.
        """
        rows, counts = read_rows(data.path), []
        for number, row in enumerate(rows, 1):
            for what, texts in self.texts(row).items():
                counts.append(sum(len(self._network.encode(text)) for text in texts))
                if counts[-1] >= self._network.context_window:
                    raise DataError(f"{data.path}:{number}: {what} has {counts[-1]} tokens, more than the model takes")
        return Estimate(len(rows), self._passes, sum(counts) * self._passes, 0.0)

    def result(self, job: Job) -> Tuned:
        """The folder of the model that came out."""
        return Tuned(f"pocket:{job.model}")


class PocketTrainer(OnPocket):
    """The embedded model's last layer; implements `Trainer`.

    Args:
        model: folder of a model of its kind; empty for the one in the package.
        options: of the user.
        place: folder of its jobs.

    Raises:
        ProviderError: the weights cannot be read.
    """

    def __init__(self, model: str, options: PocketTraining, place: Path) -> None:
        super().__init__(model, options, place, options.epochs)
        self.options = options

    @property
    def format(self) -> FormatName:
        """Prompts and completions."""
        return "trl-sft"

    def texts(self, row: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
        """The row.

        Args:
            row: of "trl-sft".
        """
        return {"the row": (row["prompt"], row["completion"])}

    def train(self, rows: list[dict[str, Any]], folder: Path, on_step: OnStep) -> str | None:
        """Gradient descent on the mean loss of all rows, all of them a step.

        Args:
            rows: of the export.
            folder: of the job.
            on_step: to be called after each step.

        Raises:
            StorageError: the folder cannot be written.
        """
        tensors = load_tensors((self._folder / WEIGHTS_FILE).read_bytes())
        head = tensors[HEAD].astype(np.float64)
        step_down = self.descent(rows, head, tensors[NORM].astype(np.float64))
        began, epochs = monotonic(), self.options.epochs
        for step in range(1, epochs + 1):
            head -= step_down(head)
            left = (monotonic() - began) / step * (epochs - step)
            if not on_step(step / epochs, left) and step < epochs:
                return None
        tuned = {**tensors, HEAD: head.astype(tensors[HEAD].dtype)}
        copied(self._folder, folder / MODEL, {WEIGHTS_FILE: save_tensors(tuned)})
        return None

    def descent(self, rows: list[dict[str, Any]], head: Floats, scale: Floats) -> Callable[[Floats], Floats]:
        """What a step takes off the last layer: here down the mean cross-entropy of all completions' tokens.

        Args:
            rows: of the export.
            head: the last layer before training, [vocabulary, width].
            scale: of the norm before it, [width].
        """
        states, wanted = _states(self._network, rows, head * scale)
        states *= scale

        def step(head: Floats) -> Floats:
            logits = states @ head.T
            logits -= logits.max(axis=1, keepdims=True)
            surprise = np.exp(logits)
            surprise /= surprise.sum(axis=1, keepdims=True)
            surprise[np.arange(len(wanted)), wanted] -= 1
            off: Floats = self.options.learning_rate / len(wanted) * surprise.T @ states
            return off

        return step


def _states(network: PocketModel, rows: list[dict[str, Any]], head: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """What the last layer gets before each token of a completion, [tokens, width], and these tokens."""
    sequences, wanted = [], []
    for row in rows:
        # Cut as the model is asked: prompt and label apart.
        prompt, completion = network.encode(row["prompt"]), network.encode(row["completion"])
        for at, token in enumerate(completion):
            sequences.append((prompt, completion[:at]))
            wanted.append(token)
    # logprob = head @ state - normaliser, with more tokens than unknowns.
    known = np.hstack([head, -np.ones((len(head), 1))])
    found = np.linalg.lstsq(known, network.next_token_logprobs(sequences).T, rcond=None)[0]
    return np.array(found[:-1].T, dtype=np.float64), np.array(wanted, dtype=np.intp)


def copied(before: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    """The folder of an embedded model with other files, there whole or not at all.

    Args:
        before: the folder of the model.
        folder: to be made.
        files: name -> content, beside and in place of those of the model.

    Raises:
        StorageError: it cannot be written.
    """
    part = folder.with_name(folder.name + ".part")
    try:
        part.mkdir(exist_ok=True)
        for name in ("config.json", "tokenizer.json", WEIGHTS_FILE):
            if name not in files:
                shutil.copyfile(before / name, part / name)
        for name, content in files.items():
            (part / name).write_bytes(content)
        part.replace(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
