"""The four bars of the quickstart: how right one search's labels make a model on examples that the search did not see.

Golden labels are read here, after the search, and never handed back to it. The panel of all methods is in `panel`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from icm_api.compare.measuring import answers_after, demonstrations_of, random_labels
from icm_api.data import Gold
from icm_api.evaluation import gap_recovered
from icm_api.result import Result
from icm_api.types import Dataset, Label, Model, Task

_ZERO_SHOT = "zero-shot"
_RANDOM_LABELS = "few-shot, random labels"
_FOUND_LABELS = "few-shot, ICM labels"
_GOLDEN_LABELS = "few-shot, golden labels"


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
        """Share of right answers, in [0, 1]."""
        return self.correct / self.total


@dataclass(frozen=True, slots=True)
class WithGold:
    """Examples and their golden labels."""

    dataset: Dataset
    gold: Gold


async def baseline_panel(
    model: Model, task: Task, searched: WithGold, result: Result, held_out: WithGold, seed: int
) -> tuple[Bar, ...]:
    """The four bars of one search on held-out examples, demonstrations being the searched data set.

    Args:
        model: that the search used.
        task: its template and labels.
        searched: the examples that were searched.
        result: the labels found for them.
        held_out: examples to answer, which the search did not see.
        seed: of the random labels.

    Returns:
        Zero-shot; then few-shot with random labels, with the labels found, and with golden labels.

    Raises:
        ProviderError: the model gave no usable logprobs.
        KeyError: a held-out example has no gold.
    """
    sets: Mapping[str, Mapping[str, Label]] = {
        _ZERO_SHOT: {},
        _RANDOM_LABELS: random_labels(searched.dataset, task.verbalizer.labels, seed),
        _FOUND_LABELS: result.labeling,
        _GOLDEN_LABELS: searched.gold,
    }
    bars = []
    for name, labels in sets.items():
        found, _ = await answers_after(model, task, held_out.dataset, demonstrations_of(searched.dataset, labels))
        bars.append(Bar(name, sum(answer.label == held_out.gold[answer.id] for answer in found), len(found)))
    return tuple(bars)


def recovered_of_bars(bars: Sequence[Bar]) -> float | None:
    """Share of the gap from zero-shot to golden labels that the labels found recover, see `gap_recovered`.

    Args:
        bars: as `baseline_panel` gives them.

    Returns:
        The share; None if golden labels are not ahead by more than 1.96 standard errors of the difference of two
        independent proportions.

    Example:
        >>> bars = [Bar(_ZERO_SHOT, 60, 100), Bar(_FOUND_LABELS, 88, 100), Bar(_GOLDEN_LABELS, 90, 100)]
        >>> round(recovered_of_bars(bars), 3)
        0.933
        >>> recovered_of_bars([Bar(_ZERO_SHOT, 49, 100), Bar(_FOUND_LABELS, 50, 100), Bar(_GOLDEN_LABELS, 52, 100)])
    """
    by_name = {bar.name: bar for bar in bars}
    zero, golden = by_name[_ZERO_SHOT], by_name[_GOLDEN_LABELS]
    error = sqrt(sum(bar.accuracy * (1 - bar.accuracy) / bar.total for bar in (zero, golden)))
    lead = golden.accuracy - zero.accuracy - 1.96 * error
    return gap_recovered(by_name[_FOUND_LABELS].accuracy, zero.accuracy, golden.accuracy, lead)
