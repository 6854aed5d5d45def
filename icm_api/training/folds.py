"""ICM for texts too long for a shared context: one model is fine-tuned per fold, on the labels of the other folds.

log p(y_i | x_i, D without i) is approximated by what a model that was tuned on all labels outside the fold of i says of
x_i alone. So no demonstration is shown, and a text has to fit into the context window by itself. The search is that of
engine "rounds", one chain, with this as its estimator; each round cuts the folds anew, groups whole.

Source: Wen et al. 2025, v2, appendix G.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from typing import Any, TypeAlias

from icm_api.config import Config, DiagnosticsSettings
from icm_api.errors import ConfigError, RunError, StorageError
from icm_api.export import LabelledData
from icm_api.files import write_whole
from icm_api.model import LanguageModel
from icm_api.model.client.meter import Metering
from icm_api.objective import Estimate, Lengths, Shared
from icm_api.prompts import PromptBuilder
from icm_api.result import LabelledExample, Result
from icm_api.runs import build_task, folder_of, load_dataset, load_start, locked, open_model
from icm_api.runs.aside import Aside, allowed
from icm_api.runs.folder import ROUNDS_FOLDER, inputs_of
from icm_api.runs.parts import run_meter
from icm_api.runs.searching import UNWATCHED, Work
from icm_api.search import build_objective
from icm_api.training.iterate import Teacher, settle, trained
from icm_api.training.open import open_trainer
from icm_api.training.values import Estimate as Price
from icm_api.training.values import Tuned
from icm_api.types import Answers, Dataset, Example, LabelDistribution, Labeling, Model, Prompt, Usage

Answered: TypeAlias = Answers[LabelDistribution]
Learn: TypeAlias = Callable[[Sequence[Example], Labeling, Sequence[Prompt]], Awaitable[Answered]]
"""Examples and their labels to learn, and the questions that are asked of the model that learned them."""
_ANSWERS, _TEACHER, _FOLDS = "answers.json", "teacher.json", "folds"
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class TunedFolds:
    """Every label given a model that was tuned on the labels outside its fold; an `Estimator`.

    Attributes:
        learn: tunes a model on labels, and asks it.
        folds: F, the parts of the data set: models a score.
        here: train one after the other, as is best on one machine; else all at once.
    """

    learn: Learn
    folds: int = 4
    here: bool = True
    name = "tuned"
    gives_distributions = True

    @property
    def orders(self) -> int:
        """The label sets that are conditioned on, one a fold."""
        return self.folds

    async def estimate(self, labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, model: Model) -> Estimate:
        """One distribution per labelled example, by F models.

        Args:
            labeling: complete or partial.
            dataset: holds its examples, and gives the folds.
            prompts: turns an example into a prompt; no demonstration is shown.
            model: asked only if nothing is outside a fold.

        Returns:
            log p(y_i) and the distribution over all labels, per labelled example.

        Raises:
            NotConfirmedError: a job was not wanted.
            ProviderError: a job failed, or the model that came out gave no usable logprobs.
        """
        labelled = [dataset[at] for at in sorted(map(dataset.position, labeling))]
        folds = Shared(self.folds, None).contexts(labelled) if labelled else []

        async def told_of(fold: Sequence[Example], rest: Sequence[Example]) -> Answered:
            asked = [prompts.prompt(example, ()) for example in fold]
            # One group alone has nothing outside its fold.
            return await self.learn(rest, labeling, asked) if rest else await model.label_distributions(asked)

        answers = [await told_of(*each) for each in folds] if self.here else await _at_once(starmap(told_of, folds))
        distributions: dict[str, LabelDistribution] = {}
        costs: dict[str, Usage] = {}
        for (fold, _), told in zip(folds, answers, strict=True):
            distributions |= zip((example.id for example in fold), told, strict=True)
            costs |= told.costs
        logprobs = {example.id: distributions[example.id].logprob(labeling[example.id]) for example in labelled}
        return Estimate(logprobs, self.name, distributions, costs=costs)

    def requests(self, labelled: int, stretches: int) -> int:
        """One per labelled example."""
        return labelled

    def usage(self, lengths: Lengths) -> Usage:
        """One prompt per example without demonstrations; what training takes is no part of it.

        Args:
            lengths: of the labelled examples.
        """
        tokens = sum(lengths.prompt(0, asked) for asked in lengths.asked)
        return Usage(len(lengths.asked), round(tokens))


async def _at_once(asked: Iterable[Coroutine[Any, Any, Answered]]) -> list[Answered]:
    """All of them; if one fails, the others are not followed any more, and their jobs are found again later."""
    tasks = [asyncio.ensure_future(each) for each in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def label_by_folds(config: Config, teacher: Teacher) -> Result:
    """Label a data set whose texts are conditioned on by fine-tuning.

    Its folder holds a finished run in the end. What a tuned model answered is in `rounds/folds`, so that the same call
    goes on where it stopped; weights that were trained here are removed once they have answered.

    Args:
        config: resolved, without `[batches]`; its model gives the first labels. `[search] folds` and `rounds` say how
            many models are tuned: at most folds * (rounds + 5), with 3 rounds if it says nothing.
        teacher: what is tuned. It confirms the first price, of all jobs together, and each job that is dearer.

    Returns:
        A label for each example, not judged: the judge would have to tune as many models again.

    Raises:
        ConfigError: a setting does not fit the data, or the trainer is unknown or lacks its key.
        RunError: the folder holds a run of other data or another configuration, or is in use.
        NotConfirmedError: the price was not wanted.
        ProviderError: a job failed.
        IcmError: whatever stops a search; what is done is kept.
    """
    if config.batches is not None:
        raise ConfigError("labels are conditioned on by training fold by fold: leave out the table [batches]")
    folder, dataset, task = folder_of(config), load_dataset(config), build_task(config)
    given = config.search
    rounds = given.rounds if "rounds" in given.model_fields_set else _ROUNDS
    settings = given.changed(engine="rounds", restarts=1, rounds=rounds, exact=0)
    trainer = open_trainer(teacher.spec, teacher.options, place=folder / ROUNDS_FOLDER)
    here, begun = trainer.here, {"trainer": trainer.identity, "options": dict(trainer.order)}
    await trainer.close()
    known = load_start(config, dataset, task)
    with locked(folder):
        meter = run_meter(config)
        async with open_model(config, meter=meter) as model:
            settle(config, folder, inputs_of(config, dataset, model))
            _same_teacher(folder / ROUNDS_FOLDER / _FOLDS, begun)
            objective = build_objective(dataset, model, task, settings)
            # A start, rounds and, of both ends of the chain, two orders each.
            jobs = settings.folds * (rounds + 5)
            asking = replace(teacher, confirm=_Once(teacher.confirm, jobs))
            school = _School(config, asking, folder, objective.prompts, meter)
            tuned = replace(objective, estimator=TunedFolds(school.learn, settings.folds, here))
            work = Work(tuned, known, settings, DiagnosticsSettings(enabled=False))
            found = await work.result(Aside(most=allowed(config.run.tolerate, len(dataset))), UNWATCHED)
        found = found.in_order_of(dataset)
        found.save(folder)
    return found


def _same_teacher(place: Path, teacher: Mapping[str, Any]) -> None:
    """Write down what trains, or refuse another trainer: the answers on disk are of models that one trained."""
    path, now = place / _TEACHER, json.dumps(teacher, sort_keys=True)
    if not path.exists():
        place.mkdir(parents=True, exist_ok=True)
        write_whole(path, now + "\n")
    elif (was := path.read_text(encoding="utf-8").strip()) != now:
        raise ConfigError(
            f"{place}: models were trained with {was}, and now {now} is asked for: leave that as it was, or begin anew "
            "in another folder with --out"
        )


@dataclass
class _Once:
    """Asks for the price of all jobs together, and then no more unless a job is dearer than the first."""

    confirm: Callable[[Price], None]
    jobs: int
    agreed: list[Price] = field(default_factory=list)

    def __call__(self, price: Price) -> None:
        known = [each.money for each in self.agreed if each.money is not None]
        if self.agreed and (price.money is None or (known and price.money <= 1.25 * max(known))):
            return
        tokens, n = price.tokens * self.jobs, self.jobs
        money, seconds = (None if value is None else n * value for value in (price.money, price.seconds))
        note = f"of at most {n} jobs together, each on about {price.rows:,} rows"
        self.confirm(
            replace(price, rows=n * price.rows, tokens=tokens, money=money, seconds=seconds, notes=(note, *price.notes))
        )
        self.agreed.append(price)


@dataclass(frozen=True)
class _School:
    """Tunes models and asks them, each set of labels and questions once, whatever happens in between."""

    config: Config
    teacher: Teacher
    folder: Path
    prompts: PromptBuilder
    meter: Metering

    async def learn(self, rest: Sequence[Example], labeling: Labeling, asked: Sequence[Prompt]) -> Answered:
        """What a model tuned on labels says: from disk if it was asked before.

        Args:
            rest: the examples to learn.
            labeling: their labels.
            asked: questions of other examples.
        """
        labels = {example.id: labeling[example.id] for example in rest}
        written = json.dumps([sorted(labels.items()), [prompt.text for prompt in asked]], ensure_ascii=False)
        place = self.folder / ROUNDS_FOLDER / _FOLDS / sha256(written.encode("utf-8")).hexdigest()[:16]
        if (place / _ANSWERS).is_file():
            return _read(place / _ANSWERS)
        place.mkdir(parents=True, exist_ok=True)
        data = self._data(rest, labels)
        tuned = await trained(self.teacher, data, place)
        self.teacher.on_round(sum(each.is_dir() for each in place.parent.iterdir()), tuned.spec)
        async with self._opened(tuned) as model:
            told = await model.label_distributions(asked)
        write_whole(place / _ANSWERS, json.dumps(_written(told)) + "\n")
        _without_weights(place)
        return told

    def _opened(self, tuned: Tuned) -> LanguageModel:
        changed = self.config.model.changed(provider=tuned.spec, options=dict(tuned.options))
        return open_model(self.config.changed(model=changed), meter=self.meter)

    def _data(self, rest: Sequence[Example], labels: Mapping[str, str]) -> LabelledData:
        own = ((each, labels[each.id]) for each in rest)
        lines = (LabelledExample(each.id, label, 1.0, None, each.group, {label: 1.0}) for each, label in own)
        result = Result(tuple(lines), 0.0, 0.0, 0.0, Usage(), 0, {"method": "tuned"})
        return LabelledData(Dataset(rest), result, self.prompts.template, self.prompts.verbalizer)


def _written(told: Answered) -> dict[str, Any]:
    return {"values": [asdict(each) for each in told], "costs": {key: asdict(cost) for key, cost in told.costs.items()}}


def _read(path: Path) -> Answered:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        values = [
            LabelDistribution(
                **each
                | {
                    "labels": tuple(each["labels"]),
                    "logprobs": tuple(each["logprobs"]),
                    "intervals": {label: tuple(ends) for label, ends in each["intervals"].items()},
                }
            )
            for each in found["values"]
        ]
        return Answers(tuple(values), {key: Usage(**cost) for key, cost in found["costs"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path}: damaged: {error!r}; remove it to have the model trained anew") from error


def _without_weights(place: Path) -> None:
    """Remove what training here left of a model that has answered: weights of some forty models would fill a disk."""
    try:
        for kind in ("model", "checkpoints"):
            for left in place.glob(f"icm-*/{kind}"):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left)
    except OSError as error:
        raise StorageError(f"cannot remove weights in {place}: {error.strerror or error}") from error
