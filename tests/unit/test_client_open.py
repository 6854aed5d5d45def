"""Opening a provider by its spec."""

import subprocess
import sys
from pathlib import Path

import pytest

from icm_api.errors import ConfigError, ProviderError
from icm_api.model import open_model
from icm_api.pocket.model import WEIGHTS


@pytest.mark.parametrize(
    ("spec", "near"),
    [("poket", "'pocket'"), ("hugingface:gpt2", "'huggingface'"), ("Pocket", "'pocket'")],
)
def test_an_unknown_name_gets_the_nearest_and_all_known_ones(spec: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"did you mean {near}.*known: pocket, huggingface"):
        open_model(spec)


def test_a_name_like_no_other_still_gets_all_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown provider 'zzz'.*known: pocket, huggingface") as caught:
        open_model("zzz:model")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("spec", ["huggingface", "huggingface:"])
def test_huggingface_needs_a_model(spec: str) -> None:
    with pytest.raises(ConfigError, match="huggingface:MODEL"):
        open_model(spec)


def test_a_directory_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=f"{tmp_path} .No such file.*: give .*config.json") as caught:
        open_model(f"pocket:{tmp_path}", cache=tmp_path / "cache")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_model_is_named(name: str, tmp_path: Path) -> None:
    for file in WEIGHTS.iterdir():
        whole = file.read_bytes()
        (tmp_path / file.name).write_bytes(whole[: len(whole) // 2] if file.name == name else whole)
    with pytest.raises(ProviderError, match=f"cannot load the embedded model from {tmp_path}"):
        open_model(f"pocket:{tmp_path}")


def test_opening_by_name_imports_nothing_heavy_before_it_is_asked_for() -> None:
    heavy = ("torch", "transformers", "openai", "anthropic", "httpx2", "diskcache", "numpy")
    code = f"import sys, icm_api.model; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
