"""Zero-shot labels beside those found, and what searching made-up words gives."""

from __future__ import annotations

import asyncio
import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.cli.main import main
from icm_api.config import SearchSettings, load_config
from icm_api.errors import ConfigError
from icm_api.evaluation import zero_shot_lines
from icm_api.evaluation.null import made_up, null_of
from icm_api.model import open_model
from icm_api.result import Guess, Result
from icm_api.runs import run_config
from icm_api.search import build_objective, search
from icm_api.types import PromptTemplate, Task
from tests.worlds import biased, write_world


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zero-shot")
    asyncio.run(run_config(load_config(write_world(folder, "sums", 16))))
    return folder / "run"


def test_every_row_has_both_and_the_summary_counts_them(finished: Path) -> None:
    result = Result.load(finished)
    for row in result.examples:
        assert isinstance(row.zero_shot, Guess)
        assert isinstance(row.zero_shot_calibrated, Guess)
        assert row.zero_shot.probabilities[row.zero_shot.label] == max(row.zero_shot.probabilities.values())
        assert sum(row.zero_shot_calibrated.probabilities.values()) == pytest.approx(1, abs=1e-5)
    about = result.about["zero_shot"]
    raw = [row.zero_shot.label == row.label for row in result.examples if row.zero_shot]
    calibrated = [row.zero_shot_calibrated.label == row.label for row in result.examples if row.zero_shot_calibrated]
    assert about["raw"]["agreement"] == pytest.approx(sum(raw) / 16)
    assert about["calibrated"]["agreement"] == pytest.approx(sum(calibrated) / 16)
    assert sum(about["calibrated"]["shares"].values()) == pytest.approx(1)


@pytest.mark.parametrize("labels", ["zero-shot", "zero-shot-calibrated"])
def test_an_export_takes_either(finished: Path, labels: str, tmp_path: Path) -> None:
    assert main(["export", str(finished), "--to", "csv", "--labels", labels, "--out", str(tmp_path / labels)]) == 0
    [path] = (tmp_path / labels).glob("*.csv")
    with path.open(newline="", encoding="utf-8") as stream:
        written = {row["id"]: row["label"] for row in csv.DictReader(stream)}
    name = labels.replace("-", "_")
    assert written == {row.id: getattr(row, name).label for row in Result.load(finished).examples}


def test_labels_that_do_not_exist_are_refused(finished: Path) -> None:
    with pytest.raises(ConfigError, match="zero-shot-calibrated"):
        Result.load(finished).taking("one-shot")


def about(raw: float, calibrated: float, shares: tuple[float, float] = (0.5, 0.5)) -> dict[str, object]:
    return {
        "raw": {"agreement": raw, "shares": {"T": shares[0], "F": 1 - shares[0]}},
        "calibrated": {"agreement": calibrated, "shares": {"T": shares[1], "F": 1 - shares[1]}},
        "requests": 0,
    }


def test_it_is_said_if_searching_added_little_and_if_calibration_moves_much() -> None:
    [line] = zero_shot_lines(about(0.7, 0.8), 100, 900)
    assert line.startswith("zero-shot: agrees on 70% of the labels, calibrated on 80%")
    [_, little] = zero_shot_lines(about(0.7, 0.98), 100, 900)
    assert "changed 2 of 100 labels" in little
    assert "900" in little
    [_, far] = zero_shot_lines(about(0.7, 0.8, (0.97, 0.5)), 100, 900)
    assert far.startswith("warning")
    assert "T 97% raw and 50% calibrated" in far


@given(st.text(), st.text(alphabet="ab cA1.,", min_size=3))
def test_made_up_words_keep_places_lengths_and_who_shares_them(one: str, other: str) -> None:
    for text in (one, other):
        made = made_up(text)
        assert [len(word) for word in made.split()] == [len(word) for word in text.split()]
        assert made_up(text + " " + text) == made + " " + made
    assert not any(letter.isdigit() and letter.isascii() for letter in made_up("12 + 7 = 19"))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["facts", "sums"])
async def test_a_concept_that_the_model_holds_beats_made_up_words_and_a_wrong_one_does_not(task: str) -> None:
    plain = Task(PromptTemplate(separator="\n"))
    async with open_model("pocket") as model:
        found = {}
        for name in (task, "lucky"):
            dataset, _ = biased(name, 32, 2)
            objective = build_objective(dataset, model, plain, SearchSettings())
            score = (await search(objective, SearchSettings())).score
            null = await null_of(objective, score, 0)
            assert null is not None
            found[name] = null
    assert found[task].beaten
    assert found[task].share > 0.5
    assert found["lucky"].share < 0.35
