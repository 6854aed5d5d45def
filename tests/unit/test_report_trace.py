"""What is read off a trace: label balance against the labelings of the search itself, cost by move, thinning."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from icm_api.config import load_config
from icm_api.errors import RunError
from icm_api.report.trace import Trace, accepted_by_window, evenly, gathered, stages
from icm_api.runs import Watch, count_steps, read_trace, run_config
from icm_api.search import Progress
from icm_api.types import Labeling
from tests.finished import MadeUp, finished_run
from tests.worlds import write_world

LABELS = ("True", "False")


def series_of(path: Path) -> Trace:
    """The steps of a trace as a report draws them."""
    return gathered(read_trace(path), count_steps(path), LABELS)


@pytest.mark.parametrize(
    "search", ["", 'engine = "bootstrap"', 'engine = "gibbs"\nrounds = 3', 'preset = "paper"\nsteps = 30']
)
def test_label_balance_and_changes_are_those_of_the_search(tmp_path: Path, search: str) -> None:
    labelings: list[Labeling] = []
    moves: list[str] = []

    def seen(progress: Progress) -> None:
        labelings.append(progress.state.labeling)
        moves.append(progress.info.move)

    result = asyncio.run(run_config(load_config(write_world(tmp_path, "facts", 16, search)), Watch(on_step=seen)))
    trace = series_of(tmp_path / "run" / "trace.jsonl")
    assert trace.size == len(labelings)
    assert trace.balance is not None
    expected = [[Counter(labeling.values())[label] for label in LABELS] for labeling in labelings]
    assert trace.balance.tolist() == expected
    changes: Counter[str] = Counter()
    for before, after, move in zip(labelings, labelings[1:], moves[1:], strict=False):
        if move not in ("seed", "challenge"):
            changes.update(key for key in before if key in after and before[key] != after[key])
    assert trace.changes == changes
    best = trace.best(16)
    assert best is not None
    assert labelings[best] == result.labeling
    listed = stages(result, trace)
    assert sum(stage.requests for stage in listed) == result.usage.requests
    assert sum(stage.prompt_tokens for stage in listed) == result.usage.prompt_tokens
    measures = result.about["diagnosis"]["measures"]
    assert listed[-1].name == "exact score, zero-shot and judging"
    exact = len(result.examples) if "estimated" in result.about else 0
    assert listed[-1].requests == exact + measures["requests"] + result.about["zero_shot"]["requests"]


def test_a_trace_that_does_not_add_up_gives_no_label_balance(tmp_path: Path) -> None:
    path = finished_run(tmp_path, MadeUp(["a", "b", "c", "d"])) / "trace.jsonl"
    assert series_of(path).balance is not None
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[5]["labelled"] = 3
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert series_of(path).balance is None


@pytest.mark.parametrize("damage", ["{", "[]", "3", '{"step": 1}'])
def test_a_damaged_trace_is_refused_with_its_place(tmp_path: Path, damage: str) -> None:
    path = finished_run(tmp_path, MadeUp(["a", "b", "c", "d"])) / "trace.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = damage
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match=r"trace\.jsonl:4: not a step of a run"):
        series_of(path)


def test_an_empty_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text("")
    with pytest.raises(RunError, match="is empty"):
        series_of(tmp_path / "trace.jsonl")


def test_thinning_keeps_both_ends_and_even_steps() -> None:
    for total in (1, 2, 1999, 2000, 2001, 2500, 123_457):
        at = evenly(total, 2000)
        assert (at[0], at[-1]) == (0, total - 1)
        assert len(at) == min(total, 2000)
        gaps = np.diff(at)
        assert total == 1 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_acceptance_counts_proposed_relabelings_alone(tmp_path: Path) -> None:
    path = finished_run(tmp_path, MadeUp(["a", "b", "c", "d"], steps=39)) / "trace.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines[10:20]:
        line["kind"] = line["move"] = "grow"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    edges, shares = accepted_by_window(series_of(path), 4)
    assert edges.tolist() == [0, 10, 20, 30, 40]
    for window, share in enumerate(shares):
        some = [line for line in lines[window * 10 : window * 10 + 10] if line["move"] == "relabel"]
        if window == 1:
            assert np.isnan(share)
        else:
            changed = [line["accepted"] and line["old"] != line["new"] for line in some]
            assert share == pytest.approx(sum(changed) / len(some))
