"""What is left out of a source, noted while it is gone through and said once, however often it is gone through.

Which rows those are, the loaders of the formats say.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import getLogger
from typing import TypeAlias

from icm_api.errors import DataError

Note: TypeAlias = Callable[[str], None]
"""Gets what is to be said of a whole source at its end."""

_LOG = getLogger(__name__)


class LeftOut:
    """What one pass over a source leaves out.

    Attributes:
        rows: the errors of rows that are left out, as they have no text.
        notes: what else is left out, a sentence each.
    """

    def __init__(self) -> None:
        self.rows: list[DataError] = []
        self.notes: list[str] = []

    def say(self) -> None:
        """Say how much was left out, if anything was, as warnings of the log."""
        if self.rows:
            _LOG.warning("left out %d rows without a text (data.on_empty); the first: %s", len(self.rows), self.rows[0])
        for note in self.notes:
            warn(note)


def warn(note: str) -> None:
    """Say it at once, where nobody collects it."""
    _LOG.warning("%s", note)
