"""Iterative ICM: the second batch is labelled by the model that was trained on the first, and a cut costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.errors import RunError
from icm_api.runs import FinishedRun
from icm_api.testing import TrainingJobs
from icm_api.testing.training_jobs import FAILS
from tests.training import KEYS, Place, training_at

SEARCH = '[search]\nengine = "bootstrap"\nrestarts = 1\nrounds = 1\n\n[diagnostics]\nenabled = false\n'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in KEYS:
        monkeypatch.setenv(name, "sk-test-0123456789abcdef")
    with training_at("openai", tmp_path, TrainingJobs()) as found:
        rows = [json.dumps({"id": f"c{at}", "text": f"claim {at}"}) for at in range(36)]
        (tmp_path / "claims.jsonl").write_text("\n".join(rows) + "\n")
        (tmp_path / "claims.toml").write_text(
            '[data]\npath = "claims.jsonl"\n\n'
            f'[model]\nprovider = "openai:base@{found.server.url}"\n\n{SEARCH}\n'
            '[batches]\nsize = 14\noverlap = 2\n\n[cache]\nfolder = "cache"\n\n[run]\nfolder = "run"\n'
        )
        yield found


def command(place: Place, *flags: str) -> int:
    spec = ("--with", f"openai:base@{place.server.url}", "--option", "poll_seconds=0")
    return main(["iterate", str(place.folder / "claims.toml"), *spec, *flags])


def test_each_batch_is_labelled_by_the_model_of_those_before(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(place) == 0
    out, err = capsys.readouterr()
    told = [line for line in err.splitlines() if line.startswith("batch ")]
    assert [line.partition(" is labelled by openai:")[2].partition(":")[0] for line in told] == [
        "base@http",
        "ft",
        "ft",
    ]
    # The model is trained anew each time, on all labels so far; the last batch's labels train nothing any more.
    bodies = [body for path, body in place.jobs.bodies if path.endswith("/jobs")]
    assert [body["model"] for body in bodies] == ["base", "base"]
    rows = [len(content.splitlines()) for _, content in place.jobs.files.values()]
    assert 12 <= rows[0] < rows[1] < 36
    assert "labelled 36 examples" in out
    run = FinishedRun.open(place.folder / "run")
    assert {row.id for row in run.result.examples} == {f"c{at}" for at in range(36)}
    assert len(run.result.about["batches"]) == 3
    asked = sum(place.server.log.requests.values())
    assert command(place) == 0
    # All of it is on disk.
    assert sum(place.server.log.requests.values()) == asked
    assert place.jobs.submissions == 2
    labels = (place.folder / "run" / "labels.jsonl").read_bytes()
    capsys.readouterr()
    # The configuration's model would label all batches anew, and put that in place of what was paid for.
    assert main(["resume", str(place.folder / "run")]) == 2
    assert "repeat `icm-api iterate`" in capsys.readouterr().err
    assert (place.folder / "run" / "labels.jsonl").read_bytes() == labels
    assert sum(place.server.log.requests.values()) == asked
    with pytest.raises(RunError, match="keeps no trace"):
        run.trace()
    assert command(place, "--option", "epochs=7") == 2
    assert "epochs = 7 is asked for: leave that as it was, or begin anew in another folder with --out" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("spec", "said"), [("opena:base", "does not train"), ("together:base", "TOGETHER_API_KEY"), ("azure:m", "address")]
)
def test_a_trainer_that_cannot_be_is_said_before_the_first_batch(
    spec: str, said: str, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")
    assert main(["iterate", str(place.folder / "claims.toml"), "--with", spec]) == 2
    assert said in capsys.readouterr().err
    assert not place.server.log.requests


def test_a_job_that_fails_keeps_what_was_labelled(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.jobs.phases = FAILS
    assert command(place) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "failed: The job failed." in last
    assert (place.folder / "run" / "rounds" / "0001" / "labels.jsonl").is_file()
    assert not (place.folder / "run" / "labels.jsonl").exists()


def test_it_needs_batches(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    config = place.folder / "claims.toml"
    config.write_text(config.read_text().replace("[batches]\nsize = 14\noverlap = 2\n", ""))
    assert command(place) == 2
    assert "add the table [batches]" in capsys.readouterr().err
