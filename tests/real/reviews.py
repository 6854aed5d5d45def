"""Pairs of short reviews, one good and one bad: labels of four kinds, and the reward models that are trained on them.

The better of two reviews is the one that says better things. Both stand in one prompt, in either order, and the model
is asked how the last one sounds. Gold labels are seen by the labels made of them and by the last count alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from icm_api.compare.crossed import Block, OverSeeds, block, difference, over_seeds
from icm_api.compare.measuring import Answer
from icm_api.config import SearchSettings
from icm_api.consistency import asymmetric
from icm_api.data import Gold
from icm_api.data.pairs import FIRST, SECOND, Pair, both_labels, both_orders, ordered
from icm_api.model import LanguageModel, open_model
from icm_api.objective import Calibration
from icm_api.prompts import PromptBuilder
from icm_api.reward import open_trained
from icm_api.search import search_labels
from icm_api.training import follow, open_trainer, start, training_data
from icm_api.types import Dataset, Example, Label, PromptTemplate, Task, Verbalizer
from tests.ablation import labelled, share, shown
from tests.real import sets

KINDS = GOLDEN, FOUND, OWN, HUMAN = ("golden", "found by ICM", "its own, with no search", "human-like")
GOOD, BAD = sets.KINDS["sentiment"].labels
TASK = Task(
    PromptTemplate("Review: {first}\nReview: {second}\nSentiment:", "", "\n\n"),
    Verbalizer({FIRST: [f" {BAD}"], SECOND: [f" {GOOD}"]}),
    (asymmetric(FIRST, total=True),),
)
PROMPT = "Review:"
"""What every review is a reply to."""
PAIRS, WRONG = 24, 0.26
"""`WRONG` of the pairs are labelled wrongly by people, as in the embedded world."""
REWARD = {"epochs": 6, "batch_size": 8, "learning_rate": 1e-3, "margin": False, "device": "cpu"}


@dataclass(frozen=True)
class Reviews:
    """Pairs to learn from, and reviews that are held out.

    Attributes:
        pairs: both orders of each pair.
        gold: label of each order.
        held_out: reviews.
        truth: whether each of those is good or bad.
        seed: of all that is drawn.
    """

    pairs: Dataset
    gold: Mapping[str, Label]
    held_out: Dataset
    truth: Mapping[str, Label]
    seed: int

    @classmethod
    def of(cls, seed: int, count: int = PAIRS) -> Reviews:
        """So many pairs of a good and a bad review drawn at random; the rest is held out."""
        dataset, truth = sets.subset("sentiment", 1000, seed)
        drawn = [[each for each in dataset if truth[each.id] == kind] for kind in (GOOD, BAD)]
        examples: list[Example] = []
        gold: dict[str, Label] = {}
        for at, (good, bad) in enumerate(zip(*drawn, strict=False)):
            if at < count:
                texts = good.fields["text"], bad.fields["text"]
                pair = Pair(f"p{at}", f"p{at}", {"prompt": PROMPT}, ordered(*texts))
                examples += both_orders(pair)
                gold |= dict(both_labels(pair, texts[0]))
        held_out = Dataset(each for some in drawn for each in some[count:])
        return cls(Dataset(examples), gold, held_out, {key: truth[key] for key in held_out.ids}, seed)

    def wrong(self, share: float) -> dict[str, Label]:
        """Gold labels, both orders of a share of the pairs wrong."""
        groups = sorted({str(each.group) for each in self.pairs})
        of = frozenset(Random(f"wrong {share} {self.seed}").sample(groups, round(share * len(groups))))
        other = {FIRST: SECOND, SECOND: FIRST}
        return {e.id: other[self.gold[e.id]] if e.group in of else self.gold[e.id] for e in self.pairs}


async def labels_of(reviews: Reviews, spec: str, cache: Path) -> dict[str, Mapping[str, Label]]:
    """Labels of each kind for both orders of every pair.

    Args:
        reviews: what is labelled.
        spec: of the model that ICM asks.
        cache: a folder for its answers.
    """
    async with open_model(spec, cache=cache) as model:
        found = await search_labels(reviews.pairs, model, task=TASK, settings=SearchSettings(seed=reviews.seed))
        own = await _own(reviews, model)
    return {
        GOLDEN: reviews.gold,
        FOUND: dict(found.labeling),
        OWN: own,
        HUMAN: reviews.wrong(WRONG),
    }


async def _own(reviews: Reviews, model: LanguageModel) -> dict[str, Label]:
    """What the model says of each pair without demonstrations, calibrated, both orders together."""
    builder = PromptBuilder(TASK.template, TASK.verbalizer, len, 4096)
    told = await model.label_distributions([builder.prompt(each, ()) for each in reviews.pairs])
    reads = Calibration("batch")(dict(zip(reviews.pairs.ids, told, strict=True)))
    found: dict[str, Label] = {}
    for one, other in zip(*[iter(reviews.pairs.ids)] * 2, strict=True):
        first = reads[one].probability(FIRST) >= reads[other].probability(FIRST)
        found |= {one: FIRST if first else SECOND, other: SECOND if first else FIRST}
    return found


async def reward_of(reviews: Reviews, labels: Mapping[str, Label], spec: str, place: Path) -> str:
    """The spec of a reward model that was trained on labels; what is in the folder is not trained again."""
    trainer = open_trainer(spec, {**REWARD, "seed": reviews.seed}, place=place, method="reward")
    data = labelled(TASK, reviews.pairs, labels, replies=True)
    job = await follow(trainer, place, await start(trainer, lambda: training_data(data, trainer, place), place))
    if job.state != "succeeded":
        raise RuntimeError(job.line())
    return trainer.result(job).spec


async def rewards(
    reviews: Reviews, spec: str, place: Path, kinds: Sequence[str] = KINDS
) -> dict[str, tuple[float, str]]:
    """By kind of labels: the share of them that is right, and the spec of the reward model trained on them.

    Labels that are the same train one model.

    Args:
        reviews: what is labelled.
        spec: of the model that labels and learns.
        place: a folder; what was answered and trained there before is not paid for again.
        kinds: of labels.
    """
    labels, found = await labels_of(reviews, spec, place / "cache"), {}
    trained: dict[frozenset[tuple[str, Label]], str] = {}
    for kind in kinds:
        named, known = "".join(letter if letter.isalpha() else "-" for letter in kind), frozenset(labels[kind].items())
        if known not in trained:
            trained[known] = await reward_of(reviews, labels[kind], spec, place / named)
        found[kind] = share(labels[kind], reviews.gold), trained[known]
    return found


async def scored(reviews: Reviews, spec: str) -> Block:
    """The held-out reviews in the order of a reward model's scores, as `crossed` counts them."""
    texts = [each.fields["text"] for each in reviews.held_out]
    told = await open_trained(spec).scores([(PROMPT, text) for text in texts])
    scores = [each for each in told if isinstance(each, float)]
    assert len(scores) == len(texts)
    # The place among all scores: the order is all that counts, and no score is so large that it is rounded to 1.
    places = {score: (at + 1) / (len(set(scores)) + 1) for at, score in enumerate(sorted(set(scores)))}
    rows = [
        Answer(each.id, None, GOOD if score > 0 else BAD, {GOOD: places[score], BAD: 1 - places[score]})
        for each, score in zip(reviews.held_out, scores, strict=True)
    ]
    return block(rows, Gold(reviews.truth), (GOOD, BAD))


def ordered_rightly(blocks: Sequence[Block]) -> OverSeeds:
    """Share of all pairs of a good and a bad review whose scores are in the right order.

    Args:
        blocks: the held-out reviews as a reward model scores them, per seed.
    """
    return over_seeds("auroc", blocks)


def table(right: Mapping[str, Sequence[float]], blocks: Mapping[str, Sequence[Block]]) -> Iterator[str]:
    """What reward models order rightly by kind of labels, and how far each is from that of the labels found, paired.

    Args:
        right: share of the labels of each kind that is right, per seed.
        blocks: the held-out reviews as its reward model scores them, per seed.
    """
    over = {kind: ordered_rightly(some) for kind, some in blocks.items()}
    yield f"  {'labels':<26}{'right':>6}  {'pairs':>8}  {'95% interval':<13}  {'less ICM':>8}  95% interval"
    for kind, found in over.items():
        apart = "" if kind == FOUND else shown(difference(found, over[FOUND]), "+.0%")
        labels = sum(right[kind]) / len(right[kind])
        yield f"  {kind:<26}{labels:>6.0%}  {shown(found.measure(), '.0%')}  {apart}".rstrip()
