"""What each process that worked on a run really sent: a line each, so that a budget holds over all of them.

It does: add a line when a session ends, and sum up the lines. It does not: know of a process that was killed.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from icm_api.types import Usage

logger = logging.getLogger(__name__)


class Spends(Protocol):
    """Whatever says what it sent and what that cost: a meter, or a model."""

    @property
    def sent(self) -> Usage: ...

    @property
    def spent(self) -> float | None: ...


def note_session(path: Path, meter: Spends, seconds: float) -> None:
    """Add what this process sent, and what it cost where prices are known."""
    line = {"sent": asdict(meter.sent), "seconds": round(seconds, 3)}
    if meter.spent is not None:
        line["money"] = round(meter.spent, 9)
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError:
        # A note for people. On a full disk the error that matters is already on its way.
        logger.warning("could not note this session in %s", path)


def sent_before(path: Path) -> Usage:
    """What all sessions noted so far sent together; nothing where none is noted."""
    total = Usage()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return total
    for number, line in enumerate(lines, 1):
        try:
            total += Usage(**json.loads(line)["sent"])
        except (ValueError, TypeError, KeyError):
            # A process that was killed while writing may leave half a line.
            logger.warning("%s:%d: not the note of a session; left out of the budget", path, number)
    return total
