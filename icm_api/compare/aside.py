"""Examples that a comparison sets aside: of them no method has an answer, and none shows them as a demonstration.

A search sets aside what it cannot ask about, as every run does; so does what is asked afterwards. Whatever one of them
set aside is left out of all rows alike, up to `[run] tolerate` of all examples, searched and held out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from icm_api.compare.split import Split
from icm_api.config import Config
from icm_api.data import Gold
from icm_api.errors import PromptError, ProviderError, RunError
from icm_api.objective import Objective
from icm_api.runs import FinishedRun, build_task
from icm_api.runs.aside import Aside, allowed, too_long
from icm_api.search import build_objective
from icm_api.types import Dataset, Example, Model, Task


def objective_of_all(config: Config, splits: Sequence[Split], model: Model) -> Objective:
    """Asks about any example of any seed; relations are no part of it.

    Args:
        config: of the comparison.
        splits: a seed each.
        model: who is asked.
    """
    task = build_task(config)
    return build_objective(Dataset(_every(splits).values()), model, Task(task.template, task.verbalizer), config.search)


def _every(splits: Sequence[Split]) -> dict[str, Example]:
    return {each.id: each for one in splits for part in (one.searched, one.held_out) for each in part}


def of_searches(config: Config, splits: Sequence[Split], runs: Collection[FinishedRun]) -> Aside:
    """What the searches set aside, and how many examples may be.

    Args:
        config: of the comparison.
        splits: a seed each.
        runs: the searches.

    Raises:
        ProviderError: these are more than is tolerated.
    """
    found = {key: why for run in runs for key, why in run.set_aside.items()}
    aside = Aside(most=allowed(config.run.tolerate, len(_every(splits))))
    return aside.with_more(ProviderError("set aside by searches"), dict(sorted(found.items()))) if found else aside


def without_long(aside: Aside, objective: Objective) -> Aside:
    """With the examples that no prompt can hold.

    Args:
        aside: what is set aside already.
        objective: as `objective_of_all` gives it.

    Raises:
        PromptError: these are more than is tolerated.
    """
    found = {key: why for key, why in too_long(objective).items() if key not in aside.reasons}
    return aside.with_more(PromptError("too long"), found) if found else aside


def check_left(splits: Sequence[Split], aside: Mapping[str, str], gold: Gold) -> None:
    """Raise RunError if a seed has nothing left to be compared with gold.

    Args:
        splits: a seed each.
        aside: what is set aside, by id.
        gold: labels by id.
    """
    for one in splits:
        for part, dataset in (("searched", one.searched), ("held-out", one.held_out)):
            if not any(key in gold and key not in aside for key in dataset.ids):
                raise RunError(
                    f"seed {one.seed}: all {part} examples with gold labels are set aside, such as {dataset.ids[0]!r}: "
                    f"{next(iter(aside.values()))}"
                )
