"""Fine-tuning on this machine: a tiny model learns labels, is cut off and goes on, and opens as a model at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.config import load_config
from icm_api.errors import DataError, ProviderError
from icm_api.export import LabelledData
from icm_api.model import open_model
from icm_api.prompts import PromptBuilder
from icm_api.training import (
    Job,
    Teacher,
    Trainer,
    TrainingData,
    cancel,
    follow,
    label_by_folds,
    open_trainer,
    start,
    training_data,
)
from tests.finished import MadeUp, finished_run
from tests.integration.test_export_consumers import LANGUAGE, make_model, make_tokenizer
from tests.labelled import claims

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
