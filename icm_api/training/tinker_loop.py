"""Fine-tuning at Tinker: its training loop, driven from this process, while the weights are and stay at Tinker.

A job is a folder here, as of training on this machine, and trains while it is followed. Weights and optimizer are saved
at Tinker after each epoch, so that a cut costs an epoch at most. By the package `tinker` (looked up in version 0.38,
November 2026); not verified against the paid service.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from icm_api.chance import draw
from icm_api.errors import ProviderError, RunError
from icm_api.export import FormatName
from icm_api.files import write_whole
from icm_api.model.request import bytes_in_tokens
from icm_api.training.here import MODEL, OnStep, TrainerHere, read_rows
from icm_api.training.options import TinkerTraining
from icm_api.training.values import Estimate, Job, TrainingData, Tuned

_MARK = "icm_api"
_STATE, _WEIGHTS = "epochs.json", "weights.json"
_KEPT = 7 * 24 * 3600
"""Seconds for which Tinker keeps what an epoch ended with; the weights that come out are kept for good."""
_PATH = re.compile(r"tinker://[\w.:/+-]{1,300}")
_REFUSED = (400, 422)


class TinkerTrainer(TrainerHere):
    """LoRA at Tinker; implements `Trainer`.

    Args:
        model: of the base models that Tinker trains.
        options: of the user.
        place: folder of its jobs.

    Raises:
        ProviderError: the package is missing.
    """

    def __init__(self, model: str, options: TinkerTraining, place: Path) -> None:
        if find_spec("tinker") is None:
            raise ProviderError("to train at Tinker needs its package: pip install tinker")
        super().__init__(place, options)
        self._model, self.options = model, options

    @property
    def identity(self) -> str:
        """The model at Tinker."""
        return f"tinker-native/{self._model}"

    @property
    def sent_to(self) -> str:
        """Tinker: the labels leave this machine, though the loop runs here."""
        return self.identity

    @property
    def format(self) -> FormatName:
        """Prompts and completions."""
        return "trl-sft"

    async def estimate(self, data: TrainingData) -> Estimate:
        """Counted here, from the bytes of the data; the price by `options.price`."""
        rows = await asyncio.to_thread(read_rows, data.path)
        once = sum(bytes_in_tokens(row["prompt"]) + bytes_in_tokens(row["completion"]) for row in rows)
        tokens, price = once * self.options.epochs, self.options.price
        money = None if price is None else tokens / 1e6 * price
        return Estimate(len(rows), self.options.epochs, tokens, money, self.options.currency)

    def train(self, rows: list[dict[str, Any]], folder: Path, on_step: OnStep) -> str | None:
        """Train from the last epoch on.

        Args:
            rows: of the export.
            folder: of the job.
            on_step: to be called after each step.

        Raises:
            ProviderError: Tinker does not answer, or refuses the key.
        """
        import tinker

        try:
            return self._trained(tinker, rows, folder, on_step)
        except tinker.TinkerError as error:
            told = f"{self.identity}: {type(error).__name__}: {str(error)[:500]}"
            if getattr(error, "status_code", None) in _REFUSED:
                return told
            raise ProviderError(f"{told}; the same command goes on from the last epoch") from error

    def _trained(self, tinker: Any, rows: Sequence[Mapping[str, str]], folder: Path, on_step: OnStep) -> str | None:
        options, (begun, client) = self.options, self._client(tinker, folder)
        tokenizer = client.get_tokenizer()
        data = [_datum(tinker, tokenizer, row) for row in rows]
        size = options.batch_size
        total = -(-len(data) // size) * options.epochs
        first = done = total // options.epochs * begun
        began, adam = monotonic(), tinker.AdamParams(learning_rate=options.learning_rate)
        for epoch in range(begun, options.epochs):
            order = draw(options.seed, epoch, "rows of an epoch").sample(range(len(data)), len(data))
            for at in range(0, len(order), size):
                # Both are sent before either is waited for, as Tinker wants it.
                seen = client.forward_backward([data[row] for row in order[at : at + size]], "cross_entropy")
                moved = client.optim_step(adam)
                seen.result()
                moved.result()
                done += 1
                left = (monotonic() - began) / (done - first) * (total - done)
                if not on_step(done / total, left) and done < total:
                    return None
            name = f"{folder.name}-{epoch + 1}"
            saved = _path(client.save_state(name, ttl_seconds=_KEPT, overwrite=True).result())
            write_whole(folder / _STATE, json.dumps({"epochs": epoch + 1, "path": saved}) + "\n")
        found = _path(client.save_weights_for_sampler(folder.name).result())
        part = folder / f"{MODEL}.part"
        part.mkdir(exist_ok=True)
        write_whole(part / _WEIGHTS, json.dumps({"path": found}) + "\n")
        part.replace(folder / MODEL)
        return None

    def _client(self, tinker: Any, folder: Path) -> tuple[int, Any]:
        """How many epochs are done, and what goes on from there."""
        service, mark = tinker.ServiceClient(), {_MARK: folder.name}
        if (folder / _STATE).is_file():
            begun = _read(folder / _STATE)
            made = service.create_training_client_from_state_with_optimizer(begun["path"], user_metadata=mark)
            return int(begun["epochs"]), made.result()
        options = self.options
        made = service.create_lora_training_client(
            base_model=self._model, rank=options.lora_rank, seed=options.seed, user_metadata=mark
        )
        return 0, made.result()

    def result(self, job: Job) -> Tuned:
        """The weights by their path at Tinker.

        Args:
            job: that has succeeded.

        Raises:
            RunError: what was written of it is damaged.
        """
        return Tuned(f"tinker-native:{_read(Path(str(job.model)) / _WEIGHTS)['path']}")


def _datum(tinker: Any, tokenizer: Any, row: Mapping[str, str]) -> Any:
    """A row as Tinker takes it: each token is predicted from those before it, and those of the completion count.

    Prompt and completion are cut into tokens as one text, as they are when the model is asked.
    """
    made = tokenizer(row["prompt"] + row["completion"], add_special_tokens=True, return_offsets_mapping=True)
    ids, ends = list(made["input_ids"]), [end for _, end in made["offset_mapping"]]
    weights = [float(end > len(row["prompt"])) for end in ends]
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(ids[:-1]),
        loss_fn_inputs={"target_tokens": ids[1:], "weights": weights[1:]},
    )


def _path(answer: Any) -> str:
    """Where Tinker keeps what was saved."""
    found = getattr(answer, "path", None)
    if not isinstance(found, str) or not _PATH.fullmatch(found) or ".." in found:
        raise ProviderError(f"Tinker does not say where the weights are: {str(found)[:80]!r}")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not _PATH.fullmatch(found["path"]) or int(found.get("epochs", 1)) < 1:
            raise ValueError("no path at Tinker")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: damaged: {error}; start another job with --again") from error
    return dict(found)
