"""The embedded model trained on labels: what it learns, beside other labels for the same claims; cuts; the command."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from safetensors.numpy import load_file

from icm_api.cli.main import main
from icm_api.errors import ConfigError
from icm_api.export import LabelledData
from icm_api.model import open_model
from icm_api.pocket.model import WEIGHTS
from icm_api.prompts import PromptBuilder
from icm_api.training import Job, Trainer, cancel, follow, open_trainer, start, training_data
from tests.ablation import FOUND, GOLDEN, NOISE, OWN, RANDOM, UNTUNED, ablation, table
from tests.benchmarks.training import pocket_setting
from tests.finished import MadeUp, finished_run
from tests.labelled import claims


async def trained(trainer: Trainer, data: LabelledData, place: Path) -> Job:
    job = await start(trainer, lambda: training_data(data, trainer, place), place)
    return await follow(trainer, place, job)


@pytest.mark.parametrize("seeds", [1, pytest.param(5, marks=pytest.mark.slow)])
async def test_what_is_learned_from_labels_of_five_kinds(seeds: int, tmp_path: Path) -> None:
    """The paper's ablation in the embedded world: as measured, held-out claims, zero-shot."""
    settings = [pocket_setting("sums", seed) for seed in range(seeds)]
    learned = [await ablation(setting, tmp_path / str(setting.seed)) for setting in settings]
    print("\n".join(table(settings, learned)))
    both = list(zip(settings, learned, strict=True))
    right = {name: fmean(one[name].right(own.truth) for own, one in both) for name in learned[0]}
    assert right[GOLDEN] >= 0.8
    assert right[FOUND] > max(right[UNTUNED], right[RANDOM], right[OWN])
    for setting, one in both:
        # As accurate as the labels found, to the row.
        assert one[NOISE].labels == one[FOUND].labels
        assert one[GOLDEN].labels == 1.0
        assert one[UNTUNED].answers.keys() == set(setting.held_out.ids)


async def test_it_descends_the_cross_entropy_of_the_completions(tmp_path: Path) -> None:
    data = claims([f"{at}+{at}={2 * at}" for at in range(12)])
    losses = []
    for epochs in (1, 5, 40):
        place = tmp_path / str(epochs)
        trainer = open_trainer("pocket", {"epochs": epochs}, place=place)
        spec = trainer.result(await trained(trainer, data, place)).spec
        async with open_model(spec) as model:
            builder = PromptBuilder(data.template, data.verbalizer, len, 4096)
            found = await model.label_distributions([builder.prompt(text, ()) for text in data.dataset])
        losses.append(-np.mean([one.logprob(("True", "False")[at % 2]) for at, one in enumerate(found)]))
    assert losses == sorted(losses, reverse=True)
    before, after = (load_file(folder / "model.safetensors") for folder in (WEIGHTS, Path(spec.partition(":")[2])))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["lm_head.weight"]


async def test_a_cut_and_a_cancelled_job(tmp_path: Path) -> None:
    data = claims([f"claim {at}" for at in range(12)])
    trainer = open_trainer("pocket", place=tmp_path)
    job = await start(trainer, lambda: training_data(data, trainer, tmp_path), tmp_path)
    steps = trainer.follow(job.id)
    async for seen in steps:
        assert seen.state == "running"
        break
    await steps.aclose()  # type: ignore[attr-defined]
    assert (await trainer.look(job.id)).state == "queued"
    assert (await trained(trainer, data, tmp_path)).id == job.id
    other = open_trainer("pocket", {"epochs": 7}, place=tmp_path)
    with pytest.raises(ConfigError, match="--again"):
        await trained(other, data, tmp_path)
    stopped = tmp_path / "stopped"
    long = open_trainer("pocket", {"epochs": 100_000}, place=stopped)
    job = await start(long, lambda: training_data(data, long, stopped), stopped)
    states: list[str] = []
    async for seen in long.follow(job.id):
        if not states:
            # As another process does it.
            await cancel(open_trainer("pocket", {"epochs": 100_000}, place=stopped), stopped)
        states.append(seen.state)
    assert states[-1] == "cancelled"
    assert len(states) < 100_000


def test_the_command_without_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path, MadeUp([f"{at}>{at + 1}" for at in range(12)]))
    assert main(["train", str(run), "--with", "pocket"]) == 0
    out, err = capsys.readouterr()
    assert "to train on this machine:\n  12 rows, 200 epochs" in err
    spec = out.partition("model: ")[2].splitlines()[0]
    assert spec.startswith(f"pocket:{run}")
    assert main(["probe", spec, "--json"]) == 0
