"""Where a row is in the file decides nothing: the same rows in another order get the same labels, U and prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from icm_api.config import SearchSettings, load_config
from icm_api.data import DataSource, load_examples
from icm_api.runs import resume, run, run_config
from icm_api.types import Answers, Dataset, Example, LabelDistribution, Labeling, Prompt
from tests.benchmarks.worlds.families import Sample, World
from tests.benchmarks.worlds.learner import Learner, Mind
from tests.worlds import write_world

SAMPLES = Path(__file__).parents[1] / "data"
MIND = Mind(prior=0.75, recency=1.5, belief=1.0)
"""What it says depends on the order of the demonstrations."""
SEARCHES: dict[str, dict[str, Any]] = {
    "rounds": {},
    "anneal": {"engine": "anneal", "steps": 20},
    "paper": {"preset": "paper", "steps": 20},
    "reference": {"preset": "reference", "steps": 20},
    "bootstrap": {"engine": "bootstrap", "rounds": 3, "restarts": 2},
    "folds": {"engine": "folds", "rounds": 2, "restarts": 2},
    "gibbs": {"engine": "gibbs", "rounds": 2, "restarts": 2},
}


@dataclass(eq=False)
class Listening(Learner):
    """Remembers every prompt it got, in order."""

    heard: list[str] = field(default_factory=list)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        self.heard += [prompt.text for prompt in prompts]
        return await super().label_distributions(prompts)

    async def read_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        self.heard += [prompt.text for prompt in prompts]
        return await super().read_inside(prompts)


def orders(sample: Sample) -> list[list[Example]]:
    """The rows as they are, sorted by gold, and by chance."""
    rows = list(sample.dataset)
    return [rows, sorted(rows, key=lambda row: sample.gold[row.id]), Random(1).sample(rows, len(rows))]


async def found(rows: Sequence[Example], sample: Sample, inside: bool, search: dict[str, Any]) -> tuple[Any, ...]:
    """All that a run of these rows says and asks; rows by id."""
    model = Listening(MIND, inside)
    result = await run(Dataset(rows), sample.task, model, search=SearchSettings(**search))
    assert [row.id for row in result.examples] == [row.id for row in rows]
    return {row.id: row for row in result.examples}, replace(result, examples=()), model.heard


@pytest.mark.parametrize("candidates", [1, 2])
@pytest.mark.parametrize("name", SEARCHES)
async def test_the_same_rows_in_another_order_get_the_same_prompts_labels_and_verdict(
    name: str, candidates: int
) -> None:
    sample = World("sorted", "order", MIND, candidates=candidates).sample(12, seed=3)
    inside = candidates == 1
    first, *others = [await found(rows, sample, inside, SEARCHES[name]) for rows in orders(sample)]
    for other in others:
        assert other == first
    assert len(first[2]) > 100 or inside


async def test_rows_without_ids_of_their_own_are_told_apart_by_what_they_say() -> None:
    sample = World("numbered", "order", MIND).sample(12, seed=3)
    numbered = [[replace(row, id=str(at)) for at, row in enumerate(rows)] for rows in orders(sample)]
    heard = [(await found(rows, sample, False, {}))[2] for rows in numbered]
    assert heard[0] == heard[1] == heard[2]


async def test_examples_with_one_text_are_told_apart_by_group_and_answer_and_then_by_id() -> None:
    rows = [Example(key, {"text": "the same"}, group, "1") for key, group in (("a", "g"), ("b", "h"), ("c", "h"))]
    for other in (rows[::-1], [rows[1], rows[0], rows[2]]):
        assert Dataset(other).hashed().ids == Dataset(rows).hashed().ids
    assert sorted(Dataset(rows).hashed().ids) == ["a", "b", "c"]


def test_a_run_that_began_in_the_order_of_its_file_goes_on_in_it(tmp_path: Path) -> None:
    """As older versions did; what was paid for is in their prompts."""
    import asyncio

    config = load_config(write_world(tmp_path, size=10, search="restarts = 1\nrounds = 2"))
    new = asyncio.run(run_config(config))
    folder = tmp_path / "run"
    inputs = json.loads((folder / "inputs.json").read_text())
    assert inputs.pop("order") == "hashed"
    (folder / "inputs.json").write_text(json.dumps(inputs))
    for name in ("trace.jsonl", "summary.json", "labels.jsonl", "seal.json"):
        (folder / name).unlink(missing_ok=True)
    old = asyncio.run(resume(folder))
    assert [row.id for row in old.examples] == [row.id for row in new.examples]
    assert old.mutual_predictability != new.mutual_predictability
    trace = (folder / "trace.jsonl").read_bytes()
    asyncio.run(resume(folder))
    assert (folder / "trace.jsonl").read_bytes() == trace
    assert old.labeling == Labeling({row.id: row.label for row in old.examples})


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("hh.jsonl", "preferences"),
        ("rewardbench.jsonl", "preferences"),
        ("gsm8k_generated.jsonl", "gsm8k"),
    ],
)
def test_a_file_of_any_format_is_shown_in_one_order_whatever_the_order_of_its_rows(
    name: str, form: str, tmp_path: Path
) -> None:
    rows = (SAMPLES / name).read_text(encoding="utf-8").splitlines(keepends=True)
    shown = []
    for order in (rows, rows[::-1]):
        (tmp_path / name).write_text("".join(order), encoding="utf-8")
        shown.append([dict(each.fields) for each in load_examples(DataSource(str(tmp_path / name), form)).hashed()])
    assert shown[0] == shown[1]
    assert len(shown[0]) >= 4
