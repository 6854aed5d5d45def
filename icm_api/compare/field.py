"""Baselines of the field: other ways to label data without labels, each a function that asks and labels.

A table names them. What their labels are worth is measured as that of every other row (`measuring`); they see no gold
label, no label of a person and no relation between examples.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from icm_api.chance import draw
from icm_api.types import Example, Label, LabelDistribution

SHOTS, DRAWS, ROUNDS = 16, 5, 8
"""Of joint inference: demonstrations in a prompt, prompts that vote on a label, and rounds."""
PARTS, MOST_SHOWN = 4, 1_000
"""Of self-generated demonstrations: parts that the examples are taken in, and the most that are shown."""
POOL, FEW, MANY = 512, 2, 32
"""Of the short bootstrap: examples relabelled at most, and demonstrations in a prompt, before and after."""


class Question(NamedTuple):
    """Which label an example has, after demonstrations; its own label is not among them."""

    query: Example
    shown: Sequence[tuple[Example, Label]]


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """What a baseline is given.

    Attributes:
        examples: to label.
        labels: the label set.
        seed: of all that is drawn.
        threshold: probability from which a prediction counts as sure.
        ask: the distributions over the labels, one request a question, all at once.
    """

    examples: Sequence[Example]
    labels: tuple[Label, ...]
    seed: int
    threshold: float
    ask: Callable[[Sequence[Question]], Awaitable[Sequence[LabelDistribution]]]

    def shown(self, given: Mapping[str, Label], ids: Sequence[str]) -> list[tuple[Example, Label]]:
        """These examples with their labels, in this order."""
        by_id = {example.id: example for example in self.examples}
        return [(by_id[key], given[key]) for key in ids]


class Proposed(NamedTuple):
    """Labels that a baseline gives.

    Attributes:
        labels: of every example, by id.
        probabilities: of every label, per example, by id; they add up to 1.
        shown: those that are its demonstrations for other examples.
    """

    labels: Mapping[str, Label]
    probabilities: Mapping[str, Mapping[Label, float]]
    shown: Mapping[str, Label]


async def joint_inference(given: Unlabelled) -> Proposed:
    """Unsupervised in-context learning: zero-shot, then 8 rounds in which 5 prompts vote on every label.

    A prompt has 16 demonstrations with the labels of the round before, drawn anew for each and balanced over these
    labels. All labels change at once, after the round.

    Args:
        given: the examples, and whom to ask.

    Returns:
        The labels after the last round, with p averaged over its five prompts; all of them are shown.

    Raises:
        ProviderError: the model gave no usable logprobs.

    Source: Gadetsky et al., ICLR 2025 (arXiv 2504.02349), section on unsupervised ICL, and its code. Unlike there, a
        demonstration occurs once in a prompt, and an example is not its own.
    """
    reads = await given.ask([Question(example, ()) for example in given.examples])
    labels = {example.id: read.best for example, read in zip(given.examples, reads, strict=True)}
    votes: Mapping[str, Sequence[LabelDistribution]] = {}
    for number in range(ROUNDS):
        questions = [
            Question(example, given.shown(labels, _drawn(given, labels, SHOTS, number, f"{at} {example.id}", example)))
            for example in given.examples
            for at in range(DRAWS)
        ]
        answers = await given.ask(questions)
        votes = {example.id: answers[DRAWS * at : DRAWS * (at + 1)] for at, example in enumerate(given.examples)}
        labels = {key: majority([read.best for read in reads], given.labels) for key, reads in votes.items()}
    return Proposed(labels, {key: _mean(reads) for key, reads in votes.items()}, labels)


async def self_generated(given: Unlabelled) -> Proposed:
    """Many-shot learning from demonstrations that the model labels itself, of which only sure ones are kept.

    The examples are taken in four parts, in random order. Each part is labelled after all demonstrations kept so far,
    and its sure predictions join them, 1,000 at most. In the end all examples are labelled after what was kept.

    Args:
        given: the examples, and whom to ask.

    Returns:
        The last predictions; what was kept is shown, nothing if no prediction was sure.

    Raises:
        ProviderError: the model gave no usable logprobs.

    Source: Naive-SemiICL and IterPSD, arXiv 2503.03062, without its few labelled examples: the first part is labelled
        zero-shot. Sure means p >= the threshold, where the paper takes a share of the most sure ones.
    """
    order = draw(given.seed, 0, "parts").sample(range(len(given.examples)), len(given.examples))
    kept: dict[str, Label] = {}
    for part in range(PARTS):
        asked = [given.examples[at] for at in sorted(order[part::PARTS])]
        shown = given.shown(kept, list(kept))
        for example, read in zip(asked, await given.ask([Question(each, shown) for each in asked]), strict=True):
            if read.probability(read.best) >= given.threshold and len(kept) < MOST_SHOWN:
                kept[example.id] = read.best
    ids = list(kept)
    questions = [
        Question(example, given.shown(kept, [key for key in ids if key != example.id])) for example in given.examples
    ]
    return _predicted(given, await given.ask(questions), kept)


async def short_bootstrap(given: Unlabelled) -> Proposed:
    """The "2,32" bootstrap: two requests an example.

    A pool of 512 at most gets random labels, as many of each; every example of it is relabelled after 2 demonstrations
    from it, and then all examples are labelled after 32, balanced over the labels of the pool.

    Args:
        given: the examples, and whom to ask.

    Returns:
        The last predictions; all of them are shown.

    Raises:
        ProviderError: the model gave no usable logprobs.

    Source: the code of "Challenges for unsupervised elicitation" (arXiv 2602.20400), `run_bootstrap` with the sequence
        2, 32; random labels to begin with as in Shrivastava et al. 2026.
    """
    rng = draw(given.seed, 0, "pool")
    pool = rng.sample(list(given.examples), min(POOL, len(given.examples)))
    random = [given.labels[at % len(given.labels)] for at in range(len(pool))]
    rng.shuffle(random)
    labels = {example.id: label for example, label in zip(pool, random, strict=True)}
    few = [Question(each, given.shown(labels, _drawn(given, labels, FEW, 1, each.id, each))) for each in pool]
    labels = {example.id: read.best for example, read in zip(pool, await given.ask(few), strict=True)}
    many = [
        Question(each, given.shown(labels, _drawn(given, labels, MANY, 2, each.id, each))) for each in given.examples
    ]
    return _predicted(given, await given.ask(many), None)


def balanced(labels: Mapping[str, Label], names: Sequence[Label], count: int, rng: Random) -> list[str]:
    """Ids at random, as many of each label as can be; labels that have too few leave their places to the others.

    Args:
        labels: by id.
        names: the label set; which of them get one more, if `count` is no multiple, is drawn.
        count: ids wanted; all of them if there are no more.
        rng: all chance comes from here.

    Returns:
        Distinct ids, in random order.

    Example:
        >>> found = balanced({"a": "T", "b": "F", "c": "F", "d": "F", "e": "F"}, ("T", "F"), 4, Random(0))
        >>> len(found), "a" in found
        (4, True)
    """
    waiting = [[key for key, label in labels.items() if label == name] for name in names]
    for ids in waiting:
        rng.shuffle(ids)
    rng.shuffle(waiting)
    chosen: list[str] = []
    while len(chosen) < count and any(waiting):
        chosen += [ids.pop() for ids in waiting if ids]
    # The last turn may give more than are wanted: one for each label that had some left.
    chosen = chosen[:count]
    rng.shuffle(chosen)
    return chosen


def majority(votes: Sequence[Label], names: Sequence[Label]) -> Label:
    """The label with the most votes; the first in label order if several have as many.

    Args:
        votes: labels, at least one.
        names: the label set, in its order.

    Example:
        >>> majority(["F", "T", "F"], ("T", "F")), majority(["F", "T"], ("T", "F"))
        ('F', 'T')
    """
    return max(names, key=votes.count)


def _drawn(
    given: Unlabelled, labels: Mapping[str, Label], count: int, step: int, purpose: str, query: Example
) -> list[str]:
    others = {key: label for key, label in labels.items() if key != query.id}
    return balanced(others, given.labels, count, draw(given.seed, step, f"demonstrations {purpose}"))


def _predicted(given: Unlabelled, reads: Sequence[LabelDistribution], shown: Mapping[str, Label] | None) -> Proposed:
    by_id = {example.id: read for example, read in zip(given.examples, reads, strict=True)}
    labels = {key: read.best for key, read in by_id.items()}
    return Proposed(labels, {key: _mean([read]) for key, read in by_id.items()}, labels if shown is None else shown)


def _mean(reads: Sequence[LabelDistribution]) -> dict[Label, float]:
    return {label: fmean(read.probability(label) for read in reads) for label in reads[0].labels}


_Labels: TypeAlias = Callable[[Unlabelled], Coroutine[Any, Any, Proposed]]


def _votes(size: int) -> int:
    return size * (1 + ROUNDS * DRAWS)


class Baseline(NamedTuple):
    """A row of the table.

    Attributes:
        title: for people.
        labels: gives the labels.
        requests: the most that it asks for so many examples.
    """

    title: str
    labels: _Labels
    requests: Callable[[int], int]


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "epfl": Baseline("joint inference, 16 shots, 5 votes", joint_inference, _votes),
        "semi": Baseline("self-generated shots, p >= {threshold:g}", self_generated, lambda size: 2 * size),
        "two-32": Baseline("bootstrap, 2 then 32 shots", short_bootstrap, lambda size: min(POOL, size) + size),
    }
)
"""The baselines of the field, by the names that `[compare] baselines` takes."""
