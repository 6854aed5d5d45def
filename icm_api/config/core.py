"""The table `[core]`: how a data set is labelled that is too large to be searched whole."""

from __future__ import annotations

from pydantic import Field

from icm_api.config.sections import Section

MOST_SEARCHED = 1_000
"""Examples of a core, if nobody says: a search asks about each of them many times over."""


class CoreSection(Section):
    """`[core]`: what is searched of a data set that does not fit the context window; the rest is labelled from it.

    Attributes:
        size: the most examples that are searched, by whole groups; by default as many as fit the context window
            together, and at most 1,000 of a set that does not.
        demonstrations: the most examples of the core that are shown before each of the rest.
        part: about how many examples of the rest are labelled into one file.
    """

    size: int | None = Field(default=None, ge=8)
    demonstrations: int = Field(default=64, ge=2)
    part: int = Field(default=10_000, ge=1)
