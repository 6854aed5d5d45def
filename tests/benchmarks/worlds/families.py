"""The worlds: learners to search and judge with, and the data sets that go with them, by seed.

A family is what varies. Thresholds of a judge are chosen on the families of `LEARNED`, and shown on `LEFT_OUT`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from icm_api.consistency import exactly_one, mutually_exclusive
from icm_api.types import Constraint, Dataset, Example, Labeling, PromptTemplate, Task, Verbalizer
from tests.benchmarks.worlds.learner import Learner, Mind

TOPICS = ("kite", "moss", "opal", "rune", "silk", "tarn", "vale", "wren")


class Sample(NamedTuple):
    """A data set of a world.

    Attributes:
        dataset: the examples.
        gold: what is so.
        task: how to ask, with the constraints.
        model: whom to ask; nothing is shared between samples.
    """

    dataset: Dataset
    gold: Labeling
    task: Task
    model: Learner


@dataclass(frozen=True, slots=True)
class World:
    """A learner, and the kind of data set that it is asked about.

    Attributes:
        name: of the world.
        family: of it.
        mind: the learner.
        shares: of the labels in gold, in their order; equal ones if empty.
        candidates: examples in a group, of which at most one is True; 1 for no groups.
        answered: share of the groups that have a right candidate.
        topics: how many of ten examples of a topic have its label; 0 for texts without topics, 5 if topics say nothing.
        by_gold: rows come sorted by gold.
        inside: the learner gives logprobs of its prompts, so that a search by default rests on estimator "joint".
        wrong: the learner holds a coherent wrong concept, or names the right one wrongly, and nothing but gold tells.
    """

    name: str
    family: str
    mind: Mind
    shares: tuple[float, ...] = ()
    candidates: int = 1
    answered: float = 1.0
    topics: int = 0
    by_gold: bool = False
    inside: bool = False
    wrong: bool = False

    def sample(self, size: int, seed: int) -> Sample:
        """The data set of a seed.

        Args:
            size: about how many examples; whole groups.
            seed: of everything that is drawn.
        """
        rng = Random(f"{self.name}/{seed}")
        rows = list(self._rows(size, rng))
        order = sorted(rows, key=lambda row: row[1]) if self.by_gold else rng.sample(rows, len(rows))
        labels = self.mind.labels
        examples = [replace(example, id=f"e{at:03d}") for at, (example, _) in enumerate(order)]
        gold = Labeling({example.id: labels[label] for example, (_, label) in zip(examples, order, strict=True)})
        task = Task(PromptTemplate(separator="\n"), Verbalizer.plain(labels), self._constraints())
        return Sample(Dataset(examples), gold, task, Learner(self.mind, self.inside))

    def _constraints(self) -> Sequence[Constraint]:
        if self.candidates == 1:
            return ()
        return (exactly_one("True"),) if self.candidates == 2 else (mutually_exclusive("True"),)

    def _rows(self, size: int, rng: Random) -> Iterator[tuple[Example, int]]:
        """Each example with the place of its gold label."""
        if self.candidates > 1:
            for group in range(size // self.candidates):
                right = 0 if rng.random() < self.answered else self.candidates
                for at in range(self.candidates):
                    label = int(at != right)
                    yield Example("", {"text": self._text(label, rng)}, f"g{group}", str(at)), label
            return
        for label in self._labels(size, rng):
            yield Example("", {"text": self._text(label, rng)}), label

    def _labels(self, size: int, rng: Random) -> list[int]:
        """The places of the gold labels, in their shares as nearly as can be."""
        shares = self.shares or (1 / len(self.mind.labels),) * len(self.mind.labels)
        counts = [int(share * size) for share in shares]
        for at in rng.sample(range(len(shares)), len(shares))[: size - sum(counts)]:
            counts[at] += 1
        return [label for label, count in enumerate(counts) for _ in range(count)]

    def _text(self, label: int, rng: Random) -> str:
        """The text of a new example with this gold label."""
        while True:
            number = f"{rng.randrange(10**10):010d}"
            if self.mind.gold(number) == label:
                break
        if not self.topics:
            return f"#{number}"
        own = label if rng.random() < self.topics / 10 else 1 - label
        return f"topic {rng.choice(TOPICS[own::2])} #{number}"


_PLAIN = Mind()
_NOTHING = replace(_PLAIN, prior=0.0, gain=0.0)
_FAINT = replace(_PLAIN, prior=0.6, gain=1.5, belief=0.4, order=0.4)
_CLASSES = ("alpha", "beta", "gamma", "delta")
_SCALE = ("1", "2", "3", "4")

LEARNED: tuple[World, ...] = (
    World("plain", "knowledge", _PLAIN),
    World("strong prior", "knowledge", replace(_PLAIN, prior=4.0)),
    World("weak prior", "knowledge", replace(_PLAIN, prior=0.4), inside=True),
    World("faint", "knowledge", _FAINT, inside=True),
    World("nothing", "no knowledge", _NOTHING),
    World("whims", "no knowledge", replace(_NOTHING, whim=1.5), inside=True),
    World("looks", "no knowledge", replace(_NOTHING, surfaces=(2.0, 1.5, 1.0), belief=1.0)),
    World("one look", "no knowledge", replace(_NOTHING, surfaces=(4.0,), belief=0.5), inside=True),
    World("75:25", "balance", _PLAIN, shares=(0.75, 0.25)),
    World("90:10", "balance", _PLAIN, shares=(0.1, 0.9), inside=True),
    World("order noise", "order", replace(_PLAIN, order=1.0)),
    World("order noise, nothing", "order", replace(_NOTHING, order=1.0)),
    World("exclusive", "exclusive", _PLAIN, candidates=4, answered=0.85, inside=True),
    World("exclusive, nothing", "exclusive", _NOTHING, candidates=4, answered=0.85),
    World(
        "two concepts", "rival", replace(_PLAIN, rival_gain=5.0, rival_prior=0.75, prior=0.75), wrong=True, inside=True
    ),
    World("wrong concept", "rival", replace(_PLAIN, rival_gain=5.0, rival_prior=1.5, prior=0.0), wrong=True),
)
LEFT_OUT: tuple[World, ...] = (
    World("no learning", "no learning", replace(_PLAIN, prior=2.5, gain=0.0)),
    World("no learning, noisy", "no learning", replace(_PLAIN, prior=2.0, gain=0.0, belief=1.5, whim=1.0), inside=True),
    World("faint, 75:25", "faint", _FAINT, shares=(0.25, 0.75), inside=True),
    World("faint, exclusive", "faint", _FAINT, candidates=4, answered=0.85),
    World("loud whims", "loud", replace(_NOTHING, whim=3.0), inside=True),
    World("loud look", "loud", replace(_NOTHING, surfaces=(8.0,), belief=0.3, whim=0.8)),
    World("opinions", "opinions", replace(_NOTHING, whim=1.5, echo=0.3), wrong=True),
    World("inverse prior", "inverse", replace(_PLAIN, prior=-1.5), wrong=True, inside=True),
    World("weak inverse prior", "inverse", replace(_PLAIN, prior=-0.3), wrong=True),
    World("recency", "recency", replace(_PLAIN, recency=1.5, prior=0.75)),
    World("recency, by gold", "recency", replace(_PLAIN, recency=1.5, prior=0.75), by_gold=True, inside=True),
    World("recency, nothing, by gold", "recency", replace(_NOTHING, recency=1.5), by_gold=True),
    World("base rate", "base rate", replace(_PLAIN, base_rate=2.0, prior=0.75)),
    World("base rate, nothing", "base rate", replace(_NOTHING, base_rate=2.0), inside=True),
    World("pairs", "pairs", _PLAIN, candidates=2, inside=True),
    World("pairs, nothing", "pairs", replace(_NOTHING, whim=0.8), candidates=2),
    World("four classes", "classes", replace(_PLAIN, labels=_CLASSES, belief=0.35)),
    World("four classes, nothing", "classes", replace(_NOTHING, labels=_CLASSES, whim=0.8), inside=True),
    World("ordinal", "classes", replace(_PLAIN, labels=_SCALE, ordinal=True, prior=1.5, gain=2.0, belief=0.3)),
    World("belief noise", "belief", replace(_PLAIN, belief=1.2), inside=True),
    World("belief noise, looks", "belief", replace(_PLAIN, belief=1.5, gain=2.0, surfaces=(2.0,), prior=0.5)),
    World("topics follow gold", "neighbours", replace(_NOTHING, prior=0.75, neighbours=5.0), topics=9),
    World("topics apart", "neighbours", replace(_NOTHING, prior=0.4, neighbours=5.0), topics=5, wrong=True),
)
WORLDS = {world.name: world for world in (*LEARNED, *LEFT_OUT)}
