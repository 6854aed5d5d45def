"""Every word that a host has for the state of a job, and what becomes of one that was cancelled or removed there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from icm_api.errors import RequestError
from icm_api.testing import TrainingJobs
from icm_api.testing.training_jobs import FAILS, SUCCEEDS
from icm_api.training import Job, State, Trainer, Wishes, cancel, follow, start
from icm_api.training.records import read_last
from tests.training import HOSTS, KEYS, Place, training_at
from tests.unit.test_training_hosted import KilledError, started

WORDS: dict[str, dict[State, tuple[str, ...]]] = {
    "openai": {
        "validating": ("validating_files",),
        "queued": ("queued", "paused", "pending"),
        "running": ("running",),
        "succeeded": ("succeeded",),
        "failed": ("failed",),
        "cancelled": ("cancelled",),
    },
    "together": {
        "validating": ("pending",),
        "queued": ("queued",),
        "running": ("running", "compressing", "uploading", "cancel_requested"),
        "succeeded": ("completed",),
        "failed": ("error", "user_error"),
        "cancelled": ("cancelled",),
    },
    "fireworks": {
        "validating": ("CREATING", "CREATING_INPUT_DATASET", "VALIDATING"),
        "queued": ("PENDING", "PAUSED", "IDLE", "RE_QUEUEING", "UNSPECIFIED"),
        "running": ("RUNNING", "WRITING_RESULTS", "CANCELLING"),
        "succeeded": ("COMPLETED", "EARLY_STOPPED"),
        "failed": ("FAILED", "EXPIRED"),
        "cancelled": ("CANCELLED", "DELETING", "DELETING_CLEANING_UP"),
    },
}
WORDS["azure"] = WORDS["openai"]
BEGINS = {"fireworks": "JOB_STATE_"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "sk-test-0123456789abcdef")
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "acct")


def status_type(host: str) -> Any:
    """The states that the host's SDK knows, if that is installed."""
    if host in ("openai", "azure"):
        from openai.types.fine_tuning import FineTuningJob

        return FineTuningJob.model_fields["status"].annotation
    if host == "together":
        return pytest.importorskip("together.types").FinetuneResponse.model_fields["status"].annotation
    kinds = pytest.importorskip("fireworks.types").SupervisedFineTuningJob.model_fields["state"].annotation
    return get_args(kinds)[0]


@pytest.mark.parametrize("host", HOSTS)
async def test_every_word_of_a_host_is_a_state_of_ours(host: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path) as place:
        job = await started(place)
        trainer = place.trainer()
        for state, words in WORDS[host].items():
            for word in words:
                said = state if word.lower() == state and host in ("openai", "azure") else BEGINS.get(host, "") + word
                place.jobs.jobs[job.id].phases[:] = [said]
                seen = await trainer.look(job.id) if state != "succeeded" else await ended(trainer, place, job)
                assert (seen.state, seen.ended) == (state, state in ("succeeded", "failed", "cancelled")), word
        place.jobs.jobs[job.id].phases[:] = ["somersaulting"]
        with pytest.raises(RequestError, match="no state 'somersaulting'"):
            await trainer.look(job.id)
        await trainer.close()


async def ended(trainer: Trainer, place: Place, job: Job) -> Job:
    """A job that has succeeded, under whichever word, names its model."""
    seen = await trainer.look(job.id)
    assert seen.model == place.jobs.jobs[job.id].model
    return seen


@pytest.mark.parametrize("host", HOSTS)
def test_no_word_of_the_hosts_sdk_is_missing(host: str) -> None:
    known = {BEGINS.get(host, "") + word for words in WORDS[host].values() for word in words}
    assert set(get_args(status_type(host))) <= known


@pytest.mark.parametrize("host", HOSTS)
async def test_the_loopback_server_answers_in_the_hosts_shape(host: str, tmp_path: Path) -> None:
    """What it says of a job in each state is what the host's SDK takes, with nothing missing and no other type."""
    status_type(host)
    with training_at(host, tmp_path) as place:
        job = await started(place)
        made, told = place.jobs.jobs[job.id], getattr(place.jobs, "openai" if host == "azure" else host)
        for phases in (SUCCEEDS, FAILS, ("cancelled",)):
            for phase in phases:
                made.phases[:] = [phase]
                taken(host, told(made))


def taken(host: str, answer: dict[str, Any]) -> None:
    if host in ("openai", "azure"):
        from openai.types.fine_tuning import FineTuningJob

        FineTuningJob.model_validate(answer)
    elif host == "together":
        pytest.importorskip("together.types").FinetuneResponse.model_validate(answer)
        pytest.importorskip("together.lib.types.fine_tuning").FinetuneResponse.model_validate(answer)
    else:
        pytest.importorskip("fireworks.types").SupervisedFineTuningJob.model_validate(answer)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_job_that_has_ended_meanwhile_is_told_as_it_ended(host: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path) as place:
        job = await started(place)
        place.jobs.jobs[job.id].phases[:] = ["succeeded"]
        trainer = place.trainer()
        found = await cancel(trainer, tmp_path)
        assert (found.state, found.model) == ("succeeded", place.jobs.jobs[job.id].model)
        await trainer.close()
    last = read_last(tmp_path)
    assert last is not None
    assert last.ended == replace(found, tokens=None, done=None)


@pytest.mark.parametrize(("host", "word"), [("together", "cancel_requested"), ("fireworks", "JOB_STATE_CANCELLING")])
async def test_a_cancel_that_takes_a_while_is_followed_to_its_end(host: str, word: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path, TrainingJobs(cancels=(word, word, word, "cancelled"))) as place:
        job = await started(place)
        trainer = place.trainer()
        assert not (await cancel(trainer, tmp_path)).ended
        # Until then it is under way, and no other is started.
        assert (await started(place)).id == job.id
        assert (await follow(trainer, tmp_path, job)).state == "cancelled"
        await trainer.close()
        other = await started(place, Wishes(again=True))
        assert (other.id != job.id, place.jobs.submissions) == (True, 2)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_kill_after_the_cancel_was_sent(host: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path) as place:
        job = await started(place)
        trainer = place.trainer()
        real = trainer.cancel

        async def killed(job: str) -> Job:
            await real(job)
            raise KilledError

        trainer.cancel = killed  # type: ignore[method-assign]
        with pytest.raises(KilledError):
            await cancel(trainer, tmp_path)
        await trainer.close()
        again = await started(place)
        assert (again.id, again.state) == (job.id, "cancelled")
        assert place.jobs.submissions == 1


@pytest.mark.parametrize("host", HOSTS)
async def test_a_job_that_was_removed_at_the_host(host: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path) as place:
        job = await started(place)
        del place.jobs.jobs[job.id]
        with pytest.raises(RequestError, match="--again"):
            await started(place)
        assert place.jobs.submissions == 1
        other = await started(place, Wishes(again=True))
        trainer = place.trainer()
        assert (await start(trainer, lambda: place.data(trainer), tmp_path)).id == other.id
        await trainer.close()
        assert place.jobs.submissions == 2
