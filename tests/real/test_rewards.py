"""A real model learns which of two reviews is better from labels that no one gave, and then writes better ones.

One seed of two, and the weakest that both showed: `python -m tests.benchmarks rewards real` and `assistant real` print
the rest.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from tests.benchmarks.assistant import won
from tests.benchmarks.assistant_real import BEST, DPO, judged, made
from tests.real.models import folder_of
from tests.real.reviews import FOUND, Reviews, ordered_rightly, rewards, scored

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing\\w*` is deprecated:FutureWarning"),
]


async def test_labels_found_train_a_reward_model_and_that_a_better_writer(tmp_path: Path) -> None:
    for package in ("torch", "trl", "peft", "accelerate", "gguf"):
        pytest.importorskip(package)
    spec, reviews = f"huggingface:{folder_of('smollm2-135m-instruct')}", Reviews.of(0)
    found = await rewards(reviews, spec, tmp_path / "rewards-0", (FOUND,))
    right, reward = found[FOUND]
    assert right > 0.5
    ordered = ordered_rightly([await scored(reviews, reward)]).measure()
    print(f"labels {right:.0%} right; reward model {ordered}")
    assert getattr(ordered, "low", 0.0) > 0.5
    # What is in the folder is not trained again.
    seed = await made(spec, 0, tmp_path, grpo=True, kinds=(FOUND,))
    plain, worth = await judged([seed], tmp_path / "judge")
    for recipe in (BEST, DPO):
        rate = won(worth[FOUND, recipe], plain)
        print(f"{recipe}: {rate}")
        assert rate.low is not None
        assert rate.low > 0.5
    before, after = map(fmean, seed.scores)
    print(f"GRPO: mean score {before:.2f} -> {after:.2f}")
    assert after > before
