"""Random draws as functions of (seed, step, purpose), so that a search has no generator state to save."""

from __future__ import annotations

from random import Random


def draw(seed: int, step: int, purpose: str) -> Random:
    """A fresh generator for one purpose at one step; the same arguments give the same draws everywhere.

    Args:
        seed: of the search or whatever else draws.
        step: its number, or another count.
        purpose: a few words; two purposes never share a stream.

    Example:
        >>> draw(0, 7, "accept").random() == draw(0, 7, "accept").random()
        True
        >>> draw(0, 7, "accept").random() == draw(0, 8, "accept").random()
        False
    """
    return Random(f"{seed}/{step}/{purpose}")
