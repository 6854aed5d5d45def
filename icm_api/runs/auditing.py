"""What a configuration's constraints do to its data, however many there are: a large set is looked at in parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from icm_api.config import Config, ConstraintSection
from icm_api.consistency import AbsentKeyError, Audit, ConstraintAudit, audit, constraint_name
from icm_api.data import DataChecking, as_dataset
from icm_api.runs import core
from icm_api.runs.alike import audit_alike
from icm_api.runs.core import reaching, units_of
from icm_api.runs.parts import build_task, data_source, keys_of
from icm_api.runs.scratch import Scratch
from icm_api.types import Constraint, Dataset, Example, Task

PARTS = 128
"""Into which a large set is cut: some thousand examples each of a million."""


def audit_config(config: Config, checking: DataChecking | None = None) -> Audit:
    """Say what the constraints of a configuration do to its data; nothing is asked.

    A set of more than some thousand examples is read once, cut into parts that no relation connects, in a folder for
    temporary files, and never held.

    Args:
        config: resolved.
        checking: of the same data, which is given the examples that this reads.

    Raises:
        DataError: the source is missing or has a bad row.
        ConfigError: a constraint names an id, a label or a key that there is not.
        StorageError: the disk is full.
    """
    task, source = build_task(config), data_source(config)
    checking = DataChecking(source) if checking is None else checking
    examples = iter(checking)
    first = [*islice(examples, core.MOST_WHOLE + 1)]
    if source.limit is not None or len(first) <= core.MOST_WHOLE:
        first.extend(examples)
        checking.refuse_bad()
        return audit(as_dataset(source, first), task.verbalizer.labels, task.constraints)
    with TemporaryDirectory() as folder:
        return _in_parts(chain(first, examples), config, task, checking, Path(folder))


def _in_parts(examples: Iterable[Example], config: Config, task: Task, checking: DataChecking, folder: Path) -> Audit:
    sections, labels = config.constraints, task.verbalizer.labels
    keys, afar = keys_of(sections), reaching(sections)
    seen: Iterable[Example] = ()
    if afar:
        # Who belongs together is known once all are seen.
        whole = Scratch(folder / "whole", 1, keys)
        whole.fill(examples, lambda example: 0)
        checking.refuse_bad()
        seen, examples = whole.examples(0), whole.examples(0)
    scratch = Scratch(folder / "parts", PARTS, keys)
    scratch.fill(examples, units_of(seen, sections, config.data.seed, single=False))
    if afar:
        return Audit.of_parts(_audits(scratch, task))
    checking.refuse_bad()
    _check_labels(task)
    _check_keys(task, sections, scratch.absent)
    groups = chain.from_iterable(map(scratch.units, range(PARTS)))
    return audit_alike(groups, labels, task.constraints, keys)


def _check_labels(task: Task) -> None:
    """Raises ConfigError if a constraint names a label that there is not."""
    for constraint in task.constraints:
        try:
            next(iter(constraint(Dataset(()), task.verbalizer.labels)), None)
        except AbsentKeyError:
            continue


def _check_keys(task: Task, sections: Sequence[ConstraintSection], absent: frozenset[str]) -> None:
    """Raises ConfigError if a constraint reads a key that no example has."""
    for section, constraint in zip(sections, task.constraints, strict=True):
        if getattr(section, "by", None) in absent:
            next(iter(constraint(Dataset(()), task.verbalizer.labels)), None)


def _audits(scratch: Scratch, task: Task) -> Iterator[Audit]:
    """The audit of each part."""
    absent = dict.fromkeys(range(len(task.constraints)), True)
    last: AbsentKeyError | None = None
    labels = task.verbalizer.labels
    for part in range(scratch.parts):
        dataset = Dataset(chain.from_iterable(scratch.units(part)))
        if not dataset:
            continue
        present: list[Constraint] = []
        silent: list[ConstraintAudit | None] = []
        for at, constraint in enumerate(task.constraints):
            try:
                next(iter(constraint(dataset, labels)), None)
                present.append(constraint)
                silent.append(None)
                absent[at] = False
            except AbsentKeyError as error:
                last = error
                silent.append(ConstraintAudit(constraint_name(constraint), 0, 0))
        yield _widened(audit(dataset, labels, present), silent)
    if last is not None and any(absent.values()):
        raise last


def _widened(found: Audit, silent: list[ConstraintAudit | None]) -> Audit:
    """With a row for each constraint that has nothing to read in this part."""
    own = iter(found.constraints)
    return replace(found, constraints=tuple(next(own) if row is None else row for row in silent))
