"""Looks at all rows of a source, and says what is wrong or odd: bad rows, texts that occur twice, lengths, ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from icm_api.data.columns import DataSource
from icm_api.data.registry import read_tolerantly
from icm_api.data.spreadsheets import is_rewritten
from icm_api.errors import DataError
from icm_api.types import Example

_FAR, _LEAST_LONG = 10, 200
"""A text is long if it has so many times the median's characters, and so many at least."""
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What was found.

    Attributes:
        examples: how many could be read, whatever the source's limit.
        bad: a message for each row that could not.
        duplicates: ids of examples that show the same texts, apart from white space; each set of them once.
        median: characters of all texts of an example, the median.
        longest: ids and characters of those that are far longer than the median, the longest first.
        rewritten: ids that a spreadsheet program takes for dates or numbers.
    """

    examples: int
    bad: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    median: float
    longest: tuple[tuple[str, int], ...]
    rewritten: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a terminal: only what there is to say."""
        bad = [
            f"{len(self.bad):,} bad rows, {self.examples:,} examples without them:",
            *(f"  {row}" for row in self.bad),
        ]
        alike = [" = ".join(ids) for ids in self.duplicates]
        longest = [f"{key} ({size:,})" for key, size in self.longest]
        found = (
            (f"{sum(map(len, self.duplicates)):,} examples show texts that others show too", _shown(alike, "; ")),
            (f"far longer than the median of {self.median:,.0f} characters", _shown(longest)),
            (f"{len(self.rewritten):,} ids that a spreadsheet may take for dates or numbers", _shown(self.rewritten)),
        )
        return [*(bad if self.bad else []), *(f"{what}: {which}" for what, which in found if which)]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def check_data(source: DataSource) -> DataCheck:
    """Read all rows of a source, and go on after a bad one.

    Args:
        source: where the examples are, and what their rows mean.

    Raises:
        DataError: the source cannot be read at all.
        ConfigError: the format is unknown, the keys are unusable, or a package is missing.
    """
    bad: list[DataError] = []
    examples = [*read_tolerantly(source, bad.append)]
    alike = defaultdict[tuple[str, ...], list[str]](list)
    for example in examples:
        alike[tuple(" ".join(text.split()) for text in example.fields.values())].append(example.id)
    sizes = {example.id: _size(example) for example in examples}
    usual = median(sizes.values()) if sizes else 0.0
    far = [(key, size) for key, size in sizes.items() if size >= max(_FAR * usual, _LEAST_LONG)]
    return DataCheck(
        len(examples),
        tuple(map(str, bad)),
        tuple(tuple(ids) for ids in alike.values() if len(ids) > 1),
        usual,
        tuple(sorted(far, key=lambda row: -row[1])),
        tuple(filter(is_rewritten, sizes)),
    )


def _size(example: Example) -> int:
    return sum(map(len, example.fields.values()))


def _shown(words: Sequence[str], between: str = ", ") -> str:
    rest = len(words) - _SHOWN
    return between.join(words[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
