"""The search of the published code of Wen et al. 2025, re-enacted.

- The first 8 examples of the batch get random labels, half of them True.
- A step draws an example (an unlabelled one of a question with labelled answers weighs 100, every other one 1) and
  asks for its label with all labelled examples in the prompt, in the order of the batch. If the label is the one that
  the example has, the step is over after this one request.
- Else the label is put in, and conflicts are fixed: up to 10 times, the broken pairs are gone through in random order;
  both ways to resolve a pair are scored, each by one request for every labelled example, and the better one is kept
  as soon as it is no worse than the best so far. After a proposal the first is compared with nothing, so it is kept.
- The labeling is scored, by one request for every labelled example, and accepted with probability exp(dU / T), where
  U = alpha * P - I, P is the mean log-odds of the labels and I counts broken pairs. T = max(0.01, 10 / (1 + 2 ln(1 +
  changes accepted))).
- After 1,500 steps it hands out the labels there are.

It keeps answers under the name of a step, and no two steps share one: it pays for a prompt each time that it asks, and
it asks often, as it remembers no refusal: a relabelling that was turned down is proposed and scored again, and so is a
fix that did not help. In its favour: a dummy request for every broken pair is left out; it takes 1,500 steps, where
copies of the code take 3,000; exp does not overflow, and no label probability is made up.

Preset `reference` of the library is the same search, and no re-enactment of the cost: answers are kept by prompt, a
pair is fixed with its whole component at once, steps end without a scoring if nothing changes, and the demonstrations
are ordered so that prompts share beginnings, where here they are in the order of the batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log
from random import Random
from statistics import fmean
from typing import Literal, NamedTuple, TypeAlias

SEEDS, STEPS, FIXES = 8, 1_500, 10
ALPHA = 50.0
_RELATED = 100.0
_HOT, _COLD, _COOLING = 10.0, 0.01, 2.0
_NOTHING = -1e6
"""What the first fix of a proposal is compared with."""

Labels: TypeAlias = Mapping[int, bool]
"""Place in the batch -> label, of those that are labelled; in the order of the batch."""
Pair: TypeAlias = tuple[int, int, Literal["contradiction", "implication"]]
"""Two places, and how they are related."""


class Question(NamedTuple):
    """Which label the example at `query` has, after demonstrations: places with their labels."""

    shown: tuple[tuple[int, bool], ...]
    query: int


Ask: TypeAlias = Callable[[Sequence[Question]], Awaitable[Sequence[float]]]
"""Log-odds of True per question, in nats; one request each, all at once."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What the search knows of the examples.

    Attributes:
        groups: per example, what it shares with related ones.
        answers: per example, what it claims; examples without one have no relations.
    """

    groups: tuple[str, ...]
    answers: tuple[str | None, ...]

    def broken(self, labels: Labels) -> list[Pair]:
        """Pairs of one group that claim different things and are both True, or the same and are labelled apart."""
        by_group: dict[str, list[int]] = {}
        for at in labels:
            if self.answers[at] is not None:
                by_group.setdefault(self.groups[at], []).append(at)
        found: list[Pair] = []
        for members in by_group.values():
            for one, other in combinations(members, 2):
                if self.answers[one] != self.answers[other]:
                    if labels[one] and labels[other]:
                        found.append((one, other, "contradiction"))
                elif labels[one] != labels[other]:
                    found.append((one, other, "implication"))
        return found


class Scored(NamedTuple):
    """Labels with U, and how many pairs they break."""

    labels: Labels
    utility: float
    broken: int


@dataclass(frozen=True, slots=True)
class Published:
    """The search.

    Attributes:
        batch: the examples.
        ask: asks the model.
        random: all chance comes from here.
        steps: how many it takes.
    """

    batch: Batch
    ask: Ask
    random: Random
    steps: int = STEPS

    async def search(self) -> Labels:
        """The labels after the last step; examples that were never drawn have none."""
        size = len(self.batch.groups)
        seeds = [at % 2 == 0 for at in range(min(SEEDS, size))]
        self.random.shuffle(seeds)
        current, accepted = await self.fixed(await self.scored(dict(enumerate(seeds)))), 0
        for _ in range(self.steps):
            labels = current.labels
            (drawn,) = self.random.choices(range(size), self.weights(labels))
            (odds,) = await self.ask([_question(labels, drawn)])
            if labels.get(drawn) == (odds > 0):
                continue
            put = dict(sorted({**labels, drawn: odds > 0}.items()))
            fixed = await self.fixed(Scored(put, _NOTHING, len(self.batch.broken(put))))
            proposed = await self.scored(fixed.labels)
            temperature = max(_COLD, _HOT / (1 + _COOLING * log(1 + accepted)))
            if self.random.random() < exp(min(0.0, proposed.utility - current.utility) / temperature):
                current, accepted = proposed, accepted + 1
        return current.labels

    def weights(self, labels: Labels) -> list[float]:
        """How often each example is drawn, relative to the others."""
        begun = {self.batch.groups[at] for at in labels}
        related = (group in begun and at not in labels for at, group in enumerate(self.batch.groups))
        return [_RELATED if each else 1.0 for each in related]

    async def scored(self, labels: Labels) -> Scored:
        """U of labels: one request for each of them."""
        odds = await self.ask([_question(labels, at) for at in labels])
        signed = (odd if label else -odd for odd, label in zip(odds, labels.values(), strict=True))
        broken = len(self.batch.broken(labels))
        return Scored(labels, ALPHA * fmean(signed) - broken, broken)

    async def fixed(self, score: Scored) -> Scored:
        """The labels with conflicts resolved where that does not lower U.

        A fix that resolves nothing more after an earlier one did is tried again to the last time, as in the code.
        """
        best = score
        for _ in range(FIXES):
            pairs = self.batch.broken(best.labels)
            if not pairs:
                break
            self.random.shuffle(pairs)
            for pair in pairs:
                tried = [await self.scored(labels) for labels in resolved(best.labels, pair)]
                better = max(tried, key=lambda each: each.utility)
                if better.utility >= best.utility:
                    best = better
                    break
            if best is score:
                break
        return best


def resolved(labels: Labels, pair: Pair) -> list[Labels]:
    """The two ways in which the published code resolves a broken pair.

    Args:
        labels: that break it.
        pair: places, and how they are related.

    Example:
        >>> resolved({0: True, 1: True}, (0, 1, "contradiction"))
        [{0: False, 1: True}, {0: True, 1: False}]
        >>> resolved({0: True, 1: False}, (0, 1, "implication"))
        [{0: False, 1: False}, {0: True, 1: True}]
    """
    one, other, kind = pair
    return [{**labels, one: way, other: way == (kind == "implication")} for way in (False, True)]


def _question(labels: Labels, query: int) -> Question:
    return Question(tuple([item for item in labels.items() if item[0] != query]), query)
