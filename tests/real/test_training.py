"""A real model fine-tuned on the labels that it found itself, beside four other sets of labels for the same texts.

Golden labels; labels drawn at random; the model's own labels without demonstrations; and golden labels with as many
errors, at random places, as the labels found have: the paper's ablation. Held-out texts are asked zero-shot.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from icm_api.config import SearchSettings
from icm_api.export import LabelledData
from icm_api.model import open_model
from icm_api.prompts import PromptBuilder
from icm_api.result import LabelledExample, Result
from icm_api.search import search_labels
from icm_api.training import follow, open_trainer, start, training_data
from icm_api.types import Dataset, Label, Labeling, Usage
from tests.real.models import folder_of
from tests.real.sets import KINDS, subset, task

NAME, TRAIN, HELD_OUT, SEED = "sentiment", 48, 48, 0
OPTIONS = {"epochs": 3, "learning_rate": 5e-4, "device": "cpu"}
pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing\\w*` is deprecated:FutureWarning"),
]


async def predictions(spec: str, texts: Dataset) -> dict[str, Label]:
    """The most probable label of each text without demonstrations, calibrated by the mean over all of them."""
    kind = task(NAME)
    async with open_model(spec) as model:
        builder = PromptBuilder(kind.template, kind.verbalizer, len, 4096)
        answers = (await model.label_distributions([builder.prompt(text, ()) for text in texts])).values
    labels = kind.verbalizer.labels
    means = {label: sum(answer.logprob(label) for answer in answers) / len(answers) for label in labels}
    best = [max(labels, key=lambda label: answer.logprob(label) - means[label]) for answer in answers]
    return dict(zip(texts.ids, best, strict=True))


def share(found: Mapping[str, Label], truth: Mapping[str, Label]) -> float:
    return sum(found[key] == truth[key] for key in found) / len(found)


def noisy(gold: Mapping[str, Label], accuracy: float) -> dict[str, Label]:
    """Golden labels, so many of them wrong as an accuracy says, at random places."""
    rng, labels = random.Random(SEED), KINDS[NAME].labels
    wrong = set(rng.sample(sorted(gold), round((1 - accuracy) * len(gold))))
    return {
        key: rng.choice([each for each in labels if each != own]) if key in wrong else own for key, own in gold.items()
    }


def labelled(texts: Dataset, labels: Mapping[str, Label]) -> LabelledData:
    kind = task(NAME)
    lines = (LabelledExample(key, labels[key], 0.9, 1.0, None, {labels[key]: 0.9}) for key in texts.ids)
    return LabelledData(texts, Result(tuple(lines), 0.0, 0.0, 0.0, Usage(), 0, {}), kind.template, kind.verbalizer)


async def tuned(model: str, data: LabelledData, place: Path) -> str:
    """The spec of the model that was trained on labels."""
    trainer = open_trainer(f"huggingface:{model}", OPTIONS, place=place)
    job = await start(trainer, lambda: training_data(data, trainer, place), place)
    job = await follow(trainer, place, job)
    assert job.state == "succeeded", job.error
    return trainer.result(job).spec


async def test_a_model_fine_tuned_on_its_own_labels(tmp_path: Path) -> None:
    for package in ("torch", "trl", "peft", "accelerate"):
        pytest.importorskip(package)
    model = str(folder_of("smollm2-135m-instruct"))
    whole, truth = subset(NAME, TRAIN + HELD_OUT, SEED)
    train, held_out = Dataset(list(whole)[:TRAIN]), Dataset(list(whole)[TRAIN:])
    gold = {key: truth[key] for key in train.ids}
    spec = f"huggingface:{model}"
    async with open_model(spec, cache=tmp_path / "cache") as asked:
        settings = SearchSettings(seed=SEED, restarts=1)
        found = (await search_labels(train, asked, task=task(NAME), settings=settings)).labeling
    rng = random.Random(SEED)
    of = {
        "golden": gold,
        "found by ICM": dict(Labeling(found)),
        "zero-shot": await predictions(spec, train),
        "as accurate, at random": noisy(gold, share(found, truth)),
        "random": {key: rng.choice(KINDS[NAME].labels) for key in train.ids},
    }
    rows = {"not fine-tuned": (0.0, share(await predictions(spec, held_out), truth))}
    for at, (name, labels) in enumerate(of.items()):
        made = await tuned(model, labelled(train, labels), tmp_path / str(at))
        rows[name] = (share(labels, truth), share(await predictions(made, held_out), truth))
        print(f"{name:<24} labels {rows[name][0]:.0%} right, fine-tuned on them {rows[name][1]:.0%}", flush=True)
    print(f"{'not fine-tuned':<24} {rows['not fine-tuned'][1]:.0%}")
    assert rows["golden"][1] > rows["random"][1]
    assert rows["found by ICM"][1] >= rows["random"][1]
