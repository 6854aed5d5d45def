"""Which examples of a large data set are searched: a core of whole units, chosen by a hash; the rest is cut into parts.

A unit is what no cut may part: a group, or what chains of constraints may relate across groups. A unit is in the core
if its hash is below a threshold, so that two numbers say where every example belongs, and no list of ids is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from logging import getLogger
from typing import Any, TypeAlias

from icm_api.config import MOST_SEARCHED, ConstraintSection, CoreSection
from icm_api.data import DataSource, find_format, load_examples, rank, stream_examples
from icm_api.errors import DataError, RunError
from icm_api.prompts import PromptBuilder
from icm_api.runs.folder import CORE_KEY
from icm_api.types import Dataset, Example

Unit: TypeAlias = Callable[[Example], int]
"""From an example to the hash of its unit, in [0, 2**64)."""

END = 2**64
MOST_WHOLE = 4_000
"""A larger data set is never searched whole, unless `[core] size` says so: each example takes many requests."""
LEAST = 64
"""Examples of a core even if not all of their labels fit the context window together."""
MOST_PARTS = 512
_PASSES = 8
_LOG = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Split:
    """Where every unit belongs.

    Attributes:
        below: units with a hash below it are the core.
        apart: hashes of units that are too large for the core.
        core: examples in the core.
        rest: all others.
        parts: files that the rest is labelled into.
        single: whether an example is a unit by itself, as its group alone is too large for the core.
    """

    below: int
    apart: frozenset[int]
    core: int
    rest: int
    parts: int
    single: bool = False

    def part(self, unit: int) -> int | None:
        """The part that a unit belongs to, from 0; None for the core.

        Args:
            unit: its hash.

        Example:
            >>> split = Split(2**62, frozenset({3}), 2, 9, 3)
            >>> [split.part(unit) for unit in (2, 2**62, 2**64 - 1, 3)]
            [None, 0, 2, 0]
        """
        if unit < self.below and unit not in self.apart:
            return None
        return min(self.parts - 1, max(0, unit - self.below) * self.parts // (END - self.below))

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "below": f"{self.below:016x}",
            "apart": [f"{unit:016x}" for unit in sorted(self.apart)],
            "examples": self.core,
            "rest": self.rest,
            "parts": self.parts,
            "single": self.single,
        }

    @classmethod
    def of(cls, inputs: Mapping[str, Any]) -> Split | None:
        """The split that a run began with; None if it searches all examples.

        Args:
            inputs: of the run.

        Raises:
            RunError: it is damaged.
        """
        found = inputs.get(CORE_KEY)
        if found is None:
            return None
        try:
            return cls(
                int(found["below"], 16),
                frozenset(int(unit, 16) for unit in found["apart"]),
                int(found["examples"]),
                int(found["rest"]),
                int(found["parts"]),
                bool(found["single"]),
            )
        except (TypeError, KeyError, ValueError) as error:
            raise RunError(f"the inputs of the run are damaged: core: {error!r}") from error


@dataclass(frozen=True)
class Rows:
    """The examples of a source, gone through as often as is needed; held only if they are few.

    Attributes:
        source: where they are.
        whole: all of them, if there are few or a limit says how many; else None.
    """

    source: DataSource
    whole: Dataset | None

    @classmethod
    def open(cls, source: DataSource) -> Rows:
        """Look how many there are.

        Args:
            source: where they are, and what their rows mean.

        Raises:
            DataError, ConfigError: as for `load_examples`.
        """
        if source.limit is not None:
            return cls(source, load_examples(source))
        few = sum(1 for _ in islice(stream_examples(source), MOST_WHOLE + 1)) <= MOST_WHOLE
        return cls(source, load_examples(source) if few else None)

    def __iter__(self) -> Iterator[Example]:
        """From the first on; raises DataError at a bad row."""
        return iter(self.whole) if self.whole is not None else stream_examples(self.source)

    def counted(self) -> Iterator[Example]:
        """The same, and says at the end how many rows were left out."""
        empty: list[DataError] = []
        yield from self if self.whole is not None else stream_examples(self.source, empty)
        if empty:
            _LOG.warning("left out %d rows without a text (data.on_empty); the first: %s", len(empty), empty[0])

    def chosen(self, split: Split, unit: Unit) -> Dataset:
        """The examples of the core, in the order of the source.

        Args:
            split: says which they are.
            unit: of an example.
        """
        core = [example for example in self if split.part(unit(example)) is None]
        if not core:
            raise RunError("no example of the data is in the core: it changed since the run began")
        return Dataset(core if self.whole is not None else find_format(self.source.format).grouped(core))


def home(example: Example) -> tuple[str, str]:
    """A name for what an example belongs to: its group, or itself."""
    return ("id", example.id) if example.group is None else ("group", example.group)


def units_of(rows: Iterable[Example], constraints: Sequence[ConstraintSection], seed: int, *, single: bool) -> Unit:
    """How examples are found to belong together.

    Memory grows with the number of examples only if a constraint reaches across groups.

    Args:
        rows: all examples.
        constraints: of the configuration.
        seed: of the hash.
        single: whether every example is a unit by itself.
    """

    def hashed(*name: str) -> int:
        return int.from_bytes(rank(f"core {seed}", *name)[:8], "big")

    if single:
        return lambda example: hashed("id", example.id)
    reaching = [each for each in constraints if getattr(each, "kind", "") in ("implies", "asymmetric", "transitive")]
    if not reaching:
        return lambda example: hashed(*home(example))
    found = _Joined()
    for example in rows:
        own = hashed(*home(example))
        found.join(own, hashed("id", example.id))
        for section in reaching:
            for name in _links(example, section):
                found.join(own, hashed(*name))
    # The smallest of several hashes is no longer spread evenly.
    return lambda example: hashed("unit", str(found.root(hashed(*home(example)))))


def _links(example: Example, section: ConstraintSection) -> Iterator[tuple[str, str]]:
    """Names of what a constraint relates an example to."""
    values = {**example.metadata, **example.fields, "group": example.group, "answer": example.answer}
    if (to := getattr(section, "to", None)) is not None:
        named = values.get(to)
        yield from (("id", str(key)) for key in (named if isinstance(named, list | tuple) else [named]) if key)
        return
    sides = [str(values.get(getattr(section, name, ""), "")) for name in ("first", "second")]
    if all(sides) and getattr(section, "kind", "") == "asymmetric":
        yield "pair", repr(sorted(sides))
    elif all(sides):
        yield from (("thing", side) for side in sides)


class _Joined:
    """Sets of hashes that grow together, each known by its smallest member."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def root(self, key: int) -> int:
        above = self._above
        while (up := above.get(key, key)) != key:
            above[key] = above.get(up, up)
            key = up
        return key

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        if low != high:
            self._above[high] = low


@dataclass(slots=True)
class _Size:
    """What a unit takes: examples, tokens of all as demonstrations, tokens of its longest question."""

    examples: int = 0
    tokens: int = 0
    longest: int = 0


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

    def add(self, unit: int, measure: Callable[[], tuple[int, int]]) -> None:
        self.total += 1
        if unit >= self.below or unit in self.apart or unit in self.large:
            return
        tokens, question = measure()
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
        if not self._fits(self._sizes[unit]):
            self.large.add(unit)
        while not self._fits(self._all):
            self._drop()

    def _fits(self, size: _Size) -> bool:
        return size.examples <= self.most and (size.examples <= LEAST or size.tokens + size.longest <= self.room)

    def _drop(self) -> None:
        self.below = -heappop(self._largest)
        gone = self._sizes.pop(self.below)
        self._all.examples -= gone.examples
        self._all.tokens -= gone.tokens
        self._all.longest = max((size.longest for size in self._sizes.values()), default=0)


def choose_core(
    rows: Rows,
    units: Callable[[bool], Unit],
    prompts: PromptBuilder,
    settings: CoreSection | None,
    *,
    fits: bool = True,
) -> Split | None:
    """Which examples to search.

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
    best = _gone_through(rows, units(False), prompts, section.size or MOST_WHOLE, fits)
    if best.below == END and not best.apart:
        return None
    if not stated and best.core > MOST_SEARCHED:
        best = _gone_through(rows, units(False), prompts, MOST_SEARCHED, fits)
    single = best.core < min(LEAST, best.total, section.size or LEAST) // 2
    if single:
        # Hardly any unit is small enough: rather cut them than search next to nothing.
        best = _gone_through(rows, units(True), prompts, section.size or MOST_SEARCHED, fits)
    rest = best.total - best.core
    parts = min(MOST_PARTS, -(-rest // section.part))
    return Split(best.below, best.apart, best.core, rest, parts, single)


def _gone_through(rows: Rows, unit: Unit, prompts: PromptBuilder, most: int, fits: bool) -> _Chosen:
    """What fits; units that turn out to be too large by themselves have no part in it."""
    apart: frozenset[int] = frozenset()
    for _ in range(_PASSES):
        found = _Chosen(most, prompts.room if fits else END, apart)
        for example in rows:
            found.add(unit(example), lambda example=example: prompts.measured(example))  # type: ignore[misc]
        if not found.large:
            break
        apart |= found.large
    return found
