"""From a finished run to its report: all that the report tells, as one value.

What is shown is gathered here; `page` lays it out, `charts` draws it, and `writing` writes the files. Texts and
relations need the run's data as they were. If those are gone or changed, the report does without, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from icm_api.compare import Compared, read_comparison
from icm_api.config import Config
from icm_api.data import Gold
from icm_api.errors import IcmError
from icm_api.evaluation import Evaluation, Interval, brier, evaluate, expected_calibration_error, wilson_interval
from icm_api.model import Sent
from icm_api.report.contested import Conflict, ContestedExample, Evidence, conflicts, contested_examples
from icm_api.report.trace import Stage, Trace, gathered, stages
from icm_api.result import LabelledExample, Result
from icm_api.runs import FinishedRun
from icm_api.types import Label

_PER_BIN = 10
"""Examples that a bin of the reliability curve has at least."""
_MOST_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Some examples of like confidence: their mean confidence, and how many of them are right."""

    confidence: float
    accuracy: Interval
    size: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """How confidence and accuracy go together.

    Attributes:
        name: "raw" or "calibrated".
        bins: of equal mass, least confident first.
        error: expected calibration error over these bins.
        brier: mean squared error of the confidence.
    """

    name: str
    bins: tuple[Bin, ...]
    error: float
    brier: float


@dataclass(frozen=True, slots=True)
class AgainstGold:
    """The labels beside gold labels: measures of agreement, and how confidence and accuracy go together."""

    evaluation: Evaluation
    reliability: tuple[Reliability, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report tells of a run.

    Attributes:
        folder: of the run.
        config: resolved; `config_text` as it is on disk.
        inputs: fingerprints of data and model.
        result: labels, U, P, I and cost.
        trace: its steps.
        diagnosis: the verdict with its measures, as `summary.json` has it; None if labels were not judged.
        calibration: by which temperature probabilities were scaled; None if labels were not judged.
        data_note: why there are no texts and relations; empty if there are.
        relations: how many there are; None if the data are not at hand.
        contested: the most contested examples.
        conflicts: broken relations, the first of them; `broken`, all of them; None if the data are not at hand.
        stages: what each stage asked for; `sent`, what was sent, None if nothing is on disk of it.
        planned: what the run was likely to take when it began, and at most; None if nobody planned it.
        gold: None if no gold labels are given.
        compared: the bars of a comparison; None if no comparison is given.
        version: of this library.
    """

    folder: Path
    config: Config
    config_text: str
    inputs: Mapping[str, Any]
    result: Result
    trace: Trace
    diagnosis: Mapping[str, Any] | None
    calibration: Mapping[str, Any] | None
    data_note: str
    relations: int | None
    contested: tuple[ContestedExample, ...]
    conflicts: tuple[Conflict, ...]
    broken: int | None
    stages: tuple[Stage, ...]
    sent: Sent | None
    planned: Mapping[str, int] | None
    gold: AgainstGold | None
    compared: Compared | None
    version: str

    @property
    def rescaled(self) -> bool:
        """Whether calibrated probabilities are others than the model's own."""
        return _is_rescaled(self.result.examples)


def read_report(
    folder: Path,
    *,
    gold: Path | None = None,
    comparison: Path | None = None,
    label_field: str | None = None,
    meanings: Mapping[str, Label] | None = None,
) -> Report:
    """Gather what the report of a run tells.

    Args:
        folder: of a finished run.
        gold: a file of gold labels, read as the run read its data.
        comparison: the folder of a comparison.
        label_field: key of the gold label; by default "gold", else "label".
        meanings: the label that something written in the gold file means, e.g. {"0": "False"}.

    Raises:
        RunError: the run is not finished, or a file of it or of the comparison is missing or damaged.
        DataError: the gold labels cannot be read, or are not of this run.
    """
    run = FinishedRun.open(folder)
    trace = gathered(run.trace(), run.trace_size, run.config.prompt.labels)
    evidence, note = _evidence(run, trace)
    listed, broken = conflicts(evidence)
    return Report(
        folder,
        run.config,
        run.config_text,
        run.inputs,
        run.result,
        trace,
        run.diagnosis,
        run.calibration,
        note,
        None if evidence.relations is None else len(evidence.relations),
        contested_examples(evidence),
        listed,
        None if evidence.relations is None else broken,
        stages(run.result, trace),
        run.sent,
        run.planned,
        None if gold is None else _against_gold(run.result, run.gold(gold, label_field=label_field, meanings=meanings)),
        None if comparison is None else read_comparison(comparison),
        version("icm-api"),
    )


def _against_gold(result: Result, gold: Gold) -> AgainstGold:
    """Accuracy and its like, and reliability of the labels that no person gave."""
    rows = [row for row in result.examples if row.id in gold and not row.fixed]
    judged = rows and _is_rescaled(rows)
    curves = []
    if rows:
        curves.append(_reliability("raw", [row.probability for row in rows], rows, gold))
    if judged:
        curves.append(_reliability("calibrated", [row.confidence for row in rows], rows, gold))
    return AgainstGold(evaluate(result, gold), tuple(curves))


def _is_rescaled(rows: Sequence[LabelledExample]) -> bool:
    """Whether calibration changed any probability of a label found."""
    return all(row.calibrated for row in rows) and any(row.confidence != row.probability for row in rows)


def _reliability(name: str, confidences: Sequence[float], rows: Sequence[LabelledExample], gold: Gold) -> Reliability:
    """Accuracy by confidence, in bins of equal mass with at least 10 examples, at most 10 bins."""
    correct = [row.label == gold[row.id] for row in rows]
    size = len(rows)
    count = max(1, min(_MOST_BINS, size // _PER_BIN))
    ranked = sorted(zip(confidences, correct, strict=True))
    bins = []
    for at in range(count):
        part = ranked[size * at // count : size * (at + 1) // count]
        hits = sum(hit for _, hit in part)
        bins.append(Bin(sum(value for value, _ in part) / len(part), wilson_interval(hits, len(part)), len(part)))
    error = expected_calibration_error(confidences, correct, count)
    return Reliability(name, tuple(bins), error, brier(confidences, correct))


def _evidence(run: FinishedRun, trace: Trace) -> tuple[Evidence, str]:
    """With texts and relations if the data are still those of the run; else why not."""
    result = run.result
    bare = Evidence(result, None, None, trace.changes)
    try:
        if not run.data_unchanged or set(run.dataset.ids) != {row.id for row in result.examples}:
            return bare, f"{run.config.data.path} has changed since the run: texts and relations are not shown"
        relations = run.relations
    except (IcmError, OSError) as error:
        return bare, f"texts and relations are not shown, since the data cannot be read: {error}"
    return Evidence(result, run.dataset, relations, trace.changes), ""
