"""A search in batches: cut by whole units, side by side, merged, with names aligned on the examples that all share."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.config import BatchesSection, Config, SearchSettings
from icm_api.consistency import mutually_exclusive
from icm_api.errors import ConfigError
from icm_api.objective import Objective
from icm_api.result import Result
from icm_api.runs import FinishedRun, run
from icm_api.runs.batches import INVERSE, OTHER, SAME, batch_lines, merged, renamed
from icm_api.runs.batching import Batch, cut_batches
from icm_api.search import build_objective
from icm_api.types import Constraint, Dataset, Example, Task
from tests.bayes import BayesModel
from tests.worlds import write_world

SETTINGS = SearchSettings(engine="bootstrap", restarts=1, rounds=1)
CONFIG = Config.model_validate({"data": {"path": "x"}, "batches": {"size": 12}})
FLIP = {"True": "False", "False": "True"}
Printed = pytest.CaptureFixture[str]


def unit(example: Example) -> int:
    return int(example.group or "0")


def examples(size: int = 40) -> Dataset:
    return Dataset(Example(str(at), {"text": f"claim {at}"}, str(at // 2)) for at in range(size))


def found(constraints: tuple[Constraint, ...] = ()) -> tuple[list[Result], tuple[Batch, ...], Objective]:
    """Each batch searched by itself."""
    dataset = examples()
    model = BayesModel({f"claim {at}": at % 3 != 0 for at in range(40)})
    task = Task(constraints=constraints)
    batches = cut_batches(dataset, unit, BatchesSection(size=20, overlap=8))

    async def all_of_them() -> list[Result]:
        return [await run(batch.dataset, task, model, search=SETTINGS) for batch in batches]

    return asyncio.run(all_of_them()), batches, build_objective(dataset, model, task, SETTINGS)


def turned(result: Result) -> Result:
    return replace(result, examples=tuple(renamed(row, FLIP) for row in result.examples))


def test_batches_are_whole_units_of_even_size_and_share_the_same_examples() -> None:
    batches = cut_batches(examples(), unit, BatchesSection(size=16, overlap=4))
    assert [len(batch.dataset) for batch in batches] == [16, 16, 16]
    counts = Counter(key for batch in batches for key in batch.dataset.ids)
    assert {key for key, count in counts.items() if count == 3} == set(batches[0].shared)
    assert set(counts) == set(examples().ids)
    for batch in batches:
        assert all(size == 2 for size in Counter(example.group for example in batch.dataset).values())


def test_too_few_examples_for_two_batches_are_refused() -> None:
    with pytest.raises(ConfigError, match="no two batches"):
        cut_batches(examples(8), unit, BatchesSection(size=8, overlap=4))


def test_batches_that_found_the_same_are_merged_as_they_are() -> None:
    results, batches, objective = found()
    result = merged(results, batches, objective, CONFIG)
    assert [each["found"] for each in result.about["batches"]] == [SAME] * len(batches)
    assert tuple(row.id for row in result.examples) == objective.dataset.ids
    own = {row.id: row.label for each in reversed(results) for row in each.examples}
    assert dict(result.labeling) == own
    assert result.usage.requests == sum(each.usage.requests for each in results)


def test_a_batch_that_found_the_inverse_is_renamed() -> None:
    results, batches, objective = found()
    expected = merged(results, batches, objective, CONFIG)
    result = merged([results[0], turned(results[1]), *results[2:]], batches, objective, CONFIG)
    assert [each["found"] for each in result.about["batches"]][:2] == [SAME, INVERSE]
    assert result.labeling == expected.labeling
    assert [row.probabilities for row in result.examples] == [row.probabilities for row in expected.examples]
    assert "inverse" in "\n".join(batch_lines(result.about))


def test_names_that_constraints_pin_are_not_exchanged() -> None:
    results, batches, objective = found((mutually_exclusive("True", by="text"),))
    # Two true claims of one group break a relation, two false ones none.
    none = replace(results[0], examples=tuple(replace(row, label="True") for row in results[0].examples))
    all_false = replace(results[1], examples=tuple(replace(row, label="False") for row in results[1].examples))
    told = merged([none, all_false, *results[2:]], batches, objective, CONFIG).about["batches"]
    assert told[1]["found"] == OTHER


def test_batches_that_divide_the_shared_examples_otherwise_are_said_to_differ() -> None:
    results, batches, objective = found()
    odd = {key: str(at % 2 == 0) for at, key in enumerate(batches[0].shared)}
    mixed = replace(
        results[1], examples=tuple(replace(row, label=odd.get(row.id, row.label)) for row in results[1].examples)
    )
    half = replace(
        results[0],
        examples=tuple(
            replace(row, label=str(list(odd).index(row.id) < len(odd) // 2)) if row.id in odd else row
            for row in results[0].examples
        ),
    )
    told = merged([half, mixed, *results[2:]], batches, objective, CONFIG).about["batches"]
    assert told[1]["found"] == OTHER


@pytest.mark.parametrize("carry", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_in_batches_is_merged_and_resumed_from_those_that_are_done(
    carry: bool, tmp_path: Path, capsys: Printed
) -> None:
    config = write_world(tmp_path, "comparisons", 48, 'engine = "bootstrap"\nrestarts = 1\nrounds = 1\n')
    config.write_text(
        f"{config.read_text()}\n[batches]\nsize = 16\ncount = 2\noverlap = 4\ncarry = {str(carry).lower()}\n\n"
        "[diagnostics]\nenabled = false\n"
    )
    assert main(["run", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "batch 1: 16 examples" in printed
    assert "labelled 20 other examples" in printed
    run = tmp_path / "run"
    whole = FinishedRun.open(run).whole
    assert len(whole.result.examples) == 48
    assert len(whole.result.about["batches"]) == 2
    assert sum(1 for _ in whole.trace()) == whole.result.steps + 1
    before = {name: (run / name).read_bytes() for name in ("labels.jsonl", "summary.json", "trace.jsonl")}
    for name in ("labels.jsonl", "summary.json", "seal.json"):
        (run / name).unlink()
    shutil.rmtree(run / "parts")
    (run / "batches" / "0001" / "summary.json").unlink()
    assert main(["resume", str(run)]) == 0
    assert {name: (run / name).read_bytes() for name in before} == before
    gold = {row["id"]: row["gold"] for row in map(json.loads, (tmp_path / "gold.jsonl").read_text().splitlines())}
    assert sum(gold[row.id] == row.label for row in whole.result.examples) / 48 >= 0.8
