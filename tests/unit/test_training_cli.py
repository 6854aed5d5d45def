"""`icm-api train` as a user meets it: what is sent is said before, exit codes, and how to go on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from icm_api.cli.main import main
from icm_api.testing import Faults, TrainingJobs
from icm_api.testing.training_jobs import FAILS
from tests.finished import MadeUp, finished_run
from tests.training import KEYS, Place, training_at

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "sk-test-0123456789abcdef")


@pytest.fixture
def openai(tmp_path: Path) -> Iterator[Place]:
    """A server and a finished run of 24 claims, whose owner wants to be asked above a cent."""
    config = {"budget": {"ask_above": 0.01}, "prices": {"input": 1.0, "output": 1.0}}
    run = finished_run(tmp_path, MadeUp([f"claim {at}" for at in range(24)], config=config))
    with training_at("openai", run) as place:
        yield place


def command(place: Place, *flags: str) -> int:
    spec = f"openai:gpt-4.1-mini@{place.server.url}"
    return main(["train", str(place.folder), "--with", spec, "--option", "poll_seconds=0", *flags])


def test_an_estimate_sends_nothing(openai: Place, capsys: Printed) -> None:
    assert command(openai, "--estimate", "--option", "price=25", "--option", "epochs=2") == 0
    out, err = capsys.readouterr()
    assert out.startswith("24 rows, 2 epochs, about ")
    assert "2027-01-06" in out
    assert err == ""
    assert (openai.jobs.uploads, openai.jobs.bodies) == (0, [])


def test_from_start_to_model(openai: Place, capsys: Printed) -> None:
    assert command(openai) == 4
    assert "unknown price, and budget.ask_above is 0.01, and there is no terminal" in capsys.readouterr().err
    assert command(openai, "--option", "price=25") == 4
    assert openai.jobs.uploads == 0
    assert command(openai, "--yes") == 0
    out, err = capsys.readouterr()
    assert "which the labels are sent to:\n  24 rows" in err
    assert out.splitlines()[-1].startswith("to go on: icm-api train ")
    assert out.splitlines()[-1].endswith("--option poll_seconds=0 --follow")
    assert command(openai, "--follow") == 0
    out, err = capsys.readouterr()
    assert "ftjob-000001: running" in err
    assert "model: openai:ft:gpt-4.1-mini:org:icm-" in out
    assert "to go on: icm-api probe openai:ft:" in out
    assert command(openai, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["job"]["state"] == "succeeded"
    assert found["model"]["spec"].endswith(f"@{openai.server.url}")
    assert openai.jobs.submissions == 1


def test_a_job_on_other_labels_is_not_taken_for_the_one_asked_for(openai: Place, capsys: Printed) -> None:
    """It would be paid for, compared and used as what it is not; and each command to go on trains on the same."""
    assert command(openai, "--yes", "--abstain-below", "0.1") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("--abstain-below 0.1 --follow")
    assert command(openai, "--abstain-below", "0.1", "--follow") == 0
    for flags in ((), ("--labels", "zero-shot"), ("--abstain-below", "0.2"), ("--abstain-below", "2")):
        assert command(openai, *flags) == 2
        assert "was started with " in (said := capsys.readouterr().err)
        assert "start another with --again" in said
    assert command(openai, "--estimate", "--abstain-below", "2") == 2
    assert "probability" in capsys.readouterr().err
    assert openai.jobs.submissions == 1
    assert command(openai, "--again", "--yes", "--follow") == 0
    assert openai.jobs.submissions == 2


def test_a_job_is_cancelled(openai: Place, capsys: Printed) -> None:
    assert command(openai, "--cancel") == 2
    assert "no job was started there" in capsys.readouterr().err
    assert command(openai, "--yes") == 0
    assert command(openai, "--cancel") == 0
    assert "cancelled" in capsys.readouterr().out


def test_a_failed_job_ends_with_its_reason_in_one_line(openai: Place, capsys: Printed) -> None:
    openai.jobs.phases = FAILS
    assert command(openai, "--yes", "--follow") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "failed: The job failed.; to start another: icm-api train" in last


def test_no_answer_says_how_to_go_on(tmp_path: Path, capsys: Printed) -> None:
    run = finished_run(tmp_path, MadeUp([f"claim {at}" for at in range(24)]))
    jobs = TrainingJobs(faults=Faults(("500",), said="POST /v1/fine_tuning/jobs\0"))
    with training_at("openai", run, jobs) as place:
        assert command(place) == 3
        err = capsys.readouterr().err.splitlines()
        assert err[-2].startswith("to go on: icm-api train ")
        assert "starts none twice" in err[-1]
        assert command(place, "--follow") == 0
        assert jobs.submissions == 1


@pytest.mark.slow
def test_kill_9_between_the_job_and_its_answer(tmp_path: Path) -> None:
    run = finished_run(tmp_path, MadeUp([f"claim {at}" for at in range(24)]))
    jobs = TrainingJobs(faults=Faults(("slow",), said="POST /v1/fine_tuning/jobs\0", delay=60.0))
    with training_at("openai", run, jobs) as place:
        spec = f"openai:gpt-4.1-mini@{place.server.url}"
        line = [sys.executable, "-m", "icm_api", "train", str(run), "--with", spec, "--option", "poll_seconds=0"]
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not jobs.submissions:
            assert process.poll() is None
            sleep(0.01)
        process.kill()
        process.wait()
        assert command(place, "--follow") == 0
    assert jobs.submissions == 1


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--with", "mistral:m"], "does not train: Mistral takes no fine-tuning jobs"),
        (["--with", "openai:m", "--option", "epoch=3"], "did you mean 'epochs'"),
        (["--with", "openai:m", "--option", "epochs=0"], "greater than or equal to 1"),
        (["--with", "fireworks:m"], "FIREWORKS_ACCOUNT_ID"),
    ],
)
def test_a_mistake_gets_one_line(flags: list[str], told: str, tmp_path: Path, capsys: Printed) -> None:
    run = finished_run(tmp_path, MadeUp(["a", "b"]))
    assert main(["train", str(run), *flags]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_too_few_rows_are_said_before_anything_is_sent(tmp_path: Path, capsys: Printed) -> None:
    run = finished_run(tmp_path, MadeUp(["a", "b"]))
    with training_at("openai", run) as place:
        assert command(place, "--yes") == 2
        assert "OpenAI takes no file of fewer than 10 rows" in capsys.readouterr().err
        assert place.jobs.uploads == 0
