"""The paper's ablation: a model fine-tuned on labels of six kinds for the same texts, then asked held-out texts.

Golden labels; those found by ICM; golden labels with as many errors at random places; the model's own without
demonstrations, as they are and calibrated; and labels drawn at random. Gold is seen by nothing but the labels made of
it and the last count.
Source: Wen et al. 2025, section 4.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm_api.compare.crossed import Block, OverSeeds, block, difference, over_seeds
from icm_api.compare.measuring import Answer
from icm_api.config import SearchSettings
from icm_api.data import Gold
from icm_api.evaluation import Measure
from icm_api.export import LabelledData
from icm_api.model import open_model
from icm_api.objective import Calibration
from icm_api.prompts import PromptBuilder
from icm_api.result import LabelledExample, Result
from icm_api.search import search_labels
from icm_api.training import follow, open_trainer, start, training_data
from icm_api.types import Dataset, Label, Predictions, Task, Usage

GOLDEN, FOUND, NOISE, OWN, RANDOM, CALIBRATED, UNTUNED = (
    "golden",
    "found by ICM",
    "golden, as many wrong at random",
    "its own, with no search",
    "random",
    "its own, calibrated",
    "not fine-tuned",
)
_SURE = 0.9


@dataclass(frozen=True)
class Setting:
    """What is labelled, learned and asked.

    Attributes:
        spec: of the model, which is its trainer's too.
        options: of the training.
        task: template and labels.
        train: texts whose labels are learned.
        held_out: texts asked afterwards, without demonstrations.
        truth: gold labels of both.
        seed: of the search and of what is drawn.
    """

    spec: str
    options: Mapping[str, Any]
    task: Task
    train: Dataset
    held_out: Dataset
    truth: Mapping[str, Label]
    seed: int

    @classmethod
    def split(
        cls, spec: str, options: Mapping[str, Any], task: Task, labelled: tuple[Dataset, Mapping[str, Label]], **of: int
    ) -> Setting:
        """The first `train` texts of a set to learn from, and the rest to ask; `seed` beside."""
        whole, truth = labelled
        texts = list(whole)
        return cls(spec, options, task, Dataset(texts[: of["train"]]), Dataset(texts[of["train"] :]), truth, of["seed"])


@dataclass(frozen=True)
class Learned:
    """What a model learned from labels of one kind.

    Attributes:
        labels: share of the labels that are right; None if the model was not fine-tuned.
        answers: its most probable label of each held-out text.
        calibrated: the same, after the mean over all held-out texts was taken off.
    """

    labels: float | None
    answers: Mapping[str, Label]
    calibrated: Mapping[str, Label]

    def right(self, truth: Mapping[str, Label]) -> float:
        """Share of the answers that are right."""
        return share(self.answers, truth)


def share(found: Mapping[str, Label], truth: Mapping[str, Label]) -> float:
    """Share of labels that are the true one."""
    return sum(found[key] == truth[key] for key in found) / len(found)


async def ablation(setting: Setting, place: Path) -> dict[str, Learned]:
    """Label, fine-tune and ask, for each kind of labels.

    Args:
        setting: what is labelled.
        place: a folder; what was trained there before is not trained again.
    """
    learned = {UNTUNED: Learned(None, *await _answers(setting, setting.spec, setting.held_out))}
    for at, (name, labels) in enumerate((await _labels(setting, place)).items()):
        spec = await _tuned(setting, labels, place / str(at))
        learned[name] = Learned(share(labels, setting.truth), *await _answers(setting, spec, setting.held_out))
    return learned


def labelled(task: Task, texts: Dataset, labels: Mapping[str, Label], *, replies: bool = False) -> LabelledData:
    """Labels in memory, as a search hands them out, all of them equally sure; `replies` for pairs in both orders."""
    names = task.verbalizer.labels
    rest = (1 - _SURE) / (len(names) - 1)
    lines = (
        LabelledExample(each.id, own, _SURE, 1.0, each.group, {name: _SURE if name == own else rest for name in names})
        for each in texts
        for own in (labels[each.id],)
    )
    result = Result(tuple(lines), 0.0, 0.0, 0.0, Usage(), 0, {})
    return LabelledData(texts, result, task.template, task.verbalizer, replies=replies)


async def _labels(setting: Setting, place: Path) -> dict[str, dict[str, Label]]:
    train, names, rng = setting.train, setting.task.verbalizer.labels, random.Random(setting.seed)
    settings = SearchSettings(seed=setting.seed)
    async with open_model(setting.spec, cache=place / "cache") as model:
        found = (await search_labels(train, model, task=setting.task, settings=settings)).labeling
    own, calibrated = await _answers(setting, setting.spec, train)
    gold = {key: setting.truth[key] for key in train.ids}
    wrong = set(rng.sample(sorted(gold), sum(found[key] != gold[key] for key in gold)))
    return {
        GOLDEN: gold,
        FOUND: {key: found[key] for key in train.ids},
        NOISE: {k: rng.choice([n for n in names if n != own]) if k in wrong else own for k, own in gold.items()},
        OWN: own,
        RANDOM: {key: rng.choice(names) for key in train.ids},
        CALIBRATED: calibrated,
    }


async def _answers(setting: Setting, spec: str, texts: Dataset) -> tuple[dict[str, Label], dict[str, Label]]:
    """The most probable label of each text without demonstrations, and the same calibrated."""
    async with open_model(spec) as model:
        builder = PromptBuilder(setting.task.template, setting.task.verbalizer, len, 4096)
        found = await model.label_distributions([builder.prompt(text, ()) for text in texts])
    reads = dict(zip(texts.ids, found, strict=True))
    return _best(reads), _best(Calibration("batch")(reads))


def _best(reads: Predictions) -> dict[str, Label]:
    return {key: read.best for key, read in reads.items()}


async def _tuned(setting: Setting, labels: Mapping[str, Label], place: Path) -> str:
    """The spec of the model that was trained on labels."""
    trainer, data = (
        open_trainer(setting.spec, setting.options, place=place),
        labelled(setting.task, setting.train, labels),
    )
    job = await start(trainer, lambda: training_data(data, trainer, place), place)
    job = await follow(trainer, place, job)
    if job.state != "succeeded":
        raise RuntimeError(job.line())
    return trainer.result(job).spec


def table(settings: Sequence[Setting], learned: Sequence[Mapping[str, Learned]]) -> list[str]:
    """Means over seeds with 95% intervals, and how far each kind is from the labels found, paired.

    Args:
        settings: one for each seed.
        learned: of each.
    """
    over = {name: _over(settings, [one[name].answers for one in learned]) for name in learned[0]}
    beside = {name: _over(settings, [one[name].calibrated for one in learned]).mean for name in learned[0]}
    apart_head = f"{'less ICM':>8}  {'95% interval':<13}"
    rows = [f"  {'labels':<34}{'right':>6}  {'held out':>8}  {'95% interval':<13}  {apart_head}  calibrated"]
    for name, found in over.items():
        shares = [one[name].labels for one in learned]
        known = [each for each in shares if each is not None]
        right = f"{sum(known) / len(known):.0%}" if known else ""
        apart = " " * 23 if name == FOUND else shown(difference(found, over[FOUND]), "+.0%")
        rows.append(f"  {name:<34}{right:>6}  {shown(found.measure(), '.0%')}  {apart}  {beside[name]:>10.0%}")
    return rows


def _over(settings: Sequence[Setting], answers: Sequence[Mapping[str, Label]]) -> OverSeeds:
    return over_seeds("accuracy", [_block(*each) for each in zip(settings, answers, strict=True)])


def _block(setting: Setting, answers: Mapping[str, Label]) -> Block:
    labels = setting.task.verbalizer.labels
    # The same text under two seeds is one thing drawn, whatever its id.
    rows = [
        Answer(text.id, text.fields["text"], own, {label: float(label == own) for label in labels})
        for text in setting.held_out
        for own in (answers[text.id],)
    ]
    return block(rows, Gold(setting.truth), labels)


def shown(found: Measure, form: str) -> str:
    if found.value is None:
        return found.note
    if found.low is None or found.high is None:
        return f"{f'{found.value:{form}}':>8}  {'':<13}"
    limits = f"{found.low:{form}} to {found.high:{form}}"
    return f"{f'{found.value:{form}}':>8}  {limits:<13}"
