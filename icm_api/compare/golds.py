"""Reads the gold labels of a comparison, once its searches are over.

Nothing here is handed to a search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from icm_api.compare.split import Split, held_out_id
from icm_api.config import Config
from icm_api.data import Gold, load_gold_labels
from icm_api.errors import DataError
from icm_api.runs import data_source
from icm_api.types import Dataset


@dataclass(frozen=True, slots=True)
class Golds:
    """Gold labels of the searched and of the held-out examples."""

    searched: Gold
    held_out: Gold


def load_golds(config: Config, path: Path, splits: Sequence[Split], label_field: str | None = None) -> Golds:
    """Read as the data are read, and checked against them.

    Args:
        config: of the comparison.
        path: gold labels of the data, and of `compare.test` unless that has a file of its own.
        splits: the examples.
        label_field: key of the labels.

    Raises:
        DataError: a file cannot be read, has a bad row or a label outside the label set, or has no label for any of
            the examples; or data and test share ids, so that one file cannot tell them apart.
    """
    source, compare = data_source(config), config.compare
    gold = load_gold_labels(replace(source, path=str(path)), label_field=label_field)
    if compare.test is None:
        found = Golds(gold, gold)
    else:
        if compare.test_gold is None:
            _check_apart(splits[0], path)
        other = compare.test_gold
        of_test = gold if other is None else load_gold_labels(replace(source, path=str(other)), label_field=label_field)
        found = Golds(gold, Gold({held_out_id(key): label for key, label in of_test.items()}))
    for split in splits:
        _check(split.searched, found.searched, config.prompt.labels, "searched", path)
        _check(split.held_out, found.held_out, config.prompt.labels, "held-out", compare.test_gold or path)
    return found


def _check_apart(split: Split, path: Path) -> None:
    for key in split.searched.ids:
        if held_out_id(key) in split.held_out.ids:
            raise DataError(
                f"{path}: id {key!r} is in the data and in compare.test, so one file of gold labels cannot tell them "
                "apart; name the other's file as compare.test_gold"
            )


def _check(dataset: Dataset, gold: Gold, labels: Sequence[str], part: str, path: Path) -> None:
    known = [key for key in dataset.ids if key in gold]
    if not known:
        raise DataError(f"{path}: no gold label for any of the {len(dataset)} {part} examples, e.g. {dataset.ids[0]!r}")
    for key in known:
        if gold[key] not in labels:
            raise DataError(
                f"{path}: gold label {gold[key]!r} of id {key!r} is not in the label set {list(labels)}; write the "
                "gold labels as the configuration does"
            )
