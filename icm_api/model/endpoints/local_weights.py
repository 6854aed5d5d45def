"""Tokenizer and weights of a local model of transformers: which device and type of number, and what tells it apart.

torch and transformers are imported when a model is opened, and not before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from safetensors import SafetensorError

from icm_api.errors import ProviderError
from icm_api.model.endpoints.prefix_tree import Tokens
from icm_api.model.options import LocalOptions

_SAMPLED_NUMBERS = 1024
_UNLOADABLE = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError)


def load_tokenizer(model: str, options: LocalOptions) -> tuple[Any, Any]:
    """Tokenizer and configuration, which are small.

    Args:
        model: a directory, or a name on the Hugging Face hub.
        options: of the user.

    Raises:
        ProviderError: torch or transformers is missing, or the files are.
    """
    try:
        import torch  # noqa: F401
        from transformers import AutoConfig, AutoTokenizer
    except ImportError as error:
        raise ProviderError(
            f"a local model needs torch and transformers ({error}); run: pip install 'icm-api[local]'"
        ) from error
    where = {"revision": options.revision} | ({"gguf_file": options.gguf_file} if options.gguf_file else {})
    with _readable(model, options):
        return AutoTokenizer.from_pretrained(model, **where), AutoConfig.from_pretrained(model, **where)


def check_writes(model: str, config: Any) -> None:
    """Check that a model is no reward model: transformers would give it an untrained output layer.

    Args:
        model: its name, for messages.
        config: of the model.

    Raises:
        ProviderError: it is one.
    """
    kinds = list(getattr(config, "architectures", None) or ())
    if kinds and all("SequenceClassification" in kind for kind in kinds):
        raise ProviderError(
            f"{model!r} is a reward model ({kinds[0]}), which scores replies and writes none: use it with `icm-api "
            "prefer`, `best` or `rewardbench` in place of a run"
        )


def load_network(model: str, options: LocalOptions) -> Any:
    """The network, on its device and ready to be asked.

    Args:
        model: a directory, or a name on the Hugging Face hub.
        options: of the user.

    Raises:
        ProviderError: the weights cannot be loaded, or there is no such device.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = _device() if options.device == "auto" else options.device
    how: dict[str, Any] = {"revision": options.revision, "dtype": _dtype(options.dtype, device)}
    if options.gguf_file:
        how["gguf_file"] = options.gguf_file
    else:
        how["use_safetensors"] = True
    if options.device_map is not None:
        how["device_map"] = options.device_map
    with _readable(model, options), _without_bars():
        network = AutoModelForCausalLM.from_pretrained(model, **how)
        if device == "cpu" and network.dtype == torch.float16:
            # Half floats have no fast path on processors, and some operations none at all.
            network = network.float()
        return (network if options.device_map is not None else network.to(device)).eval()


def _device() -> str:
    """The fastest device of this machine."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(name: str, device: str) -> Any:
    """As torch has it; "auto" is what the weights are kept in."""
    import torch

    return name if name == "auto" else getattr(torch, name)


@contextmanager
def _readable(model: str, options: LocalOptions) -> Iterator[None]:
    try:
        yield
    except _UNLOADABLE as error:
        wanted = options.gguf_file or "config.json, tokenizer files and *.safetensors"
        raise ProviderError(
            f"cannot load {model!r} on {options.device!r} as a causal language model: {error} (give a directory "
            f"with {wanted}, or a name on a hub that can be reached)"
        ) from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """No progress bar of transformers, which would write over the terminal's own lines."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def tokens_before(tokenizer: Any) -> Tokens:
    """The special tokens that the tokenizer puts before a text by default, such as BOS.

    Args:
        tokenizer: of transformers.
    """
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    return tuple(whole[: next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)])


def window_of(model: str, config: Any, tokenizer: Any) -> int:
    """The context window in tokens, special ones included.

    Args:
        model: its name, for messages.
        config: of the model.
        tokenizer: of transformers.

    Raises:
        ProviderError: neither of the two states one.
    """
    window = getattr(config.get_text_config(), "max_position_embeddings", None)
    # A tokenizer without a limit says 1e30.
    window = window or (tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None)
    if window is None:
        raise ProviderError(
            f"{model!r}: neither config.json (max_position_embeddings) nor tokenizer_config.json "
            "(model_max_length) says how long a context may be; add one of them"
        )
    return int(window)


def fingerprint(network: Any, tokenizer: Any) -> str:
    """A hash that another model of the same name and shape does not share.

    It covers the configuration, the tokenizer, and of every tensor its name, shape and numbers spread evenly
    over it. Training moves nearly all numbers, so a sample tells at once what hashing gigabytes would.

    Args:
        network: of transformers.
        tokenizer: of transformers.
    """
    import torch

    config = network.config.to_dict()
    for elsewhere in ("_name_or_path", "_commit_hash", "transformers_version"):
        config.pop(elsewhere, None)
    digest = sha256(json.dumps(config, sort_keys=True, default=str).encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = json.dumps(tokenizer.get_vocab(), sort_keys=True) if backend is None else backend.to_str()
    digest.update(vocabulary.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, len(flat) // _SAMPLED_NUMBERS)].cpu().contiguous()
        digest.update(sample.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]
