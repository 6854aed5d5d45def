"""A reward model of labels found by ICM beside those of other labels for the same pairs, in the embedded world.

Replies are numbers, and the larger is better. Noisy labels are as people give them: wrong the more often, the closer
two replies are; as many wrong at random places beside. Each set of labels makes two reward models: a judge that is
shown pairs, and a model that was fine-tuned on all of them and is shown none. Gold decides over held-out pairs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp
from pathlib import Path
from random import Random
from statistics import fmean

from icm_api.config import SearchSettings
from icm_api.consistency import asymmetric
from icm_api.data.pairs import FIRST, SECOND, Pair, both_orders
from icm_api.model import LanguageModel, open_model
from icm_api.result import Result
from icm_api.reward import Comparison, Item, Preference, RewardModel, run_benchmark
from icm_api.runs.frozen import Frozen
from icm_api.search import build_objective, search_labels
from icm_api.training import follow, open_trainer, start, training_data
from icm_api.types import Dataset, Label, PromptTemplate, Task, Verbalizer
from tests.ablation import labelled

JUDGING = Task(
    PromptTemplate("{first}>{second}", "", "\n"),
    Verbalizer({FIRST: (" True",), SECOND: (" False",)}),
    (asymmetric(FIRST, total=True),),
)
GOLDEN, FOUND, HUMAN, NOISE, RANDOM = "golden", "found by ICM", "human-like noise", "as many wrong at random", "random"
SCALE = 40.0
"""How far apart two numbers are if people confuse them in 27% of the cases; some 70% of all labels are right."""
_PLAIN = Frozen((), "none", (0.0, 0.0), 1.0, 0, None)


@dataclass(frozen=True)
class World:
    """Pairs to learn from, and what a reward model is asked.

    Attributes:
        pairs: both orders of each.
        gold: label of each order.
        held_out: pairs, the better reply first.
        rows: in the format of RewardBench 2, one right reply of four.
        seed: of all that is drawn.
    """

    pairs: Dataset
    gold: Mapping[str, Label]
    held_out: tuple[Comparison, ...]
    rows: tuple[Item, ...]
    seed: int

    @classmethod
    def of(cls, seed: int, pairs: int = 24, held_out: int = 100, rows: int = 50) -> World:
        """Numbers from 10 to 99; no pair to learn from is held out."""
        rng = Random(f"rewards {seed}")
        drawn = list(dict.fromkeys(tuple(rng.sample(range(10, 100), 2)) for _ in range(2 * (pairs + held_out))))
        made = [Pair(f"p{at}", f"p{at}", {}, (str(one), str(other))) for at, (one, other) in enumerate(drawn[:pairs])]
        examples = [example for pair in made for example in both_orders(pair)]
        kept = [sorted(pair, reverse=True) for pair in drawn if pair[::-1] not in drawn[:pairs]][pairs:]
        four = (sorted(rng.sample(range(10, 100), 4), reverse=True) for _ in range(rows))
        return cls(
            Dataset(examples),
            {example.id: FIRST if _lead(example.fields) > 0 else SECOND for example in examples},
            tuple(Comparison("", str(high), str(low)) for high, low in kept[:held_out]),
            tuple(
                Item(str(at), "numbers", "", (str(best),), tuple(map(str, rest)))
                for at, (best, *rest) in enumerate(four)
            ),
            seed,
        )

    def wrong(self, groups: Mapping[str, bool]) -> dict[str, Label]:
        """Gold labels, both orders of some pairs wrong."""
        other = {FIRST: SECOND, SECOND: FIRST}
        return {
            each.id: other[self.gold[each.id]] if groups[str(each.group)] else self.gold[each.id] for each in self.pairs
        }


@dataclass(frozen=True)
class Rewarded:
    """What reward models of one kind of labels are worth.

    Attributes:
        labels: share of the labels that are right.
        judge, trained: accuracy on held-out pairs, and the score on rows of RewardBench 2, of the two models.
    """

    labels: float
    judge: tuple[float, float]
    trained: tuple[float, float]


async def rewarded(world: World, place: Path) -> dict[str, Rewarded]:
    """Both reward models of each kind of labels.

    Args:
        world: what is labelled and asked.
        place: an empty folder.
    """
    found: dict[str, Rewarded] = {}
    async with open_model("pocket", cache=place / "cache") as model:
        for at, (name, labels) in enumerate((await _labels(world, model)).items()):
            right = fmean(labels[key] == own for key, own in world.gold.items())
            result = labelled(JUDGING, world.pairs, labels).result
            judge = await _worth(world, await RewardModel.of(result, world.pairs, JUDGING, model, seed=world.seed))
            found[name] = Rewarded(right, judge, await _of_trained(world, labels, place / str(at)))
    return found


async def _labels(world: World, model: LanguageModel) -> dict[str, Mapping[str, Label]]:
    rng, groups = Random(f"labels {world.seed}"), list(dict.fromkeys(str(each.group) for each in world.pairs))
    settings = SearchSettings(seed=world.seed)
    result: Result = await search_labels(world.pairs, model, task=JUDGING, settings=settings)
    apart = {str(each.group): abs(_lead(each.fields)) for each in world.pairs}
    confused = {group: rng.random() < 1 / (1 + exp(apart[group] / SCALE)) for group in groups}
    anywhere = frozenset(rng.sample(groups, sum(confused.values())))
    return {
        GOLDEN: world.gold,
        FOUND: dict(result.labeling),
        HUMAN: world.wrong(confused),
        NOISE: world.wrong({group: group in anywhere for group in groups}),
        RANDOM: world.wrong({group: rng.random() < 0.5 for group in groups}),
    }


async def _of_trained(world: World, labels: Mapping[str, Label], place: Path) -> tuple[float, float]:
    trainer = open_trainer("pocket", place=place)
    data = labelled(JUDGING, world.pairs, labels)
    job = await start(trainer, lambda: training_data(data, trainer, place), place)
    tuned = trainer.result(await follow(trainer, place, job))
    async with open_model(tuned.spec) as model:
        objective = build_objective(world.pairs, model, JUDGING, SearchSettings())
        return await _worth(world, RewardModel.after(_PLAIN, objective))


async def _worth(world: World, reward: RewardModel) -> tuple[float, float]:
    told = [each for each in await reward.prefer_all(world.held_out) if isinstance(each, Preference)]
    score = (await run_benchmark(reward, world.rows)).overall.value
    assert score is not None
    return fmean(each.probability > 0.5 for each in told), score


def _lead(fields: Mapping[str, str]) -> int:
    return int(fields["first"]) - int(fields["second"])


def table(seeds: list[dict[str, Rewarded]]) -> Iterator[str]:
    """Means over seeds, each with its smallest and largest value.

    Args:
        seeds: what was measured in each.
    """
    heads = "".join(f"{head:<20}" for head in ("judge: pairs", "best of 4", "trained: pairs", "best of 4"))
    yield f"  {'labels':<26}{'right':>6}  {heads}".rstrip()
    for name in seeds[0]:
        each = [one[name] for one in seeds]
        columns = [[one.judge[at] for one in each] for at in (0, 1)] + [
            [one.trained[at] for one in each] for at in (0, 1)
        ]
        shown = "".join(f"{f'{fmean(own):.0%} ({min(own):.0%} to {max(own):.0%})':<20}" for own in columns)
        yield f"  {name:<26}{fmean(one.labels for one in each):>6.0%}  {shown}".rstrip()
