"""The table `[batches]`: a data set is searched in batches, as the paper does, and they are merged."""

from __future__ import annotations

from pydantic import Field

from icm_api.config.sections import Section


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
