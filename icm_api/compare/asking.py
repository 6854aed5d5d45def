"""Asks a model for the labels of examples after chosen demonstrations, and says what asking cost.

The one place where a baseline's prompts are made. Holds no gold label and measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from icm_api.chance import draw
from icm_api.prompts import PromptBuilder
from icm_api.result import Result
from icm_api.types import Answers, Dataset, Example, Label, LabelDistribution, Model, Task, Usage

Demonstrations = Sequence[tuple[Example, Label]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The label that a method gives an example, and the model's probability of every label.

    Attributes:
        id: of the example.
        group: of the example, or None.
        label: given by the method.
        probabilities: of every label, in label order.
    """

    id: str
    group: str | None
    label: Label
    probabilities: Mapping[Label, float]


async def distributions(
    llm: Model, task: Task, queries: Iterable[Example], demonstrations: Demonstrations
) -> Answers[LabelDistribution]:
    """log p(y | x, demonstrations) of each query; a query that is among them is asked without itself.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    prompts = PromptBuilder(task.template, task.verbalizer, llm.count_tokens, llm.capabilities.context_window)
    asked = [prompts.prompt(query, [shown for shown in demonstrations if shown[0].id != query.id]) for query in queries]
    return await llm.label_distributions(asked)


async def answers(
    llm: Model, task: Task, queries: Sequence[Example], demonstrations: Demonstrations
) -> tuple[tuple[Answer, ...], Usage]:
    """The most probable label of each query after the same demonstrations, and what that cost; one request each.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    reads = await distributions(llm, task, queries, demonstrations)
    found = tuple(
        Answer(query.id, query.group, read.best, {label: read.probability(label) for label in read.labels})
        for query, read in zip(queries, reads, strict=True)
    )
    return found, reads.usage


def answers_of(result: Result) -> tuple[Answer, ...]:
    """The labels that a search found, with p(label | x_i, all other labels found); those of a person left out."""
    return tuple(Answer(row.id, row.group, row.label, row.probabilities) for row in result.examples if not row.fixed)


def random_labels(dataset: Dataset, labels: Sequence[Label], seed: int) -> dict[str, Label]:
    """Every label as probable as any other, for each example."""
    rng = draw(seed, 0, "random labels")
    return {example.id: rng.choice(labels) for example in dataset}


def demonstrations_of(
    dataset: Dataset, labels: Mapping[str, Label], most: int | None = None, seed: int = 0
) -> list[tuple[Example, Label]]:
    """The labelled examples in data set order; where there are more than `most`, a random part.

    The part is drawn from the ids alone: it is the same whatever the labels, and a smaller one is part of a larger.

    Example:
        >>> data = Dataset(Example(key, {"text": key}) for key in "abcd")
        >>> parts = [demonstrations_of(data, dict.fromkeys("abcd", "True"), most) for most in (1, 2, None)]
        >>> [[example.id for example, _ in part] for part in parts]
        [['d'], ['a', 'd'], ['a', 'b', 'c', 'd']]
    """
    order = list(dataset.ids)
    draw(seed, 0, "demonstrations").shuffle(order)
    chosen = frozenset([key for key in order if key in labels][:most])
    return [(example, labels[example.id]) for example in dataset if example.id in chosen]
