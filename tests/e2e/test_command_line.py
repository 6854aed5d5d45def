"""The command line as a user meets it: what it prints, what it says of mistakes, and its exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.result import Result
from tests.command_line import Printed, mistake
from tests.worlds import write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a finished run."""
    folder = tmp_path_factory.mktemp("world")
    assert main(["run", str(write_world(folder, size=16)), "--json"]) == 0
    return folder


def test_demo_prints_every_figure_and_can_be_repeated(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    arguments = ["demo", "--out", str(tmp_path / "demo"), "--size", "12"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    for words in (
        "U =",
        "P =",
        "I =",
        "agreement with gold",
        "zero-shot",
        "few-shot, random labels",
        "few-shot, ICM labels",
        "few-shot, golden labels",
        "held-out",
    ):
        assert words in first
    assert main(arguments) == 0
    assert capsys.readouterr().out == first


def test_a_demo_with_other_settings_does_not_print_the_run_of_before(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    arguments = ["demo", "--out", str(tmp_path / "demo"), "--size", "8"]
    with monkeypatch.context() as before:
        before.setenv("ICM_SEARCH__ENGINE", "anneal")
        assert main([*arguments, "--json"]) == 0
    told = mistake(capsys, *arguments, "--json")
    assert "/run holds a run with other settings in [search]: " in told
    assert f"--out {tmp_path / 'demo'}-2" in told
    assert main([*arguments[:2], str(tmp_path / "other"), *arguments[3:], "--json"]) == 0


def test_demo_as_json_over_seeds(tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    arguments = ["demo", "--out", str(tmp_path / "demo"), "--size", "8", "--seeds", "2", "--json"]
    assert main(arguments) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["seed"] for row in rows] == [0, 1]
    assert set(rows[0]["held_out"]) == {
        "zero-shot",
        "few-shot, random labels",
        "few-shot, ICM labels",
        "few-shot, golden labels",
    }


def test_the_demos_folder_is_a_run_of_ones_own(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    assert main(["demo", "--out", str(tmp_path / "demo"), "--size", "8"]) == 0
    [folder] = (tmp_path / "demo").iterdir()
    assert main(["run", str(folder / "config.toml"), "--out", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "labels.jsonl").read_bytes() == (folder / "run" / "labels.jsonl").read_bytes()


def test_evaluate_measures_with_intervals(world: Path, capsys: Printed) -> None:
    assert main(["evaluate", str(world / "run"), "--gold", str(world / "gold.jsonl")]) == 0
    printed = capsys.readouterr().out
    assert "accuracy" in printed
    assert "AUROC" in printed
    assert main(["evaluate", str(world / "run"), "--gold", str(world / "gold.jsonl"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"]["low"] <= found["accuracy"]["value"] <= found["accuracy"]["high"]


def test_evaluate_agrees_with_counting_by_hand(world: Path, capsys: Printed) -> None:
    def read(path: Path, key: str) -> dict[str, str]:
        return {row["id"]: row[key] for row in map(json.loads, path.read_text().splitlines())}

    labels, gold = read(world / "run" / "labels.jsonl", "label"), read(world / "gold.jsonl", "gold")
    by_hand = sum(labels[key] == gold[key] for key in gold) / len(gold)
    main(["evaluate", str(world / "run"), "--gold", str(world / "gold.jsonl"), "--json"])
    assert json.loads(capsys.readouterr().out)["accuracy"]["value"] == pytest.approx(by_hand)


def test_audit_says_what_the_constraints_came_to(world: Path, capsys: Printed) -> None:
    assert main(["audit", str(world / "config.toml")]) == 0
    assert "8 groups of 2: 2 of 4 labelings legal" in capsys.readouterr().out


def test_quiet_when_not_a_terminal(world: Path, tmp_path: Path, capsys: Printed) -> None:
    assert main(["run", str(world / "config.toml"), "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().err == ""


def test_a_run_may_be_tried_on_a_few_examples_and_another_model(world: Path, tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "few"
    assert main(["run", str(world / "config.toml"), "--limit", "4", "--out", str(out), "--json"]) == 0
    assert len((out / "labels.jsonl").read_text().splitlines()) == 4
    capsys.readouterr()
    told = mistake(capsys, "run", world / "config.toml", "--out", out)
    assert f"{out} holds a finished run: `icm-api show {out}`; to begin another one, choose another folder" in told
    assert f"--out {tmp_path / 'few-2'}" in told
    assert "argument --out: is empty" in mistake(capsys, "run", world / "config.toml", "--out", "")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.toml").write_text("my own")
    assert "config.toml that no run wrote" in mistake(capsys, "run", world / "config.toml", "--out", mine)
    assert "is a file" in mistake(capsys, "run", world / "config.toml", "--out", mine / "config.toml")
    assert [path.read_text() for path in mine.iterdir()] == ["my own"]
    said = mistake(capsys, "run", world / "config.toml", "--model", "nonsense:m", "--out", tmp_path / "other")
    assert "unknown provider 'nonsense'" in said
    changed = (
        (world / "config.toml").read_text().replace('"pocket"', '"vllm:m@http://127.0.0.1:9/v1"\noptions.echo = true')
    )
    (world / "hosted.toml").write_text(changed)
    assert main(["plan", str(world / "hosted.toml"), "--model", "pocket", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 16


def test_run_as_json_prints_the_summary_alone(world: Path, tmp_path: Path, capsys: Printed) -> None:
    assert main(["run", str(world / "config.toml"), "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "run" / "summary.json").read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[search]", "[search]\nstepps = 3"), ["unknown key 'search.stepps'", "'search.steps'"]),
        (("[search]", "[serch]"), ["unknown key 'serch'", "'search'"]),
        (("[search]", "[search]\nalpha = -1"), ["search.alpha", "-1"]),
        (("[search]", "[search]\nsteps = 'many'"), ["search.steps", "many"]),
        (('kind = "asymmetric"', 'kind = "asymetric"'), ["constraints.0", "asymmetric"]),
        (('path = "claims.jsonl"', 'path = "clams.jsonl"'), ["clams.jsonl"]),
        (('provider = "pocket"', 'provider = "pockett"'), ["pockett", "'pocket'"]),
        (("[data]", "[data"), ["not TOML"]),
        (('label = "True"', 'label = "Yes"'), ["Yes"]),
        (("[prompt]", '[prompt]\ntemplate = "{txt}"'), ["txt", "text"]),
        (("[prompt]", '[prompt]\nlabels = ["True"]'), ["labels", "two"]),
        (("[search]", "[search]\npreset = 'papper'"), ["search.preset", "papper"]),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line(
    world: Path, tmp_path: Path, capsys: Printed, change: tuple[str, str], words: list[str]
) -> None:
    shutil.copy(world / "claims.jsonl", tmp_path)
    text = (world / "config.toml").read_text()
    assert change[0] in text
    (tmp_path / "config.toml").write_text(text.replace(*change))
    line = mistake(capsys, "run", tmp_path / "config.toml")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"id": "comparisons-0000", "text": "1>2"}', ["claims.jsonl:17", "occurs twice", "line 1"]),
        ('{"id": "x", "text": ""}', ["claims.jsonl:17", "'text'", "empty"]),
        ('["x"]', ["claims.jsonl:17", "object"]),
        ("{", ["claims.jsonl:17", "JSON"]),
    ],
)
def test_a_bad_row_is_one_line_with_its_place(
    world: Path, tmp_path: Path, capsys: Printed, row: str, words: list[str]
) -> None:
    shutil.copy(world / "config.toml", tmp_path)
    (tmp_path / "claims.jsonl").write_text((world / "claims.jsonl").read_text() + row + "\n")
    line = mistake(capsys, "run", tmp_path / "config.toml")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "nowhere.toml"), ["nowhere.toml: no such file; check the path", "icm-api init"]),
        (("resume", "nowhere"), ["nowhere"]),
        (("evaluate", "nowhere", "--gold", "nowhere.jsonl"), ["nowhere"]),
        (("runn",), ["runn", "'run'"]),
        ((), ["VERB"]),
        (("demo", "--size", "1"), ["--size"]),
        (("demo", "--task", "sums", "--size", "100000"), ["--size"]),
        (("cache", "repair", "nowhere"), ["nowhere: no such folder", "[cache] folder"]),
        (("runs", "--labelfield", "a"), ["icm-api runs takes no '--labelfield'", "icm-api runs --help"]),
        (("runs", "here", "there"), ["takes no 'there'"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    capsys: Printed, arguments: tuple[str, ...], words: list[str]
) -> None:
    line = mistake(capsys, *arguments)
    for word in words:
        assert word in line


def test_a_folder_that_is_no_run_says_what_it_is_and_what_to_do(world: Path, tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "empty").mkdir()
    Result.load(world / "run").save(tmp_path / "saved")
    for verb in ("resume", "show"):
        line = mistake(capsys, verb, tmp_path / "empty")
        assert "is not the folder of a run; `icm-api runs FOLDER` lists the runs in a folder" in line
    queue: tuple[object, ...] = ("queue", "--random", 3, "--out", tmp_path / "a.csv")
    for name, *flags in (("resume",), ("show",), queue, ("export", "--to", "csv")):
        line = mistake(capsys, name, tmp_path / "saved", *flags)
        assert "holds labels that `Result.save` wrote" in line
        assert "`icm-api run CONFIG`" in line
    shutil.copytree(world / "run", tmp_path / "damaged")
    (tmp_path / "damaged" / "config.toml").rename(tmp_path / "config.toml")
    assert "config.toml is missing: put it back, or run again" in mistake(capsys, "resume", tmp_path / "damaged")
    (tmp_path / "config.toml").rename(tmp_path / "damaged" / "config.toml")
    (tmp_path / "damaged" / "inputs.json").write_text("{")
    assert "inputs.json: damaged: " in mistake(capsys, "show", tmp_path / "damaged")


def test_a_run_to_start_from_that_is_none_names_the_key(world: Path, tmp_path: Path, capsys: Printed) -> None:
    shutil.copy(world / "claims.jsonl", tmp_path)
    text = (world / "config.toml").read_text().replace("[search]", '[search]\nstart = "before"')
    (tmp_path / "config.toml").write_text(text)
    line = mistake(capsys, "run", tmp_path / "config.toml")
    assert f"search.start: {tmp_path / 'before' / 'labels.jsonl'} is missing: name the folder of a finished run" in line


def test_gold_outside_the_label_set_is_refused_with_its_place(world: Path, tmp_path: Path, capsys: Printed) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text((world / "gold.jsonl").read_text().replace('"True"', '"Yes"', 1))
    assert "Yes" in mistake(capsys, "evaluate", world / "run", "--gold", gold)


def test_flags_win_over_environment_over_file(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    config = str(world / "config.toml")
    monkeypatch.setenv("ICM_SEARCH__STEPS", "7")
    monkeypatch.setenv("ICM_SEARCH__SEED", "5")
    assert main(["run", config, "--out", str(tmp_path / "run"), "--seed", "6", "--json"]) == 0
    search = json.loads(capsys.readouterr().out)["search"]
    assert (search["steps"], search["seed"]) == (7, 6)
