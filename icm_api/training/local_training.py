"""The training itself: a trainer of TRL with a LoRA of PEFT, merged into the weights at the end. It knows no jobs.

What differs between the methods is in `local_recipes`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import datasets
import torch
from peft import LoraConfig
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback, set_seed
from transformers.utils import logging

from icm_api.errors import ProviderError
from icm_api.training.local_recipes import RECIPES
from icm_api.training.options import LocalRewardTraining, LocalTraining
from icm_api.training.values import Method

# The first step is slower than those after it.
_MEASURED = 2
_FAILING = (OSError, ValueError, KeyError, RuntimeError, TypeError)


@dataclass(frozen=True, slots=True)
class Ordered:
    """What is to be trained.

    Attributes:
        model: a folder, or a name on the hub.
        options: of the user.
        method: what is trained.
        checkpoints: folder for them.
        into: folder of the weights that come out; it is there whole or not at all.
        reward: scores replies as TRL asks for it; None if nothing is written.
    """

    model: str
    options: LocalTraining | LocalRewardTraining
    method: Method
    checkpoints: Path
    into: Path
    reward: Callable[..., Sequence[float | None]] | None = None


def train(ordered: Ordered, rows: Sequence[dict[str, Any]], on_step: Callable[[float, float], bool]) -> str | None:
    """Train to the end, from the last checkpoint if there is one.

    Args:
        ordered: what is to be trained.
        rows: of an export.
        on_step: called after each step with the share that is done and the seconds that are left; it says whether to
            go on.

    Returns:
        Why it failed; None if it did not, or was stopped.

    Raises:
        ProviderError: the model cannot be loaded.
    """
    with _quiet():
        tokenizer, network = _loaded(ordered)
        watch = _Watch(on_step)
        try:
            trainer = _trainer(ordered, network, tokenizer, rows, watch)
            begun = ordered.checkpoints.is_dir() and any(ordered.checkpoints.glob("checkpoint-*"))
            trainer.train(resume_from_checkpoint=begun)
            if watch.stopped:
                return None
            part = ordered.into.with_name(ordered.into.name + ".part")
            trainer.model.merge_and_unload().save_pretrained(part)
            tokenizer.save_pretrained(part)
            part.replace(ordered.into)
        except _FAILING as error:
            return f"{type(error).__name__}: {error}"
    return None


def step_seconds(ordered: Ordered, rows: Sequence[dict[str, Any]]) -> float:
    """Seconds that a step of training takes, measured; what is trained meanwhile is thrown away.

    Args:
        ordered: what is to be trained; its folders are left alone.
        rows: of an export.

    Raises:
        ProviderError: the model cannot be loaded or trained.
    """
    times: list[float] = []

    def timed(done: float, seconds: float) -> bool:
        times.append(monotonic())
        return len(times) < _MEASURED

    with _quiet(), tempfile.TemporaryDirectory() as place:
        tokenizer, network = _loaded(ordered)
        elsewhere = replace(ordered, checkpoints=Path(place), into=Path(place))
        few = list(rows[: _MEASURED * ordered.options.batch_size])
        trainer = _trainer(elsewhere, network, tokenizer, few, _Watch(timed), _MEASURED)
        began = monotonic()
        try:
            trainer.train()
        except _FAILING as error:
            raise ProviderError(f"{ordered.model!r} cannot be trained: {type(error).__name__}: {error}") from error
    return times[-1] - (times[-2] if len(times) > 1 else began)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Tells of every step, and ends the training if it is told to."""

    def __init__(self, on_step: Callable[[float, float], bool]) -> None:
        self._on_step = on_step
        self._began, self._first = monotonic(), 0
        self.stopped = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note where it goes on."""
        self._began, self._first = monotonic(), state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tell how far it is."""
        done, all_steps = state.global_step, max(state.max_steps, 1)
        pace = (monotonic() - self._began) / max(done - self._first, 1)
        if not self._on_step(done / all_steps, pace * (all_steps - done)) and done < all_steps:
            self.stopped = control.should_training_stop = True


def _loaded(ordered: Ordered) -> tuple[Any, Any]:
    """Tokenizer and network; on a processor in float32, since half floats have no fast path there."""
    recipe, model = RECIPES[ordered.method], ordered.model
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        kind = torch.float32 if _on_processor(ordered.options) else "auto"
        # A new head has weights drawn at random.
        set_seed(ordered.options.seed)
        return tokenizer, recipe.network.from_pretrained(model, dtype=kind, use_safetensors=True, **recipe.loading)
    except _FAILING as error:
        raise ProviderError(f"cannot load {model!r} as {recipe.what} to train: {error}") from error


def _trainer(
    ordered: Ordered, network: Any, tokenizer: Any, rows: Sequence[dict[str, Any]], watch: _Watch, steps: int = -1
) -> Any:
    options, here, recipe = ordered.options, _on_processor(ordered.options), RECIPES[ordered.method]
    settings = recipe.config(
        output_dir=str(ordered.checkpoints),
        num_train_epochs=options.epochs,
        max_steps=steps,
        learning_rate=options.learning_rate,
        seed=options.seed,
        save_strategy="epoch" if steps < 0 else "no",
        save_total_limit=1,
        report_to="none",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=here,
        bf16=not here,
        gradient_checkpointing=not here,
        dataloader_pin_memory=False,
        **{"per_device_train_batch_size": options.batch_size, **recipe.settings(options)},
    )
    rank = options.lora_rank
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", **recipe.lora)
    trainer = recipe.trainer(
        model=network,
        args=settings,
        train_dataset=datasets.Dataset.from_list(recipe.rows(rows, tokenizer, options)),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[watch],
        **({} if ordered.reward is None else {"reward_funcs": ordered.reward}),
    )
    # Standard output is the caller's.
    trainer.remove_callback(PrinterCallback)
    return trainer


def _on_processor(options: LocalTraining | LocalRewardTraining) -> bool:
    return options.device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and remarks of libraries, which would write over the terminal's own lines."""
    shown, loud = (
        (logging.is_progress_bar_enabled(), not datasets.are_progress_bars_disabled()),
        logging.get_verbosity(),
    )
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(loud)
        if shown[0]:
            logging.enable_progress_bar()
        if shown[1]:
            datasets.enable_progress_bars()
