"""What is exported: a labelled data set, and one row of it with everything that any format may write.

A row is made in one place, from an example and its line of `labels.jsonl`. There is no room for gold labels, and an
example's metadata, which no model saw, stays behind too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from icm_api.errors import RunError
from icm_api.result import LabelledExample, Result
from icm_api.types import Dataset, Example, Label, PromptTemplate, Verbalizer


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
        probabilities: p of every label given all other labels, calibrated where the run did so, in label order.
        coverage: probability mass that fell on the label set before normalising.
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
    coverage: float
    fixed: bool
    abstained: bool

    @property
    def answer(self) -> str:
        """The label as written."""
        return self.answers[self.label]

    @property
    def runner_up(self) -> Label:
        """The most probable other label; the first in label order where several are."""
        others = [label for label in self.answers if label != self.label]
        return max(others, key=lambda label: self.probabilities.get(label, 0.0))


@dataclass(frozen=True, slots=True)
class LabelledData:
    """A finished labeling with the texts that it is about.

    Attributes:
        dataset: the examples.
        result: their labels, in the same order.
        template: how the task shows an example.
        verbalizer: the labels, and how they are written.
        replies: whether the examples are pairs of texts in both orders.
        model: the identity of the model that labelled them; "" where it is not known.

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
        """What the search found for an example. Raises KeyError where there is none."""
        return self._lines[example_id]

    def row(self, example_id: str) -> ExportRow:
        """The row of an example. Raises KeyError where there is none."""
        return export_row(self.dataset.get(example_id), self._lines[example_id], self.template, self.verbalizer)


def export_row(example: Example, line: LabelledExample, template: PromptTemplate, verbalizer: Verbalizer) -> ExportRow:
    """An example and what the search found for it as one row.

    Raises:
        PromptError: the example cannot be rendered.
    """
    return ExportRow(
        id=example.id,
        group=example.group,
        fields=example.fields,
        question=template.render(example),
        label=line.label,
        answers={label: verbalizer.written(label) for label in verbalizer.labels},
        probabilities=line.calibrated or line.probabilities,
        coverage=line.coverage,
        fixed=line.fixed,
        abstained=line.abstained,
    )


def spoken(answer: str) -> str:
    """A label as a chat message: without the space that sets it apart in running text.

    Example:
        >>> spoken(" True")
        'True'
    """
    return answer.strip()
