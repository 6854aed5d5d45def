"""What a run cost: what each stage asked for, and what was really sent to the model.

Adds up what is on disk; no price is known but those that the sessions were counted with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from icm_api.errors import RunError
from icm_api.report.trace import Trace
from icm_api.result import Result
from icm_api.types import Usage


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests and prompt tokens that a stage asked for, whether a cache answered or the model."""

    name: str
    requests: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What reached the model, over all processes that worked on the run.

    Attributes:
        sessions: how many processes noted what they sent.
        unreadable: notes that cannot be read, of processes that were killed while writing them.
        usage: answered requests and their tokens.
        seconds: that the processes took together.
        money: what it cost; None where a session had no prices.
    """

    sessions: int
    unreadable: int
    usage: Usage
    seconds: float
    money: float | None


def stages(result: Result, trace: Trace) -> tuple[Stage, ...]:
    """The search by kind of move, and judging its labels, which is what the total has beyond the last step."""
    names = {"seed": "search: beginnings", "challenge": "search: challengers", "grow": "search: growth"}
    listed = [
        Stage(names.get(move.name, f"search: {move.name}"), move.requests, move.prompt_tokens) for move in trace.moves
    ]
    requests = result.usage.requests - sum(stage.requests for stage in listed)
    tokens = result.usage.prompt_tokens - sum(stage.prompt_tokens for stage in listed)
    if requests or tokens:
        listed.append(Stage("judging the labels", requests, tokens))
    return tuple(listed)


def read_sent(path: Path) -> Sent | None:
    """The notes of a run's sessions; None where there are none.

    Raises:
        RunError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    notes = list(_notes(lines))
    if not notes:
        return None
    usage, seconds, spent = Usage(), 0.0, [money for _, _, money in notes]
    for one, took, _ in notes:
        usage += one
        seconds += took
    # Part of a sum is no sum.
    money = sum(value for value in spent if value is not None) if None not in spent else None
    return Sent(len(notes), len(lines) - len(notes), usage, seconds, money)


def _notes(lines: list[str]) -> Iterator[tuple[Usage, float, float | None]]:
    for line in lines:
        try:
            note = json.loads(line)
            money = note.get("money")
            yield Usage(**note["sent"]), float(note["seconds"]), None if money is None else float(money)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
