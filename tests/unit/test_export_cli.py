"""`icm-api export` as a user meets it: files beside the run, plain words, one line for a mistake, and never gold."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.export import FORMAT_NAMES, FORMATS, export_labels
from icm_api.runs import FinishedRun
from icm_api.runs.seal import seal
from tests.command_line import Printed, mistake
from tests.worlds import write_world

PYARROW = importlib.util.find_spec("pyarrow") is not None
WRITABLE = [name for name in FORMAT_NAMES if PYARROW or FORMATS[name].kind not in ("parquet", "card")]
SECRET = "gold-says-so"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, whose data hold gold labels in a column of their own."""
    folder = tmp_path_factory.mktemp("world")
    config = write_world(folder, size=12)
    rows = [json.loads(line) for line in (folder / "claims.jsonl").read_text().splitlines()]
    told = (json.dumps({**row, "gold": SECRET, "label": SECRET}) + "\n" for row in rows)
    (folder / "claims.jsonl").write_text("".join(told))
    assert main(["run", str(config), "--json"]) == 0
    return folder


@pytest.fixture
def world(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may change, as the working folder."""
    shutil.copytree(finished, tmp_path / "world", ignore=shutil.ignore_patterns("cache"))
    text = (tmp_path / "world" / "run" / "config.toml").read_text()
    (tmp_path / "world" / "run" / "config.toml").write_text(text.replace(str(finished), str(tmp_path / "world")))
    seal(tmp_path / "world" / "run")
    monkeypatch.chdir(tmp_path / "world")
    return tmp_path / "world"


@pytest.mark.parametrize("to", WRITABLE)
def test_every_format_comes_out_of_a_run_and_no_gold_with_it(to: str, world: Path, capsys: Printed) -> None:
    assert SECRET in (world / "claims.jsonl").read_text()
    assert main(["export", "run", "--to", to]) == 0
    out = capsys.readouterr().out
    written = [path for path in (world / "run" / "export" / to).rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert SECRET.encode() not in path.read_bytes()
        if path.stem in ("train", "records", "tasks"):
            assert f"wrote 12 rows: {path.relative_to(world)}" in out
    assert "next:\n  " in out


def test_the_prompt_and_the_model_are_those_of_the_run(world: Path) -> None:
    assert main(["export", "run", "--to", "openai-sft"]) == 0
    rows = [json.loads(each) for each in (world / "run/export/openai-sft/train.jsonl").read_text().splitlines()]
    texts = [json.loads(each)["text"] for each in (world / "claims.jsonl").read_text().splitlines()]
    labels = [json.loads(each)["label"] for each in (world / "run/labels.jsonl").read_text().splitlines()]
    assert [[m["content"] for m in row["messages"]] for row in rows] == [
        list(p) for p in zip(texts, labels, strict=True)
    ]


def test_a_finished_run_is_exported_from_python_to_the_same_bytes(world: Path) -> None:
    assert main(["export", "run", "--to", "csv", "--out", "verb"]) == 0
    export_labels(FinishedRun.open("run"), "csv", "python")
    assert (world / "python" / "train.csv").read_bytes() == (world / "verb" / "train.csv").read_bytes()


def test_json_is_one_object_with_all_that_was_said(world: Path, capsys: Printed) -> None:
    arguments = [
        "export",
        "run",
        "--to",
        "csv",
        "--out",
        "there",
        "--split",
        "0.75",
        "--seed",
        "2",
        "--shuffle",
        "--json",
    ]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"].keys() == {"train.csv", "validation.csv"}
    assert sum(said["files"].values()) == 12
    assert said["folder"] == "there"
    assert sorted(path.name for path in (world / "there").iterdir()) == ["train.csv", "validation.csv"]


def test_mistakes_get_one_line_each(world: Path, capsys: Printed) -> None:
    assert "there is no 'openai'; did you mean 'openai-sft'" in mistake(capsys, "export", "run", "--to", "openai")
    assert "nowhere is not the folder of a run: it is not there" in mistake(capsys, "export", "nowhere", "--to", "csv")
    assert "--soft: trl-sft has no place" in mistake(capsys, "export", "run", "--to", "trl-sft", "--soft")
    assert "--split 2" in mistake(capsys, "export", "run", "--to", "csv", "--split", "2")
    assert "no column 'gold'" in mistake(capsys, "export", "run", "--to", "csv", "--fields", "id,gold")
    assert not (world / "run" / "export").exists()
    assert main(["export", "run", "--to", "csv", "--fields", "id, label", "--abstain-below", "0"]) == 0
    assert "run/export/csv is there already" in mistake(capsys, "export", "run", "--to", "csv")
    assert main(["export", "run", "--to", "csv", "--force", "--soft"]) == 0


def test_data_that_changed_since_the_run_are_not_exported(world: Path, capsys: Printed) -> None:
    text = (world / "claims.jsonl").read_text()
    (world / "claims.jsonl").write_text(text.replace(">", ">="))
    err = mistake(capsys, "export", "run", "--to", "csv")
    assert "claims.jsonl is not what this run labelled: it changed since; put the data back" in err
    (world / "claims.jsonl").unlink()
    assert "claims.jsonl" in mistake(capsys, "export", "run", "--to", "csv")


def test_an_unfinished_or_damaged_run_is_not_exported(world: Path, capsys: Printed) -> None:
    (world / "run" / "inputs.json").write_text("{}")
    assert "inputs.json is not what this run wrote" in mistake(capsys, "export", "run", "--to", "csv")
    (world / "run" / "inputs.json").unlink()
    assert "inputs.json is missing" in mistake(capsys, "export", "run", "--to", "csv")
    (world / "run" / "labels.jsonl").unlink()
    assert "icm-api resume" in mistake(capsys, "export", "run", "--to", "csv")
