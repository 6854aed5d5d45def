"""Two texts to compare, shown in both orders: two examples, of which exactly one says that the first is better.

Labels are "A", the first is better, and "B", the second is. The constraint that belongs to them is
`asymmetric("A", total=True)`, which finds the two orders by the metadata "left" and "right": names of the two texts,
unique in the data set. Which text gets which name, and so which order comes first, is decided by a hash of the
texts: it says nothing of the label, and calling everything "A" is right in exactly half of the cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from icm_api.datasets.ranks import ranked
from icm_api.types import Example, Label

FIRST, SECOND = "A", "B"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two different texts under one heading, in an order that means nothing.

    Attributes:
        id: of the pair, unique in its data set.
        group: of its examples.
        shown: the texts that both orders show, such as the prompt.
        texts: the two, in the order of `ordered`.
    """

    id: str
    group: str
    shown: Mapping[str, str]
    texts: tuple[str, str]


def ordered(one: str, other: str, *beside: str) -> tuple[str, str]:
    """The two texts in the order that a hash of them gives; the same whichever is named first."""
    first, second = ranked("order of a pair", (one, other), *beside)
    return first, second


def both_orders(pair: Pair) -> Iterator[Example]:
    """The two examples of a pair: fields "first" and "second" beside `shown`, metadata "left" and "right"."""
    names = (f"{pair.id}/1", f"{pair.id}/2")
    for at, (left, right) in enumerate(((0, 1), (1, 0)), start=1):
        yield Example(
            id=f"{pair.id}-{at}",
            fields=MappingProxyType({**pair.shown, "first": pair.texts[left], "second": pair.texts[right]}),
            group=pair.group,
            metadata=MappingProxyType({"left": names[left], "right": names[right]}),
        )


def both_labels(pair: Pair, better: str) -> Iterator[tuple[str, Label]]:
    """The gold labels of the two examples, where `better` is the better of the two texts."""
    won = better == pair.texts[0]
    yield f"{pair.id}-1", FIRST if won else SECOND
    yield f"{pair.id}-2", SECOND if won else FIRST
