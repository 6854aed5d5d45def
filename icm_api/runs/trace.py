"""`trace.jsonl`: a line a step, written here and read here; and the labelings that the steps lead through."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from icm_api.errors import RunError
from icm_api.search import Progress
from icm_api.types import Label

TRACE_FILE = "trace.jsonl"


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One line of the trace.

    Attributes:
        step: its number; 0 is the beginning of the first restart.
        restart: the restart it belongs to.
        kind, move: what the step did, as in `Info`.
        examples: ids whose label was proposed.
        old, new: their labels before, and the proposed ones; None for unlabelled.
        utility_change: by how much the proposal changes the value.
        temperature: T at this step.
        accepted: whether the proposal became the labeling.
        value: what the search maximises, after the step.
        utility, mutual_predictability, inconsistency: U, P and I after the step.
        labelled: examples labelled after the step.
        requests, prompt_tokens: asked for since the search began.
    """

    step: int
    restart: int
    kind: str
    move: str
    examples: tuple[str, ...]
    old: tuple[Label | None, ...]
    new: tuple[Label | None, ...]
    utility_change: float
    temperature: float
    accepted: bool
    value: float
    utility: float
    mutual_predictability: float
    inconsistency: float
    labelled: int
    requests: int
    prompt_tokens: int


_KEYS = tuple(field.name for field in fields(TraceStep))
_NUMBERS = ("utility_change", "temperature", "value", "utility", "mutual_predictability", "inconsistency")
_COUNTS = ("step", "restart", "labelled", "requests", "prompt_tokens")


def trace_record(progress: Progress) -> dict[str, Any]:
    """One line of `trace.jsonl`, as plain values."""
    info, usage = progress.info, progress.usage
    return {
        "step": info.step,
        "restart": info.restart,
        "kind": info.kind,
        "move": info.move,
        "examples": list(info.examples),
        "old": list(info.old),
        "new": list(info.new),
        "utility_change": info.change,
        "temperature": info.temperature,
        "accepted": info.accepted,
        "value": info.score.value,
        "utility": info.score.utility,
        "mutual_predictability": info.score.mutual_predictability,
        "inconsistency": info.score.inconsistency,
        "labelled": len(info.score.labeling),
        "requests": usage.requests,
        "prompt_tokens": usage.prompt_tokens,
    }


def count_steps(path: Path) -> int:
    """How many steps a trace has, without a look at what they are.

    Args:
        path: of `trace.jsonl`.

    Raises:
        RunError: the file is missing or empty.
    """
    try:
        with path.open("rb") as stream:
            total = sum(1 for _ in stream)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    if not total:
        raise RunError(f"{path} is empty: go on with the run by icm-api resume")
    return total


def read_trace(path: Path) -> Iterator[TraceStep]:
    """The steps of a trace, a line at a time, since the trace of a long run is large.

    Args:
        path: of `trace.jsonl`.

    Raises:
        RunError: the file is missing or damaged; which line.
    """
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, 1):
                yield _step(raw, f"{path}:{number}")
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error


def _step(raw: bytes, where: str) -> TraceStep:
    try:
        line = json.loads(raw)
        missing = [key for key in _KEYS if key not in line]
        if missing:
            raise RunError(f"{where}: not a step of a run: no {missing[0]!r}")
        if len(line["examples"]) != len(line["new"]) or len(line["examples"]) != len(line["old"]):
            raise ValueError("not as many labels as examples")
        values: dict[str, Any] = {
            **{key: line[key] for key in ("kind", "move", "accepted")},
            **{key: tuple(line[key]) for key in ("examples", "old", "new")},
            **{key: float(line[key]) for key in _NUMBERS},
            **{key: int(line[key]) for key in _COUNTS},
        }
        return TraceStep(**values)
    except (ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{where}: not a step of a run: {error}") from error


def replay(steps: Iterable[TraceStep]) -> Iterator[tuple[TraceStep, Mapping[str, Label]]]:
    """Every step, with the labels after it.

    Yields:
        The step, and a view of the labels by id that changes with the next step: copy it to keep it.

    Example:
        >>> one = TraceStep(0, 0, "begin", "seed", ("a",), (None,), ("True",), 0, 0, True, 0, 0, 0, 0, 1, 1, 9)
        >>> two = TraceStep(1, 0, "relabel", "round", ("a",), ("True",), ("False",), 0, 0, False, 0, 0, 0, 0, 1, 2, 18)
        >>> [dict(labels) for _, labels in replay([one, two])]
        [{'a': 'True'}, {'a': 'True'}]
    """
    labels: dict[str, Label] = {}
    view = MappingProxyType(labels)
    for step in steps:
        if step.accepted:
            for key, label in zip(step.examples, step.new, strict=True):
                if label is None:
                    labels.pop(key, None)
                else:
                    labels[key] = label
        yield step, view
