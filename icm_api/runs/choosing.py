"""Which examples of a large data set are searched: as many whole units as fit, those with the smallest hashes.

They are found while all rows go by once, whatever their order, and held as long as they are among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import chain
from operator import itemgetter

from icm_api.config import MOST_SEARCHED, CoreSection
from icm_api.prompts import PromptBuilder
from icm_api.runs.core import END, MOST_PARTS, MOST_WHOLE, Rows, Split, Unit
from icm_api.types import Dataset, Example

LEAST = 64
"""Examples of a core even if not all of their labels fit the context window together."""
_PASSES = 8


@dataclass(slots=True)
class _Size:
    """What a unit takes: examples, tokens of all as demonstrations, tokens of its longest question; and all of them."""

    examples: int = 0
    tokens: int = 0
    longest: int = 0
    held: list[tuple[int, Example]] = field(default_factory=list)


@dataclass(slots=True)
class _Chosen:
    """The units with the smallest hashes that fit together, while rows come in."""

    most: int
    room: int
    apart: frozenset[int]
    below: int = END
    total: int = 0
    large: set[int] = field(default_factory=set)
    _sizes: dict[int, _Size] = field(default_factory=dict)
    _largest: list[int] = field(default_factory=list)
    _all: _Size = field(default_factory=_Size)

    @property
    def core(self) -> int:
        return self._all.examples

    def add(self, unit: int, example: Example, measure: Callable[[Example], tuple[int, int]]) -> None:
        self.total += 1
        if unit >= self.below or unit in self.apart or unit in self.large:
            return
        tokens, question = measure(example)
        if question > self.room:
            # It will be set aside.
            tokens = question = 0
        if unit not in self._sizes:
            self._sizes[unit] = _Size()
            heappush(self._largest, -unit)
        for size in (self._sizes[unit], self._all):
            size.examples += 1
            size.tokens += tokens
            size.longest = max(size.longest, question)
        self._sizes[unit].held.append((self.total, example))
        if not self._fits(self._sizes[unit]):
            self.large.add(unit)
        self._drop_to_fit()

    def narrow(self, most: int) -> bool:
        """Keep so many examples at most, if no unit has more, which would need another look at all."""
        if any(size.examples > most for size in self._sizes.values()):
            return False
        self.most = most
        self._drop_to_fit()
        return True

    @property
    def examples(self) -> list[Example]:
        """Those of the core, in the order in which they came."""
        found = sorted(chain.from_iterable(size.held for size in self._sizes.values()), key=itemgetter(0))
        return [example for _, example in found]

    def _drop_to_fit(self) -> None:
        while not self._fits(self._all):
            self._drop()

    def _fits(self, size: _Size) -> bool:
        return size.examples <= self.most and (size.examples <= LEAST or size.tokens + size.longest <= self.room)

    def _drop(self) -> None:
        self.below = -heappop(self._largest)
        gone = self._sizes.pop(self.below)
        self._all.examples -= gone.examples
        self._all.tokens -= gone.tokens
        if gone.longest == self._all.longest:
            self._all.longest = max((size.longest for size in self._sizes.values()), default=0)


@dataclass(frozen=True)
class Core:
    """What is searched of a large data set.

    Attributes:
        split: where every example belongs.
        dataset: the examples of the core, in the order of the source.
        unit: of an example.
    """

    split: Split
    dataset: Dataset
    unit: Unit


def choose_core(
    rows: Rows,
    units: Callable[[bool], Unit],
    prompts: PromptBuilder,
    settings: CoreSection | None,
    *,
    fits: bool = True,
) -> Core | None:
    """Which examples to search; as a rule all are gone through once.

    Args:
        rows: the data set.
        units: gives the unit of an example, single or not.
        prompts: count tokens, and know the context window.
        settings: `[core]`, if it is given.
        fits: whether the core has to fit the context window.

    Returns:
        None if all examples are to be searched.

    Raises:
        DataError: a row is bad.
        PromptError: an example cannot be rendered.
    """
    section = settings or CoreSection()
    stated = section.size is not None
    unit = units(False)
    best = _gone_through(rows, unit, prompts, section.size or MOST_WHOLE, fits)
    if best.below == END and not best.apart:
        return None
    if not stated and best.core > MOST_SEARCHED and not best.narrow(MOST_SEARCHED):
        best = _gone_through(rows, unit, prompts, MOST_SEARCHED, fits)
    single = best.core < min(LEAST, best.total, section.size or LEAST) // 2
    if single:
        # Hardly any unit is small enough: rather cut them than search next to nothing.
        unit = units(True)
        best = _gone_through(rows, unit, prompts, section.size or MOST_SEARCHED, fits)
    rest = best.total - best.core
    parts = min(MOST_PARTS, -(-rest // section.part))
    split = Split(best.below, best.apart, best.core, rest, parts, single)
    return Core(split, rows.core_of(best.examples), unit)


def _gone_through(rows: Rows, unit: Unit, prompts: PromptBuilder, most: int, fits: bool) -> _Chosen:
    """What fits; units that turn out to be too large by themselves have no part in it."""
    apart: frozenset[int] = frozenset()
    for _ in range(_PASSES):
        found = _Chosen(most, prompts.room if fits else END, apart)
        for example in rows:
            found.add(unit(example), example, prompts.measured)
        if not found.large:
            break
        apart |= found.large
    return found
