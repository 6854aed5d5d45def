"""Asks what shows the worth of each method's labels on one seed. Gold labels are used here, as demonstrations.

A method's labels of the searched examples are kept to be held against gold; then the same labels serve as
demonstrations for held-out examples. Labels that a person gave are no method's merit: they are left out of the first,
and stand in the second where the search had them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from icm_api.compare.asking import Answer, answers, answers_of, demonstrations_of, random_labels
from icm_api.compare.curves import doubling
from icm_api.compare.searches import SEARCHES
from icm_api.compare.split import Split
from icm_api.config import Config, MethodName
from icm_api.data import Gold
from icm_api.model import LanguageModel
from icm_api.result import Result
from icm_api.runs import FinishedRun
from icm_api.types import Example, Label, Task, Usage


@dataclass(frozen=True, slots=True)
class Bench:
    """What every seed is measured with.

    Attributes:
        config: of the comparison.
        task: template, labels, constraints.
        gold: of searched and held-out examples.
        longest: the most demonstrations on the curve over their number; every seed has as many.
        model, chat: who was asked, as they name themselves; no chat model, None.
    """

    config: Config
    task: Task
    gold: Gold
    longest: int
    model: str = ""
    chat: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one seed.

    Attributes:
        labels: of the searched examples, those of a person left out; empty where the method gives none of its own.
        held_out: of the held-out examples, after the method's demonstrations.
        labels_cost, held_out_cost: of getting them.
        demonstrations: in a prompt for a held-out example.
    """

    labels: tuple[Answer, ...]
    held_out: tuple[Answer, ...]
    labels_cost: Usage
    held_out_cost: Usage
    demonstrations: int


@dataclass(frozen=True, slots=True)
class SeedCells:
    """One seed: a cell per method, and held-out answers by number of ICM-labelled demonstrations."""

    methods: dict[str, Cell] = field(default_factory=dict)
    curve: dict[int, tuple[Answer, ...]] = field(default_factory=dict)


async def measure_chat(
    bench: Bench, split: Split, llm: LanguageModel, cells: SeedCells, on_measure: Callable[[int, str], None]
) -> None:
    """Ask the chat model on one seed.

    Raises:
        ProviderError, BudgetError, StorageError: as the client.
    """
    on_measure(split.seed, "chat")
    cells.methods["chat"] = await _Asking(bench, split, llm).zero_shot()


async def measure_seed(
    bench: Bench,
    split: Split,
    llm: LanguageModel,
    results: Mapping[tuple[str, int], FinishedRun],
    cells: SeedCells,
    on_measure: Callable[[int, str], None],
) -> None:
    """Ask what the other methods need on one seed.

    Raises:
        ProviderError, BudgetError, StorageError: as the client.
    """
    asking, found = _Asking(bench, split, llm), cells.methods
    for method in bench.config.compare.methods:
        if method == "chat" or absent(bench, method):
            continue
        on_measure(split.seed, method)
        if method == "zero-shot":
            found[method] = await asking.zero_shot()
        elif method == "pseudo-labels":
            found[method] = await asking.pseudo_labels()
        elif method in SEARCHES:
            found[method] = await asking.of_result(results[method, split.seed].result)
        else:
            labels = random_labels(split.searched, bench.task.verbalizer.labels, split.seed)
            found[method] = await asking.after(bench.gold if method == "golden" else labels)
    if "icm" in found and bench.config.compare.curve:
        cells.curve.update(await asking.curve(results["icm", split.seed].result.labeling))


def absent(bench: Bench, method: MethodName) -> str:
    """Why a row has no numbers; empty where it has some."""
    if method == "chat" and bench.config.compare.chat is None:
        return "not asked: name a chat model with --chat"
    if method == "icm-unconstrained" and not bench.config.constraints:
        return "not run: the configuration has no constraints, so this is ICM"
    return ""


class _Asking:
    """The questions of one seed."""

    def __init__(self, bench: Bench, split: Split, llm: LanguageModel) -> None:
        self._bench, self._split, self._llm = bench, split, llm
        self._most = bench.config.compare.demonstrations
        self._free = [example for example in split.searched if example.id not in split.fixed]
        self._held_out = [example for example in split.held_out if example.id in bench.gold]

    async def zero_shot(self) -> Cell:
        """Labels and held-out answers without a demonstration."""
        llm, task = self._llm, self._bench.task
        labels, asked = await answers(llm, task, self._free, [])
        held_out, more = await answers(llm, task, self._held_out, [])
        return Cell(labels, held_out, asked, more, 0)

    async def pseudo_labels(self) -> Cell:
        """One round: zero-shot predictions that are sure enough are the demonstrations for all examples.

        Where none is sure enough there are no demonstrations, and this is zero-shot.
        """
        llm, task, least = self._llm, self._bench.task, self._bench.config.compare.threshold
        first, asked = await answers(llm, task, self._free, [])
        sure = {answer.id: answer.label for answer in first if answer.probabilities[answer.label] >= least}
        shown = self._shown(sure)
        labels, more = (first, Usage()) if not shown else await answers(llm, task, self._free, shown)
        held_out, last = await answers(llm, task, self._held_out, shown)
        return Cell(labels, held_out, asked + more, last, len(shown))

    async def of_result(self, result: Result) -> Cell:
        """A search's labels, and held-out answers after them."""
        cell = await self.after(result.labeling)
        return Cell(answers_of(result), cell.held_out, result.usage, cell.held_out_cost, cell.demonstrations)

    async def after(self, labels: Mapping[str, Label]) -> Cell:
        """Held-out answers after these labels alone."""
        shown = self._shown(labels)
        held_out, asked = await answers(self._llm, self._bench.task, self._held_out, shown)
        return Cell((), held_out, Usage(), asked, len(shown))

    async def curve(self, labels: Mapping[str, Label]) -> dict[int, tuple[Answer, ...]]:
        """Held-out answers by number of demonstrations."""
        found = {}
        for count in doubling(self._bench.longest):
            shown = self._shown(labels, count)
            found[count], _ = await answers(self._llm, self._bench.task, self._held_out, shown)
        return found

    def _shown(self, labels: Mapping[str, Label], most: int | None = None) -> list[tuple[Example, Label]]:
        return demonstrations_of(self._split.searched, labels, self._most if most is None else most, self._split.seed)
