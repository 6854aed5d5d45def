"""What a search finds where there is nothing to find: nulls to compare labels with, each searched as the labels were.

Made-up words keep the looks of the texts and lose their meaning. Exchanged labels keep the texts: in every prompt the
labels change places among the demonstrations, so that nothing can be learned from them but their shares. Regrouped
texts keep the texts and what connects places, so that relations connect texts that have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random
from statistics import fmean

from icm_api.config import SearchSettings
from icm_api.consistency import Relations
from icm_api.evaluation.bootstrap import opinion_spread
from icm_api.evaluation.null import made_up
from icm_api.objective import INFORMATION, Calibration, Objective, information
from icm_api.search import search
from icm_api.types import Answers, Capabilities, Dataset, Example, LabelDistribution, Labeling, Model, Prompt


@dataclass(frozen=True, slots=True)
class Null:
    """One kind of null.

    Attributes:
        change: what becomes of the objective.
        most: examples that are searched.
        rounds: of the search, after zero-shot predictions and a start.
    """

    change: Callable[[Objective, int], Objective]
    most: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A model that is shown every prompt with the labels of its demonstrations exchanged among them."""

    model: Model

    @property
    def capabilities(self) -> Capabilities:
        """Those of the model."""
        return self.model.capabilities

    def count_tokens(self, text: str) -> int:
        """As the model counts them."""
        return self.model.count_tokens(text)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        """What the model says then."""
        return await self.model.label_distributions([exchanged(prompt) for prompt in prompts])


def exchanged(prompt: Prompt) -> Prompt:
    """The same demonstrations with their labels in other places, the same ones for the same prompt.

    Args:
        prompt: with any number of demonstrations.
    """
    answers = [turn.answer for turn in prompt.turns]
    Random(sha256(prompt.text.encode()).digest()).shuffle(answers)
    turns = tuple(replace(turn, answer=answer) for turn, answer in zip(prompt.turns, answers, strict=True))
    return replace(prompt, turns=turns)


def _made_up(objective: Objective, seed: int) -> Objective:
    def renamed(example: Example) -> Example:
        return replace(example, fields={name: made_up(text) for name, text in example.fields.items()})

    return replace(objective, dataset=Dataset(map(renamed, objective.dataset)))


def _exchanged(objective: Objective, seed: int) -> Objective:
    return replace(objective, model=Exchanged(objective.model))


def _regrouped(objective: Objective, seed: int) -> Objective:
    examples = list(objective.dataset)
    texts = [example.fields for example in examples]
    Random(f"regrouped/{seed}").shuffle(texts)
    moved = (replace(example, fields=fields) for example, fields in zip(examples, texts, strict=True))
    return replace(objective, dataset=Dataset(moved))


def first(objective: Objective, most: int) -> Objective:
    """The same objective on the first examples, and the relations between them.

    Args:
        objective: on all of them.
        most: examples that are kept.
    """
    examples = list(objective.dataset)[:most]
    ids = frozenset(example.id for example in examples)
    kept = [relation for relation in objective.relations if ids.issuperset(relation.ids)]
    relations = Relations(kept, [example.id for example in examples], objective.labels)
    return replace(objective, dataset=Dataset(examples), relations=relations, statistic=INFORMATION)


NULLS = {
    "words": Null(_made_up, 64, 4),
    "words_brief": Null(_made_up, 64, 2),
    "words_few": Null(_made_up, 24, 2),
    "labels": Null(_exchanged, 64, 2),
    "groups": Null(_regrouped, 64, 2),
}


async def null_run(objective: Objective, null: Null, seed: int) -> dict[str, float]:
    """Search a null, and say what was found.

    Args:
        objective: of the run.
        null: what to search.
        seed: of the search.

    Returns:
        nats, in context and alone, both calibrated, spread without demonstrations, examples, requests.
    """
    changed = null.change(first(objective, null.most), seed)
    changed = replace(changed, tally=type(changed.tally)())
    settings = SearchSettings(engine="rounds", restarts=1, steps=null.rounds, calibration="batch", seed=seed)
    found = (await search(changed, settings)).score
    alone = await changed.conditionals(changed.dataset.ids, Labeling())
    requests = changed.tally.usage.requests
    calibrated = Calibration("batch")
    return {
        "nats": information(found.distributions, found.labeling, changed.relations),
        "context": information(calibrated(found.distributions), found.labeling, changed.relations),
        "alone": information(calibrated(alone), found.labeling, changed.relations),
        "agrees": fmean(read.best == found.labeling[key] for key, read in calibrated(alone).items()),
        "spread": opinion_spread(alone),
        "requests": requests,
    }
