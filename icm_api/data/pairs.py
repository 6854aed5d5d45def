"""Orders that say nothing of gold labels: ranks by a hash, and two texts to compare, shown in both orders.

A pair is two examples, labelled "A" if the first text is better and "B" if the second is. The constraint that belongs
to them is `asymmetric("A", total=True)`, which finds the two orders by the metadata "left" and "right": names of the
two texts, unique in the data set. A hash of the texts decides which text gets which name, and so which order is first:
the name says nothing of the label, and calling everything "A" is right in exactly half of the cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from icm_api.types import Example, Label

FIRST, SECOND = "A", "B"
CHATS = "chats"
"""The metadata under which an example has the messages of its texts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two different texts under one heading, in an order that means nothing.

    Attributes:
        id: of the pair, unique in its data set.
        group: of its examples.
        shown: the texts that both orders show, such as the prompt.
        texts: the two, in the order of `ordered`.
        chats: the heading and the two texts in messages of chat formats, where they are more than a question and an
            answer each; else nothing.
    """

    id: str
    group: str
    shown: Mapping[str, str]
    texts: tuple[str, str]
    chats: tuple[list[dict[str, str]], ...] = ()


def rank(purpose: str, *texts: str) -> bytes:
    """A number that looks random and depends on its purpose and the texts alone, as bytes to sort by.

    Args:
        purpose: what the rank is for; other purposes give other ranks.
        texts: what is ranked.

    Returns:
        32 bytes.

    Example:
        >>> rank("order", "a") == rank("order", "a"), rank("order", "a") == rank("sample", "a")
        (True, False)
    """
    # Lengths keep ("ab", "c") and ("a", "bc") apart.
    written = [b"%d:%b" % (len(raw), raw) for raw in (text.encode() for text in (purpose, *texts))]
    return sha256(b"".join(written)).digest()


def ranked(purpose: str, texts: Iterable[str], *beside: str) -> list[str]:
    """Texts, each once, in the order of their ranks.

    Args:
        purpose: what the order is for.
        texts: to be ordered.
        beside: texts that the rank depends on too, such as the question.

    Example:
        >>> ranked("order", ["yes", "no", "yes"], "Is it?") == ranked("order", ["no", "yes"], "Is it?")
        True
    """
    return sorted(dict.fromkeys(texts), key=lambda text: rank(purpose, *beside, text))


def ordered(one: str, other: str, *beside: str) -> tuple[str, str]:
    """The two texts in the order of their ranks, whichever of them is named first.

    Args:
        one: a text.
        other: a text that differs from it.
        beside: texts that are shown with the two, such as the prompt.
    """
    first, second = ranked("order of a pair", (one, other), *beside)
    return first, second


def both_orders(pair: Pair) -> Iterator[Example]:
    """The two examples of a pair.

    Args:
        pair: two texts under one heading.

    Yields:
        An example for each order, with the fields "first" and "second" beside `shown` and the metadata "left" and
        "right"; and, if the pair has chats, `CHATS`: the messages of "prompt", "first" and "second".
    """
    names = (f"{pair.id}/1", f"{pair.id}/2")
    for at, (left, right) in enumerate(((0, 1), (1, 0)), start=1):
        yield Example(
            id=f"{pair.id}-{at}",
            fields=MappingProxyType({**pair.shown, "first": pair.texts[left], "second": pair.texts[right]}),
            group=pair.group,
            metadata=MappingProxyType({"left": names[left], "right": names[right], **_chats(pair, left, right)}),
        )


def _chats(pair: Pair, left: int, right: int) -> dict[str, object]:
    if not pair.chats:
        return {}
    prompt, *texts = pair.chats
    return {CHATS: {"prompt": prompt, "first": texts[left], "second": texts[right]}}


def both_labels(pair: Pair, better: str) -> Iterator[tuple[str, Label]]:
    """The gold labels of the two examples of a pair, by their ids.

    Args:
        pair: two texts under one heading.
        better: the better text of the two.
    """
    won = better == pair.texts[0]
    yield f"{pair.id}-1", FIRST if won else SECOND
    yield f"{pair.id}-2", SECOND if won else FIRST
