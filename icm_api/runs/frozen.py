"""What labels the rest of a data set from its core: demonstrations that stay the same, and their calibration.

Both are settled once, when the core is labelled, and written down, so that every part of the rest is asked in the same
way, whenever and wherever it is labelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any

from icm_api.chance import draw
from icm_api.config import SearchSettings
from icm_api.data import rank
from icm_api.errors import RunError
from icm_api.files import write_whole
from icm_api.objective import CENTRES, Calibration, Objective, shifted
from icm_api.result import LabelledExample, Result
from icm_api.types import Dataset, Example, Label, LabelDistribution

FROZEN_FILE = "frozen.json"
HELD_OUT = 128
"""Examples of the core, at most, that are asked about after the demonstrations, to calibrate what the rest gets."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """How the rest is asked.

    Attributes:
        demonstrations: ids of the core and their labels, in the order in which they are shown.
        calibration: the method by which the labels of the core are most probable after the demonstrations.
        shifts: per label, in label order, what is added to log p, in nats.
        temperature: what log p is divided by then, as in the core.
        held_out: labels of the core that were asked about again.
        agreement: share of them that the demonstrations give back.
    """

    demonstrations: tuple[tuple[str, Label], ...]
    calibration: str
    shifts: tuple[float, ...]
    temperature: float
    held_out: int
    agreement: float | None

    def save(self, folder: Path) -> None:
        """Write `frozen.json`. Raises StorageError if it cannot be written."""
        write_whole(folder / FROZEN_FILE, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Frozen | None:
        """As a run has it; None if it has none yet. Raises RunError if it is damaged."""
        path = folder / FROZEN_FILE
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            shown = tuple((str(key), str(label)) for key, label in found.pop("demonstrations"))
            return cls(shown, shifts=tuple(map(float, found.pop("shifts"))), **found)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{path}: damaged: {error!r}; remove it to have it made anew") from error

    def shown(self, core: Dataset) -> list[tuple[Example, Label]]:
        """The demonstrations, under ids that no example of another file has.

        Args:
            core: holds them.
        """
        return [(replace(core.get(key), id=f"\0{key}", group=None), label) for key, label in self.demonstrations]


def choose_demonstrations(result: Result, objective: Objective, most: int, seed: int) -> tuple[tuple[str, Label], ...]:
    """Labels of the core to show: the surest of each label in turn, at most one of a group, as many as fit.

    Args:
        result: of the core.
        objective: over the core.
        most: demonstrations.
        seed: of their order, which has nothing to do with their labels.
    """
    prompts, dataset = objective.prompts, objective.dataset
    measured = {row.id: prompts.measured(dataset.get(row.id)) for row in result.examples}
    # Questions of the rest may be longer than those of the core.
    room = prompts.room - 2 * max(question for _, question in measured.values())
    queues: dict[Label, list[LabelledExample]] = {}
    rows = sorted(result.examples, key=lambda row: dataset.position(row.id))
    for row in sorted(rows, key=lambda row: (row.fixed, row.confidence)):
        queues.setdefault(row.label, []).append(row)
    chosen: list[LabelledExample] = []
    groups: set[str] = set()
    while queues and len(chosen) < most:
        for label in sorted(queues):
            while queues[label]:
                row = queues[label].pop()
                tokens = measured[row.id][0]
                if row.group in groups or tokens > room or len(chosen) >= most:
                    continue
                groups |= {row.group} - {None}  # type: ignore[arg-type]
                room -= tokens
                chosen.append(row)
                break
        queues = {label: rows for label, rows in queues.items() if rows}
    ordered = sorted(chosen, key=lambda row: rank(f"shown {seed}", row.id))
    return tuple((row.id, row.label) for row in ordered)


def sizes_of(core: Dataset, most: int) -> tuple[int, int]:
    """How many demonstrations are likely to be shown, and how many labels of the core asked about after them.

    Args:
        core: of the run.
        most: demonstrations.
    """
    groups = len({(each.group is None, each.group or each.id) for each in core})
    shown = min(most, groups)
    return shown, min(HELD_OUT, round(len(core) * (1 - shown / max(1, groups))))


async def freeze(result: Result, objective: Objective, settings: SearchSettings, most: int) -> Frozen:
    """Choose the demonstrations, and how predictions after them are calibrated.

    Each way to calibrate that the search may use is tried on labels of the core that are not shown; the way is taken
    that makes these most probable.

    Args:
        result: of the core.
        objective: over the core.
        settings: of the search.
        most: demonstrations.

    Raises:
        ProviderError: the model gave no usable logprobs.
        BudgetError: the next request could exceed the budget.
    """
    shown = choose_demonstrations(result, objective, most, settings.seed)
    labels = result.labeling
    # The label of one example of a group all but gives away that of another.
    near = {objective.dataset.get(key).group or key for key, _ in shown}
    left = [each.id for each in objective.dataset if each.id in labels and (each.group or each.id) not in near]
    asked = draw(settings.seed, 0, "held out of the core").sample(left, min(len(left), HELD_OUT))
    context = objective.prompts.after([(objective.dataset.get(key), label) for key, label in shown])
    reads = await objective.read([context.prompt(objective.dataset.get(key)) for key in asked]) if asked else ()
    held = dict(zip(asked, reads, strict=True))
    method, shifts = _best(held, labels, settings, objective.labels)
    agreed = [shifted(read, shifts).best == labels[key] for key, read in held.items()]
    return Frozen(shown, method, shifts, _temperature(result), len(held), sum(agreed) / len(agreed) if agreed else None)


def _best(
    held: Mapping[str, LabelDistribution], labels: Mapping[str, Label], settings: SearchSettings, names: Sequence[Label]
) -> tuple[str, tuple[float, ...]]:
    """The way to calibrate that fits the labels of the core best, and what it adds to log p of each label."""
    best = ("none", (0.0,) * len(names))
    most: float | None = None
    for method in [settings.calibration] if settings.calibration else list(CENTRES):
        if not held:
            break
        shifts = Calibration(method, settings.prior).shifts(list(held.values()))
        fit = fsum(shifted(read, shifts).logprob(labels[key]) for key, read in held.items())
        if most is None or fit > most:
            best, most = (method, tuple(shifts)), fit
    return best


def _temperature(result: Result) -> float:
    found = result.about.get("calibration")
    return float(found["value"]) if isinstance(found, Mapping) else 1.0
