"""What a configuration's constraints do to its data, however many there are: a large set is looked at in parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from icm_api.config import Config
from icm_api.consistency import AbsentKeyError, Audit, ConstraintAudit, audit, constraint_name
from icm_api.runs.core import Rows, Split, Unit, units_of
from icm_api.runs.parts import build_task, data_source
from icm_api.runs.spill import read_part, spill
from icm_api.types import Constraint, Dataset, Task

PARTS = 128
"""Into which a large set is cut: some thousand examples each of a million."""


def audit_config(config: Config) -> Audit:
    """Say what the constraints of a configuration do to its data; nothing is asked.

    A set of more than some thousand examples is cut into parts that no relation connects, in a folder for temporary
    files, and never held.

    Args:
        config: resolved.

    Raises:
        DataError: the source is missing or has a bad row.
        ConfigError: a constraint names an id, a label or a key that there is not.
        StorageError: the disk is full.
    """
    task, rows = build_task(config), Rows.open(data_source(config))
    if rows.whole is not None:
        return audit(rows.whole, task.verbalizer.labels, task.constraints)
    unit = units_of(rows, config.constraints, config.data.seed, single=False)
    split = Split(0, frozenset(), 0, 0, PARTS)
    with TemporaryDirectory() as folder:
        return Audit.of_parts(_audits(rows, split, unit, Path(folder), task))


def _audits(rows: Rows, split: Split, unit: Unit, folder: Path, task: Task) -> Iterator[Audit]:
    """The audit of each part."""
    index = spill(rows, split, unit, folder, "")
    absent = dict.fromkeys(range(len(task.constraints)), True)
    last: AbsentKeyError | None = None
    labels = task.verbalizer.labels
    for part in range(len(index.examples)):
        dataset = Dataset(example for _, example in read_part(folder, part))
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
