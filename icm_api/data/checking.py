"""Looks at all rows of a source, and says what is wrong or odd: bad rows, texts that occur twice, lengths, ids."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import pairwise
from statistics import median
from typing import Any

from icm_api.data.columns import DataSource
from icm_api.data.left_out import LeftOut, unsaid
from icm_api.data.loading import is_skipped, read_tolerantly
from icm_api.data.spreadsheets import is_rewritten
from icm_api.errors import DataError
from icm_api.types import Example
from icm_api.wording import count_of

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
            f"{count_of(len(self.bad), 'bad row')}, {count_of(self.examples, 'example')} without them:",
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


class DataChecking:
    """The examples of all good rows of a source, looked at on their way to someone else, so that rows are read once.

    Args:
        source: where they are, and what its rows mean.
    """

    def __init__(self, source: DataSource) -> None:
        self._source = source
        self._bad: list[DataError] = []
        self._left_out = LeftOut()
        self._texts, self._sizes, self._rewritten = array("Q"), array("Q"), list[str]()
        self._rows = self._gone_through()

    def __iter__(self) -> Iterator[Example]:
        """Those that nobody had yet. Raises DataError and ConfigError as `check_data` does."""
        return self._rows

    def _gone_through(self) -> Iterator[Example]:
        for example in read_tolerantly(self._source, self._bad.append, self._left_out.note):
            self._texts.append(_digest(example))
            self._sizes.append(_size(example))
            if is_rewritten(example.id):
                self._rewritten.append(example.id)
            yield example

    def refuse_bad(self) -> None:
        """Raise the first error so far of a row that is bad and not left out for want of a text; say how many are."""
        for error in self._bad:
            if not is_skipped(error, self._source):
                raise error
        self._left_out.rows = list(self._bad)
        self._left_out.say()

    def found(self) -> DataCheck:
        """What is to be said of all rows, those that nobody had yet included. Raises as `check_data` does."""
        for _ in self._rows:
            pass
        sizes = self._sizes
        usual = float(median(sizes)) if sizes else 0.0
        long = max(_FAR * usual, _LEAST_LONG)
        twice = frozenset(one for one, other in pairwise(sorted(self._texts)) if one == other)
        named = _named(self._source, twice, long) if twice or max(sizes, default=0) >= long else ((), ())
        return DataCheck(len(sizes), tuple(map(str, self._bad)), named[0], usual, named[1], tuple(self._rewritten))


def check_data(source: DataSource) -> DataCheck:
    """Read all rows of a source, and go on after a bad one.

    Args:
        source: where the examples are, and what their rows mean.

    Raises:
        DataError: the source cannot be read at all.
        ConfigError: the format is unknown, the keys are unusable, or a package is missing.
    """
    return DataChecking(source).found()


def _named(
    source: DataSource, twice: frozenset[int], long: float
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, int], ...]]:
    """The ids of what was found to be odd: to hold those of all rows would take most of the memory."""
    alike = defaultdict[tuple[str, ...], list[str]](list)
    far: list[tuple[str, int]] = []
    for example in read_tolerantly(source, lambda error: None, unsaid):
        if _digest(example) in twice:
            alike[_texts(example)].append(example.id)
        if (size := _size(example)) >= long:
            far.append((example.id, size))
    same = tuple(tuple(ids) for ids in alike.values() if len(ids) > 1)
    return same, tuple(sorted(far, key=lambda row: -row[1]))


def _texts(example: Example) -> tuple[str, ...]:
    return tuple(" ".join(text.split()) for text in example.fields.values())


def _digest(example: Example) -> int:
    return int.from_bytes(blake2b("\0".join(_texts(example)).encode(), digest_size=8).digest(), "big")


def _size(example: Example) -> int:
    return sum(map(len, example.fields.values()))


def _shown(words: Sequence[str], between: str = ", ") -> str:
    rest = len(words) - _SHOWN
    return between.join(words[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
