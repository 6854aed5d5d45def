"""Run folders of every engine, and of runs that know labels beforehand: same bytes, resumed, refused when changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.config import load_config
from icm_api.runs import Watch, resume, run_config
from icm_api.search import Progress
from tests.worlds import write_world

FILES = ("labels.jsonl", "trace.jsonl", "summary.json")
ENGINES = ("bootstrap", "folds", "gibbs")
SOME = [pytest.param(each, marks=() if each == "gibbs" else pytest.mark.slow) for each in ENGINES]
"""The one that draws at random by default, all of them before a release."""


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "run" / name).read_bytes() for name in FILES}


def world(folder: Path, engine: str, search: str = "", **data: str) -> Path:
    """A configuration for facts, with more keys under [data]."""
    config = write_world(folder, "facts", 12, f'engine = "{engine}"\nrounds = 4\nrestarts = 3\n{search}')
    more = "".join(f'{key} = "{value}"\n' for key, value in data.items())
    config.write_text(config.read_text().replace("[data]\n", f"[data]\n{more}"))
    return config


def answers(folder: Path, count: int = 3) -> None:
    """A file with some wrong labels and an open question; what a person says, the search keeps."""
    rows = [json.loads(line) for line in (folder / "gold.jsonl").read_text().splitlines()]
    said = [{"id": row["id"], "label": "False" if row["gold"] == "True" else "True"} for row in rows[:count]]
    said.append({"id": rows[count]["id"], "label": None})
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))


class Stopped(Exception):  # noqa: N818
    """The process ends here."""


def stop_after(steps: int) -> Watch:
    def hear(progress: Progress) -> None:
        if progress.info.step == steps:
            raise Stopped

    return Watch(on_step=hear)


@pytest.fixture(scope="module", params=SOME)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    """An engine, and what an unbroken run of it writes."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(["run", str(world(folder, request.param)), "--json"]) == 0
    return request.param, contents(folder)


@pytest.mark.parametrize(
    "cache", [pytest.param(True, id="cache"), pytest.param(False, id="no cache", marks=pytest.mark.slow)]
)
def test_stopped_and_resumed_same_bytes_as_unbroken(
    tmp_path: Path, whole: tuple[str, dict[str, bytes]], cache: bool
) -> None:
    engine, unbroken = whole
    steps = unbroken["trace.jsonl"].count(b"\n") - 1
    assert steps > 3
    for at in (0, 1, steps // 2, steps):
        folder = tmp_path / str(at)
        config = load_config(world(folder, engine), {"cache": {"enabled": cache}})
        with pytest.raises(Stopped):
            asyncio.run(run_config(config, stop_after(at)))
        assert not (folder / "run" / "summary.json").exists()
        assert (folder / "run" / "trace.jsonl").read_bytes().count(b"\n") == at + 1
        asyncio.run(resume(folder / "run"))
        assert contents(folder) == unbroken


@pytest.mark.parametrize("engine", SOME)
def test_another_seed_gives_another_trace_and_the_plan_bounds_it(
    tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = world(tmp_path / "1", engine), world(tmp_path / "2", engine, "seed = 1")
    for config in (one, two):
        assert main(["run", str(config), "--json"]) == 0
    assert contents(tmp_path / "1")["trace.jsonl"] != contents(tmp_path / "2")["trace.jsonl"]
    capsys.readouterr()
    assert main(["plan", str(one), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    summary = json.loads(contents(tmp_path / "1")["summary.json"])
    assert summary["usage"]["requests"] <= plan["requests"]
    assert summary["steps"] <= plan["steps"]
    assert summary["search"]["engine"] == engine


@pytest.mark.parametrize("engine", ["anneal", *ENGINES])
def test_a_persons_answers_stand_in_the_labels_and_a_changed_file_stops_a_resume(
    tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = world(tmp_path, engine, fixed="answers.jsonl")
    answers(tmp_path)
    assert main(["run", str(config), "--json"]) == 0
    said = {row["id"]: row["label"] for row in map(json.loads, (tmp_path / "answers.jsonl").read_text().splitlines())}
    rows = [json.loads(line) for line in contents(tmp_path)["labels.jsonl"].splitlines()]
    assert {row["id"]: row["label"] for row in rows if row["fixed"]} == {k: v for k, v in said.items() if v}
    assert 'fixed = "' + str(tmp_path / "answers.jsonl") in (tmp_path / "run" / "config.toml").read_text()
    before = contents(tmp_path)
    assert main(["resume", str(tmp_path / "run"), "--json"]) == 0
    assert contents(tmp_path) == before
    answers(tmp_path, 2)
    assert main(["resume", str(tmp_path / "run")]) == 2
    assert "fixed_sha256" in capsys.readouterr().err


def test_answers_that_clash_are_warned_of_and_bad_ones_refused_before_a_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = world(tmp_path, "bootstrap", fixed="answers.jsonl")
    assert main(["run", str(config)]) == 2
    assert "answers.jsonl: no such file" in capsys.readouterr().err
    (tmp_path / "answers.jsonl").write_text('{"id": "nobody", "label": "True"}\n')
    assert main(["plan", str(config)]) == 2
    assert (
        "answers.jsonl:1: id 'nobody' is not in the data set; leave the row out, or write the id as"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
    claims = [json.loads(line) for line in (tmp_path / "claims.jsonl").read_text().splitlines()]
    first = claims[0]
    second = next(c for c in claims if c["group"] == first["group"] and c["answer"] != first["answer"])
    (tmp_path / "answers.jsonl").write_text(
        "".join(json.dumps({"id": each["id"], "label": "True"}) + "\n" for each in (first, second))
    )
    assert main(["run", str(config)]) == 0
    assert "fixed labels break mutually_exclusive" in " ".join(capsys.readouterr().err.split())


def test_one_engine_goes_on_from_anothers_run_which_must_be_finished_and_stay_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = world(tmp_path / "second", "anneal", 'start = "../first/run"')
    first = world(tmp_path / "first", "bootstrap")
    assert main(["run", str(second)]) == 2
    assert "finished run" in capsys.readouterr().err
    assert main(["run", str(first), "--json"]) == 0
    assert main(["run", str(second), "--json"]) == 0
    found = {
        row["id"]: row["label"] for row in map(json.loads, contents(tmp_path / "first")["labels.jsonl"].splitlines())
    }
    trace = [json.loads(line) for line in contents(tmp_path / "second")["trace.jsonl"].splitlines()]
    assert dict(zip(trace[0]["examples"], trace[0]["new"], strict=True)) == found
    summaries = [json.loads(contents(tmp_path / name)["summary.json"]) for name in ("first", "second")]
    assert summaries[1]["utility"] >= summaries[0]["utility"]
    assert main(["resume", str(tmp_path / "second" / "run"), "--json"]) == 0
    labels = tmp_path / "first" / "run" / "labels.jsonl"
    labels.write_text(labels.read_text().replace('"coverage": ', '"coverage":  ', 1))
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "second" / "run")]) == 2
    assert "start_sha256" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_two_folds_too_many_are_refused_and_leave_no_run(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(world(tmp_path, "folds", "folds = 14"))]) == 2
    assert "search.folds is 14, and there are 12 examples to label: use fewer folds" in capsys.readouterr().err
    assert not (tmp_path / "run" / "inputs.json").exists()
