"""Fine-tuning on this machine: a tiny model learns labels, is cut off and goes on, and opens as a model at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icm_api import open_reward_model
from icm_api.cli.main import main
from icm_api.config import load_config
from icm_api.errors import DataError, ProviderError
from icm_api.export import LabelledData
from icm_api.model import open_model
from icm_api.prompts import PromptBuilder
from icm_api.reward import ScoredReward, open_trained
from icm_api.training import (
    Job,
    Teacher,
    Trainer,
    TrainingData,
    cancel,
    follow,
    label_by_folds,
    open_trainer,
    prompt_data,
    start,
    training_data,
)
from icm_api.types import Prompt, Verbalizer
from tests.finished import MadeUp, finished_run
from tests.integration.test_export_consumers import LANGUAGE, make_model, make_tokenizer
from tests.labelled import claims, preferred

ORDER = {"epochs": 2, "batch_size": 4, "learning_rate": 0.05, "lora_rank": 8, "device": "cpu"}
TEXTS = [word * 3 for word in "abcdefgh"]
pytestmark = [
    pytest.mark.slow,
    # TRL 1 sets what transformers 5 has renamed.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing\\w*` is deprecated:FutureWarning"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random language model of 300 tokens."""
    for package in ("torch", "trl", "peft", "accelerate"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("tiny")
    make_model(folder, LANGUAGE)
    make_tokenizer().save_pretrained(folder)
    return folder


def opened(tiny: Path, place: Path, **more: Any) -> Trainer:
    return open_trainer(f"huggingface:{tiny}", {**ORDER, **more}, place=place)


def data_for(trainer: Trainer, place: Path, data: LabelledData | None = None) -> TrainingData:
    return training_data(data or claims(TEXTS), trainer, place)


async def begun(trainer: Trainer, place: Path) -> Job:
    return await start(trainer, lambda: data_for(trainer, place), place)


async def test_what_it_learned_it_says(tiny: Path, tmp_path: Path) -> None:
    trainer = opened(tiny, tmp_path, epochs=40)
    estimate = await trainer.estimate(data_for(trainer, tmp_path))
    assert (estimate.rows, estimate.epochs, estimate.money) == (8, 40, 0.0)
    assert estimate.seconds is not None
    assert estimate.seconds > 0
    done: list[float] = []
    job = await follow(trainer, tmp_path, await begun(trainer, tmp_path), lambda job: done.append(job.done or 0.0))
    assert job.state == "succeeded"
    assert done[-1] == 1.0
    assert done == sorted(done)
    tuned = trainer.result(job)
    data = claims(TEXTS)
    builder = PromptBuilder(data.template, data.verbalizer, len, 512)
    prompts = [builder.prompt(example, ()) for example in data.dataset]
    async with open_model(tuned.spec) as model, open_model(f"huggingface:{tiny}") as before:
        after = [one.coverage or 0.0 for one in await model.label_distributions(prompts)]
        first = [one.coverage or 0.0 for one in await before.label_distributions(prompts)]
    # A random model puts next to nothing on the labels, and so small a one can learn no more than that they are said.
    assert min(after) > 1.5 * max(first), (after, first)
    assert (await begun(trainer, tmp_path)).model == job.model


async def test_a_cut_goes_on_from_its_checkpoint(tiny: Path, tmp_path: Path) -> None:
    trainer = opened(tiny, tmp_path)
    job = await begun(trainer, tmp_path)
    steps = trainer.follow(job.id)
    async for seen in steps:
        if seen.done is not None and seen.done > 0.5:
            break
    await steps.aclose()  # type: ignore[attr-defined]
    assert (await trainer.look(job.id)).state == "queued"
    done: list[float] = []
    ended = await follow(trainer, tmp_path, await begun(trainer, tmp_path), lambda job: done.append(job.done or 0.0))
    assert ended.state == "succeeded"
    # The first epoch is not taken again.
    assert done[0] > 0.5


async def test_a_cancelled_job_stops_after_its_step(tiny: Path, tmp_path: Path) -> None:
    trainer = opened(tiny, tmp_path, epochs=50)
    job = await begun(trainer, tmp_path)
    seen: list[Job] = []
    async for each in trainer.follow(job.id):
        seen.append(each)
        if len(seen) == 1:
            # As another process does it.
            await cancel(opened(tiny, tmp_path, epochs=50), tmp_path)
    assert seen[-1].state == "cancelled"
    assert len(seen) < 20


async def test_rows_and_models_that_do_not_fit_are_said(tiny: Path, tmp_path: Path) -> None:
    trainer = opened(tiny, tmp_path)
    data = data_for(trainer, tmp_path, claims(["a", "b" * 600]))
    with pytest.raises(DataError, match=r"train\.jsonl:2: the row has .* context window of 512"):
        await trainer.estimate(data)
    absent = opened(tmp_path / "absent", tmp_path / "other")
    with pytest.raises(ProviderError, match="absent"):
        await absent.estimate(data)


async def test_a_reward_model_scores_what_it_was_trained_to_prefer(tiny: Path, tmp_path: Path) -> None:
    """As TRL's RewardTrainer leaves it, by its spec; with the margin, scores lie further apart."""
    pairs = [(f"q {at}", "good " * 3 + str(at), "bad " * 3 + str(at)) for at in range(8)]
    apart, order = [], {**ORDER, "epochs": 12, "learning_rate": 0.01}
    for margin in (True, False):
        place = tmp_path / str(margin)
        trainer = open_trainer(f"huggingface:{tiny}", {**order, "margin": margin}, place=place, method="reward")
        data = training_data(preferred(pairs, 0.999), trainer, place)
        estimate = await trainer.estimate(data)
        assert (estimate.rows, estimate.epochs) == (8, 12)
        job = await follow(trainer, place, await start(trainer, lambda data=data: data, place))  # type: ignore[misc]
        assert job.state == "succeeded", job.error
        async with open_reward_model(trainer.result(job).spec) as reward:
            assert isinstance(reward, ScoredReward)
            told = [await reward.prefer(*each) for each in pairs]
            one = await reward.score("q 1", pairs[1][1])
            both = await reward.rank("q 1", list(pairs[1][1:]))
            assert both.scores[0] - both.scores[1] == pytest.approx(
                one - await reward.score("q 1", pairs[1][2]), abs=1e-3
            )
        apart.append(min(each.log_odds for each in told))
    assert apart[1] > 0
    assert apart[0] > apart[1]
    # A network that scores writes nothing and knows no labels.
    with pytest.raises(ProviderError, match="reward model"):
        async with open_model(trainer.result(job).spec) as model:
            await model.generate(["q"], max_tokens=1)
    with pytest.raises(ProviderError, match="gives no score"):
        open_trained(f"huggingface:{tiny}")


async def test_preferences_move_what_the_model_would_write(tiny: Path, tmp_path: Path) -> None:
    """TRL's DPOTrainer, on plain texts, which are read as they were trained; then as chats."""
    pairs = [(f"q {at}", "good", "bad") for at in range(8)]
    order = {**ORDER, "epochs": 10, "learning_rate": 0.01, "beta": 0.5}
    verbalizer = Verbalizer.plain(("good", "bad"))
    prompts = [Prompt("", (), prompt, verbalizer, "\n") for prompt, *_ in pairs]
    trainer = open_trainer(f"huggingface:{tiny}", {**order, "data": "completion"}, place=tmp_path, method="dpo")
    data = training_data(preferred(pairs), trainer, tmp_path)
    assert (await trainer.estimate(data)).rows == 8
    job = await follow(trainer, tmp_path, await start(trainer, lambda: data, tmp_path))
    assert job.state == "succeeded", job.error
    likely = []
    for spec in (f"huggingface:{tiny}", trainer.result(job).spec):
        async with open_model(spec) as model:
            likely.append([one.probability("good") for one in await model.label_distributions(prompts)])
    assert min(likely[1]) > max(likely[0])
    chat = open_trainer(f"huggingface:{tiny}", {**order, "epochs": 1}, place=tmp_path / "chat", method="dpo")
    data = training_data(preferred(pairs), chat, tmp_path / "chat")
    job = await follow(chat, tmp_path / "chat", await start(chat, lambda: data, tmp_path / "chat"))
    assert job.state == "succeeded", job.error
    tuned = chat.result(job)
    async with open_model(tuned.spec, options=tuned.options) as model:
        assert len((await model.generate(["q 1"], max_tokens=3, samples=2))[0]) == 2


async def test_what_the_reward_model_likes_is_written_more_often(tiny: Path, tmp_path: Path) -> None:
    """TRL's GRPOTrainer; replies are ranked beside each other by a reward model of another kind.

    The network has weights large enough to prefer a token to another, as those of a trained model are.
    """
    make_model(tmp_path / "able", LANGUAGE, spread=0.5)
    make_tokenizer().save_pretrained(tmp_path / "able")
    able = f"huggingface:{tmp_path / 'able'}"
    head = open_trainer("pocket", place=tmp_path / "head", method="reward")
    longer = [("", word * 6, word) for word in ("a", "bc", "1", "x y", "Fenn", "9>")]
    data = training_data(preferred(longer), head, tmp_path / "head")
    reward = head.result(await follow(head, tmp_path / "head", await start(head, lambda: data, tmp_path / "head"))).spec
    given = {**ORDER, "reward": reward, "epochs": 24, "batch_size": 2, "learning_rate": 0.02, "generations": 8}
    trainer = open_trainer(able, {**given, "max_tokens": 8}, place=tmp_path, method="grpo")
    prompts = ["q 1", "q 2", "q 3", "q 4"]
    estimate = await trainer.estimate(prompt_data(prompts, tmp_path))
    assert estimate.rows == 4
    assert "scores 768 replies" in estimate.notes[0]
    told: list[float] = []
    job = await start(trainer, lambda: prompt_data(prompts, tmp_path), tmp_path)
    job = await follow(trainer, tmp_path, job, lambda job: told.append(job.done or 0.0))
    assert job.state == "succeeded", job.error
    assert told[-1] == 1.0
    tuned, means = trainer.result(job), []
    async with open_reward_model(reward) as scores:
        assert isinstance(scores, ScoredReward)
        for spec in (able, tuned.spec):
            async with open_model(spec, options=tuned.options) as model:
                found = await model.generate(prompts, max_tokens=8, samples=24)
            replies = [(prompt, text) for prompt, some in zip(prompts, found, strict=True) for text in some]
            known = [each for each in await scores.scores(replies) if isinstance(each, float)]
            means.append(sum(known) / len(known))
    # It was 3.3 to 4.1 in three seeds.
    assert means[1] > means[0] + 2, means


def test_the_command_trains_and_names_the_model(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path, MadeUp(TEXTS))
    flags = [part for key, value in ORDER.items() for part in ("--option", f"{key}={value}")]
    assert main(["train", str(run), "--with", f"huggingface:{tiny}", *flags]) == 0
    out, err = capsys.readouterr()
    assert "to train on this machine:" in err
    assert f"model: huggingface:{run}" in out


async def test_a_model_per_fold_answers_and_leaves_no_weights(tiny: Path, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": text, "text": text}) + "\n" for text in TEXTS)
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "rows.toml").write_text(
        f'[data]\npath = "rows.jsonl"\n[model]\nprovider = "huggingface:{tiny}"\n[model.options]\ndevice = "cpu"\n'
        '[search]\nfolds = 2\nrounds = 1\n[cache]\nfolder = "cache"\n[run]\nfolder = "run"\n'
    )
    teacher = Teacher(f"huggingface:{tiny}", {**ORDER, "epochs": 1})
    found = await label_by_folds(load_config(tmp_path / "rows.toml"), teacher)
    assert {row.id for row in found.examples} == set(TEXTS)
    asked = sorted((tmp_path / "run" / "rounds" / "folds").glob("*/answers.json"))
    assert 2 <= len(asked) <= 12
    assert not list(tmp_path.rglob("rounds/**/*.safetensors"))
