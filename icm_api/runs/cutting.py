"""From a configuration to what is searched of its data, and from a finished search to the labels of the rest.

A data set that fits the context window is searched whole, as if nothing of this were there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm_api.config import Config, CoreSection
from icm_api.data import answered_ids
from icm_api.objective import Objective
from icm_api.prompts import PromptBuilder
from icm_api.result import LABELS_FILE, SUMMARY_FILE, Result
from icm_api.runs.aside import allowed
from icm_api.runs.batching import Batch, cut_batches
from icm_api.runs.choosing import Core, choose_core
from icm_api.runs.core import Rows, Split, Unit, units_of
from icm_api.runs.executing import Executor
from icm_api.runs.folder import CONFIG_FILE, CORE_KEY, data_fingerprint, folder_of
from icm_api.runs.frozen import FROZEN_FILE, Frozen, freeze
from icm_api.runs.parts import build_task, data_source, load_start
from icm_api.runs.rest import Rest
from icm_api.runs.rest_parts import REST_FILE, label_parts
from icm_api.runs.seal import SEAL_FILE, check_seal
from icm_api.runs.spill import INDEX_FILE, PARTS_FOLDER, drop_rows, spill
from icm_api.search import Start
from icm_api.types import Dataset, Labeling, Model, Task


@dataclass(frozen=True)
class Cut:
    """What is searched, and what is labelled from it.

    Attributes:
        rows: all examples.
        task: template, labels and constraints.
        dataset: the examples that are searched.
        start: labels of them that are known beforehand.
        split: where every example belongs; None if all are searched.
        unit: of an example.
        fixed: labels that a person gave to the rest.
        batches: that the search is cut into; none if it is one.
    """

    rows: Rows
    task: Task
    dataset: Dataset
    start: Start
    split: Split | None
    unit: Unit
    fixed: Labeling
    batches: tuple[Batch, ...] = ()

    def inputs(self) -> dict[str, Any]:
        """What a resume must know of the cut; nothing if there is none."""
        return {} if self.split is None else {CORE_KEY: self.split.as_json()}


@dataclass(frozen=True)
class Large:
    """The data of a configuration, however many they are.

    Attributes:
        config: resolved.
        rows: the examples.
        task: template, labels and constraints.
        start: labels known beforehand, if the examples are few.
    """

    config: Config
    rows: Rows
    task: Task
    start: Start | None

    @classmethod
    def open(cls, config: Config) -> Large:
        """Look at the data, and read what is known of them beforehand.

        Args:
            config: resolved.

        Raises:
            DataError: the source is missing or has a bad row.
            ConfigError: `[data]`, the template or a constraint does not fit.
            RunError: the run to start from is missing or not finished.
        """
        rows, task = Rows.open(data_source(config)), build_task(config)
        return cls(config, rows, task, None if rows.whole is None else load_start(config, rows.whole, task))

    def cut(self, model: Model) -> Cut:
        """What a new run searches.

        Args:
            model: gives the context window, and counts tokens.

        Raises:
            IcmError: as for `open`.
        """
        prompts = PromptBuilder(
            self.task.template, self.task.verbalizer, model.count_tokens, model.capabilities.context_window
        )
        section, batches = self.config.core, self.config.batches
        if batches is not None and batches.count is None:
            return self._at(None)
        if batches is not None and batches.count is not None:
            own = batches.count * (batches.size - batches.shared)
            section = (section or CoreSection()).changed(size=batches.shared + own)
        core = choose_core(self.rows, self.unit, prompts, section, fits=batches is None)
        return self._at(None) if core is None else self._around(core)

    def cut_before(self, inputs: Mapping[str, Any]) -> Cut:
        """What a run searches that began before.

        Args:
            inputs: of the run.

        Raises:
            IcmError: as for `open`.
        """
        return self._at(Split.of(inputs))

    def unit(self, single: bool) -> Unit:
        """The unit of an example.

        Args:
            single: whether each example is one by itself.
        """
        return units_of(self.rows, self.config.constraints, self.config.data.seed, single=single)

    def _at(self, split: Split | None) -> Cut:
        if split is None:
            dataset = self.rows.whole if self.rows.whole is not None else Dataset(self.rows)
            start = self.start or load_start(self.config, dataset, self.task)
            unit = self.unit(False)
            cut = () if self.config.batches is None else cut_batches(dataset, unit, self.config.batches)
            return Cut(self.rows, self.task, dataset, start, None, unit, Labeling(), cut)
        unit = self.unit(split.single)
        return self._around(Core(split, self.rows.chosen(split, unit), unit))

    def _around(self, core: Core) -> Cut:
        dataset, known = core.dataset, frozenset(core.dataset.ids)
        start = self.start or load_start(self.config, self._named(dataset), self.task)
        cut = () if self.config.batches is None else cut_batches(dataset, core.unit, self.config.batches)
        fixed = start.fixed.without(known)
        return Cut(self.rows, self.task, dataset, start.among(dataset.ids), core.split, core.unit, fixed, cut)

    def _named(self, core: Dataset) -> Dataset:
        """The core, and the examples of the rest that a person labelled."""
        path = self.config.data.fixed
        named = frozenset() if path is None else answered_ids(path) - frozenset(core.ids)
        return Dataset([*core, *(example for example in self.rows if example.id in named)]) if named else core


def searched_before(folder: Path, cut: Cut) -> Result | None:
    """The core of a run whose rest alone is left to label; None if it is to be searched, or all is done.

    Args:
        folder: of the run.
        cut: what it searches.

    Raises:
        RunError: a file of the run was changed since.
    """
    done = (folder / PARTS_FOLDER / REST_FILE).exists()
    if (
        cut.split is None
        or done
        or not all((folder / name).exists() for name in (SEAL_FILE, SUMMARY_FILE, LABELS_FILE))
    ):
        return None
    # A larger budget is what most of these runs are waiting for.
    check_seal(folder, but=(CONFIG_FILE,))
    return Result.load(folder)


async def frozen_of(config: Config, objective: Objective, result: Result) -> Frozen:
    """What a run labels further examples with, chosen and written down when it is first asked for.

    Args:
        config: of the run.
        objective: over its core.
        result: of its core.

    Raises:
        ProviderError: the model gave no usable logprobs.
        BudgetError: the next request could exceed the budget.
    """
    folder, section = folder_of(config), config.core or CoreSection()
    found = Frozen.load(folder)
    if found is None:
        found = await freeze(result, objective, config.search, section.demonstrations)
        found.save(folder)
    return found


async def label_rest(
    config: Config,
    objective: Objective,
    result: Result,
    cut: Cut,
    heard: Callable[[int, int], None],
    executor: Executor,
) -> None:
    """Label all that was not searched, into the folder `parts` of the run.

    Args:
        config: of the run.
        objective: over the core.
        result: of the core.
        cut: what was searched.
        heard: called with the examples that are done, and all of them.
        executor: labels them.

    Raises:
        IcmError: whatever stops it; what is done is on disk.
    """
    assert cut.split is not None
    folder = folder_of(config)
    if (folder / PARTS_FOLDER / REST_FILE).exists():
        # Whoever was killed right at the end has left them.
        drop_rows(folder / PARTS_FOLDER)
        return
    frozen = await frozen_of(config, objective, result)
    source = data_fingerprint(config, cut.rows)
    index = spill(cut.rows, cut.split, cut.unit, folder / PARTS_FOLDER, source)
    rest = Rest(objective, cut.dataset, cut.task.constraints, frozen, cut.fixed, config.diagnostics.abstain_below)
    most = allowed(config.run.tolerate, index.total)
    await label_parts(rest, folder / PARTS_FOLDER, index, most, heard, executor)


def forget_rest(folder: Path) -> None:
    """Remove all that was labelled from a core that is searched anew.

    Args:
        folder: of the run.

    Raises:
        StorageError: it cannot be removed.
    """
    (folder / FROZEN_FILE).unlink(missing_ok=True)
    parts = folder / PARTS_FOLDER
    drop_rows(parts)
    for path in [parts / REST_FILE, parts / INDEX_FILE, *parts.glob("[0-9]*.jsonl")]:
        path.unlink(missing_ok=True)
