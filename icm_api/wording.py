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
