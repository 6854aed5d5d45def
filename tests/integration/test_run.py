"""Run folders: same bytes, resumed after whatever happened, refused when damaged. Real processes, real disk."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.runs.seal import seal
from tests.worlds import write_world as any_world

FILES = ("labels.jsonl", "trace.jsonl", "summary.json")


def write_world(folder: Path) -> Path:
    """A world, and a search of about 50 steps in it."""
    return any_world(folder, search="restarts = 2")


def cli(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "icm_api.cli.main", *map(str, arguments)]


def contents(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world with an unbroken run in it."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert main(["run", str(write_world(folder)), "--json"]) == 0
    return folder


@pytest.fixture
def finished(world: Path, tmp_path: Path) -> Path:
    """A copy of the unbroken run with all of its world, as if it had been made there."""
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "run" / "config.toml"
    config.write_text(config.read_text().replace(str(world), str(tmp_path)))
    seal(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def unbroken(world: Path) -> dict[str, bytes]:
    """What an unbroken run of the small world writes."""
    return contents(world / "run")


@pytest.mark.parametrize("threads", ["1", *(pytest.param(threads, marks=pytest.mark.slow) for threads in "25")])
def test_same_config_and_seed_same_bytes_on_any_number_of_threads(
    tmp_path: Path, unbroken: dict[str, bytes], threads: str
) -> None:
    done = cli(
        "run", write_world(tmp_path), OPENBLAS_NUM_THREADS=threads, OMP_NUM_THREADS=threads, PYTHONHASHSEED=threads
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "run") == unbroken


@pytest.mark.parametrize("gold", ["shuffled", "removed", "beside the texts"])
def test_gold_labels_shuffled_or_removed_same_bytes(tmp_path: Path, unbroken: dict[str, bytes], gold: str) -> None:
    config = write_world(tmp_path)
    claims, labels = tmp_path / "claims.jsonl", tmp_path / "gold.jsonl"
    if gold == "removed":
        labels.unlink()
    else:
        values = [json.loads(line)["gold"] for line in labels.read_text().splitlines()]
        random.Random(0).shuffle(values)
        if gold == "beside the texts":
            rows = [json.loads(line) for line in claims.read_text().splitlines()]
            claims.write_text(
                "".join(json.dumps(row | {"gold": y}) + "\n" for row, y in zip(rows, values, strict=True))
            )
    assert main(["run", str(config), "--json"]) == 0
    written = contents(tmp_path / "run")
    assert {name: written[name] for name in FILES[:2]} == {name: unbroken[name] for name in FILES[:2]}


def kill_and_resume(folder: Path, lines: int, seconds: float) -> bool:
    """Kill a run with -9 some seconds after so many lines of trace; whether that met a run under way. Resume it."""
    process = subprocess.Popen(
        command("run", write_world(folder)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run = folder / "run"
    wait_for_lines(run, lines, process)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    midway = not (run / "summary.json").exists()
    done = cli("resume", run)
    assert done.returncode == 0, done.stderr
    return midway


def wait_for_lines(run: Path, lines: int, process: subprocess.Popen[Any]) -> None:
    """Until a run's trace has so many lines, or the process has ended."""
    trace = run / "trace.jsonl"
    while process.poll() is None and not (
        (run / "inputs.json").exists() and (trace.read_bytes().count(b"\n") if trace.exists() else 0) >= lines
    ):
        time.sleep(0.002)


@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_same_bytes_as_unbroken(
    tmp_path: Path, unbroken: dict[str, bytes], count: int
) -> None:
    midway, rng = 0, random.Random(7)
    for at in range(count):
        lines = rng.randrange(unbroken["trace.jsonl"].count(b"\n"))
        midway += kill_and_resume(tmp_path / str(at), lines, 0.05 * rng.random())
        assert contents(tmp_path / str(at) / "run") == unbroken
    assert midway, "no kill met a run under way: no test"


@pytest.mark.slow
def test_killed_again_and_again_a_run_still_ends_in_the_same_bytes(tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    """Five processes, each allowed a few more steps than the last one, then one to the end."""
    config, run = write_world(tmp_path), tmp_path / "run"
    for kills in range(5):
        verb = ("resume", run) if kills else ("run", config)
        process = subprocess.Popen(command(*verb), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_lines(run, 3 * kills + 3, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode in (-signal.SIGKILL, 0)
    assert cli("resume", tmp_path / "run").returncode == 0
    assert contents(tmp_path / "run") == unbroken


def test_interrupted_with_ctrl_c_says_how_to_go_on_and_can(tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    for _ in range(10):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        process = subprocess.Popen(
            command("run", write_world(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for_lines(tmp_path / "run", 3, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        # On a busy machine the run may be over before it is interrupted.
        if process.returncode != 0:
            break
    assert process.returncode == 130
    assert "icm-api resume" in errors
    assert "Traceback" not in errors
    assert cli("resume", tmp_path / "run").returncode == 0
    assert contents(tmp_path / "run") == unbroken


def test_a_full_disk_stops_the_run_with_exit_code_3_and_it_resumes(tmp_path: Path, unbroken: dict[str, bytes]) -> None:
    """A limit on file sizes is what a full disk is to a process: a write that comes back short."""
    config = write_world(tmp_path)
    size = len(unbroken["trace.jsonl"]) // 2

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    process = subprocess.run(
        command("run", config, "--no-cache"), capture_output=True, text=True, preexec_fn=limit, check=False
    )
    assert process.returncode == 3, process.stderr
    assert "free" in process.stderr
    assert "Traceback" not in process.stderr
    done = cli("resume", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    written = contents(tmp_path / "run")
    assert written["trace.jsonl"] == unbroken["trace.jsonl"]
    assert written["labels.jsonl"] == unbroken["labels.jsonl"]


def test_a_torn_last_line_is_dropped_and_said(
    finished: Path, unbroken: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    trace = finished / "trace.jsonl"
    trace.write_bytes(trace.read_bytes()[:-30])
    assert main(["resume", str(finished)]) == 0
    assert "torn last line" in capsys.readouterr().err
    assert contents(finished) == unbroken


@pytest.mark.parametrize("damage", ["not JSON", "another value", "a line missing", "a line added"])
def test_other_damage_is_refused_with_its_place(
    finished: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = finished / "trace.jsonl"
    lines = trace.read_text().splitlines(keepends=True)
    if damage == "not JSON":
        lines[3] = lines[3][5:]
    elif damage == "another value":
        lines[3] = lines[3].replace('"requests": ', '"requests": 1')
    elif damage == "a line missing":
        del lines[3]
    else:
        lines.append(lines[-1])
    trace.write_text("".join(lines))
    assert main(["resume", str(finished)]) == 2
    place = len(lines) if damage == "a line added" else 4
    assert f"trace.jsonl:{place}:" in capsys.readouterr().err


def test_resume_refuses_changed_data_and_names_it(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claims = finished.parent / "claims.jsonl"
    claims.write_text(claims.read_text().replace("1", "2", 1))
    assert main(["resume", str(finished)]) == 2
    assert "data_sha256" in capsys.readouterr().err


def test_resume_ignores_the_environment_that_the_run_did_not_have(
    finished: Path, unbroken: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_SEARCH__SEED", "9")
    assert main(["resume", str(finished)]) == 0
    assert contents(finished) == unbroken


def test_a_second_run_into_the_same_folder_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(finished.parent / "config.toml")]) == 2
    assert f"`icm-api show {finished}`; to begin another one" in capsys.readouterr().err


def test_a_run_that_another_process_works_on_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from filelock import FileLock

    with FileLock(finished / ".lock"):
        assert main(["resume", str(finished)]) == 2
    assert "in use" in capsys.readouterr().err


def test_a_resume_with_a_warm_cache_sends_nothing(finished: Path) -> None:
    assert main(["resume", str(finished)]) == 0
    sessions = [json.loads(line) for line in (finished / "sessions.jsonl").read_text().splitlines()]
    assert sessions[0]["sent"]["requests"] > 0
    assert sessions[1]["sent"]["requests"] == 0


def test_defect_10_labels_and_trace_are_on_disk_and_the_cost_is_what_was_sent(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "trace.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(len(rows)))
    for row in rows:
        assert len(row["examples"]) == len(row["old"]) == len(row["new"])
    assert all(row["examples"] for row in rows if row["kind"] == "begin")
    requests = [row["requests"] for row in rows]
    assert requests == sorted(requests)
    summary = json.loads((finished / "summary.json").read_text())
    session = json.loads((finished / "sessions.jsonl").read_text().splitlines()[0])
    judging = summary["diagnosis"]["measures"]["requests"]
    # What is handed out is scored by leave-one-out as well.
    exact = len((finished / "labels.jsonl").read_text().splitlines())
    assert summary["usage"]["requests"] == requests[-1] + exact + judging == session["sent"]["requests"] > judging > 0
    assert session["sent"]["prompt_tokens"] == summary["usage"]["prompt_tokens"] > 0
    labels = [json.loads(line) for line in (finished / "labels.jsonl").read_text().splitlines()]
    assert {row["label"] for row in labels} == {"True", "False"}


def test_plan_bounds_what_the_run_takes_and_sends_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert main(["plan", str(finished.parent / "config.toml"), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert summary["usage"]["requests"] <= plan["requests"]
    assert summary["usage"]["prompt_tokens"] <= plan["prompt_tokens"]
