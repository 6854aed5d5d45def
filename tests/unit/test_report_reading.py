"""Contested examples, conflicts, reliability and what a report does without data, against brute force."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import pytest

from icm_api.compare import ComparedBar, read_comparison
from icm_api.errors import DataError, RunError
from icm_api.evaluation import expected_calibration_error
from icm_api.report import read_report
from icm_api.report.contested import Evidence, contested_examples, margin
from icm_api.result import Result
from icm_api.runs import build_task, config_of, load_dataset
from tests.finished import DIAGNOSIS, MadeUp, finished_run

TEXTS = [f"claim {at}" for at in range(120)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return finished_run(tmp_path, MadeUp(TEXTS, diagnosis=DIAGNOSIS))


def test_conflicts_are_exactly_the_broken_relations(folder: Path) -> None:
    report = read_report(folder)
    labels = {row.id: row.label for row in report.result.examples}
    # Two to a group, with different answers: both True is what breaks.
    pairs = [(f"example-{at}", f"example-{at + 1}") for at in range(0, 120, 2)]
    broken = [pair for pair in pairs if labels[pair[0]] == labels[pair[1]] == "True"]
    assert report.relations == 60
    assert report.broken == len(broken) > 5
    found = [tuple(one.id for one in conflict.members) for conflict in report.conflicts]
    assert found == broken[:50]


def test_contested_examples_come_closest_first_fifty_at_most(folder: Path) -> None:
    report = read_report(folder)
    rows = {row.id: row for row in report.result.examples}

    def ahead(key: str) -> float:
        p = rows[key].probabilities
        return log(rows[key].probability) - max(log(p[label]) for label in p if label != rows[key].label)

    in_conflict = {one.id for conflict in report.conflicts for one in conflict.members}
    wanted = sorted((key for key in rows if rows[key].probability < 0.95 or key in in_conflict), key=ahead)
    assert [one.row.id for one in report.contested] == wanted[:50]
    assert len(wanted) > 50


def test_why_an_example_is_contested_names_what_the_other_label_would_break(folder: Path) -> None:
    report = read_report(folder)
    labels = {row.id: row.label for row in report.result.examples}
    for one in report.contested:
        at = int(one.row.id.split("-")[1])
        mate = f"example-{at ^ 1}"
        now, then = labels[one.row.id], "False" if labels[one.row.id] == "True" else "True"
        state = "broken" if now == labels[mate] == "True" else "holds"
        if state == "holds" and then == labels[mate] == "True":
            state = "would break"
        assert [binding.state for binding in one.bindings] == [state]
        assert [each.id for each in one.bindings[0].others] == [mate]
        assert one.mates_counts == {labels[mate]: 1}
        assert one.texts[0][1].text == f"claim {at}"
        assert any("would break 1 relation" in reason for reason in one.why) == (state == "would break")
        assert ("more probable than" in one.why[0]) == (one.row.probability < 0.5)


def test_a_sure_label_in_no_conflict_is_not_contested(folder: Path) -> None:
    result = Result.load(folder)
    sure = {"True": 0.01, "False": 0.99}
    rows = tuple(replace(row, label="False", probability=0.99, probabilities=sure) for row in result.examples)
    assert contested_examples(Evidence(replace(result, examples=rows), None, None, {})) == ()


def test_a_margin_that_six_places_cannot_tell_is_said_to_be_that_large(folder: Path) -> None:
    row = Result.load(folder).examples[0]
    lost = replace(row, label="True", probability=0.0, probabilities={"True": 0.0, "False": 1.0})
    assert margin(lost) == float("-inf")
    result = Result.load(folder)
    [first] = contested_examples(Evidence(replace(result, examples=(lost,)), None, None, {}))
    assert "by more than 14 nats" in first.why[0]


@pytest.mark.parametrize("way", ["gone", "changed"])
def test_without_the_data_of_the_run_texts_and_relations_are_left_out_and_it_says_so(folder: Path, way: str) -> None:
    data = folder.parent / "data.jsonl"
    if way == "gone":
        data.unlink()
    else:
        data.write_text(data.read_text().replace("claim 7", "claim seven"))
    report = read_report(folder)
    assert "not shown" in report.data_note
    assert (report.relations, report.broken, report.conflicts) == (None, None, ())
    assert len(report.contested) == 50
    assert all(not one.texts and not one.bindings and one.mates for one in report.contested)


def test_reliability_bins_give_the_calibration_error(folder: Path) -> None:
    report = read_report(folder, gold=folder.parent / "gold.jsonl")
    gold = {row["id"]: row["gold"] for row in map(json.loads, (folder.parent / "gold.jsonl").read_text().splitlines())}
    rows = report.result.examples
    assert report.gold is not None
    raw, calibrated = report.gold.reliability
    for curve, values in (
        (raw, [row.probability for row in rows]),
        (calibrated, [row.calibrated[row.label] for row in rows]),
    ):
        correct = [row.label == gold[row.id] for row in rows]
        by_bins = sum(each.size * abs(each.confidence - each.accuracy.value) for each in curve.bins) / len(rows)
        assert curve.error == pytest.approx(expected_calibration_error(values, correct, 10))
        assert curve.error == pytest.approx(by_bins)
        assert curve.brier == pytest.approx(
            sum((value - hit) ** 2 for value, hit in zip(values, correct, strict=True)) / len(rows)
        )
    hits = sum(row.label == gold[row.id] for row in rows)
    assert report.gold.evaluation.accuracy.value == pytest.approx(hits / len(rows))


def test_gold_of_another_data_set_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"id": "x", "gold": "True"}\n')
    with pytest.raises(DataError, match="nothing to compare"):
        read_report(folder, gold=tmp_path / "other.jsonl")


def test_the_report_reads_the_run_and_changes_nothing(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    read_report(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    config = config_of(folder)
    assert build_task(config).verbalizer.labels == ("True", "False")
    assert len(load_dataset(config)) == 120


def write_comparison(folder: Path, rows: list[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    found = {"rows": rows, "seeds": [0, 1], "model": "made/up", "notes": ["a note"]}
    (folder / "comparison.json").write_text(json.dumps(found))
    return folder


def compared_row(title: str, mean: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"title": title, "note": "", "held_out": {"accuracy": {"mean": mean, "low": low, "high": high, "note": ""}}}


def test_bars_are_the_rows_with_an_accuracy_on_held_out_examples(tmp_path: Path) -> None:
    rows = [compared_row("zero-shot", 0.5, 0.4, 0.6), compared_row("chat", None), {"title": "cluster", "note": "none"}]
    found = read_comparison(write_comparison(tmp_path / "c", [*rows, compared_row("golden", 0.9)]))
    assert found.bars == (ComparedBar("zero-shot", 0.5, 0.4, 0.6), ComparedBar("golden", 0.9, None, None))
    assert (found.seeds, found.notes) == (2, ("a note",))


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ([{"title": "x", "held_out": 3}], "row 1"),
        ([compared_row("a", 0.1), compared_row("b", float("nan"))], "row 2"),
        ([{"held_out": {"accuracy": {"mean": 1, "low": None, "high": None}}}], "row 1"),
    ],
)
def test_a_bad_row_of_a_comparison_is_named(tmp_path: Path, rows: list[Any], where: str) -> None:
    with pytest.raises(RunError, match=rf"comparison\.json: {where}: not a row"):
        read_comparison(write_comparison(tmp_path / "c", rows))


@pytest.mark.parametrize("text", ["", "[]", "3", '{"rows": []}'])
def test_what_is_no_comparison_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(RunError, match=r"comparison\.json"):
        read_comparison(tmp_path)
    with pytest.raises(RunError, match="is missing"):
        read_comparison(tmp_path / "elsewhere")


def test_a_damaged_diagnosis_is_refused(folder: Path) -> None:
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    del summary["diagnosis"]["advice"]
    path.write_text(json.dumps(summary))
    with pytest.raises(RunError, match=r"summary\.json: damaged"):
        read_report(folder)
