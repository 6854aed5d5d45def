"""`checks.json` of a run: which labels were drawn for a person to check, and what the person answered.

It is a file of its own with a seal of its own, since a run that is finished is not written to again. It belongs to the
labels that the run had when the first sample was drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Any

from icm_api.errors import DataError, RunError
from icm_api.evaluation import Check, check_of, scaled, temperature_of_labels
from icm_api.files import write_whole
from icm_api.result import LABELS_FILE, LabelledExample, Result
from icm_api.runs.judging import FEWEST_GIVEN
from icm_api.runs.spill import PARTS_FOLDER
from icm_api.types import Label, LabelDistribution

CHECKS_FILE = "checks.json"
_MOST_NAMED = 5
_SMALLEST = 1e-6
"""Of a probability: as many decimals are kept."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Labels drawn at random.

    Attributes:
        count: asked for.
        seed: of the draw.
        ids: drawn, in the order in which a person sees them.
    """

    count: int
    seed: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checks:
    """All samples of a run, and the answers to them.

    Attributes:
        labels: SHA-256 of the labels that they are of.
        samples: in the order in which they were drawn; no id is in two of them.
        answers: by id.
    """

    labels: str
    samples: tuple[Sample, ...] = ()
    answers: Mapping[str, Label] = field(default_factory=dict)

    @property
    def drawn(self) -> frozenset[str]:
        """All ids drawn."""
        return frozenset(key for sample in self.samples for key in sample.ids)

    def same(self, count: int, seed: int) -> Sample | None:
        """The sample that was drawn with this count and seed."""
        return next((sample for sample in self.samples if (sample.count, sample.seed) == (count, seed)), None)

    def answered(self, answers: Mapping[str, Label], source: Path) -> Checks:
        """With more answers.

        Args:
            answers: by id.
            source: the file that they are from, for messages.

        Raises:
            DataError: an answer to what was not drawn, or another answer than before: which, and what to do.
        """
        outside = [key for key in answers if key not in self.drawn]
        if outside:
            raise DataError(
                f"{source}: {_named(outside)}: not among the labels drawn at random, so no evidence on the "
                "others: take these rows out (under [data] fixed they are of use), or draw a sample by `icm-api queue "
                "RUN --random 20 --out FILE`"
            )
        changed = [key for key, label in answers.items() if self.answers.get(key, label) != label]
        if changed:
            raise DataError(
                f"{source}: {_named(changed)}: answered otherwise in an earlier check, which showed how many labels "
                f"are right: an answer stays as it was given; without {CHECKS_FILE} in the run folder all begins anew"
            )
        return replace(self, answers={**self.answers, **answers})

    def save(self, folder: Path) -> None:
        """Write `checks.json`. Raises StorageError if it cannot be written."""
        content = {
            "labels_sha256": self.labels,
            "samples": [{"count": one.count, "seed": one.seed, "ids": list(one.ids)} for one in self.samples],
            "answers": dict(self.answers),
        }
        sealed = {**content, "seal": _seal(content)}
        write_whole(folder / CHECKS_FILE, json.dumps(sealed, indent=2, ensure_ascii=False) + "\n")


def read_checks(folder: Path) -> Checks | None:
    """The checks of a run, whichever labels they are of; None if there are none.

    Args:
        folder: of the finished run.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / CHECKS_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("seal") != _seal(content):
            raise ValueError("it is not what was written: it was changed since")
        samples = tuple(Sample(int(one["count"]), int(one["seed"]), _ids(one["ids"])) for one in content["samples"])
        answers = {str(key): str(label) for key, label in content["answers"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: damaged: {error}; put it back as it was, or move it away and check anew") from error
    return Checks(str(content["labels_sha256"]), samples, answers)


def current_checks(folder: Path) -> Checks:
    """The checks of the labels that a run has now; empty ones if there are none.

    Args:
        folder: of the finished run.

    Raises:
        RunError: the file is damaged, or of labels that the run had before.
    """
    labels = labels_sha256(folder)
    found = read_checks(folder) or Checks(labels)
    if found.labels != labels:
        raise RunError(
            f"{folder / CHECKS_FILE} is of other labels than {folder / LABELS_FILE}, which were found anew since: move "
            "it away, and check these labels"
        )
    return found


def _ids(listed: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(key) for key in listed)


def _seal(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def checked_labels(checks: Checks, result: Result) -> Check | None:
    """What the answers say of the labels of a run; None if there is no answer.

    Args:
        checks: of these labels.
        result: of the run.
    """
    found = {row.id: row.label for row in result.examples if not row.fixed}
    labels = tuple(dict.fromkeys(label for row in result.examples for label in row.probabilities))
    sure = {row.id: row.confidence for row in result.examples}
    return check_of(found, [sample.ids for sample in checks.samples], checks.answers, labels, sure)


def recalibrated(checks: Checks, result: Result) -> Result:
    """The result with probabilities fitted to a check's answers, which were drawn at random; as it is if there are few.

    Which labels a run left open stays as it was.

    Args:
        checks: of these labels.
        result: of the run, judged.
    """
    known = result.about.get("calibration")
    answered = [row for row in result.examples if row.id in checks.answers and row.calibrated and not row.fixed]
    if known is None or len(answered) < FEWEST_GIVEN:
        return result

    def before(row: LabelledExample) -> LabelDistribution:
        logprobs = tuple(log(max(value, _SMALLEST)) for value in row.calibrated.values())
        read = LabelDistribution(tuple(row.calibrated), logprobs, row.coverage, "exact")
        return scaled(read, 1 / known["value"])

    temperature = temperature_of_labels([(before(row), checks.answers[row.id]) for row in answered])

    def refitted(row: LabelledExample) -> LabelledExample:
        read = scaled(before(row), temperature.value)
        return replace(row, calibrated={label: round(read.probability(label), 6) for label in read.labels})

    rows = tuple(refitted(row) if row.calibrated else row for row in result.examples)
    return replace(result, examples=rows, about={**result.about, "calibration": asdict(temperature)})


def labels_sha256(folder: Path) -> str:
    """A SHA-256 of the labels of a finished run, those of all parts included. Raises RunError if it cannot be read."""
    digest = sha256()
    try:
        for path in (folder / LABELS_FILE, *sorted((folder / PARTS_FOLDER).glob("[0-9]*.jsonl"))):
            with path.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise RunError(f"cannot read {folder / LABELS_FILE}: {error.strerror or error}") from error


def _named(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:_MOST_NAMED])) + (f" and {len(ids) - _MOST_NAMED} more" * (len(ids) > _MOST_NAMED))
