"""A finished run, opened in one place: whoever wants one looks at it through here.

What is asked for is read when it is asked for, and checked then: labels and summary at once, the rest where it is used,
since a result that was saved without a run folder has no more than these two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from icm_api.config import Config
from icm_api.consistency import Relations, compile_relations
from icm_api.data import DataSource, Gold, load_gold_labels
from icm_api.errors import RunError
from icm_api.evaluation import headline_of
from icm_api.model import Sent, read_sent
from icm_api.model.client.meter import most_cost
from icm_api.result import LABELS_FILE, SUMMARY_FILE, Result
from icm_api.runs.checks import Checks, checked_labels, labels_sha256, read_checks, recalibrated
from icm_api.runs.core import Rows, Split, units_of
from icm_api.runs.folder import (
    CONFIG_FILE,
    INPUTS_FILE,
    ROUNDS_FOLDER,
    SESSIONS_FILE,
    SPENDING_FILE,
    check_config,
    data_fingerprint,
    existing,
    no_run,
)
from icm_api.runs.parts import build_task, config_of, data_source, load_dataset, prices_of
from icm_api.runs.rest_parts import aside_reasons, labelled_examples, read_rest
from icm_api.runs.seal import check_seal
from icm_api.runs.spill import PARTS_FOLDER
from icm_api.runs.trace import TRACE_FILE, TraceStep, count_steps, read_trace
from icm_api.types import Dataset, Task, Usage


@dataclass(frozen=True)
class FinishedRun:
    """The folder of a finished run.

    Attributes:
        folder: where it is.
        result: labels, U, P, I and cost; under `check` in `about`, what a person's check of the labels says.
        with_rest: whether the labels of the rest are among them, and its examples in the data set.
        held: the rows of its data, if they were read before.

    Example:
        ``FinishedRun.open("runs/claims").result.labeling``
    """

    folder: Path
    result: Result
    with_rest: bool = False
    held: Rows | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, folder: str | Path) -> FinishedRun:
        """Open a finished run.

        Raises:
            RunError: the run is not finished, or a file of it was changed since: which, and where in it.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise RunError(no_run(folder))
        if not (folder / LABELS_FILE).is_file():
            raise RunError(
                f"{folder / LABELS_FILE} is missing: {folder} is not the folder of a run, or its run is not finished: "
                f"then go on with `icm-api resume {folder}`"
            )
        check_seal(folder)
        return cls(folder, with_check(folder, Result.load(folder)))

    @cached_property
    def rest(self) -> Mapping[str, Any] | None:
        """What was found where only a core was searched: counts of all other examples. None if all were searched.

        Raises:
            RunError: the rest is not labelled to its end, or its summary is damaged.
        """
        return None if self._split is None else read_rest(self.folder / PARTS_FOLDER)

    @cached_property
    def whole(self) -> FinishedRun:
        """The same run with the labels of all examples, those of the rest after those of the core, held in memory.

        Raises:
            RunError: the rest is not labelled to its end, a line of it is damaged, or the examples have changed since.
            DataError: the examples cannot be read.
        """
        if self.with_rest or self.rest is None:
            return self
        self._check_data()
        rows = self._rows if self._rows.whole is not None else replace(self._rows, whole=load_dataset(self.config))
        parts = self.folder / PARTS_FOLDER
        aside = {**self.set_aside, **aside_reasons(parts)}
        # As they were found: probabilities fitted to a check's answers would be fitted twice.
        core = Result.load(self.folder)
        about = {**core.about, **({"set_aside": aside} if aside else {})}
        found = {row.id: row for row in (*core.examples, *labelled_examples(parts))}
        result = with_check(self.folder, replace(core, examples=tuple(found.values()), about=about))
        in_order = tuple(found[example.id] for example in rows if example.id in found and example.id not in aside)
        return FinishedRun(self.folder, replace(result, examples=in_order), with_rest=True, held=rows)

    @cached_property
    def _split(self) -> Split | None:
        return Split.of(self.inputs) if (self.folder / INPUTS_FILE).is_file() else None

    @cached_property
    def config(self) -> Config:
        """The resolved configuration. Raises RunError if it is missing, or is not what the run began with."""
        config = config_of(self.folder)
        if (self.folder / INPUTS_FILE).is_file():
            check_config(self.folder, self.inputs, config)
        return config

    @cached_property
    def config_text(self) -> str:
        """The configuration as it is on disk. Raises RunError if it is missing."""
        return existing(self.folder, CONFIG_FILE).read_text(encoding="utf-8")

    @cached_property
    def task(self) -> Task:
        """What was asked about each example. Raises RunError if the configuration is missing."""
        return build_task(self.config)

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """Fingerprints of data and model. Raises RunError if they are missing or damaged."""
        path = existing(self.folder, INPUTS_FILE)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path}: damaged: {error}") from error
        if not isinstance(found, dict) or not {"data_sha256", "model"} <= found.keys():
            raise RunError(f"{path}: damaged: not the fingerprints of a run")
        return found

    @property
    def model(self) -> str:
        """The identity of the model that labelled the data. Raises RunError if it is missing."""
        return str(self.inputs["model"])

    @cached_property
    def dataset(self) -> Dataset:
        """The examples that the run labelled, checked to be the same still; none that was set aside is among them.

        Raises:
            RunError: the examples have changed since.
            DataError: the examples cannot be read.
        """
        self._check_data()
        aside = self.set_aside
        return Dataset(example for example in self._data if example.id not in aside) if aside else self._data

    @property
    def set_aside(self) -> Mapping[str, str]:
        """The examples that were set aside, by id, and why. Raises RunError if the summary holds something else."""
        found = self.result.about.get("set_aside", {})
        if not isinstance(found, Mapping):
            raise RunError(f"{self.folder / SUMMARY_FILE}: damaged: set_aside is no object")
        return found

    @cached_property
    def relations(self) -> Relations:
        """The relations of the run: all that its constraints make, but those that name an example set aside.

        Raises:
            RunError, DataError: as for `dataset`.
        """
        labels, dataset = self.task.verbalizer.labels, self.dataset
        return compile_relations(self._data, labels, self.task.constraints).among(dataset.ids)

    @property
    def data_unchanged(self) -> bool:
        """Whether the data are what the run labelled. Raises DataError if they cannot be read."""
        examples = self._data if self._split is None or self.with_rest else self._rows
        return data_fingerprint(self.config, examples) == self.inputs.get("data_sha256")

    def _check_data(self) -> None:
        if not self.data_unchanged:
            path = self.config.data.path
            raise RunError(f"{path} is not what this run labelled: it changed since; put the data back, or run again")

    @cached_property
    def _rows(self) -> Rows:
        return Rows.open(data_source(self.config)) if self.held is None else self.held

    @cached_property
    def _data(self) -> Dataset:
        if self._split is None:
            return load_dataset(self.config)
        rows, split = self._rows, self._split
        if self.with_rest:
            return load_dataset(self.config) if rows.whole is None else rows.whole
        unit = units_of(rows, self.config.constraints, self.config.data.seed, single=split.single)
        return rows.chosen(split, unit)

    def gold(
        self,
        path: Path,
        *,
        format_name: str | None = None,
        id_field: str | None = None,
        label_field: str | None = None,
        meanings: Mapping[str, str] | None = None,
    ) -> Gold:
        """Gold labels, read as the run read its data, unless arguments say otherwise, and spelled as its labels are.

        Args:
            path: the file of gold labels.
            format_name: how to read the file; by default as the run's data.
            id_field: key of the ids, instead of the run's.
            label_field: key of the gold label; by default "gold", else "label".
            meanings: what the file writes -> the label that it means, as in `load_gold_labels`.

        Raises:
            DataError: the file cannot be read, or has a bad row.
        """
        # A result that was saved without a run has no configuration: its gold labels are ids and labels.
        known = data_source(self.config) if (self.folder / CONFIG_FILE).is_file() else DataSource("")
        source = replace(known.elsewhere(str(path)), format=format_name or known.format, id=id_field or known.id)
        gold = load_gold_labels(source, label_field=label_field, meanings=meanings)
        return gold.spelled(tuple(dict.fromkeys(label for row in self.result.examples for label in row.probabilities)))

    def trace(self) -> Iterator[TraceStep]:
        """Every step of the search. Raises RunError if the trace is missing or damaged."""
        return read_trace(self._trace_file)

    @cached_property
    def trace_size(self) -> int:
        """How many steps the trace has. Raises RunError if it is missing or empty."""
        return count_steps(self._trace_file)

    @property
    def _trace_file(self) -> Path:
        if (self.folder / ROUNDS_FOLDER).is_dir() and not (self.folder / TRACE_FILE).exists():
            raise RunError(f"{self.folder} was labelled by `icm-api iterate`, which keeps no trace of its searches")
        return existing(self.folder, TRACE_FILE)

    @cached_property
    def sent(self) -> Sent | None:
        """What all processes that worked on the run really sent; None if nothing is on disk of it.

        Money covers what no process noted too, at the prices of the configuration.

        Raises:
            RunError: the file of sessions cannot be read, or a line of the ledger is damaged.
            StorageError: the ledger cannot be read.
        """
        sent = read_sent(self.folder / SESSIONS_FILE, self.folder / SPENDING_FILE)
        if sent is None or sent.money is None or sent.unnoted == Usage():
            return sent
        prices = prices_of(self.config)
        return replace(sent, money=None if prices is None else sent.money + most_cost(sent.unnoted, prices))

    @property
    def planned(self) -> Mapping[str, int] | None:
        """What the run was likely to take when it began, and at most: `requests`, `prompt_tokens`, and `most_` of both.

        None if the summary, as one of an older version, has no plan that can be read.
        """
        found = self.result.about.get("planned")
        if not isinstance(found, Mapping):
            return None
        values = [found.get(name) for name in ("requests", "prompt_tokens", "most_requests", "most_prompt_tokens")]
        return found if all(type(value) is int and value > 0 for value in values) else None

    @property
    def summary_text(self) -> str:
        """The summary as it is on disk. Raises RunError if it is missing."""
        return existing(self.folder, SUMMARY_FILE).read_text(encoding="utf-8")

    @property
    def diagnosis(self) -> Mapping[str, Any] | None:
        """The verdict with what it rests on; None if the labels were not judged.

        Raises:
            RunError: the summary holds something else in its place.
        """
        return self._judged("diagnosis", ("verdict", "reasons", "advice", "measures"))

    @property
    def calibration(self) -> Mapping[str, Any] | None:
        """The temperature by which probabilities were scaled; None if the labels were not judged.

        Raises:
            RunError: the summary holds something else in its place.
        """
        return self._judged("calibration", ("value", "source", "evidence"))

    def _judged(self, name: str, keys: Sequence[str]) -> Mapping[str, Any] | None:
        found = self.result.about.get(name)
        if found is not None and not (isinstance(found, Mapping) and all(key in found for key in keys)):
            raise RunError(f"{self.folder / SUMMARY_FILE}: damaged: {name} is not an object with {', '.join(keys)}")
        return found


def with_check(folder: Path, result: Result) -> Result:
    """The result with what a person's check of these very labels says, if there is one, and what follows from it.

    That is the verdict, and probabilities fitted to the answers if there are 10 or more.

    Args:
        folder: of the run.
        result: of the run.

    Raises:
        RunError: the file of checks is damaged.
    """
    checks = read_checks(folder)
    about = dict(result.about)
    if checks is not None and checks.labels == labels_sha256(folder):
        check = checked_labels(checks, as_drawn(folder, checks, result))
        if check is not None:
            result = recalibrated(checks, result)
            about = {**result.about, "check": {**check.as_json(), "advice": check.advice(str(folder))}}
    diagnosis, said = about.get("diagnosis"), headline_of(about)
    if said is not None and isinstance(diagnosis, Mapping):
        about["diagnosis"] = {**diagnosis, "verdict": said}
    return replace(result, about=about)


def as_drawn(folder: Path, checks: Checks, result: Result) -> Result:
    """The result with the labels of the rest, if samples were drawn of them too while the result is of the core.

    Args:
        folder: of the run.
        checks: of its labels.
        result: of its core, or of all examples.

    Raises:
        RunError: a line of the rest is damaged.
    """
    if checks.drawn <= {row.id for row in result.examples}:
        return result
    return replace(result, examples=(*result.examples, *labelled_examples(folder / PARTS_FOLDER)))
