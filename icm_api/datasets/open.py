"""From a source and a task to examples, to gold labels, and to a fingerprint: the one place that knows all tasks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias

from icm_api.datasets.columns import Columns, column_examples
from icm_api.datasets.gsm8k import gsm8k_examples, gsm8k_gold
from icm_api.datasets.labels import Gold, column_gold
from icm_api.datasets.preferences import preference_examples, preference_gold
from icm_api.datasets.readers import read_rows
from icm_api.datasets.rows import Row
from icm_api.datasets.sample import sampled
from icm_api.datasets.truthfulqa import (
    truthfulqa_examples,
    truthfulqa_gold,
    truthfulqa_pair_examples,
    truthfulqa_pair_gold,
)
from icm_api.errors import DataError
from icm_api.types import Dataset, Example, Label

TaskName: TypeAlias = Literal["rows", "gsm8k", "truthfulqa", "truthfulqa-pairs", "preferences"]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where examples come from, and what their rows mean.

    Attributes:
        path: a file, or "hub:OWNER/NAME" (see `read_rows`).
        task: "rows" are examples by the columns that the next attributes name; the others have loaders of their own.
        fields: keys of the texts ("rows"), or of the two replies and what is shown beside ("preferences").
        id: key of the ids.
        group, answer: keys of group and answer ("rows").
        metadata: keys that go into the metadata, by default all others ("rows").
        name, split: of a data set of the hub.
        limit: the most examples to take, by whole groups; None for all.
        seed: of the choice under a limit.
    """

    path: str
    task: TaskName = "rows"
    fields: Sequence[str] | None = None
    id: str = "id"
    group: str = "group"
    answer: str = "answer"
    metadata: Collection[str] | None = None
    name: str | None = None
    split: str = "train"
    limit: int | None = None
    seed: int = 0


def load_examples(source: DataSource) -> Dataset:
    """The unlabelled examples of a source; gold labels are nowhere in them.

    Raises:
        DataError: the source cannot be read, or a row is bad (which one, and why).
        ConfigError: the keys are unusable, the limit is smaller than every group, or a package is missing.

    Example:
        >>> load_examples(DataSource("claims.csv"))
        Traceback (most recent call last):
        icm_api.errors.DataError: claims.csv: no such file; check the path
    """
    examples = [*_examples(source, _rows(source))]
    if not examples:
        raise DataError(f"{source.path}: no example came of its rows")
    return sampled(examples, source.limit, source.seed)


def load_gold_labels(
    source: DataSource, *, label_field: str | None = None, labels: Sequence[Label] | None = None
) -> Gold:
    """The gold labels of all examples of a source that have one, whatever its limit.

    Args:
        source: the source of the examples, or another one with the same ids.
        label_field: the key of the label, where a task has one ("rows", "preferences" with a label column).
        labels: the label set, where labels outside it are an error ("rows").

    Raises:
        DataError: the source cannot be read, or a row is bad or has no usable label (which one, and why).
    """
    return Gold(dict(_gold(source, _with_ids(source, _rows(source)), label_field, labels)))


def fingerprint(dataset: Dataset) -> str:
    """A SHA-256 that changes when an example does: for data that come from no file.

    Example:
        >>> one, two = (Dataset([Example("a", {"text": text})]) for text in ("1+1=2", "1+1=3"))
        >>> len(fingerprint(one)), fingerprint(one) == fingerprint(two)
        (64, False)
    """
    state = sha256()
    for item in dataset:
        values = [item.id, dict(item.fields), item.group, item.answer, dict(item.metadata)]
        # A column may hold what JSON can't, such as a date.
        state.update(json.dumps(values, sort_keys=True, default=str).encode() + b"\n")
    return state.hexdigest()


def _rows(source: DataSource) -> Iterator[Row]:
    return read_rows(source.path, source.id, name=source.name, split=source.split)


def _with_ids(source: DataSource, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, unless their ids seem to stand under another key: numbers in their place could match wrong examples."""
    for row in rows:
        if source.id not in row.values and "id" in row.values:
            raise row.error(
                f"has no {source.id!r}, by which the examples are named, but has 'id'; name the key of its ids"
            )
        yield row


def _examples(source: DataSource, rows: Iterable[Row]) -> Iterator[Example]:
    match source.task:
        case "rows":
            return column_examples(
                rows, Columns(source.fields, source.id, source.group, source.answer, source.metadata)
            )
        case "gsm8k":
            return gsm8k_examples(rows)
        case "truthfulqa":
            return truthfulqa_examples(rows)
        case "truthfulqa-pairs":
            return truthfulqa_pair_examples(rows)
        case "preferences":
            return preference_examples(rows, source.fields)


def _gold(
    source: DataSource, rows: Iterable[Row], label_field: str | None, labels: Sequence[Label] | None
) -> Iterator[tuple[str, Label]]:
    match source.task:
        case "rows":
            return column_gold(rows, label_field, labels)
        case "gsm8k":
            return gsm8k_gold(rows)
        case "truthfulqa":
            return truthfulqa_gold(rows)
        case "truthfulqa-pairs":
            return truthfulqa_pair_gold(rows)
        case "preferences":
            return preference_gold(rows, source.fields, label_field)
