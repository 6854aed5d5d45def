"""How good a model is on held-out examples, with no demonstrations and with differently labelled ones.

The four bars of the quickstart, of one search: zero-shot, few-shot with random labels, with labels that a search
found, with golden labels. Gold is read here, after the search, and never handed back to it. `panel` compares more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from icm_api.compare.asking import Demonstrations, answers, demonstrations_of, random_labels
from icm_api.data import Gold
from icm_api.evaluation import Interval, gap_recovered, wilson_interval
from icm_api.result import Result
from icm_api.types import Dataset, Label, Model, Task

ZERO_SHOT = "zero-shot"
RANDOM_LABELS = "few-shot, random labels"
FOUND_LABELS = "few-shot, ICM labels"
GOLDEN_LABELS = "few-shot, golden labels"


@dataclass(frozen=True, slots=True)
class Bar:
    """Accuracy on held-out examples under one kind of prompt.

    Attributes:
        name: which demonstrations the prompts held.
        correct: examples answered as the gold has it.
        total: examples asked.
    """

    name: str
    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.correct / self.total

    @property
    def interval(self) -> Interval:
        """Accuracy with its 95% Wilson interval."""
        return wilson_interval(self.correct, self.total)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Examples that the search did not see, with their gold."""

    dataset: Dataset
    gold: Gold


async def few_shot(name: str, llm: Model, task: Task, demonstrations: Demonstrations, held_out: HeldOut) -> Bar:
    """Ask for every held-out example's label after the same demonstrations; one request each.

    Raises:
        ProviderError: the model gave no usable logprobs.
        KeyError: a held-out example has no gold.
    """
    found, _ = await answers(llm, task, held_out.dataset, demonstrations)
    return Bar(name, sum(answer.label == held_out.gold[answer.id] for answer in found), len(found))


async def baseline_panel(
    llm: Model, task: Task, dataset: Dataset, result: Result, gold: Gold, held_out: HeldOut, seed: int
) -> tuple[Bar, ...]:
    """The four bars on held-out examples, demonstrations being the searched data set, in its order.

    Args:
        llm: the model that the search used.
        task: its template and labels.
        dataset: the examples that were searched.
        result: the labels found for them.
        gold: their golden labels.
        held_out: examples to answer.
        seed: of the random labels.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    sets: Mapping[str, Mapping[str, Label]] = {
        ZERO_SHOT: {},
        RANDOM_LABELS: random_labels(dataset, task.verbalizer.labels, seed),
        FOUND_LABELS: result.labeling,
        GOLDEN_LABELS: gold,
    }
    return tuple(
        [await few_shot(name, llm, task, demonstrations_of(dataset, labels), held_out) for name, labels in sets.items()]
    )


def recovered_of_bars(bars: Sequence[Bar]) -> float | None:
    """Share of the gap from zero-shot to golden labels that the labels found recover, see `gap_recovered`.

    Args:
        bars: as `baseline_panel` gives them.

    Returns:
        The share; None if golden labels are not ahead by more than 1.96 standard errors of the difference of two
        independent proportions.

    Example:
        >>> bars = [Bar(ZERO_SHOT, 60, 100), Bar(FOUND_LABELS, 88, 100), Bar(GOLDEN_LABELS, 90, 100)]
        >>> round(recovered_of_bars(bars), 3)
        0.933
        >>> recovered_of_bars([Bar(ZERO_SHOT, 49, 100), Bar(FOUND_LABELS, 50, 100), Bar(GOLDEN_LABELS, 52, 100)])
    """
    by_name = {bar.name: bar for bar in bars}
    zero, golden = by_name[ZERO_SHOT], by_name[GOLDEN_LABELS]
    error = sqrt(sum(bar.accuracy * (1 - bar.accuracy) / bar.total for bar in (zero, golden)))
    lead = golden.accuracy - zero.accuracy - 1.96 * error
    return gap_recovered(by_name[FOUND_LABELS].accuracy, zero.accuracy, golden.accuracy, lead)
