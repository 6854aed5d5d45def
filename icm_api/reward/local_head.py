"""Scores by a network of transformers with one output, such as TRL's RewardTrainer leaves, or one from the hub.

How a prompt with a reply becomes tokens is the same here and where such a network is trained. torch and transformers
are imported when a model is opened, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from icm_api.errors import ProviderError
from icm_api.model.endpoints.local_weights import fingerprint, load_tokenizer, window_of
from icm_api.model.options import LocalOptions

_FAILING = (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError)
_DECIMALS = 4


class LocalHead:
    """A network with one output; implements `Head`.

    Args:
        model: a folder, or a name on the Hugging Face hub.
        options: device, type of number, batch size and revision.

    Raises:
        ProviderError: a package is missing, or the model has not one output alone.
    """

    def __init__(self, model: str, options: LocalOptions) -> None:
        self._model, self._options = model, options
        self._tokenizer, config = load_tokenizer(model, options)
        kinds = list(getattr(config, "architectures", None) or ())
        if getattr(config, "num_labels", None) != 1 or not any("Classification" in kind for kind in kinds):
            raise ProviderError(
                f"{model!r} gives no score of a reply: a reward model is a sequence classifier with one output, and "
                f"this is {' or '.join(kinds) or 'nothing that says what it is'}; `icm-api train RUN --reward --with "
                "huggingface:MODEL` makes one"
            )
        self._window = window_of(model, config, self._tokenizer)

    @cached_property
    def _network(self) -> Any:
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging

        here, options = self._options.device, self._options
        fast = torch.cuda.is_available() or torch.backends.mps.is_available()
        device = here if here != "auto" else "cpu" if not fast else "cuda" if torch.cuda.is_available() else "mps"
        shown, loud = logging.is_progress_bar_enabled(), logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            network = AutoModelForSequenceClassification.from_pretrained(
                self._model, revision=options.revision, dtype=options.dtype, use_safetensors=True
            )
            network.config.get_text_config().pad_token_id = padding_of(self._tokenizer)
            return (network.float() if device == "cpu" else network).to(device).eval()
        except _FAILING as error:
            raise ProviderError(f"cannot load {self._model!r} as a reward model: {error}") from error
        finally:
            logging.set_verbosity(loud)
            if shown:
                logging.enable_progress_bar()

    @cached_property
    def identity(self) -> str:
        """The model's name, and a fingerprint of its weights."""
        name = Path(self._model).resolve().name if Path(self._model).is_dir() else self._model
        return f"huggingface/{name}@{fingerprint(self._network, self._tokenizer)}"

    @property
    def window(self) -> int:
        """Tokens, special ones included."""
        return self._window

    def length(self, prompt: str, reply: str) -> int:
        """Tokens of a prompt with a reply."""
        return len(scored_tokens(self._tokenizer, messages_of(prompt, reply)))

    def scores(self, asked: Sequence[tuple[str, str]]) -> Sequence[float]:
        """The score of each reply; those of like length go through the network together.

        Args:
            asked: prompts, each with a reply.

        Raises:
            ProviderError: the weights cannot be loaded.
        """
        import torch

        network, padding = self._network, padding_of(self._tokenizer)
        rows = [scored_tokens(self._tokenizer, messages_of(*each)) for each in asked]
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        found = [0.0] * len(rows)
        size = self._options.batch_size
        for first in range(0, len(order), size):
            some = order[first : first + size]
            most = max(len(rows[at]) for at in some)
            ids = torch.tensor([rows[at] + [padding] * (most - len(rows[at])) for at in some], device=network.device)
            mask = torch.tensor([[1] * len(rows[at]) + [0] * (most - len(rows[at])) for at in some]).to(ids.device)
            with torch.inference_mode():
                told = network(input_ids=ids, attention_mask=mask).logits[:, 0].float().tolist()
            for at, score in zip(some, told, strict=True):
                found[at] = round(score, _DECIMALS)
        return found


def messages_of(prompt: str, reply: str) -> list[dict[str, str]]:
    """A prompt with its reply as a chat.

    Args:
        prompt: "" if there is none.
        reply: to it.
    """
    asked = [{"role": "user", "content": prompt}] if prompt else []
    return [*asked, {"role": "assistant", "content": reply}]


def scored_tokens(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """What a scoring network reads: the chat by the tokenizer's template, or the plain texts with an end behind them.

    Args:
        tokenizer: of transformers.
        messages: the prompt and the reply.
    """
    if getattr(tokenizer, "chat_template", None):
        found = tokenizer.apply_chat_template([*messages], tokenize=True, return_dict=True)["input_ids"]
        return [int(token) for token in found]
    text = "\n\n".join(message["content"] for message in messages)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids = list(tokenizer(text)["input_ids"])
    return ids if ids[-1:] == end else ids + end


def padding_of(tokenizer: Any) -> int:
    """The token that fills up a batch, where the network does not look.

    Args:
        tokenizer: of transformers.
    """
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return 0 if padding is None else int(padding)
