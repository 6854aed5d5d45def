"""A person checks the labels of a finished run: draw a random sample, count the answers. No label is changed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

from icm_api.chance import draw
from icm_api.data import load_fixed
from icm_api.errors import ConfigError, DataError, RunError
from icm_api.evaluation import Check, draw_sample
from icm_api.result import Result
from icm_api.runs.checks import Sample, checked_labels, current_checks
from icm_api.runs.finished import FinishedRun, as_drawn
from icm_api.runs.folder import locked


def draw_labels(run: FinishedRun, count: int, seed: int = 0) -> Sample:
    """Draw labels at random for a person to check, and note the draw in the run.

    The same count and seed give the same sample. Any other sample is drawn from the labels that no sample has yet.

    Args:
        run: finished.
        count: how many labels; fewer are drawn if fewer are left.
        seed: of the draw.

    Raises:
        ConfigError: the count is below 1.
        RunError: no label is left, the run's data changed, it is in use, or the file of checks is damaged.
        DataError: the data cannot be read.
        StorageError: the draw cannot be noted.
    """
    if count < 1:
        raise ConfigError(f"--random {count}: at least 1")
    homes = _homes(run)
    with locked(run.folder):
        checks = current_checks(run.folder)
        sample = checks.same(count, seed)
        if sample is None:
            left = {key: home for key, home in homes.items() if key not in checks.drawn}
            if not left:
                raise RunError(
                    f"{run.folder}: all {len(homes)} labels that no person gave are drawn already: answer those, and "
                    f"`icm-api check {run.folder} FILE`"
                )
            sample = Sample(count, seed, draw_sample(left, count, draw(seed, len(checks.samples), "check of labels")))
            replace(checks, samples=(*checks.samples, sample)).save(run.folder)
    return sample


def check_labels(run: FinishedRun, answers: Path) -> Check:
    """Count how many labels drawn at random are right, by a person's answers; they are kept in the run.

    Args:
        run: finished.
        answers: a file of rows with "id" and "label", as `icm-api queue --random` writes it; rows without a label are
            not answered yet.

    Returns:
        What all answers to this run say, those of earlier checks included.

    Raises:
        DataError: the file cannot be read, answers nothing, or answers what was not drawn.
        RunError: no sample was drawn, the run's data changed, it is in use, or the file of checks is damaged.
        StorageError: the answers cannot be kept.
    """
    given = load_fixed(answers, run.dataset, run.task.verbalizer.labels)
    with locked(run.folder):
        checks = current_checks(run.folder)
        if not checks.samples:
            raise RunError(
                f"{run.folder}: no sample was drawn to be checked: `icm-api queue {run.folder} --random 20 --out FILE`"
                ", fill in the labels, then check them"
            )
        checks = checks.answered(given, answers)
        # Of the run as it was: its probabilities are fitted to the answers of earlier checks by now.
        found = checked_labels(checks, as_drawn(run.folder, checks, Result.load(run.folder)))
        if found is None:
            raise DataError(f'{answers}: no row is answered: fill in "label", then check again')
        checks.save(run.folder)
    return found


def _homes(run: FinishedRun) -> Mapping[str, Hashable]:
    """Per label that no person gave, what it belongs to: its group, if its component has no other, as a prompt has."""
    relations, homes = run.relations, dict[str, Hashable]()
    groups = {row.id: row.group for row in run.result.examples}
    for row in run.result.examples:
        if not row.fixed:
            component = relations.component(row.id)
            within = row.group is not None and {groups.get(key) for key in component} == {row.group}
            homes[row.id] = ("group", row.group) if within else ("component", component[0])
    return homes
