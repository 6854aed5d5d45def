"""The embedded model trained on labels: what it learns, beside other labels for the same claims; cuts; the command."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from icm_api.cli.main import main
from icm_api.config import SearchSettings
from icm_api.errors import ConfigError
from icm_api.export import LabelledData
from icm_api.model import open_model
from icm_api.pocket.model import WEIGHTS
from icm_api.prompts import PromptBuilder
from icm_api.result import LabelledExample, Result
from icm_api.search import search_labels
from icm_api.training import Job, Trainer, cancel, follow, open_trainer, start, training_data
from icm_api.types import Dataset, Label, PromptTemplate, Task, Usage, Verbalizer
from tests.finished import MadeUp, finished_run
from tests.labelled import claims
from tests.worlds import biased

TASK = Task(PromptTemplate("{text}", "", "\n"), Verbalizer.plain(("True", "False")))


def labelled(texts: Dataset, labels: Mapping[str, Label]) -> LabelledData:
    lines = (LabelledExample(key, labels[key], 0.9, 1.0, None, {labels[key]: 0.9}) for key in texts.ids)
    return LabelledData(texts, Result(tuple(lines), 0.0, 0.0, 0.0, Usage(), 0, {}), TASK.template, TASK.verbalizer)


async def trained(trainer: Trainer, data: LabelledData, place: Path) -> Job:
    job = await start(trainer, lambda: training_data(data, trainer, place), place)
    return await follow(trainer, place, job)


async def answers(spec: str, texts: Dataset) -> dict[str, Label]:
    """The most probable label of each claim without demonstrations."""
    async with open_model(spec) as model:
        builder = PromptBuilder(TASK.template, TASK.verbalizer, len, 4096)
        found = await model.label_distributions([builder.prompt(text, ()) for text in texts])
    labels = TASK.verbalizer.labels
    return {key: max(labels, key=one.logprob) for key, one in zip(texts.ids, found, strict=True)}


def share(found: Mapping[str, Label], truth: Mapping[str, Label]) -> float:
    return sum(found[key] == truth[key] for key in found) / len(found)


def noisy(gold: Mapping[str, Label], accuracy: float) -> dict[str, Label]:
    """Golden labels, so many of them wrong as an accuracy says, at random places."""
    wrong = set(random.Random(0).sample(sorted(gold), round((1 - accuracy) * len(gold))))
    return {key: {"True": "False", "False": "True"}[own] if key in wrong else own for key, own in gold.items()}


async def test_what_is_learned_from_labels_of_five_kinds(tmp_path: Path) -> None:
    """The paper's ablation in the embedded world: as measured, held-out claims, zero-shot."""
    whole, truth = biased("sums", 96, 3)
    train, held_out = Dataset(list(whole)[:32]), Dataset(list(whole)[32:])
    gold = {key: truth[key] for key in train.ids}
    async with open_model("pocket") as model:
        found = (await search_labels(train, model, task=TASK, settings=SearchSettings(restarts=1))).labeling
    rng = random.Random(0)
    of = {
        "golden": gold,
        "found": {key: found[key] for key in train.ids},
        "zero-shot": await answers("pocket", train),
        "noise": noisy(gold, share(found, truth)),
        "random": {key: rng.choice(("True", "False")) for key in train.ids},
    }
    right = {"before": share(await answers("pocket", held_out), truth)}
    for name, labels in of.items():
        trainer = open_trainer("pocket", place=tmp_path / name)
        job = await trained(trainer, labelled(train, labels), tmp_path / name)
        right[name] = share(await answers(trainer.result(job).spec, held_out), truth)
    told = [f"{name}: labels {share(of[name], truth):.0%} right, trained on them {right[name]:.0%}" for name in of]
    print("\n".join([*told, f"before: {right['before']:.0%}"]))
    assert right["golden"] >= 0.8
    assert right["golden"] > right["before"]
    assert right["found"] >= max(right["before"], right["random"], right["zero-shot"])


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
