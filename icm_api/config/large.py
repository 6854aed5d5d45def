"""The tables `[batches]` and `[core]`: how a data set is labelled that is too large for one search.

In batches that are merged, as the paper does; or from a core that is searched.
"""

from __future__ import annotations

from pydantic import Field

from icm_api.config.section import Section

MOST_SEARCHED = 1_000
"""Examples of a core, if nobody says: a search asks about each of them many times over."""


class BatchesSection(Section):
    """`[batches]`: what is searched is cut into batches of whole groups, each with a search of its own.

    Attributes:
        size: about how many examples each has, those included that all batches share.
        count: how many batches; by default as many as take all examples. What is left then is labelled from the merged
            batches, as the rest is from a core.
        overlap: examples that all batches share, to see whether they found the same; by default an eighth of `size`.
        carry: whether the first batch is searched before the others, which then keep its labels of the shared examples.
    """

    size: int = Field(default=256, ge=8)
    count: int | None = Field(default=None, ge=2)
    overlap: int | None = Field(default=None, ge=2)
    carry: bool = False

    @property
    def shared(self) -> int:
        """Examples that all batches share, about."""
        return self.overlap or max(4, self.size // 8)


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
