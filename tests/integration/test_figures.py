"""The figures of README and guide, asserted: what `tests/benchmarks` and the demo print, on the embedded model."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from icm_api.cli.main import main
from icm_api.model import open_model
from tests.benchmarks.prefix import SIZE, both_orders
from tests.benchmarks.recovery import CASES, SEEDS, found


def test_divide_and_conquer_sends_at_most_a_tenth_of_the_new_tokens_of_file_order() -> None:
    file_order, ours = both_orders(SIZE)
    assert ours <= file_order / 10


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
async def test_the_default_search_finds_what_brute_force_finds_in_19_of_20_seeds_or_what_is_as_right(case: str) -> None:
    """Of ten facts, the labeling with the largest J has one wrong; the default ends at the truth."""
    async with open_model("pocket") as model:
        assert max(await found(case, "default", model)) >= SEEDS - 1


def demo(folder: Path, task: str, seeds: int, printed: pytest.CaptureFixture[str]) -> list[dict[str, float]]:
    """Per seed: U, accuracies on held-out claims, and the share of the gap recovered."""
    arguments = ["demo", "--task", task, "--seeds", str(seeds), "--out", str(folder / "demo"), "--json"]
    assert main(arguments) == 0
    rows = [json.loads(line) for line in printed.readouterr().out.splitlines()]
    return [row["held_out"] | {"recovered": row["gap_recovered"]} for row in rows]


@pytest.mark.parametrize(
    ("task", "seeds"),
    [
        pytest.param(task, seeds, marks=pytest.mark.slow)
        for task, seeds in (("sums", 1), ("comparisons", 5), ("sums", 5))
    ],
)
def test_icm_recovers_at_least_90_percent_of_a_gap_of_at_least_10_points(
    task: str, seeds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    rows = demo(tmp_path, task, seeds, capsys)
    gap = fmean(row["few-shot, golden labels"] - row["zero-shot"] for row in rows)
    assert gap >= 0.1
    assert fmean(row["recovered"] for row in rows) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 5])
def test_a_concept_that_the_model_does_not_hold_is_not_found(
    seeds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    rows = demo(tmp_path, "lucky", seeds, capsys)
    for row in rows:
        assert abs(row["few-shot, ICM labels"] - 0.5) < 0.1
