"""Whole runs by batch jobs on the command line: the bytes of a run without them, also if it is killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.model import spent
from icm_api.testing import Faults, JobPlan, Server, serve
from tests.hosted import HOSTED, KEY_VARIABLES, bytes_of, write_config
from tests.worlds import write_world

Printed = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[2]
CHAT = HOSTED["openai-chat"]
ROUNDS = 'engine = "bootstrap"\nrestarts = 1\nsteps = 3'
BATCH = '\n[client]\ntier = "batch"\npoll = 0.02\n\n[diagnostics]\nenabled = false\n'
PLAIN = "\n[diagnostics]\nenabled = false\n"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")


def config_of(folder: Path, server: Server, extra: str = BATCH) -> Path:
    return write_config(folder, CHAT.spec(server), CHAT.options, search=ROUNDS, extra=extra)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """What a run by requests ends in."""
    folder = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patched, serve(dialect="openai") as server:
        patched.setenv("OPENAI_API_KEY", "of-the-test")
        assert main(["run", str(config_of(folder, server, PLAIN))]) == 0
    return bytes_of(folder / "run")


def started(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "icm_api.cli.main", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
    for _ in range(6000):
        if done():
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.005)
    pytest.fail("it never came about")


def notes(run: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text().splitlines()[-1]) for path in (run / "jobs").glob("*.jsonl")]


def test_a_run_by_jobs_ends_in_the_same_bytes_and_says_what_it_waits_for(
    calm: Mapping[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(dialect="openai", jobs=JobPlan(looks=0)) as server:
        assert main(["run", str(config_of(tmp_path, server))]) == 0
        log = server.log
        assert not log.requests.get("/v1/chat/completions")
        # A check, zero-shot labels, rounds and what is handed out: not a job a question.
        assert 3 <= log.jobs <= 8
        assert main(["resume", str(tmp_path / "run")]) == 0
        assert server.log.jobs == log.jobs
    assert bytes_of(tmp_path / "run") == calm
    assert spent(tmp_path / "run" / "spending.jsonl").requests == log.batched
    assert all(note["over"] for note in notes(tmp_path / "run"))
    lines = [record.getMessage() for record in caplog.records]
    assert any("batch job batch_000002: in_progress, 0 of " in line and "looked at again in" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("unlisted", [0, 1])
def test_killed_between_submitting_and_hearing_of_it_nothing_is_sent_twice(
    unlisted: int, calm: Mapping[str, bytes], tmp_path: Path
) -> None:
    with serve(dialect="openai", jobs=JobPlan(looks=1, wait=0.6, unlisted=unlisted)) as server:
        process = started("run", config_of(tmp_path, server))
        wait_for(process, lambda: server.log.jobs == 2)
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        # Nobody knows of the second job but the server.
        assert sorted(name for note in notes(tmp_path / "run") for name in note if name in ("over", "upload")) == [
            "over",
            "upload",
        ]
        assert main(["resume", str(tmp_path / "run")]) == 0
        log = server.log
    assert bytes_of(tmp_path / "run") == calm
    assert len(notes(tmp_path / "run")) == log.jobs
    assert spent(tmp_path / "run" / "spending.jsonl").requests == log.batched


@pytest.mark.slow
def test_interrupted_it_says_how_to_go_on_and_goes_on_with_the_same_job(
    calm: Mapping[str, bytes], tmp_path: Path
) -> None:
    with serve(dialect="openai", jobs=JobPlan(looks=8)) as server:
        process = started("run", config_of(tmp_path, server))
        wait_for(process, lambda: server.log.jobs == 2)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 130
        assert f"to go on: icm-api resume {tmp_path / 'run'}" in told.decode()
        assert "batch job batch_000001 at openai/" in told.decode()
        assert main(["resume", str(tmp_path / "run")]) == 0
        log = server.log
    assert bytes_of(tmp_path / "run") == calm
    assert len(notes(tmp_path / "run")) == log.jobs
    assert spent(tmp_path / "run" / "spending.jsonl").requests == log.batched


def test_a_budget_stops_before_a_job_and_raised_it_goes_on(calm: Mapping[str, bytes], tmp_path: Path) -> None:
    limit = BATCH + "\n[budget]\nrequests = 12\n"
    with serve(dialect="openai", jobs=JobPlan(looks=0)) as server:
        assert main(["run", str(config_of(tmp_path, server, limit))]) == 3
        assert server.log.batched <= 12
        raised = tmp_path / "run" / "config.toml"
        raised.write_text(raised.read_text().replace("requests = 12", "requests = 100_000"))
        assert main(["resume", str(tmp_path / "run")]) == 0
        log = server.log
    assert bytes_of(tmp_path / "run") == calm
    assert spent(tmp_path / "run" / "spending.jsonl").requests == log.batched


def test_where_no_jobs_are_taken_it_is_one_clear_line(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm") as server:
        config = write_config(tmp_path, HOSTED["vllm"].spec(server), extra=BATCH)
        assert main(["run", str(config)]) == 2
        assert server.log.total == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "client.tier: provider 'vllm' is not known to have it (batch)" in told


def test_a_run_whose_first_job_is_refused_leaves_no_folder(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="openai", jobs=JobPlan(("failed",), looks=0)) as server:
        assert main(["run", str(config_of(tmp_path, server))]) == 2
    assert "failed, and nothing of it was done" in capsys.readouterr().err


@pytest.mark.slow
def test_the_parts_of_a_large_set_go_side_by_side_by_jobs_of_many_examples(tmp_path: Path) -> None:
    extra = "\n[core]\nsize = 16\npart = 20\ndemonstrations = 8\n"
    found, jobs = [], []
    with serve(dialect="openai", jobs=JobPlan(looks=0)) as server:
        for name, more in (("plain", PLAIN), ("jobs", BATCH)):
            folder = tmp_path / name
            config = write_world(folder, size=60, search=ROUNDS)
            text = config.read_text().replace('"pocket"\n', f'"{CHAT.spec(server)}"\n[model.options]\napi = "chat"\n')
            config.write_text(text + extra + more)
            assert main(["run", str(config)]) == 0
            parts = sorted((folder / "run" / "parts").glob("*.json*"))
            found.append({path.name: path.read_bytes() for path in parts})
            jobs.append(server.log.jobs)
    assert len(found[0]) > 2
    assert found[0] == found[1]
    # One of all parts, and one each for the check, zero-shot, rounds and what is held out.
    assert jobs[0] == 0
    assert jobs[1] <= 1 + 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_no_question_is_answered_twice(
    seed: int, calm: Mapping[str, bytes], tmp_path: Path
) -> None:
    rng, plan = random.Random(seed), JobPlan(("completed", "expired", "completed"), looks=1, wait=0.1, unlisted=2)
    with serve(dialect="openai", jobs=plan, faults=Faults(("500",), rate=0.1)) as server:
        config = config_of(tmp_path, server, BATCH + "\n[budget]\nrequests = 400\n")
        for _ in range(10):
            before = server.log.total
            begun = (tmp_path / "run" / "inputs.json").exists()
            process = started(*(("resume", tmp_path / "run") if begun else ("run", config)))
            while server.log.total == before and process.poll() is None:
                time.sleep(0.002)
            time.sleep(0.3 * rng.random())
            process.kill()
            process.communicate()
        assert main(["resume", str(tmp_path / "run")]) == 0
        log = server.log
    assert bytes_of(tmp_path / "run") == calm
    # What failed was not answered, and what was answered was answered once.
    assert log.batched == json.loads((tmp_path / "run" / "summary.json").read_text())["usage"]["requests"] + 1
    assert spent(tmp_path / "run" / "spending.jsonl").requests >= log.batched
