"""Gibbs sampling: labels redrawn from the model's own conditionals, component by component, at a falling temperature.

A component's labels are drawn from p(labels of the component | all other labels), to the power 1/T, among its legal
labelings. Inside a component that probability is the chain rule's, each label given those outside and those before it:
the product of each label given all the others would count twice what they say of each other. So if the conditionals are
those of a joint distribution, T = 1 samples exactly that distribution, given that no relation is broken.

A step is a sweep over all components in random order, since every step is scored. Components are drawn one after
another, each from one batch of requests; that is the price of sampling, and on a hosted model it is paid in time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum
from random import Random
from typing import ClassVar

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.consistency import MOST_WAYS
from icm_api.objective import Objective
from icm_api.search.align import LARGEST_UNIT, units
from icm_api.search.kernel import State, logarithmic
from icm_api.search.start import Start
from icm_api.types import Label, Labeling


@dataclass(frozen=True, slots=True)
class Gibbs:
    """Every component in turn, in random order, gets labels drawn given all others.

    Implements `Update`.

    Attributes:
        objective: U(D), and the conditionals.
        settings: of the search.
        start: labels known beforehand.
    """

    objective: Objective
    settings: SearchSettings
    start: Start
    move: ClassVar[str] = "sweep"
    settles: ClassVar[bool] = False

    def temperature(self, state: State) -> float:
        """T of the step after `state`; of log p, not of U."""
        settings = self.settings
        schedule = logarithmic(settings.initial_temperature, settings.minimum_temperature, settings.cooling)
        return schedule(state.step + 1 - state.began)

    async def __call__(self, state: State) -> Labeling:
        """One sweep.

        Args:
            state: after the step before.

        Raises:
            ProviderError: the model gave no usable logprobs.
        """
        labeling, temperature = state.labeling, self.temperature(state)
        rng = draw(self.settings.seed, state.step + 1, "gibbs")
        blocks = self.blocks()
        rng.shuffle(blocks)
        for block in blocks:
            ways = await block_logprobs(self.objective, block, labeling)
            labeling = labeling.assign(draw_way(ways, temperature, rng))
        return labeling

    def requests(self) -> int:
        """As many as there are beginnings of legal labelings, over all components."""
        fixed = self.start.fixed
        ways = [(block, _ways(self.objective, block, fixed)) for block in self.blocks()]
        return sum(len(_beginnings(block, found)) for block, found in ways)

    def blocks(self) -> list[tuple[str, ...]]:
        """What is drawn at once, in data set order: components, or single examples if a component is too large."""
        objective, fixed = self.objective, self.start.fixed
        found: list[tuple[str, ...]] = []
        for unit in units(objective.dataset, objective.relations, LARGEST_UNIT):
            free = tuple(key for key in unit if key not in fixed)
            together = len(free) > 1 and objective.relations.legal_labelings(free, fixed, MOST_WAYS)
            found.extend([free] if together else [(key,) for key in free])
        return found


async def block_logprobs(
    objective: Objective, block: Sequence[str], labeling: Labeling
) -> list[tuple[Mapping[str, Label], float]]:
    """Every legal labeling of a block, with the model's log p of it given all labels outside.

    Args:
        objective: asks the model; one request per distinct beginning of a legal labeling.
        block: examples that are labelled together; their labels in `labeling` don't count.
        labeling: the labels of the others.

    Returns:
        Labelings of the block and their log p in nats, not normalised over the legal ones. If only one is legal, it
        needs no request and has log p 0.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    outside = labeling.without(block)
    ways = _ways(objective, block, outside)
    if len(ways) == 1:
        return [(ways[0], 0.0)]
    beginnings = _beginnings(block, ways)
    questions = [
        (block[len(written)], outside.assign(dict(zip(block, written, strict=False)))) for written in beginnings
    ]
    read = dict(zip(beginnings, await objective.conditionals_each(questions), strict=True))
    found = []
    for way in ways:
        written = tuple(way[key] for key in block)
        found.append((way, fsum(read[written[:at]].logprob(label) for at, label in enumerate(written))))
    return found


def draw_way(ways: Sequence[tuple[Mapping[str, Label], float]], temperature: float, rng: Random) -> Mapping[str, Label]:
    """One of the labelings, drawn in proportion to p^(1/T).

    Args:
        ways: labelings of a block with their log p in nats, as `block_logprobs` gives them.
        temperature: T, > 0.
        rng: all chance comes from here.

    Example:
        >>> ways = [({"a": "True"}, 0.0), ({"a": "False"}, -3.0)]
        >>> draw_way(ways, 0.001, Random(0))
        {'a': 'True'}
    """
    most = max(logprob for _, logprob in ways)
    weights = [exp((logprob - most) / temperature) for _, logprob in ways]
    return rng.choices([way for way, _ in ways], weights)[0]


def _ways(objective: Objective, block: Sequence[str], outside: Labeling) -> Sequence[Mapping[str, Label]]:
    """The legal labelings of a block; of a single example to which none is legal, all."""
    legal = objective.relations.legal_labelings(block, outside, max(MOST_WAYS, len(objective.labels)))
    return legal or [{block[0]: label} for label in objective.labels]


def _beginnings(block: Sequence[str], ways: Sequence[Mapping[str, Label]]) -> list[tuple[Label, ...]]:
    """The labels that can precede a label of the block, over all its ways: the chain rule's conditions."""
    return list(dict.fromkeys(tuple(way[key] for key in block[:at]) for way in ways for at in range(len(block))))
