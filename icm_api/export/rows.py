"""What is exported, and how: the options, a labelled data set, and one row of it with all that any format may write.

A row is made in one place, from an example and its line of `labels.jsonl`. It has no place for gold labels, nor for an
example's metadata, which no model saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from icm_api.data import find_format
from icm_api.errors import ConfigError, RunError
from icm_api.result import LabelledExample, Result
from icm_api.types import Dataset, Label, PromptTemplate, Verbalizer

if TYPE_CHECKING:
    # `icm-api export --help` needs the formats, and no run.
    from icm_api.runs import FinishedRun


@dataclass(frozen=True, slots=True)
class Options:
    """How to export.

    Attributes:
        soft: write the probability of every label, if the format can hold it.
        abstain_below: leave out labels less probable than this, calibrated if the run did so, in [0, 1]. It replaces
            the run's own threshold, so that 0 exports everything. None for the run's own.
        fields: the columns of a table, in order; None for all.
        split: share of the rows for training, in (0, 1); the rest is for validation. None for one file.
        shuffle: order the rows by a hash of seed and id, in place of the data set's order.
        seed: of shuffle and split.
        blind: suggest no label to the person who annotates, for answers that shall not be swayed.
        labels: whose labels: "found", "zero-shot" or "zero-shot-calibrated".
        spreadsheet: write a CSV file for spreadsheet programs: cells that they would run as formulas get an
            apostrophe in front, and a byte-order mark says that it is UTF-8.

    Raises:
        ConfigError: a value is out of range.
    """

    soft: bool = False
    abstain_below: float | None = None
    fields: tuple[str, ...] | None = None
    split: float | None = None
    shuffle: bool = False
    seed: int = 0
    spreadsheet: bool = False
    labels: str = "found"
    blind: bool = False

    def __post_init__(self) -> None:
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise ConfigError(f"--abstain-below {self.abstain_below:g} is a probability: give one from 0 to 1")
        if self.split is not None and not 0 < self.split < 1:
            raise ConfigError(f"--split {self.split:g} is the share for training: give one between 0 and 1, e.g. 0.9")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} must not be negative")
        if self.fields is not None and (not self.fields or len(set(self.fields)) != len(self.fields)):
            raise ConfigError(f"--fields {','.join(self.fields)}: name each column once, and one at least")


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One labelled example.

    Attributes:
        id: of the example.
        group: of the example, or None.
        fields: its texts, by name.
        question: what comes before the label: the task's template with the texts in it.
        label: the label found.
        answers: how each label is written, with the space that belongs to it.
        probabilities: p of every label given all other labels, calibrated if the run did so, in label order.
        coverage: probability mass that fell on the label set before normalising; None if it is not known.
        fixed: whether a person gave the label.
        abstained: whether the run left the label open ("don't know").
    """

    id: str
    group: str | None
    fields: Mapping[str, str]
    question: str
    label: Label
    answers: Mapping[Label, str]
    probabilities: Mapping[Label, float]
    coverage: float | None
    fixed: bool
    abstained: bool

    @property
    def answer(self) -> str:
        """The label as written."""
        return self.answers[self.label]

    @property
    def runner_up(self) -> Label:
        """The most probable other label; the first in label order if several are equally probable."""
        others = [label for label in self.answers if label != self.label]
        return max(others, key=lambda label: self.probabilities.get(label, 0.0))


@dataclass(frozen=True, slots=True)
class LabelledData:
    """Labels with the texts that they are about, of a finished run (`of`) or in memory.

    Attributes:
        dataset: the examples.
        result: their labels, in the same order.
        template: how the task shows an example.
        verbalizer: the labels, and how they are written.
        replies: whether the examples are pairs of texts in both orders.
        model: the identity of the model that labelled them; "" if it is not known.

    Raises:
        RunError: labels and examples do not belong together.
    """

    dataset: Dataset
    result: Result
    template: PromptTemplate
    verbalizer: Verbalizer
    replies: bool = False
    model: str = ""
    _lines: Mapping[str, LabelledExample] = field(init=False, repr=False, compare=False)

    @classmethod
    def of(cls, run: FinishedRun) -> LabelledData:
        """The labels of a finished run, with its data.

        Args:
            run: the finished run.

        Raises:
            RunError: the data changed since the run, or a file of the run is missing or damaged.
            DataError: the data cannot be read.
        """
        task, pairs = run.task, find_format(run.config.data.format).pairs
        return cls(run.dataset, run.result, task.template, task.verbalizer, pairs, run.model)

    def __post_init__(self) -> None:
        lines = {line.id: line for line in self.result.examples}
        if tuple(lines) != self.dataset.ids:
            odd = sorted(lines.keys() ^ set(self.dataset.ids))
            what = f"{odd[0]!r} is in only one of the two" if odd else "their order differs"
            raise RunError(
                f"the labels are of other examples than the data set's ({len(lines)} and {len(self.dataset)}; {what}): "
                "put the data back that the run labelled"
            )
        for line in lines.values():
            if line.label not in self.verbalizer.labels:
                raise RunError(
                    f"example {line.id!r} has label {line.label!r}, which is none of {list(self.verbalizer.labels)}"
                )
        object.__setattr__(self, "_lines", lines)

    def line(self, example_id: str) -> LabelledExample:
        """What the search found for an example.

        Args:
            example_id: of the example.

        Raises:
            KeyError: there is no example of this id.
        """
        return self._lines[example_id]

    def row(self, example_id: str) -> ExportRow:
        """The row of an example.

        Args:
            example_id: of the example.

        Raises:
            KeyError: there is no example of this id.
            PromptError: the example cannot be shown with the template.
        """
        example, line = self.dataset.get(example_id), self._lines[example_id]
        return ExportRow(
            id=example.id,
            group=example.group,
            fields=example.fields,
            question=self.template.render(example),
            label=line.label,
            answers={label: self.verbalizer.written(label) for label in self.verbalizer.labels},
            probabilities=line.calibrated or line.probabilities,
            coverage=line.coverage,
            fixed=line.fixed,
            abstained=line.abstained,
        )
