"""A real model fine-tuned on the labels that it found itself, beside four other sets of labels for the same texts.

Two seeds of a set that the model needs its context for; `python -m tests.benchmarks training real` takes more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ablation import FOUND, GOLDEN, RANDOM, UNTUNED, ablation, table
from tests.benchmarks.training import real_setting
from tests.real.models import folder_of

SEEDS = (0, 1)
pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing\\w*` is deprecated:FutureWarning"),
]


async def test_a_model_fine_tuned_on_its_own_labels(tmp_path: Path) -> None:
    for package in ("torch", "trl", "peft", "accelerate"):
        pytest.importorskip(package)
    folder = folder_of("smollm2-135m-instruct")
    settings = [real_setting(folder, "kinds", 48, seed) for seed in SEEDS]
    learned = [await ablation(setting, tmp_path / str(setting.seed)) for setting in settings]
    print("\n".join(table(settings, learned)))
    for setting, one in zip(settings, learned, strict=True):
        right = {name: each.right(setting.truth) for name, each in one.items()}
        assert right[GOLDEN] > right[UNTUNED]
        assert right[FOUND] > max(right[RANDOM], right[UNTUNED])
