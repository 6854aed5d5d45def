"""What a search hands out: a label for every example, how sure the model is of each, U and its parts, the cost.

Reads and writes `labels.jsonl` and `summary.json`. Holds no gold label and measures no accuracy.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from html import escape
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icm_api.errors import ConfigError, RunError
from icm_api.files import write_whole
from icm_api.types import Dataset, Example, Label, LabelDistribution, Labeling, Score, Usage
from icm_api.wording import count_of

if TYPE_CHECKING:
    import pandas

LABELS_FILE = "labels.jsonl"
SUMMARY_FILE = "summary.json"


LABELS = ("found", "zero-shot", "zero-shot-calibrated")
"""Whose labels of a run are taken: the search's, or those that the model gives without demonstrations."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A label that the model gives with no demonstration.

    Attributes:
        label: the most probable one; if calibrated, such that no relation is broken.
        probabilities: p of every label, in label order.
    """

    label: Label
    probabilities: Mapping[Label, float]


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """One line of `labels.jsonl`.

    Attributes:
        id: of the example.
        label: the label found.
        probability: the model's p(label | x_i, all other labels found).
        coverage: probability mass that fell on the label set before normalising; None if it is not known.
        group: of the example, or None.
        probabilities: p of every label, in label order.
        fixed: whether a person gave the label before the search.
        calibrated: p of every label, as sure as the evidence allows; empty where the labels were not judged.
        abstained: whether the calibrated p of the label is below the run's threshold: "don't know".
        review: place in the queue for a person, the most uncertain first, from 1; None if it is not in it.
        zero_shot: the label with no demonstration, as the model gives it; None if it was not asked for.
        zero_shot_calibrated: the same, calibrated.
    """

    id: str
    label: Label
    probability: float
    coverage: float | None
    group: str | None
    probabilities: Mapping[Label, float]
    fixed: bool = False
    calibrated: Mapping[Label, float] = field(default_factory=dict)
    abstained: bool = False
    review: int | None = None
    zero_shot: Guess | None = None
    zero_shot_calibrated: Guess | None = None

    @property
    def confidence(self) -> float:
        """How probable the label is, calibrated where it was."""
        return self.calibrated.get(self.label, self.probability)


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """A finished search. In a notebook it shows itself: verdict, counts, a sample, the cost.

    Attributes:
        examples: one per example of the data set, in its order.
        utility: U(D) of the labeling found.
        mutual_predictability: P(D).
        inconsistency: I(D).
        usage: requests and tokens that the search and judging its labels asked for, whether a cache answered or the
            model.
        steps: proposals made.
        about: how it was found: preset, seed, model, method and what else the caller adds.
    """

    examples: tuple[LabelledExample, ...]
    utility: float
    mutual_predictability: float
    inconsistency: float
    usage: Usage
    steps: int
    about: Mapping[str, Any]

    @property
    def labeling(self) -> Labeling:
        """The labels alone."""
        return Labeling({example.id: example.label for example in self.examples})

    @property
    def verdict(self) -> str | None:
        """What judging made of the labels, in a word; None if they were not judged."""
        diagnosis = self.about.get("diagnosis")
        return diagnosis.get("verdict") if isinstance(diagnosis, Mapping) else None

    @property
    def counts(self) -> tuple[str, ...]:
        """How many examples have each label, in words: "False 16", "True 16"."""
        return tuple(f"{label} {n:,}" for label, n in _counts(example.label for example in self.examples).items())

    def _facts(self) -> dict[str, str]:
        """What there is to say of the whole, by what it is."""
        counts = self.counts
        left = sum(example.abstained for example in self.examples)
        usage = self.usage
        return {
            "verdict": self.verdict or "not judged",
            "labels": ", ".join(counts[:_SAMPLE]) + (f" and {len(counts) - _SAMPLE:,} more" * (len(counts) > _SAMPLE)),
            **({"left open": f"{left:,}"} if left else {}),
            "U, P, I": f"{self.utility:.3f}, {self.mutual_predictability:.4f}, {self.inconsistency:g}",
            "cost": f"{count_of(usage.requests, 'request')}, {count_of(usage.prompt_tokens, 'prompt token')}",
        }

    def __repr__(self) -> str:
        facts = "; ".join(f"{name}: {value}" for name, value in self._facts().items())
        return f"<Result of {count_of(len(self.examples), 'example')}; {facts}>"

    def _repr_html_(self) -> str:
        """For notebooks: the facts, and the first examples."""
        facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(it)}</td></tr>" for name, it in self._facts().items())
        head = "".join(f"<th>{name}</th>" for name in ("id", "label", "probability"))
        rows = "".join(
            f"<tr><td>{escape(row.id)}</td><td>{escape(row.label)}</td><td>{row.confidence:.3f}</td></tr>"
            for row in self.examples[:_SAMPLE]
        )
        more = len(self.examples) - _SAMPLE
        rest = f"<p>and {more:,} more: <code>to_pandas()</code> has all</p>" if more > 0 else ""
        return f"<table>{facts}</table><table><tr>{head}</tr>{rows}</table>{rest}"

    def to_pandas(self, dataset: Dataset | None = None) -> pandas.DataFrame:
        """The labels as a table, a row an example, with the ids as index.

        Args:
            dataset: the examples, for a column of each of their texts before the others.

        Returns:
            A DataFrame with label, probability (calibrated where it was), coverage, group, fixed, abstained, review,
            and `p(LABEL)` of every label.

        Raises:
            ConfigError: pandas is not installed, or the data set lacks one of the examples.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ConfigError("to_pandas needs the package pandas: pip install pandas") from None
        try:
            texts = [{} if dataset is None else dict(dataset.get(row.id).fields) for row in self.examples]
        except KeyError as error:
            raise ConfigError(f"the data set has no example {error}, which the result labels") from None
        rows = [
            {
                **shown,
                "label": row.label,
                "probability": row.confidence,
                **{name: getattr(row, name) for name in ("coverage", "group", "fixed", "abstained", "review")},
                **{f"p({label})": p for label, p in (row.calibrated or row.probabilities).items()},
            }
            for shown, row in zip(texts, self.examples, strict=True)
        ]
        index = pandas.Index([row.id for row in self.examples], name="id")
        return pandas.DataFrame(rows, index=index).astype({"review": "Int64"})

    def in_order_of(self, dataset: Dataset) -> Result:
        """The same rows in the order of a data set: a search has its own, which no file decides.

        Args:
            dataset: has all the examples of the rows, and may have more.
        """
        return replace(self, examples=tuple(sorted(self.examples, key=lambda row: dataset.position(row.id))))

    def taking(self, labels: str) -> Result:
        """The result with other labels in place of those found, and what is known of these alone.

        Args:
            labels: one of `LABELS`.

        Raises:
            ConfigError: no such labels.
            RunError: the run did not ask for them.
        """
        if labels not in LABELS:
            raise ConfigError(f"--labels {labels}: choose from {', '.join(LABELS)}")
        if labels == LABELS[0]:
            return self
        # A person checked the labels found.
        about = {key: value for key, value in self.about.items() if key != "check"}
        return replace(
            self, examples=tuple(_guessed(row, labels.replace("-", "_")) for row in self.examples), about=about
        )

    def save(self, folder: str | Path) -> None:
        """Write `labels.jsonl` and `summary.json`; each appears whole or not at all.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        folder = Path(folder)
        summary = {
            "utility": self.utility,
            "mutual_predictability": self.mutual_predictability,
            "inconsistency": self.inconsistency,
            "examples": len(self.examples),
            "label_counts": _counts(example.label for example in self.examples),
            "steps": self.steps,
            "usage": asdict(self.usage),
            **self.about,
        }
        rows = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in self.examples)
        write_whole(folder / LABELS_FILE, rows)
        write_whole(folder / SUMMARY_FILE, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Read a saved result.

        Raises:
            RunError: a file is missing or damaged; which one, and where in it.
        """
        folder = Path(folder)
        examples = tuple(_read_rows(folder / LABELS_FILE))
        summary = _read_summary(folder / SUMMARY_FILE)
        try:
            return cls(
                examples,
                summary.pop("utility"),
                summary.pop("mutual_predictability"),
                summary.pop("inconsistency"),
                Usage(**summary.pop("usage")),
                summary.pop("steps"),
                {key: value for key, value in summary.items() if key not in ("examples", "label_counts")},
            )
        except (KeyError, TypeError) as error:
            raise RunError(f"{folder / SUMMARY_FILE}: no summary of a run: {error}") from error


def build_result(
    dataset: Dataset, score: Score, usage: Usage, steps: int, about: Mapping[str, Any], fixed: Collection[str] = ()
) -> Result:
    """The result of a complete labeling's score, in data set order; `fixed` are the ids that a person labelled."""
    examples = []
    for example in dataset:
        read, label = score.distributions[example.id], score.labeling[example.id]
        examples.append(labelled(example, label, read, fixed=example.id in fixed))
    return Result(
        tuple(examples),
        score.utility,
        score.mutual_predictability,
        score.inconsistency,
        usage,
        steps,
        about,
    )


def labelled(example: Example, label: Label, read: LabelDistribution, *, fixed: bool) -> LabelledExample:
    """An example with its label and what the model said of it, in numbers that can be written down.

    Args:
        example: that is labelled.
        label: found.
        read: the distribution over labels.
        fixed: whether a person gave the label.
    """
    probabilities = {name: round(read.probability(name), 6) for name in read.labels}
    coverage = None if read.coverage is None else round(read.coverage, 6)
    return LabelledExample(example.id, label, probabilities[label], coverage, example.group, probabilities, fixed)


def _guessed(row: LabelledExample, name: str) -> LabelledExample:
    guess: Guess | None = getattr(row, name)
    if row.fixed:
        return row
    if guess is None:
        raise RunError(
            f"{row.id}: the run did not ask for zero-shot labels, since its budget ended before: run it again"
        )
    return replace(
        row,
        label=guess.label,
        probability=guess.probabilities[guess.label],
        probabilities=guess.probabilities,
        calibrated={},
        abstained=False,
        review=None,
    )


def _counts(labels: Iterable[Label]) -> dict[Label, int]:
    counts: dict[Label, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return dict(sorted(counts.items()))


_SAMPLE = 10
_GUESSES = ("zero_shot", "zero_shot_calibrated")


def _read_rows(path: Path) -> Iterable[LabelledExample]:
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line:
            continue
        try:
            values = json.loads(line)
            guesses = {name: Guess(**values[name]) for name in _GUESSES if values.get(name) is not None}
            row = LabelledExample(**{**values, **guesses})
            numbers = (row.probability, 0.0 if row.coverage is None else row.coverage)
            usable = all(map(isfinite, numbers)) and row.label in row.probabilities
            if not isinstance(row.fixed, bool):
                raise TypeError(f"fixed is {row.fixed!r}, and not true or false")
        except (ValueError, TypeError, RecursionError) as error:
            raise RunError(f"{path}:{number}: not a labelled example: {error}") from error
        if not usable:
            raise RunError(f"{path}:{number}: probability or coverage is no number, or the label has none")
        yield row


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: not JSON: {error}") from error
    if not isinstance(summary, dict):
        raise RunError(f"{path}: not a JSON object")
    return summary


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RunError(
            f"{path} is missing: name the folder of a finished run; one that is not finished goes on with "
            f"`icm-api resume {path.parent}`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"cannot read {path}: {error}") from error
