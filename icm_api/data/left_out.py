"""What is left out of a source, noted while it is gone through and said once, however often it is gone through.

Which rows those are, the loaders of the formats say.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from typing import TypeAlias

from icm_api.data.rows import Row
from icm_api.errors import DataError
from icm_api.wording import count_of, of_one

Note: TypeAlias = Callable[[Row, int, str], None]
"""Gets a row of which something is left out, how much of it, and what that is, in the plural."""

_LOG = getLogger(__name__)


class LeftOut:
    """What one pass over a source leaves out.

    Attributes:
        rows: the errors of rows that are left out, as they have no text.
    """

    def __init__(self) -> None:
        self.rows: list[DataError] = []
        self._others: dict[str, tuple[int, Row]] = {}

    def note(self, row: Row, count: int, what: str) -> None:
        """Count what else is left out; a `Note`.

        Args:
            row: that it is of.
            count: how much of it.
            what: it is, in the plural.
        """
        before, first = self._others.get(what, (0, row))
        self._others[what] = before + count, first

    def say(self) -> None:
        """Say how much was left out, if anything was, as warnings of the log."""
        if self.rows:
            rows = count_of(len(self.rows), "row")
            _LOG.warning("left out %s without a text (data.on_empty); the first: %s", rows, self.rows[0])
        for what, (count, first) in self._others.items():
            told = count_of(count, of_one(what), what)
            _LOG.warning("left out %s; the first: %s %d of %s", told, first.unit, first.line, first.path)


def unsaid(row: Row, count: int, what: str) -> None:
    """Nothing: a `Note` for those who go through a source again."""
