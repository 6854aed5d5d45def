"""Words of messages that depend on numbers.

It does: write a count with its noun. It does not: know what is counted, or print.
"""

from __future__ import annotations


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """A count and its noun, in the singular for one.

    Args:
        number: of things.
        noun: of one thing.
        plural: of several; the noun with an "s" unless stated.

    Example:
        >>> count_of(1, "row"), count_of(2_000, "row"), count_of(0, "reply", "replies")
        ('1 row', '2,000 rows', '0 replies')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def of_one(several: str) -> str:
    """What is said of several things as it is said of one, where only the noun at the beginning differs.

    Args:
        several: begins with a noun in the plural.

    Example:
        >>> of_one("pairs whose two orders disagree"), of_one("comparisons, whose replies are equal")
        ('pair whose two orders disagree', 'comparison, whose replies are equal')
    """
    noun = several.split(" ", 1)[0].rstrip(",")
    return noun.removesuffix("s") + several.removeprefix(noun)
