"""A better assistant, by labels of three kinds: the same recipes on each, judged by arithmetic that none learned from.

The embedded model is first taught to reply with a number, any number, to a prompt such as "45>". What is wanted is a
small one. Two of its replies to each of `PAIRS` prompts are labelled: by ICM, which asks the embedded model which of
two numbers is larger and knows no labels; by the truth; and by the truth with `1 - HUMAN` of the pairs the wrong way
round, as far as people agree with each other in the paper's comparisons. On each a reward model is trained, which picks
the best of `SAMPLES` replies, or has the model trained to prefer them (DPO).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from tempfile import TemporaryDirectory

from icm_api.config import SearchSettings
from icm_api.consistency import asymmetric
from icm_api.data.pairs import Pair, both_orders
from icm_api.evaluation import Interval, mean_interval
from icm_api.export import LabelledData
from icm_api.model import open_model
from icm_api.result import LabelledExample, Result
from icm_api.reward import BestOf, ScoredReward, best_of, open_trained, preference_data
from icm_api.search import search_labels
from icm_api.training import Trainer, TrainingData, follow, open_trainer, start, training_data
from icm_api.types import Dataset, PromptTemplate, Task, Usage, Verbalizer

PAIRS, SAMPLES, SEEDS, HUMAN = 64, 4, 5, 0.65
TRAINED = tuple(f"{number}>" for number in range(20, 90, 2))
HELD_OUT = tuple(f"{number}>" for number in range(21, 90, 2))
REPLIES = 4
"""To each held-out prompt."""
LABELS = ("ICM", "golden", "human-like")
TASK = Task(
    PromptTemplate("{second}>{first}", "", "\n"),
    Verbalizer({"A": [" True"], "B": [" False"]}),
    constraints=[asymmetric("A", total=True)],
)
_NO_NUMBER = 100


@dataclass(frozen=True)
class Outcome:
    """Of labels of one kind and one seed.

    Attributes:
        labels: share of them that is right.
        reward: share of held-out pairs that the reward model orders rightly.
        best: replies to each held-out prompt, the best of several each.
        tuned: replies of the trained model to each.
    """

    labels: float
    reward: float
    best: Sequence[Sequence[str]]
    tuned: Sequence[Sequence[str]]


def report() -> Iterator[str]:
    """A row for each kind of labels, and the assistants against each other."""
    with TemporaryDirectory() as place:
        outcomes, plain = asyncio.run(measured(Path(place), range(SEEDS)))
    yield "| labels | right | reward model right | best of 4 against a plain reply | trained (DPO) against it |"
    yield "|---|--:|--:|--:|--:|"
    for name, found in outcomes.items():
        right = f"{fmean(each.labels for each in found):.0%} | {fmean(each.reward for each in found):.0%}"
        rates = [wins([getattr(each, what) for each in found], plain) for what in ("best", "tuned")]
        yield f"| {name} | {right} | {' | '.join(map(shown, rates))} |"
    yield ""
    for one, other in (("ICM", "human-like"), ("ICM", "golden"), ("golden", "human-like")):
        for what, name in (("best", "best of 4"), ("tuned", "trained")):
            sides = [[getattr(each, what) for each in outcomes[side]] for side in (one, other)]
            yield f"{name}, {one} against {other}: {shown(wins(*sides))}"


def shown(rate: Interval) -> str:
    """A share with its limits."""
    limits = f" ({rate.low:.0%} to {rate.high:.0%})" if rate.low is not None and rate.high is not None else ""
    return f"{rate.value:.1%}{limits}"


def wins(one: Sequence[Sequence[Sequence[str]]], other: Sequence[Sequence[Sequence[str]]]) -> Interval:
    """Share of replies that beat the other's by the judge, as `won` counts them.

    Args:
        one: per seed and prompt, replies.
        other: the same of another assistant.
    """
    sides = [[[[worth(text) for text in some] for some in seed] for seed in side] for side in (one, other)]
    return won(*sides)


def won(one: Sequence[Sequence[Sequence[float]]], other: Sequence[Sequence[Sequence[float]]]) -> Interval:
    """Share of replies that are worth more than the other's, equals half, with 95% limits by prompt.

    Args:
        one: per seed and prompt, what the replies are worth.
        other: the same of another assistant.
    """
    shares = []
    for at in range(len(one[0])):
        met = [pair for mine, its in zip(one, other, strict=True) for pair in zip(mine[at], its[at], strict=True)]
        shares.append(fmean(0.5 if a == b else float(a > b) for a, b in met))
    return mean_interval(shares)


def worth(reply: str) -> int:
    """The judge: the smaller the number, the better; what is none is worse than all."""
    return -(int(reply) if reply.isascii() and reply.isdigit() and len(reply) <= 2 else _NO_NUMBER)


async def measured(
    place: Path, seeds: Sequence[int], kinds: Sequence[str] = LABELS
) -> tuple[dict[str, list[Outcome]], list[list[Sequence[str]]]]:
    """What comes of each kind of labels, and plain replies per seed and held-out prompt.

    Args:
        place: an empty folder.
        seeds: of what is drawn.
        kinds: of labels.
    """
    taught = await teach(place / "taught")
    outcomes: dict[str, list[Outcome]] = {name: [] for name in kinds}
    plain = []
    for seed in seeds:
        rng = Random(f"assistant/{seed}")
        pairs = await drawn_pairs(taught, rng)
        plain.append(await replied(taught, HELD_OUT, seed))
        for name in kinds:
            data = await labelled(name, pairs, seed)
            outcomes[name].append(await outcome(place / f"{name}-{seed}", taught, data, seed))
    return outcomes, plain


async def teach(place: Path) -> str:
    """The embedded model, taught that a number follows, with no preference: the spec of it."""
    rng, file = Random("assistant/taught"), place / "replies.jsonl"
    place.mkdir()
    prompts = (*TRAINED, *HELD_OUT)
    rows = [{"prompt": rng.choice(prompts), "completion": f"{rng.randrange(10, 100)}\n"} for _ in range(400)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    trainer = open_trainer("pocket", {"epochs": 300, "learning_rate": 0.5}, place=place)
    return await trained(trainer, lambda: TrainingData.of(file, len(rows)), place)


async def trained(trainer: Trainer, data: Callable[[], TrainingData], place: Path) -> str:
    """The spec of what a trainer makes."""
    job = await follow(trainer, place, await start(trainer, data, place))
    return trainer.result(job).spec


async def replied(spec: str, prompts: Sequence[str], seed: int, samples: int = REPLIES) -> list[Sequence[str]]:
    """Replies to each prompt; other ones for each seed."""
    async with open_model(spec) as model:
        found = await model.generate(prompts, max_tokens=3, samples=samples * (seed + 1))
    return [some[samples * seed :] for some in found]


async def drawn_pairs(spec: str, rng: Random) -> Mapping[str, tuple[str, str, str]]:
    """Id -> a prompt and two replies to it, which are different numbers."""
    async with open_model(spec) as model:
        written = await model.generate(TRAINED, max_tokens=3, samples=40)
    found: dict[str, tuple[str, str, str]] = {}
    while len(found) < PAIRS:
        at = rng.randrange(len(TRAINED))
        one, other = rng.sample(written[at], 2)
        if _NO_NUMBER not in (-worth(one), -worth(other)) and worth(one) != worth(other):
            found[f"p{len(found)}"] = TRAINED[at], one, other
    return found


async def labelled(kind: str, pairs: Mapping[str, tuple[str, str, str]], seed: int) -> LabelledData:
    """The pairs in both orders, with labels of one kind."""
    made = [Pair(key, key, {"prompt": prompt}, (one, other)) for key, (prompt, one, other) in pairs.items()]
    dataset = Dataset(example for pair in made for example in both_orders(pair))
    if kind == "ICM":
        async with open_model("pocket") as model:
            result = await search_labels(dataset, model, task=TASK, settings=SearchSettings(seed=seed))
        return LabelledData(dataset, result, TASK.template, TASK.verbalizer, replies=True)
    wrong = set(Random(f"human/{seed}").sample(sorted(pairs), round(len(pairs) * (1 - HUMAN))))
    lines = []
    for example in dataset:
        better = worth(example.fields["first"]) > worth(example.fields["second"])
        label = "A" if better != (kind != "golden" and example.group in wrong) else "B"
        probabilities = {name: 0.9 if name == label else 0.1 for name in ("A", "B")}
        lines.append(LabelledExample(example.id, label, 0.9, 1.0, example.group, probabilities))
    result = Result(tuple(lines), 0.0, 0.0, 0.0, Usage(), 0, {})
    return LabelledData(dataset, result, TASK.template, TASK.verbalizer, replies=True)


async def outcome(place: Path, taught: str, data: LabelledData, seed: int) -> Outcome:
    """A reward model on the labels, the best of several by it, and a model trained on them."""
    head = open_trainer("pocket", place=place / "reward", method="reward")
    spec = await trained(head, lambda: training_data(data, head, place / "reward"), place / "reward")
    reward = open_trained(spec)
    best = [await picked(taught, HELD_OUT, reward, seed * REPLIES + turn) for turn in range(REPLIES)]
    ranked = await ranked_by(taught, TRAINED, reward, seed)
    preferring = open_trainer(taught, place=place / "dpo", method="dpo")
    pairs = preference_data(ranked)
    tuned = await trained(preferring, lambda: training_data(pairs, preferring, place / "dpo"), place / "dpo")
    right = [worth(e.fields["first"]) > worth(e.fields["second"]) for e in data.dataset]
    labels = fmean((row.label == "A") == better for row, better in zip(data.result.examples, right, strict=True))
    replies = await replied(tuned, HELD_OUT, seed)
    return Outcome(labels, await accuracy(reward, seed), list(zip(*best, strict=True)), replies)


async def picked(spec: str, prompts: Sequence[str], reward: ScoredReward, turn: int) -> list[str]:
    """The best of several replies to each prompt; other replies each turn."""
    return [each.best for each in await ranked_by(spec, prompts, reward, turn + 100)]


async def ranked_by(spec: str, prompts: Sequence[str], reward: ScoredReward, turn: int) -> list[BestOf]:
    """Several replies to each prompt, ranked."""
    # A temperature that is a little different draws other replies.
    async with open_model(spec) as model:
        warm = 1.0 + turn * 1e-6
        found = await best_of(prompts, model, reward, samples=SAMPLES, max_tokens=3, temperature=warm)
    return [each for each in found if isinstance(each, BestOf)]


async def accuracy(reward: ScoredReward, seed: int) -> float:
    """Share of pairs of numbers drawn at random that the reward model orders rightly, after held-out prompts."""
    rng, right = Random(f"held out/{seed}"), []
    for _ in range(200):
        low, high = sorted(rng.sample(range(10, 100), 2))
        right.append((await reward.prefer(rng.choice(HELD_OUT), f"{low}", f"{high}")).probability > 0.5)
    return fmean(right)
