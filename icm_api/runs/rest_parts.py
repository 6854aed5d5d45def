"""The rest of a data set, part by part: each part is a journal of its own, resumed by itself.

A stretch counts once all its lines are on disk; whoever is killed asks again only about the stretches in flight. How
a stretch is labelled, `rest` knows.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm_api.errors import ProviderError, RunError
from icm_api.files import write_whole
from icm_api.journal import Journal
from icm_api.result import LabelledExample
from icm_api.runs.aside import Aside
from icm_api.runs.executing import Executor, again_if_lost, together
from icm_api.runs.rest import Rest
from icm_api.runs.spill import Index, drop_rows, labelled_lines, part_file, read_part
from icm_api.types import Example

REST_FILE = "rest.json"
STRETCH = 512
"""Examples asked about at once, more if a unit has more."""


@dataclass(slots=True)
class _Left:
    """What all parts set aside together, by now."""

    aside: Aside


async def label_parts(
    rest: Rest, folder: Path, index: Index, aside: int, heard: Callable[[int, int], None], executor: Executor
) -> None:
    """Label all parts, those that are on disk already left as they are; at the end say what was found.

    Args:
        rest: how it is labelled.
        folder: of the parts.
        index: how many examples each has.
        aside: the most examples that may be set aside.
        heard: called with the examples that are done, and all of them.
        executor: labels them.

    Raises:
        ProviderError: the endpoint cannot be used, or refuses more examples than is tolerated.
        PromptError: more examples than is tolerated are too long.
        BudgetError: the next request could exceed the budget.
        StorageError: the disk is full.
    """
    left, done = _Left(Aside(aside_reasons(folder, unfinished=True), aside)), 0
    turn = asyncio.Semaphore(executor.side_by_side)

    async def one(part: int, size: int) -> None:
        nonlocal done

        async def once() -> None:
            with Journal(part_file(folder, part)) as journal:
                if journal.recorded < size:
                    await _part(rest, read_part(folder, part), journal, left, executor)

        async with turn:
            await again_if_lost(once)
            done += size
            heard(done, index.total)

    await together([one(part, size) for part, size in enumerate(index.examples)])
    write_whole(folder / REST_FILE, json.dumps(_summary(rest, folder, index), indent=2, ensure_ascii=False) + "\n")
    drop_rows(folder)


async def _part(
    rest: Rest, rows: Sequence[tuple[int, Example]], journal: Journal, left: _Left, executor: Executor
) -> None:
    at_once = rest.objective.model.capabilities.at_once
    stretches, ends = list(_stretches(rows, max(STRETCH, at_once))), [0]
    for stretch in stretches:
        ends.append(ends[-1] + len(stretch))
    begun = max(at for at, end in enumerate(ends) if end <= journal.recorded)
    journal.keep(ends[begun])
    async with aclosing(executor.label(rest, stretches[begun:], left.aside)) as labelled:
        async for lines, more in labelled:
            if more:
                left.aside = left.aside.with_more(ProviderError("refused"), more)
            journal.write_all(lines)


def _stretches(rows: Sequence[tuple[int, Example]], size: int = STRETCH) -> Iterator[list[Example]]:
    """Whole units, so many together that they have about as many examples."""
    stretch: list[Example] = []
    last: int | None = None
    for unit, example in rows:
        if unit != last and len(stretch) >= size:
            yield stretch
            stretch = []
        stretch.append(example)
        last = unit
    if stretch:
        yield stretch


def _summary(rest: Rest, folder: Path, index: Index) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    abstained = aside = 0
    for _, _, line in labelled_lines(folder):
        if "label" in line:
            counts[line["label"]] += 1
            abstained += line["abstained"]
        else:
            aside += 1
    return {
        "examples": index.total,
        "parts": len(index.examples),
        "label_counts": dict(sorted(counts.items())),
        "abstained": abstained,
        "set_aside": aside,
        "demonstrations": len(rest.frozen.demonstrations),
        "calibration": rest.frozen.calibration,
        "held_out": rest.frozen.held_out,
        "agreement": rest.frozen.agreement,
    }


def read_rest(folder: Path) -> Mapping[str, Any]:
    """What `rest.json` says: counts of all examples that were labelled from a core.

    Args:
        folder: of the parts.

    Raises:
        RunError: it is missing or damaged.
    """
    path = folder / REST_FILE
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path} is missing: only the core is labelled: go on with `icm-api resume {folder.parent}`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged: {error}") from error
    return found


def aside_reasons(folder: Path, *, unfinished: bool = False) -> dict[str, str]:
    """The examples of all parts that were set aside, by id, and why.

    Args:
        folder: of the parts.
        unfinished: some parts are still to be labelled, so that a last line may be torn.

    Raises:
        RunError: a line is damaged.
    """
    lines = labelled_lines(folder, unfinished=unfinished)
    return {str(line["id"]): str(line["set_aside"]) for _, _, line in lines if "set_aside" in line}


def labelled_examples(folder: Path) -> Iterator[LabelledExample]:
    """The labels of all parts, one at a time.

    Args:
        folder: of the parts.

    Raises:
        RunError: a line is damaged.
    """
    for path, number, line in labelled_lines(folder):
        if "set_aside" not in line:
            try:
                yield LabelledExample(**line)
            except TypeError as error:
                raise RunError(f"{path}:{number}: not a labelled example: {error}") from error
