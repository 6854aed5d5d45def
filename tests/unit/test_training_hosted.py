"""Jobs at hosts, over real sockets: every state, faults, kills at every place, and never a second job."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from icm_api.errors import ConfigError, DataError, NotConfirmedError, ProviderError, RequestError, RunError
from icm_api.model import open_model
from icm_api.testing import Faults, TrainingJobs
from icm_api.testing.training_jobs import FAILS
from icm_api.training import Estimate, Job, State, Wishes, cancel, follow, start
from icm_api.training.records import RECORD_FILE, read_last
from tests.training import HOSTS, KEYS, MODEL, Place, training_at


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "sk-test-0123456789abcdef")
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "acct")


APART = ("openai", "together", "fireworks")
"""Azure's jobs are OpenAI's."""


async def started(place: Place, wishes: Wishes | None = None, **options: Any) -> Job:
    """What the command does, in a process of its own."""
    trainer = place.trainer(**options)
    try:
        return await start(trainer, lambda: place.data(trainer), place.folder, wishes)
    finally:
        await trainer.close()


async def followed(place: Place, job: Job) -> tuple[Job, list[State]]:
    """The end of a job, and the states on the way."""
    seen: list[State] = []
    trainer = place.trainer()
    try:
        return await follow(trainer, place.folder, job, lambda job: seen.append(job.state)), seen
    finally:
        await trainer.close()


@pytest.mark.parametrize("host", HOSTS)
async def test_a_job_from_labels_to_a_model_that_answers(host: str, tmp_path: Path) -> None:
    estimates: list[Estimate] = []
    with training_at(host, tmp_path) as place:
        job = await started(place, Wishes(confirm=estimates.append))
        ended, states = await followed(place, job)
        assert list(dict.fromkeys(states)) == ["validating", "queued", "running", "succeeded"]
        assert (await started(place)) == await_of(read_last(tmp_path))
        trainer = place.trainer()
        tuned = trainer.result(ended)
        async with open_model(tuned.spec, options=tuned.options) as model:
            [text] = (await model.generate(["1+1="], samples=1, max_tokens=4, temperature=0.0))[0] or ("",)
            assert tuned.spec.partition(":")[0] == host
            assert isinstance(text, str)
        await trainer.close()
    assert place.jobs.submissions == 1
    [(name, content)] = place.jobs.files.values()
    assert name.startswith("icm-")
    assert len(content.splitlines()) == 12 == estimates[0].rows
    # Counted too high rather than too low.
    assert estimates[0].tokens >= 3 * len(content) / 3.01


def await_of(attempt: Any) -> Job:
    """The job in a record that has ended."""
    assert attempt.ended is not None
    found: Job = attempt.ended
    return found


@pytest.mark.parametrize(("host", "lost"), [*((host, "cut") for host in APART), ("openai", "truncated-json")])
async def test_an_answer_that_is_lost_starts_no_second_job(host: str, lost: str, tmp_path: Path) -> None:
    path = {"together": "POST /v1/fine-tunes\0", "fireworks": "POST /v1/accounts/acct/supervised"}
    said = path.get(host, "POST /v1/fine_tuning/jobs\0")
    jobs = TrainingJobs(faults=Faults((lost,), said=said))
    with training_at(host, tmp_path, jobs) as place:
        job = await started(place)
        assert (await followed(place, job))[0].state == "succeeded"
    assert jobs.submissions == 1


class KilledError(BaseException):
    """As kill -9 ends a process: no handler of the library's sees it."""


@pytest.mark.parametrize("host", APART)
async def test_a_kill_at_any_place_ends_in_one_job(host: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path) as place:
        for count, where in enumerate(["before sending", "after sending", "before submitting", "after submitting"], 1):
            place.folder = tmp_path / str(count)
            await a_kill_ends_in_one_job(place, where)
            assert place.jobs.submissions == count


async def a_kill_ends_in_one_job(place: Place, where: str) -> None:
    trainer = place.trainer()
    step = "send" if "sending" in where else "start"
    real = getattr(trainer, step)

    async def killed(*given: Any) -> Any:
        if "after" in where:
            await real(*given)
        raise KilledError

    setattr(trainer, step, killed)
    with pytest.raises(KilledError):
        await start(trainer, lambda: place.data(trainer), place.folder)
    await trainer.close()
    job = await started(place)
    again = await started(place)
    assert job.id == again.id == list(place.jobs.jobs)[-1]


@pytest.mark.parametrize("host", APART)
async def test_a_job_that_fails_says_why_and_starts_again_only_if_asked(host: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path, TrainingJobs(phases=FAILS)) as place:
        ended, states = await followed(place, await started(place))
        assert (ended.state, states[-1]) == ("failed", "failed")
        assert ended.error
        assert (await started(place)).id == ended.id
        other = await started(place, Wishes(again=True))
        assert other.id != ended.id
    assert place.jobs.submissions == 2


@pytest.mark.parametrize("host", APART)
async def test_a_job_is_cancelled_once(host: str, tmp_path: Path) -> None:
    with training_at(host, tmp_path) as place:
        trainer = place.trainer()
        with pytest.raises(ConfigError, match="no job was started"):
            await cancel(trainer, tmp_path)
        job = await started(place)
        assert (await cancel(trainer, tmp_path)).state == "cancelled"
        assert (await cancel(trainer, tmp_path)).state == "cancelled"
        assert (await followed(place, job))[1] == ["cancelled"]
        await trainer.close()


@pytest.mark.parametrize(("host", "kind"), [*((host, "429-ms") for host in APART), ("openai", "503")])
async def test_a_host_that_stumbles_is_asked_again(host: str, kind: str, tmp_path: Path) -> None:
    # Whatever is sent meets it once, but for the request that starts a job, which is refused and then looked for.
    jobs = TrainingJobs(faults=Faults((kind,), retry_after=0.01))
    with training_at(host, tmp_path, jobs) as place:
        with pytest.raises(RequestError) as caught:
            await started(place)
        assert caught.value.retryable
        assert jobs.submissions == 0
        assert (await followed(place, await started(place)))[0].state == "succeeded"
    assert jobs.submissions == 1


@pytest.mark.parametrize("host", APART)
async def test_a_refusal_is_told_and_starts_anew(host: str, tmp_path: Path) -> None:
    jobs = TrainingJobs(faults=Faults(("403",), said="fine_tuning/jobs" if host in ("openai", "azure") else "icm-"))
    with training_at(host, tmp_path, jobs) as place:
        with pytest.raises(RequestError, match="no access") as caught:
            await started(place)
        assert ("2027-01-06" in str(caught.value)) == (host == "openai")
        jobs.faults = None
        first = read_last(tmp_path)
    with training_at(host, tmp_path) as place:
        await started(place)
        assert place.jobs.submissions == 1
        second = read_last(tmp_path)
    assert first is not None
    assert second is not None
    if first.refused:
        assert first.mark != second.mark


async def test_other_settings_are_no_reason_for_a_second_job(tmp_path: Path) -> None:
    with training_at("openai", tmp_path) as place:
        job = await started(place, epochs=2)
        with pytest.raises(ConfigError, match=r"epochs = 2, and now epochs = 4 is asked for.*--cancel"):
            await started(place, epochs=4)
        # What it costs and how often it is looked at shape nothing.
        assert (await started(place, epochs=2, price=9.0)).id == job.id
        assert len(place.made) == 1


async def test_who_says_no_sends_nothing(tmp_path: Path) -> None:
    def no(estimate: Estimate) -> None:
        raise NotConfirmedError("no")

    with training_at("together", tmp_path) as place:
        with pytest.raises(NotConfirmedError):
            await started(place, Wishes(confirm=no))
        assert place.jobs.uploads == 0
        asked: list[Estimate] = []

        def no_to_the_price(estimate: Estimate) -> None:
            asked.append(estimate)
            if estimate.money is not None:
                raise NotConfirmedError("too dear")

        for _ in range(2):
            with pytest.raises(NotConfirmedError, match="too dear"):
                await started(place, Wishes(confirm=no_to_the_price))
        # The file is there by then, and is not sent twice; the price is Together's.
        assert (place.jobs.uploads, place.jobs.submissions) == (1, 0)
        assert [estimate.money is None for estimate in asked] == [True, False, False]
        [(_, content)] = place.jobs.files.values()
        assert asked[-1].money == pytest.approx(3 * int(len(content) / 4) / 1e6 * 0.5)


async def test_togethers_limits_come_before_its_files(tmp_path: Path) -> None:
    with training_at("together", tmp_path, TrainingJobs(allowed=False)) as place:
        for wrong in ({"epochs": 21}, {"learning_rate": 1.0}, {"batch_size": 4}, {"lora_rank": 128}):
            with pytest.raises(ConfigError, match=f"{next(iter(wrong))} = .* outside what the host takes"):
                await started(place, **wrong)
        assert place.jobs.uploads == 0
        with pytest.raises(ProviderError, match=r"above this account's limit of 100\.0 USD"):
            await started(place)
        assert place.jobs.submissions == 0


async def test_a_price_of_ones_own_is_the_estimate(tmp_path: Path) -> None:
    with training_at("openai", tmp_path) as place:
        trainer = place.trainer(price=25.0, epochs=4)
        found = await trainer.estimate(place.data(trainer))
        await trainer.close()
        assert found.money == pytest.approx(found.tokens / 1e6 * 25)
        assert any("2027-01-06" in note for note in found.notes)
        assert (place.jobs.uploads, place.jobs.bodies) == (0, [])


async def test_the_record_is_checked_line_by_line(tmp_path: Path) -> None:
    with training_at("openai", tmp_path) as place:
        job = await started(place)
        record = tmp_path / RECORD_FILE
        lines = record.read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == ["meant", "sent", "submitting", "started"]
        # A torn last line is the work of a kill: the job is found again by what the host knows.
        record.write_text("\n".join(lines[:3]) + "\n" + lines[3][:9])
        assert (await started(place)).id == job.id
        assert place.jobs.submissions == 1
        for bad in ('{"step": "flown"}', '{"step": "started", "job": "../other"}', "[]"):
            record.write_text("\n".join([lines[0], bad]) + "\n")
            with pytest.raises(RunError, match=r"jobs\.jsonl:2: damaged"):
                await started(place)


@pytest.mark.parametrize("host", HOSTS)
async def test_bodies_are_what_the_hosts_sdk_sends(host: str, tmp_path: Path) -> None:
    rare: dict[str, Any] = {"batch_size": 8}
    rare |= {"lora_rank": 8} if host in ("together", "fireworks") else {"learning_rate_multiplier": 0.5}
    with training_at(host, tmp_path) as place:
        await started(place, **rare)
        [body] = [body for path, body in place.jobs.bodies if path.endswith(("jobs", "Jobs", "fine-tunes"))]
    assert MODEL in (body.get("model"), body.get("baseModel"))
    check_body(host, body)


@pytest.mark.parametrize("host", HOSTS)
async def test_preferences_are_sent_as_the_host_takes_them_and_one_job_is_started(host: str, tmp_path: Path) -> None:
    """Each host's own way; an answer that is lost on the way starts no second job."""
    path = {"together": "POST /v1/fine-tunes\0", "fireworks": "POST /v1/accounts/acct/dpoJobs"}
    jobs = TrainingJobs(faults=Faults(("cut",), said=path.get(host, "POST /v1/fine_tuning/jobs\0")))
    with training_at(host, tmp_path, jobs) as place:
        place.method = "dpo"
        ended, states = await followed(place, await started(place, beta=0.2, epochs=1))
        assert (ended.state, states[-1]) == ("succeeded", "succeeded")
        assert ended.model
        trainer = place.trainer(beta=0.2, epochs=1)
        assert trainer.result(ended).spec.partition(":")[0] == host
        with pytest.raises(ConfigError, match=r"beta = 0\.2, and now beta = 0\.4"):
            await started(place, beta=0.4, epochs=1)
        await trainer.close()
        [body] = [body for path, body in jobs.bodies if path.endswith(("jobs", "Jobs", "fine-tunes"))]
    assert jobs.submissions == 1
    [(_, content)] = jobs.files.values()
    assert content.startswith(b"\xef\xbb\xbf") == (host == "azure")
    row = json.loads(content.decode("utf-8-sig").splitlines()[3])
    assert row == {
        "input": {"messages": [{"role": "user", "content": "Question 3?"}]},
        "preferred_output": [{"role": "assistant", "content": "good 3"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad 3"}],
    }
    check_preference_body(host, body)


def check_preference_body(host: str, body: Any) -> None:
    """Compare a body with the types of the host's SDK, as far as it is installed here."""
    from pydantic import TypeAdapter

    if host in ("openai", "azure"):
        from openai.types.fine_tuning import JobCreateParams

        assert TypeAdapter(JobCreateParams).validate_python(body) == body
        assert body["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "beta": 0.2}}}
    elif host == "together":
        assert body["training_method"] == {"method": "dpo", "dpo_beta": 0.2}
    else:
        assert body.keys() == {"dataset", "displayName", "trainingConfig", "lossConfig"}
        assert body["lossConfig"] == {"method": "DPO", "dpo": {"beta": 0.2}}
        assert body["trainingConfig"]["baseModel"] == MODEL
        assert body["trainingConfig"]["epochs"] == 1


def test_the_sdks_take_the_bodies_of_preferences(tmp_path: Path) -> None:
    lib = pytest.importorskip("together.lib.types.fine_tuning")
    types = pytest.importorskip("fireworks.types.dpo_job_create_params")
    transform = pytest.importorskip("fireworks._utils").maybe_transform
    from icm_api.training import open_trainer

    together = open_trainer("together:m", {"lora_rank": 8}, place=tmp_path, method="dpo")
    body = together.body("file-1", "icm-1")  # type: ignore[attr-defined]
    made = lib.FinetuneRequest(**body).model_dump(exclude_none=True)
    assert made["training_method"]["method"] == "dpo"
    assert made["training_method"]["dpo_beta"] == 0.1
    fireworks = open_trainer("fireworks:m", {"lora_rank": 8}, place=tmp_path, method="dpo")
    named = {"dataset": "d", "display_name": "n", "loss_config": {"method": "DPO", "dpo": {"beta": 0.1}}}
    named |= {"training_config": {"base_model": "m", "output_model": "o", "epochs": 3, "lora_rank": 8}}
    sent = transform(named, types.DpoJobCreateParams)
    body = fireworks.body("file-1", "icm-1")  # type: ignore[attr-defined]
    assert body.keys() == sent.keys()
    assert body["trainingConfig"].keys() == sent["trainingConfig"].keys()
    assert body["lossConfig"] == sent["lossConfig"]


async def test_togethers_limits_of_preferences_are_their_own(tmp_path: Path) -> None:
    with training_at("together", tmp_path) as place:
        place.method = "dpo"
        with pytest.raises(ConfigError, match=r"batch_size = 100 .* 8 to 64"):
            await started(place, batch_size=100)
        trainer = place.trainer()
        assert "rows longer than 8,192 tokens are cut" in (await trainer.estimate(place.data(trainer))).notes
        await trainer.close()


def check_body(host: str, body: Any) -> None:
    """Compare a body with the types of the host's SDK, or its documented keys if that is not installed."""
    from pydantic import TypeAdapter

    if host in ("openai", "azure"):
        from openai.types.fine_tuning import JobCreateParams

        assert TypeAdapter(JobCreateParams).validate_python(body) == body
    elif host == "together":
        known = {"training_file", "model", "n_epochs", "learning_rate", "warmup_ratio", "max_grad_norm", "weight_decay"}
        known |= {"batch_size", "n_checkpoints", "training_method", "suffix", "random_seed", "training_type"}
        assert body.keys() <= known
        assert len(body["suffix"]) <= 40
        assert body["training_type"] == {
            "type": "Lora", "lora_r": 8, "lora_alpha": 16, "lora_trainable_modules": "all-linear",
        }  # fmt: skip
    else:
        known = {"dataset", "baseModel", "displayName", "outputModel", "epochs", "loraRank", "batchSizeSamples"}
        assert body.keys() == known
        assert body["dataset"].startswith("accounts/acct/datasets/icm-")


def test_togethers_sdk_takes_the_body(tmp_path: Path) -> None:
    lib = pytest.importorskip("together.lib.types.fine_tuning")
    from icm_api.training import open_trainer
    from icm_api.training.together_jobs import TogetherTrainer

    trainer = open_trainer("together:m", {"lora_rank": 8}, place=tmp_path)
    assert isinstance(trainer, TogetherTrainer)
    body = trainer.body("file-1", "icm-1")
    made = lib.FinetuneRequest(**body).model_dump(exclude_none=True)
    assert made.pop("training_type") == {**body.pop("training_type"), "lora_dropout": 0.0}
    assert made | body == made


def test_fireworks_sdk_takes_the_body(tmp_path: Path) -> None:
    types = pytest.importorskip("fireworks.types.supervised_fine_tuning_job_create_params")
    transform = pytest.importorskip("fireworks._utils").maybe_transform
    from icm_api.training import open_trainer
    from icm_api.training.fireworks_jobs import FireworksTrainer

    trainer = open_trainer("fireworks:m", {"lora_rank": 8, "learning_rate": 0.1}, place=tmp_path)
    assert isinstance(trainer, FireworksTrainer)
    named = {"dataset": "d", "base_model": "m", "display_name": "n", "output_model": "o", "epochs": 3}
    named |= {"learning_rate": 0.1, "lora_rank": 8, "batch_size_samples": 4}
    sent = transform(named, types.SupervisedFineTuningJobCreateParams)
    assert trainer.body("file-1", "icm-1").keys() <= sent.keys()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("mistral:m", "takes no fine-tuning jobs any more"),
        ("opnai:m", "did you mean 'openai'"),
        ("openai", "needs a model"),
        ("azure:m", "needs an address"),
    ],
)
def test_what_cannot_train_says_what_can(spec: str, told: str, tmp_path: Path) -> None:
    from icm_api.training import open_trainer

    with pytest.raises(ConfigError, match=told):
        open_trainer(spec, place=tmp_path)


async def test_a_file_that_the_host_cannot_read_is_a_data_error(tmp_path: Path) -> None:
    for host in ("azure", "together", "fireworks"):
        with training_at(host, tmp_path / host) as place:
            trainer = place.trainer()
            data = place.data(trainer)
            data.path.write_text("no JSON\n")
            with pytest.raises(DataError, match="cannot read it"):
                await start(trainer, lambda data=data: data, place.folder)  # type: ignore[misc]
            await trainer.close()
            assert place.jobs.submissions == 0


async def test_two_at_once_start_one_job(tmp_path: Path) -> None:
    with training_at("openai", tmp_path) as place:
        found = await asyncio.gather(started(place), started(place), return_exceptions=True)
        assert sum(isinstance(each, RunError) and "in use" in str(each) for each in found) == 1
        assert place.jobs.submissions == 1
