"""`icm-api queue`: what a person is shown, and that the answers come back as fixed labels."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.data import load_fixed
from icm_api.types import Dataset, Example, Labeling

Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judged run, and the configuration beside it."""
    folder = tmp_path_factory.mktemp("queue")
    assert main(["demo", "--task", "facts", "--size", "16", "--out", str(folder)]) == 0
    return next(folder.iterdir())


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def labels_of(run: Path) -> dict[str, dict[str, object]]:
    rows = map(json.loads, (run / "labels.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["id"]: row for row in rows}


def test_the_most_uncertain_stand_first_with_their_texts_and_no_label(claims: Path, tmp_path: Path) -> None:
    assert main(["queue", str(claims / "run"), "--most", "5", "--out", str(tmp_path / "a.csv")]) == 0
    rows, labels = read_csv(tmp_path / "a.csv"), labels_of(claims / "run")
    assert [labels[row["id"]]["review"] for row in rows] == [1, 2, 3, 4, 5]
    given = map(json.loads, (claims / "claims.jsonl").read_text(encoding="utf-8").splitlines())
    texts = {row["id"]: row["text"] for row in given}
    assert all(row["label"] == "" and row["text"] == texts[row["id"]] for row in rows)
    assert [row["found"] for row in rows] == [labels[row["id"]]["label"] for row in rows]


def test_blind_shows_nothing_of_what_was_found(claims: Path, tmp_path: Path) -> None:
    assert main(["queue", str(claims / "run"), "--blind", "--out", str(tmp_path / "a.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert all(set(row) == {"id", "label", "text"} and row["label"] is None for row in rows)


def test_a_workbook_goes_to_a_person_and_comes_back(claims: Path, tmp_path: Path, capsys: Printed) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    run, out = tmp_path / "run", tmp_path / "a.xlsx"
    shutil.copytree(claims / "run", run)
    assert main(["queue", str(run), "--random", "4", "--out", str(out)]) == 0
    book = openpyxl.load_workbook(out)
    found = labels_of(run)
    for id_cell, label_cell, *_ in list(book.active.iter_rows())[1:]:
        assert (id_cell.data_type, id_cell.number_format) == ("s", "@")
        # As the program makes of a typed true or false.
        label_cell.value = found[id_cell.value]["label"] == "True"
    book.save(out)
    assert main(["check", str(run), str(out)]) == 0
    assert "a person answered 4 of 4 labels" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_answers_come_back_as_fixed_labels(
    suffix: str, claims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = tmp_path / f"a.{suffix}"
    assert main(["queue", str(claims / "run"), "--most", "4", "--out", str(answers)]) == 0
    text = answers.read_text(encoding="utf-8")
    # A person answers the first, and leaves the others open.
    first = text.replace("null", '"True"', 1) if suffix == "jsonl" else text.replace(",,", ",True,", 1)
    answers.write_text(first, encoding="utf-8")
    monkeypatch.setenv("ICM_DATA__FIXED", str(answers))
    assert main(["run", str(claims / "config.toml"), "--out", str(tmp_path / "again")]) == 0
    rows = labels_of(tmp_path / "again")
    fixed = [row for row in rows.values() if row["fixed"]]
    first_id = next(key for key, row in labels_of(claims / "run").items() if row["review"] == 1)
    assert [(row["id"], row["label"], row["review"]) for row in fixed] == [(first_id, "True", None)]


def test_no_cell_is_a_formula_and_what_was_escaped_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    texts = {"=cmd|' /C calc'!A1": "=1+1", "+1": "-2 is below 1", "@a": "\tx", "1-2": "'quoted'"}
    lines = (json.dumps({"id": key, "text": text}) + "\n" for key, text in texts.items())
    (tmp_path / "claims.jsonl").write_text("".join(lines), encoding="utf-8")
    config = tmp_path / "config.toml"
    config.write_text('[data]\npath = "claims.jsonl"\n[prompt]\nlabels = ["-1", "+1"]\n', encoding="utf-8")
    monkeypatch.setenv("ICM_SEARCH__ENGINE", "bootstrap")
    assert main(["run", str(config), "--out", str(tmp_path / "run")]) == 0
    assert main(["queue", str(tmp_path / "run"), "--out", str(tmp_path / "a.csv")]) == 0
    assert "takes 2 of the ids, such as" in capsys.readouterr().out
    rows = read_csv(tmp_path / "a.csv")
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    for row in rows:
        row["label"] = row["found"]
    with (tmp_path / "a.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    found = {key: str(row["label"]) for key, row in labels_of(tmp_path / "run").items()}
    dataset = Dataset(Example(key, {"text": text}) for key, text in texts.items())
    assert load_fixed(tmp_path / "a.csv", dataset, ("-1", "+1")) == Labeling(found)


def test_a_person_s_answers_are_never_written_over(claims: Path, tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "a.csv").write_text("id,label\nx,True\n")
    assert main(["queue", str(claims / "run"), "--out", str(tmp_path / "a.csv")]) == 2
    assert "choose another file" in capsys.readouterr().err
    assert (tmp_path / "a.csv").read_text() == "id,label\nx,True\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--out", "a.csv"], "not the folder of a run"),
        (["RUN", "--out", "a.txt"], r"must end in \.csv, \.xlsx or \.jsonl"),
        (["RUN", "--out", "a.csv", "--most", "0"], "--most 0: ask for at least 1 example"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], words: str, claims: Path, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["queue", *(str(claims / "run") if part == "RUN" else part for part in arguments)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(words, err)


def test_data_that_changed_since_are_not_shown(claims: Path, tmp_path: Path, capsys: Printed) -> None:
    data = claims / "claims.jsonl"
    before = data.read_bytes()
    data.write_bytes(before.replace(b'"text": "', b'"text": "x', 1))
    try:
        assert main(["queue", str(claims / "run"), "--out", str(tmp_path / "a.csv")]) == 2
    finally:
        data.write_bytes(before)
    assert "is not what this run labelled" in capsys.readouterr().err
    assert not (tmp_path / "a.csv").exists()


def test_labels_that_were_not_judged_have_no_queue(
    claims: Path, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_DIAGNOSTICS__ENABLED", "false")
    assert main(["run", str(claims / "config.toml"), "--out", str(tmp_path / "plain")]) == 0
    assert "verdict" not in capsys.readouterr().out
    assert main(["queue", str(tmp_path / "plain"), "--out", str(tmp_path / "a.csv")]) == 2
    assert "not judged" in capsys.readouterr().err


def test_a_budget_that_ends_before_the_judging_leaves_the_labels(
    claims: Path, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = json.loads((claims / "run" / "summary.json").read_text())
    judging = summary["diagnosis"]["measures"]["requests"]
    monkeypatch.setenv("ICM_BUDGET__REQUESTS", str(summary["usage"]["requests"] - judging + 1))
    config = str(claims / "config.toml")
    assert main(["run", config, "--out", str(tmp_path / "short"), "--no-cache"]) == 0
    assert "not judged" in capsys.readouterr().err
    again, whole = labels_of(tmp_path / "short"), labels_of(claims / "run")
    assert {key: row["label"] for key, row in again.items()} == {key: row["label"] for key, row in whole.items()}
    assert all(row["calibrated"] == {} and row["review"] is None for row in again.values())


def test_labels_drawn_at_random_are_checked_and_the_check_is_said_ever_after(
    claims: Path, tmp_path: Path, capsys: Printed
) -> None:
    run, out = tmp_path / "run", tmp_path / "a.csv"
    shutil.copytree(claims / "run", run)
    assert main(["queue", str(run), "--random", "20", "--out", str(out)]) == 0
    assert f"icm-api check {run} {out}" in capsys.readouterr().out
    rows, found = read_csv(out), labels_of(run)
    assert all(set(row) == {"id", "label", "text"} and row["label"] == "" for row in rows)
    for row in rows:
        row["label"] = str(found[row["id"]]["label"]).upper()
    with out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "label", "text"])
        writer.writeheader()
        writer.writerows(rows)
    assert main(["check", str(run), str(out)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"checked: a person answered {len(rows)} of {len(rows)} labels drawn at random")
    assert main(["check", str(run), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["right"] == len(rows)
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(json.dumps({"id": key, "gold": row["label"]}) + "\n" for key, row in found.items()))
    assert main(["evaluate", str(run), "--gold", str(gold), "--format", "rows"]) == 0
    assert told.splitlines()[0] in capsys.readouterr().out


def test_names_are_settled_by_a_few_sure_examples_of_each_label(claims: Path, tmp_path: Path) -> None:
    assert main(["queue", str(claims / "run"), "--names", "--most", "4", "--out", str(tmp_path / "a.csv")]) == 0
    rows, labels = read_csv(tmp_path / "a.csv"), labels_of(claims / "run")
    by_label: dict[str, list[float]] = {}
    for label in labels.values():
        calibrated: Any = label["calibrated"]
        by_label.setdefault(str(label["label"]), []).append(float(calibrated[label["label"]]))
    assert [row["found"] for row in rows] == ["False", "True", "False", "True"]
    for row in rows[:2]:
        assert float(row["confidence"]) == pytest.approx(max(by_label[row["found"]]), abs=1e-4)
