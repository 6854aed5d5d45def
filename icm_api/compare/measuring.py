"""Asks a model for the labels of examples after the demonstrations that each method gives, and says what that cost.

A method's labels of the searched examples are kept to be compared with gold; then the same labels serve as
demonstrations for held-out examples. Labels that a person gave are no method's merit: they are left out of the first,
and stay in the second if the search had them. Golden labels are demonstrations of one method; no accuracy is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from types import MappingProxyType

from icm_api.chance import draw
from icm_api.compare.field import BASELINES, Baseline, Question, Unlabelled
from icm_api.compare.searches import SEARCHES
from icm_api.compare.split import Split
from icm_api.config import Config, RowName
from icm_api.data import Gold
from icm_api.objective import Calibration
from icm_api.objective.utility import SMALLEST
from icm_api.prompts import PromptBuilder
from icm_api.result import Result
from icm_api.runs import FinishedRun
from icm_api.runs.aside import Aside
from icm_api.search import calibration_of
from icm_api.types import Answers, Dataset, Example, Label, LabelDistribution, Model, Tally, Task, Usage

CALIBRATED: Mapping[RowName, RowName] = MappingProxyType(
    {"zero-shot-calibrated": "zero-shot", "icm-calibrated": "icm", "golden-calibrated": "golden"}
)
"""Rows whose answers are those of another row, calibrated; they ask nothing more."""

Demonstrations = Sequence[tuple[Example, Label]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The label that a method gives an example, and the model's probability of every label.

    Attributes:
        id: of the example.
        group: of the example, or None.
        label: given by the method.
        probabilities: of every label, in label order; they add up to 1.
    """

    id: str
    group: str | None
    label: Label
    probabilities: Mapping[Label, float]


@dataclass(frozen=True, slots=True)
class Bench:
    """What every seed is measured with.

    Attributes:
        config: of the comparison.
        task: template, labels, constraints.
        gold: of searched and held-out examples.
        results: the run of each search, by method and seed.
        longest: the most demonstrations on the curve over their number; every seed has as many.
        aside: examples that no method is asked about or shown.
    """

    config: Config
    task: Task
    gold: Gold
    results: Mapping[tuple[str, int], FinishedRun]
    longest: int
    aside: Aside = field(default_factory=Aside)


@dataclass(frozen=True, slots=True)
class Cell:
    """One method on one seed.

    Attributes:
        labels: of the searched examples, those of a person left out; empty if the method gives none of its own.
        held_out: of the held-out examples, after the method's demonstrations.
        labels_cost, held_out_cost: requests and tokens that they took, whether a cache answered or the model.
        demonstrations: in a prompt for a held-out example.
    """

    labels: tuple[Answer, ...]
    held_out: tuple[Answer, ...]
    labels_cost: Usage
    held_out_cost: Usage
    demonstrations: int

    def without(self, ids: Collection[str]) -> Cell:
        """But the answers for these examples."""
        labels, held_out = (tuple(each for each in part if each.id not in ids) for part in (self.labels, self.held_out))
        return replace(self, labels=labels, held_out=held_out)


@dataclass(frozen=True, slots=True)
class SeedCells:
    """One seed: a cell per method, and held-out answers by number of ICM-labelled demonstrations."""

    methods: dict[str, Cell] = field(default_factory=dict)
    curve: dict[int, tuple[Answer, ...]] = field(default_factory=dict)


async def measure_seed(
    bench: Bench, split: Split, model: Model, methods: Sequence[RowName], on_measure: Callable[[int, str], None]
) -> SeedCells:
    """Ask what methods need on one seed.

    Args:
        bench: what every seed is measured with.
        split: the examples of the seed.
        model: who is asked.
        methods: those to measure with this model; those without numbers are left out.
        on_measure: called before each method, with seed and method.

    Raises:
        ProviderError, BudgetError, StorageError: as the client.
    """
    asking, found = _Asking(bench, split, model), SeedCells()
    for method in methods:
        if absent(bench.config, method):
            continue
        on_measure(split.seed, method)
        found.methods[method] = await asking.cell(method)
    if "icm" in found.methods and bench.config.compare.curve:
        found.curve.update(await asking.curve(bench.results["icm", split.seed].result.labeling))
    return found


def absent(config: Config, method: RowName) -> str:
    """Why a row has no numbers; empty if it has some.

    Args:
        config: of the comparison.
        method: of the row.
    """
    if method == "chat" and config.compare.chat is None:
        return "not asked: name a chat model with --chat"
    if method == "icm-unconstrained" and not config.constraints:
        return "not run: the configuration has no constraints, so this is ICM"
    return ""


def doubling(most: int) -> tuple[int, ...]:
    """0, 1, 2, 4, ... up to and with `most`.

    Args:
        most: at least 1.

    Example:
        >>> doubling(6), doubling(1)
        ((0, 1, 2, 4, 6), (0, 1))
    """
    counts = [0]
    while (following := max(1, 2 * counts[-1])) < most:
        counts.append(following)
    return (*counts, most)


class _Asking:
    """The questions of one seed."""

    def __init__(self, bench: Bench, split: Split, model: Model) -> None:
        self._bench, self._split, self._model = bench, split, model
        self._most = bench.config.compare.demonstrations
        self._searched = Dataset(example for example in split.searched if example.id not in bench.aside.reasons)
        self._free = [example for example in self._searched if example.id not in split.fixed]
        kept = [example for example in split.held_out if example.id not in bench.aside.reasons]
        self._held_out = [example for example in kept if example.id in bench.gold]

    async def cell(self, method: RowName) -> Cell:
        """The labels of a method, and held-out answers after them."""
        if method in CALIBRATED:
            return self._calibrated(await self.cell(CALIBRATED[method]), labels=method == "zero-shot-calibrated")
        if method in ("zero-shot", "chat"):
            labels, asked = await self._answers(self._free, [])
            return await self._after([], labels, asked)
        if method == "pseudo-labels":
            return await self._pseudo_labels()
        if method in BASELINES:
            return await self._baseline(BASELINES[method])
        if method in SEARCHES:
            result = self._bench.results[method, self._split.seed].result
            labels = tuple(answer for answer in _answers_of(result) if answer.id not in self._bench.aside.reasons)
            return await self._after(self._shown(result.labeling), labels, result.usage)
        if method == "golden":
            return await self._after(self._shown(self._bench.gold))
        labels_of = random_labels(self._searched, self._bench.task.verbalizer.labels, self._split.seed)
        return await self._after(self._shown(labels_of))

    def _calibrated(self, cell: Cell, *, labels: bool) -> Cell:
        """The same answers, and with `labels` the method's own labels, calibrated over those asked together."""
        calibration = calibration_of(self._bench.config.search)
        own = _calibrated(cell.labels, calibration) if labels else cell.labels
        return replace(cell, labels=own, held_out=_calibrated(cell.held_out, calibration))

    async def _pseudo_labels(self) -> Cell:
        """One round: zero-shot predictions that are sure enough are the demonstrations for all examples.

        If none is sure enough there are no demonstrations, and this is zero-shot.
        """
        first, asked = await self._answers(self._free, [])
        least = self._bench.config.compare.threshold
        shown = self._shown({one.id: one.label for one in first if one.probabilities[one.label] >= least})
        labels, more = await self._answers(self._free, shown) if shown else (first, Usage())
        return await self._after(shown, labels, asked + more)

    async def _baseline(self, baseline: Baseline) -> Cell:
        """The labels of a baseline of the field, whose demonstrations then are for held-out examples."""
        tally, bench = Tally(), self._bench

        async def ask(questions: Sequence[Question]) -> Sequence[LabelDistribution]:
            reads = await asked_each(self._model, bench.task, questions)
            tally.add(reads.costs)
            return reads

        names, threshold = bench.task.verbalizer.labels, bench.config.compare.threshold
        found = await baseline.labels(Unlabelled(self._free, names, self._split.seed, threshold, ask))
        labels = tuple(
            Answer(example.id, example.group, found.labels[example.id], found.probabilities[example.id])
            for example in self._free
        )
        return await self._after(self._shown(found.shown), labels, tally.usage)

    async def curve(self, labels: Mapping[str, Label]) -> dict[int, tuple[Answer, ...]]:
        """Held-out answers by number of demonstrations."""
        counts = doubling(self._bench.longest)
        return {count: (await self._answers(self._held_out, self._shown(labels, count)))[0] for count in counts}

    async def _after(self, shown: Demonstrations, labels: tuple[Answer, ...] = (), cost: Usage | None = None) -> Cell:
        held_out, asked = await self._answers(self._held_out, shown)
        return Cell(labels, held_out, cost or Usage(), asked, len(shown))

    async def _answers(self, queries: Sequence[Example], shown: Demonstrations) -> tuple[tuple[Answer, ...], Usage]:
        return await answers_after(self._model, self._bench.task, queries, shown)

    def _shown(self, labels: Mapping[str, Label], most: int | None = None) -> Demonstrations:
        return demonstrations_of(self._searched, labels, self._most if most is None else most, self._split.seed)


async def answers_after(
    model: Model, task: Task, queries: Sequence[Example], demonstrations: Demonstrations
) -> tuple[tuple[Answer, ...], Usage]:
    """The most probable label of each query after the same demonstrations; one request each.

    Args:
        model: who is asked.
        task: template and labels.
        queries: one that is among the demonstrations is asked without itself.
        demonstrations: examples with their labels, in the order in which they are shown.

    Returns:
        An answer per query, and requests and tokens, whether a cache answered or the model.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    questions = [Question(query, [shown for shown in demonstrations if shown[0].id != query.id]) for query in queries]
    reads = await asked_each(model, task, questions)
    found = tuple(
        Answer(query.id, query.group, read.best, {label: read.probability(label) for label in read.labels})
        for query, read in zip(queries, reads, strict=True)
    )
    return found, reads.usage


async def asked_each(model: Model, task: Task, questions: Sequence[Question]) -> Answers[LabelDistribution]:
    """The distribution over the labels of each question after its own demonstrations; one request each.

    Args:
        model: who is asked.
        task: template and labels.
        questions: a query each, with its demonstrations.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    prompts = PromptBuilder(task.template, task.verbalizer, model.count_tokens, model.capabilities.context_window)
    return await model.label_distributions([prompts.prompt(each.query, each.shown) for each in questions])


def _calibrated(answers: Sequence[Answer], calibration: Calibration) -> tuple[Answer, ...]:
    reads = {
        one.id: LabelDistribution(
            tuple(one.probabilities),
            tuple(log(max(p, SMALLEST)) for p in one.probabilities.values()),
            1.0,
            "calibrated",
        )
        for one in answers
    }
    found = calibration(reads)
    return tuple(
        replace(
            one,
            label=found[one.id].best,
            probabilities={label: found[one.id].probability(label) for label in one.probabilities},
        )
        for one in answers
    )


def _answers_of(result: Result) -> tuple[Answer, ...]:
    """The labels that a search found, with p(label | x_i, all other labels found); those of a person left out."""
    return tuple(Answer(row.id, row.group, row.label, row.probabilities) for row in result.examples if not row.fixed)


def random_labels(dataset: Dataset, labels: Sequence[Label], seed: int) -> dict[str, Label]:
    """Every label as probable as any other, for each example.

    Args:
        dataset: the examples.
        labels: the label set.
        seed: of the draw.
    """
    rng = draw(seed, 0, "random labels")
    return {example.id: rng.choice(labels) for example in dataset.hashed()}


def demonstrations_of(
    dataset: Dataset, labels: Mapping[str, Label], most: int | None = None, seed: int = 0
) -> list[tuple[Example, Label]]:
    """The labelled examples, in an order that their contents decide; if there are more than `most`, a random part.

    The part is the same whatever the labels and the order of the data set, and a smaller one is part of a larger.

    Args:
        dataset: the examples.
        labels: by id; ids that the data set does not have are left out.
        most: demonstrations; None for all.
        seed: of the part.

    Example:
        >>> data = Dataset(Example(key, {"text": key}) for key in "abcd")
        >>> parts = [demonstrations_of(data, dict.fromkeys("abcd", "True"), most) for most in (1, 2, None)]
        >>> [[example.id for example, _ in part] for part in parts]
        [['c'], ['a', 'c'], ['a', 'b', 'd', 'c']]
    """
    dataset = dataset.hashed()
    order = list(dataset.ids)
    draw(seed, 0, "demonstrations").shuffle(order)
    chosen = frozenset([key for key in order if key in labels][:most])
    return [(example, labels[example.id]) for example in dataset if example.id in chosen]
