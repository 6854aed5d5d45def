"""What belongs together in a large data set, and where: in the core that is searched, or in a part of the rest.

A unit is what no cut may part: a group, or what chains of constraints may relate across groups. A unit is in the core
if its hash is below a threshold, so that two numbers say where every example belongs, and no list of ids is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from icm_api.config import ConstraintSection
from icm_api.data import DataSource, LeftOut, find_format, load_examples, load_few, rank, stream_examples
from icm_api.errors import RunError
from icm_api.runs.folder import CORE_KEY
from icm_api.types import Dataset, Example

Unit: TypeAlias = Callable[[Example], int]
"""From an example to the hash of its unit, in [0, 2**64)."""

END = 2**64
MOST_WHOLE = 4_000
"""A larger data set is never searched whole, unless `[core] size` says so: each example takes many requests."""
MOST_PARTS = 512


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
    _said: list[bool] = field(default_factory=list, repr=False, compare=False)

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
        return cls(source, load_few(source, MOST_WHOLE))

    def __iter__(self) -> Iterator[Example]:
        """From the first on, and says how many rows were left out at the end of the first time.

        Raises:
            DataError: at a bad row.
        """
        if self.whole is not None:
            yield from self.whole
            return
        left_out = LeftOut()
        yield from stream_examples(self.source, left_out)
        if not self._said:
            self._said.append(True)
            left_out.say()

    def chosen(self, split: Split, unit: Unit) -> Dataset:
        """The examples of the core, in the order of the source.

        Args:
            split: says which they are.
            unit: of an example.
        """
        return self.core_of([example for example in self if split.part(unit(example)) is None])

    def core_of(self, examples: Sequence[Example]) -> Dataset:
        """The examples of the core as a data set.

        Args:
            examples: all of them, in the order of the source.

        Raises:
            RunError: there is none.
        """
        if not examples:
            raise RunError("no example of the data is in the core: it changed since the run began")
        return Dataset(examples if self.whole is not None else find_format(self.source.format).grouped(examples))


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
    afar = reaching(constraints)
    if not afar:
        return _by_home(hashed)
    found = _Joined()
    for example in rows:
        own = hashed(*home(example))
        found.join(own, hashed("id", example.id))
        for section in afar:
            for name in _links(example, section):
                found.join(own, hashed(*name))
    # The smallest of several hashes is no longer spread evenly.
    return lambda example: hashed("unit", str(found.root(hashed(*home(example)))))


def reaching(constraints: Sequence[ConstraintSection]) -> list[ConstraintSection]:
    """Those that may relate examples of different groups.

    Args:
        constraints: of the configuration.
    """
    return [each for each in constraints if getattr(each, "kind", "") in ("implies", "asymmetric", "transitive")]


def _by_home(hashed: Callable[..., int]) -> Unit:
    """The hash of a group's name; the examples of a group mostly follow one another."""
    last, known = ("", ""), 0

    def unit(example: Example) -> int:
        nonlocal last, known
        if (own := home(example)) != last:
            last, known = own, hashed(*own)
        return known

    return unit


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
