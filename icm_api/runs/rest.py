"""Labels the rest of a data set from its core, part by part: each part a journal of its own, resumed by itself.

The examples of a part are asked about in stretches of whole units, one request each, after the frozen demonstrations.
A stretch counts once all its lines are on disk; whoever is killed asks again only about the stretches in flight.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from icm_api.consistency import AbsentKeyError, Relations, compile_relations
from icm_api.errors import PromptError, ProviderError, RunError
from icm_api.evaluation import legal_posterior, scaled
from icm_api.files import write_whole
from icm_api.journal import Journal
from icm_api.objective import Objective, shifted
from icm_api.prompts import PromptBuilder
from icm_api.result import LabelledExample, labelled
from icm_api.runs.aside import Aside, guilty, too_long
from icm_api.runs.executing import Executor, Labelled, Stretch, again_if_lost, together
from icm_api.runs.frozen import Frozen
from icm_api.runs.spill import Index, drop_rows, labelled_lines, part_file, read_part
from icm_api.search.align import align, most_probable
from icm_api.types import Constraint, Dataset, Example, Label, LabelDistribution, Labeling, Tally

REST_FILE = "rest.json"
STRETCH = 512
"""Examples asked about at once, more if a unit has more."""
_AHEAD = 2
"""Stretches under way, so that the slowest answers of one keep nobody waiting."""
_JOBS_AHEAD = 16
"""The same where each is a batch job."""
_KEPT = ("id", "label", "probability", "coverage", "group", "probabilities", "fixed", "calibrated", "abstained")


@dataclass(frozen=True, slots=True)
class Rest:
    """How the rest is labelled.

    Attributes:
        objective: over the core; gives prompts, model and labels.
        core: examples that the demonstrations are among.
        constraints: of the task.
        frozen: demonstrations and calibration.
        fixed: labels that a person gave to examples of the rest.
        abstain_below: labels less probable than this are marked as open.
    """

    objective: Objective
    core: Dataset
    constraints: Sequence[Constraint]
    frozen: Frozen
    fixed: Labeling
    abstain_below: float

    async def label(
        self, folder: Path, index: Index, aside: int, heard: Callable[[int, int], None], executor: Executor
    ) -> None:
        """Label all parts, those that are on disk already left as they are; at the end say what was found.

        Args:
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
                        await self._part(read_part(folder, part), journal, left, executor)

            async with turn:
                await again_if_lost(once)
                done += size
                heard(done, index.total)

        await together([one(part, size) for part, size in enumerate(index.examples)])
        write_whole(folder / REST_FILE, json.dumps(self._summary(folder, index), indent=2, ensure_ascii=False) + "\n")
        drop_rows(folder)

    async def _part(
        self, rows: Sequence[tuple[int, Example]], journal: Journal, left: _Left, executor: Executor
    ) -> None:
        at_once = self.objective.model.capabilities.at_once
        stretches, ends = list(_stretches(rows, max(STRETCH, at_once))), [0]
        for stretch in stretches:
            ends.append(ends[-1] + len(stretch))
        begun = max(at for at, end in enumerate(ends) if end <= journal.recorded)
        journal.keep(ends[begun])
        async with aclosing(executor.label(self, stretches[begun:], left.aside)) as labelled:
            async for lines, more in labelled:
                if more:
                    left.aside = left.aside.with_more(ProviderError("refused"), more)
                journal.write_all(lines)

    async def labelled(self, stretches: Sequence[Stretch], aside: Aside) -> AsyncGenerator[Labelled]:
        """The lines of some stretches, one after the other, while the next is asked about already.

        Args:
            stretches: whole units.
            aside: what is set aside before.

        Yields:
            The lines of a stretch, and which of its examples are set aside, and why.

        Raises:
            ProviderError: the endpoint cannot be used, or refuses more examples than is tolerated.
            PromptError: more examples than is tolerated are too long.
        """
        ahead = _JOBS_AHEAD if self.objective.model.capabilities.at_once > 1 else _AHEAD
        waiting, under_way = list(stretches), list[asyncio.Task[Labelled]]()
        try:
            while True:
                while len(under_way) < ahead and waiting:
                    under_way.append(asyncio.create_task(self._stretch(waiting.pop(0), aside)))
                if not under_way:
                    return
                found = await under_way.pop(0)
                aside = replace(aside, reasons={**aside.reasons, **found[1]})
                yield found
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _stretch(self, examples: Stretch, aside: Aside) -> Labelled:
        """The lines of some whole units, and which of them are set aside, and why."""
        builder = self.objective.prompts
        # A builder keeps what it rendered: of the rest, only as long as it is asked about.
        prompts = PromptBuilder(builder.template, builder.verbalizer, builder.count_tokens, builder.context_window)
        asked = replace(self.objective, dataset=Dataset(examples), prompts=prompts, tally=Tally())
        reasons = too_long(asked)
        if reasons:
            aside.with_more(PromptError("too long"), reasons)
        shown = prompts.after(self.frozen.shown(self.core))
        while True:
            left = [example for example in examples if example.id not in reasons]
            try:
                reads = await asked.read([shown.prompt(example) for example in left]) if left else ()
                break
            except ProviderError as error:
                most = aside.most - len(aside.reasons) - len(reasons)
                found = await guilty(error, asked, most)
                aside.with_more(error, {**reasons, **found} if found else {})
                reasons |= found
        predicted = dict(zip([example.id for example in left], reads, strict=True))
        rows = self._labelled(Dataset(left), predicted) if left else {}
        lines = [rows.get(example.id) or {"id": example.id, "set_aside": reasons[example.id]} for example in examples]
        return lines, reasons

    def _labelled(self, dataset: Dataset, predicted: Mapping[str, LabelDistribution]) -> dict[str, dict[str, Any]]:
        """The best legal labels of each component, and how sure they are."""
        fixed = Labeling({key: self.fixed[key] for key in dataset.ids if key in self.fixed})
        relations = self._relations(dataset)
        calibrated = {key: shifted(read, self.frozen.shifts) for key, read in predicted.items()}
        free = {key: read for key, read in calibrated.items() if key not in fixed}
        labels = align(replace(self.objective, dataset=dataset, relations=relations), free, fixed, most_probable)
        sure = legal_posterior(calibrated, relations) if len(relations) else calibrated
        return {
            example.id: self._row(example, labels[example.id], predicted[example.id], sure[example.id])
            for example in dataset
        }

    def _row(self, example: Example, label: Label, read: LabelDistribution, sure: LabelDistribution) -> dict[str, Any]:
        final = scaled(sure, self.frozen.temperature)
        fixed = example.id in self.fixed
        row = replace(
            labelled(example, label, read, fixed=fixed),
            calibrated={name: round(final.probability(name), 6) for name in final.labels},
            abstained=final.probability(label) < self.abstain_below and not fixed,
        )
        return {name: getattr(row, name) for name in _KEPT}

    def _relations(self, dataset: Dataset) -> Relations:
        labels = self.objective.labels

        def reads_something(constraint: Constraint) -> bool:
            try:
                compile_relations(dataset, labels, [constraint])
            except AbsentKeyError:
                return False
            return True

        return compile_relations(dataset, labels, [each for each in self.constraints if reads_something(each)])

    def _summary(self, folder: Path, index: Index) -> dict[str, Any]:
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
            "demonstrations": len(self.frozen.demonstrations),
            "calibration": self.frozen.calibration,
            "held_out": self.frozen.held_out,
            "agreement": self.frozen.agreement,
        }


@dataclass(slots=True)
class _Left:
    """What all parts set aside together, by now."""

    aside: Aside


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
