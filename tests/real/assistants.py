"""A real model that writes reviews, made to write better ones by reward models of labels of several kinds.

It is first taught how reviews go on, good and bad alike. A reward model then picks among its replies, or has it trained
to write what is preferred (DPO, GRPO). The judge is a model of another family, which was trained on nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from icm_api.model import LanguageModel, open_model
from icm_api.prompts import PromptBuilder
from icm_api.reward import BestOf, open_trained, preference_data, rank_written
from icm_api.training import Method, TrainingData, follow, open_trainer, prompt_data, start, training_data
from icm_api.types import Example
from tests.real import sets
from tests.real.reviews import GOOD, PROMPT

_THINGS = """soup bread coffee salad pizza steak menu waiter hotel room bed breakfast pool beach museum tour
    film book concert play song actor story ending phone camera laptop battery screen printer keyboard radio
    car bus train flight taxi bicycle boat driver jacket dress shoe hat coat watch ring bag
    doctor dentist nurse teacher lesson school plumber painter sofa chair lamp oven kettle fridge garden view"""
PROMPTS = [f"{PROMPT} The {thing} was" for thing in _THINGS.split()]
TRAINED, HELD_OUT = PROMPTS[::2], PROMPTS[1::2]
REPLIES, SAMPLES, TOKENS = 2, 4, 16
"""Replies to each held-out prompt; of how many a reward model picks one; the most tokens of each."""
TEACHING: Mapping[str, Any] = {"epochs": 3, "learning_rate": 5e-4, "device": "cpu"}
DPO: Mapping[str, Any] = {"epochs": 3, "learning_rate": 2e-4, "data": "completion", "device": "cpu"}
GRPO: Mapping[str, Any] = {
    "epochs": 1,
    "learning_rate": 2e-4,
    "data": "completion",
    "device": "cpu",
    "max_tokens": TOKENS,
}


@dataclass
class Judge:
    """Says how good a review is: the probability that a model of another family calls it good, and not bad.

    Attributes:
        model: whom it asks.
        task: how a review is shown.
    """

    model: LanguageModel
    task: Any = field(default_factory=lambda: sets.task("sentiment"))

    async def __call__(self, replies: Sequence[Sequence[str]], prompts: Sequence[str]) -> list[list[float]]:
        """The worth of some replies to each prompt.

        Args:
            replies: some to each prompt.
            prompts: what they go on with.
        """
        builder = PromptBuilder(self.task.template, self.task.verbalizer, len, 4096)
        texts = [
            f"{prompt.removeprefix(PROMPT)} {reply.strip()}".strip()
            for prompt, some in zip(prompts, replies, strict=True)
            for reply in some
        ]
        asked = {text: builder.prompt(Example(text, {"text": text}), ()) for text in texts}
        told = await self.model.label_distributions(list(asked.values()))
        worth = dict(zip(asked, (one.probability(GOOD) for one in told), strict=True))
        found = iter(texts)
        return [[worth[next(found)] for _ in some] for some in replies]


async def made(
    spec: str, method: Method, options: Mapping[str, Any], data: Callable[[Any], TrainingData], place: Path
) -> str:
    """The spec of what a trainer makes; what is in the folder is not trained again.

    Args:
        spec: of the model that learns.
        method: what is trained.
        options: of the training.
        data: given the trainer, what it is trained on.
        place: a folder.
    """
    trainer = open_trainer(spec, options, place=place, method=method)
    job = await follow(trainer, place, await start(trainer, lambda: data(trainer), place))
    if job.state != "succeeded":
        raise RuntimeError(job.line())
    return trainer.result(job).spec


async def taught(spec: str, place: Path) -> str:
    """The model taught how a review goes on after two words, good and bad ones alike: its spec."""
    dataset, _ = sets.subset("sentiment", 1000, 0)
    rows = []
    for each in dataset:
        words = each.fields["text"].split()
        begun, rest = " ".join(words[:2]), " ".join(words[2:])
        rows.append({"prompt": f"{PROMPT} {begun}", "completion": f" {rest}"})
    place.mkdir(parents=True, exist_ok=True)
    file = place / "reviews.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return await made(spec, "sft", TEACHING, lambda _: TrainingData.of(file, len(rows)), place)


async def written(spec: str, prompts: Sequence[str], samples: int, seed: int, cache: Path) -> list[Sequence[str]]:
    """Replies to each prompt; other ones for each seed.

    Args:
        spec: of the model that writes.
        prompts: beginnings of reviews.
        samples: replies to each.
        seed: of what is drawn.
        cache: a folder for them.
    """
    # A temperature that is a little different draws other replies.
    warm = 1.0 + seed * 1e-6
    async with open_model(spec, cache=cache) as model:
        found = await model.generate(prompts, max_tokens=TOKENS, samples=samples, temperature=warm)
    return [list(some) for some in found]


@dataclass(frozen=True)
class Writer:
    """A taught model and the folder of all that is made of it.

    Attributes:
        spec: of the model.
        place: the folder.
        seed: of all that is drawn.
    """

    spec: str
    place: Path
    seed: int

    async def plain(self) -> list[Sequence[str]]:
        """Replies to each held-out prompt, nothing picked or trained."""
        return [some[:REPLIES] for some in await self._drawn()]

    async def best(self, reward: str) -> list[Sequence[str]]:
        """As many to each held-out prompt, each the best of several by a reward model."""
        turns = []
        for turn in range(REPLIES):
            first = REPLIES + turn * SAMPLES
            turns.append([some[first : first + SAMPLES] for some in await self._drawn()])
        picked = [[each.best for each in await self._ranked(HELD_OUT, some, reward)] for some in turns]
        return list(zip(*picked, strict=True))

    async def preferring(self, reward: str, name: str) -> list[Sequence[str]]:
        """Replies of the model trained to prefer the best of several to the worst (DPO)."""
        some = await written(self.spec, TRAINED, SAMPLES, self.seed, self.place / "cache")
        pairs = preference_data(await self._ranked(TRAINED, some, reward))
        place = self.place / f"dpo-{name}"
        options = {**DPO, "seed": self.seed}
        tuned = await made(self.spec, "dpo", options, lambda trainer: training_data(pairs, trainer, place), place)
        return await written(tuned, HELD_OUT, REPLIES, self.seed, self.place / "cache")

    async def reinforced(self, reward: str, name: str) -> list[Sequence[str]]:
        """Replies of the model trained while it writes, by a reward model (GRPO)."""
        place = self.place / f"grpo-{name}"
        options = {**GRPO, "reward": reward, "seed": self.seed}
        tuned = await made(self.spec, "grpo", options, lambda _: prompt_data(TRAINED, place), place)
        return await written(tuned, HELD_OUT, REPLIES, self.seed, self.place / "cache")

    async def _drawn(self) -> list[Sequence[str]]:
        return await written(self.spec, HELD_OUT, REPLIES * (1 + SAMPLES), self.seed, self.place / "cache")

    async def _ranked(self, prompts: Sequence[str], some: Sequence[Sequence[str]], reward: str) -> list[BestOf]:
        ids = [str(at) for at in range(len(prompts))]
        found = await rank_written(ids, prompts, some, open_trained(reward))
        ranked = [each for each in found if isinstance(each, BestOf)]
        if len(ranked) < len(prompts):
            raise RuntimeError("the model wrote nothing after a prompt")
        return ranked


async def mean_scores(reward: str, replies: Sequence[Sequence[str]]) -> list[float]:
    """The mean score of the replies to each held-out prompt, nats; blank ones have none.

    Args:
        reward: the spec of a trained reward model.
        replies: some to each held-out prompt.
    """
    asked = [(prompt, text) for prompt, some in zip(HELD_OUT, replies, strict=True) for text in some if text.strip()]
    told = dict(zip(asked, await open_trained(reward).scores(asked), strict=True))
    means = []
    for prompt in HELD_OUT:
        own = [score for (of, _), score in told.items() if of == prompt and isinstance(score, float)]
        means.append(fmean(own))
    return means
