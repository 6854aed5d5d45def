"""Runs as things: listed, shown, set beside each other, indexed on a page, stopped at a deadline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.evaluation.coherence import best_naming
from icm_api.model.client.job_book import open_jobs
from tests.finished import DIAGNOSIS, MadeUp, finished_run
from tests.worlds import write_world

Printed = pytest.CaptureFixture[str]
TEXTS = [f"text {at}" for at in range(12)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two finished runs of the same texts, one that has hardly begun, and one that is damaged."""
    for seed in (0, 1):
        finished_run(tmp_path / f"s{seed}", MadeUp(TEXTS, diagnosis=DIAGNOSIS), seed)
    begun = finished_run(tmp_path / "begun", MadeUp(TEXTS))
    (begun / "summary.json").unlink()
    damaged = finished_run(tmp_path / "damaged", MadeUp(TEXTS))
    (damaged / "labels.jsonl").write_text("no JSON\n")
    return tmp_path


def test_all_runs_of_a_folder_are_listed_with_their_state(runs: Path, capsys: Printed) -> None:
    assert main(["runs", str(runs), "--json"]) == 0
    rows = {Path(row["folder"]).parent.name: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "s0": "finished",
        "s1": "finished",
        "begun": "unfinished",
        "damaged": "damaged",
    }
    assert (rows["s0"]["examples"], rows["s0"]["model"]) == (12, "made/up")
    assert rows["s0"]["verdict"]
    assert rows["begun"]["utility"] is None
    assert main(["runs", str(runs)]) == 0
    assert re.search(r"^s1/run +finished +made/up +12 ", capsys.readouterr().out, re.MULTILINE)
    assert main(["runs", str(runs / "nowhere")]) == 2


def test_a_run_is_shown_whatever_its_state(runs: Path, capsys: Printed) -> None:
    assert main(["show", str(runs / "begun" / "run")]) == 0
    assert "icm-api resume" in capsys.readouterr().out
    assert main(["show", str(runs / "damaged" / "run")]) == 2
    assert "labels.jsonl" in capsys.readouterr().err
    (runs / "a.toml").touch()
    for name, why in (
        ("nowhere", "it is not there"),
        ("a.toml", "it is a file"),
        ("s0", "is not the folder of a run; `icm-api runs FOLDER`"),
    ):
        assert main(["show", str(runs / name)]) == 2
        assert why in capsys.readouterr().err
    assert main(["train", str(runs / "a.toml"), "--with", "pocket"]) == 2
    assert "is not the folder of a run: it is a file; `icm-api runs FOLDER`" in capsys.readouterr().err


def test_batch_jobs_that_are_not_over_are_counted(runs: Path, capsys: Printed) -> None:
    jobs = runs / "begun" / "run" / "jobs"
    jobs.mkdir()
    (jobs / "a.jsonl").write_text('{"model": "made/up", "name": "a", "keys": ["k"]}\n{"id": "batch_1"}\n')
    (jobs / "b.jsonl").write_text('{"model": "made/up", "id": "batch_2", "questions": 1, "over": true}\n')
    assert main(["runs", str(runs)]) == 0
    assert re.search(r"^begun/run +unfinished, 1 batch job open ", capsys.readouterr().out, re.MULTILINE)
    assert main(["show", str(runs / "begun" / "run")]) == 0
    assert "unfinished, 1 batch job open" in capsys.readouterr().out
    assert main(["report", str(runs), "--index"]) == 0
    assert "unfinished, 1 batch job open" in (runs / "index.html").read_text()


@pytest.mark.parametrize(
    "damaged",
    ['{"model": "made/up", "questions": 1, "over": true', '{"model": "made/up", "id": {"over": true}}', "", "[" * 5000],
)
def test_a_damaged_note_of_a_batch_job_counts_as_open(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(damaged)
    assert open_jobs(tmp_path) == 1


def test_runs_that_found_the_inverse_are_said_to_differ_in_names(runs: Path, capsys: Printed) -> None:
    labels = runs / "s1" / "run" / "labels.jsonl"
    own = [json.loads(line) for line in (runs / "s0" / "run" / "labels.jsonl").read_text().splitlines()]
    flip = {"True": "False", "False": "True"}
    turned = [
        row | {"label": flip[row["label"]], "probabilities": {flip[key]: p for key, p in row["probabilities"].items()}}
        for row in own
    ]
    labels.write_text("".join(json.dumps(row) + "\n" for row in turned))
    assert main(["diff", str(runs / "s0" / "run"), str(runs / "s1" / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["shared"], found["alike"], found["alike_renamed"]) == (12, 0.0, 1.0)
    assert found["renamed"] == flip
    assert "data.path" in found["settings"]
    config = runs / "s1" / "run" / "config.toml"
    config.write_text(config.read_text().replace("[prompt]\n", '[prompt]\nseparator = "\\n---\\n"\n'))
    assert main(["diff", str(runs / "s0" / "run"), str(runs / "s1" / "run")]) == 0
    assert 'prompt.separator: "\\n\\n" | "\\n---\\n"\n' in capsys.readouterr().out
    assert main(["diff", str(runs / "s0" / "run"), str(runs / "s0" / "run")]) == 0
    assert "100.0% with the same label" in capsys.readouterr().out


def test_names_of_several_labels_are_matched_one_for_one() -> None:
    pairs = [("a", "b"), ("a", "b"), ("b", "c"), ("b", "c"), ("c", "a"), ("c", "b")]
    naming, agreed = best_naming(pairs, ("a", "b", "c", "d"))
    assert naming == {"b": "a", "c": "b", "a": "c", "d": "d"}
    assert agreed == pytest.approx(5 / 6)


def test_an_index_links_to_reports_and_escapes_what_it_shows(runs: Path, capsys: Printed) -> None:
    odd = runs / "<b>&"
    (runs / "s0").rename(odd)
    (odd / "run" / "report").mkdir()
    (odd / "run" / "report" / "report.html").write_text("a page")
    assert main(["report", str(runs), "--index"]) == 0
    page = (runs / "index.html").read_text()
    assert '<a href="%3Cb%3E%26/run/report/report.html">&lt;b&gt;&amp;/run</a>' in page
    assert "<b>" not in page
    assert page.count("<tr>") == 5


def test_a_run_stops_at_its_deadline_and_goes_on_with_another(tmp_path: Path, capsys: Printed) -> None:
    config = write_world(tmp_path, size=8, search='engine = "bootstrap"\nrestarts = 1\nrounds = 1')
    text = config.read_text() + "\n[diagnostics]\nenabled = false\n"
    config.write_text(text.replace("[run]\n", "[run]\ndeadline = 2020-01-01T08:00:00\n"))
    assert main(["run", str(config)]) == 3
    assert "deadline" in capsys.readouterr().err
    resolved = tmp_path / "run" / "config.toml"
    resolved.write_text(resolved.read_text().replace("2020-", "2120-"))
    assert main(["resume", str(tmp_path / "run")]) == 0
