"""What a search is given beforehand: labels fixed by a person, and labels to begin from.

Checks that both fit the data, and draws the random labels that a restart begins with. Fixed labels are a person's own
answers, known before the search; gold labels never get here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from icm_api.config import SearchSettings
from icm_api.consistency import Relations
from icm_api.errors import ConfigError
from icm_api.objective import Calibration, Objective
from icm_api.search.align import align, most_probable
from icm_api.types import Dataset, Label, Labeling


@dataclass(frozen=True, slots=True)
class Start:
    """Labels known beforehand; built by `make_start`, which checks them.

    Attributes:
        fixed: part of every labeling from the start, and never relabelled.
        warm: labels that the first restart begins from, instead of random ones; empty for a cold start.
    """

    fixed: Labeling = field(default_factory=Labeling)
    warm: Labeling = field(default_factory=Labeling)

    @property
    def given(self) -> Labeling:
        """Both, the fixed labels over the others."""
        return self.warm.assign(self.fixed)

    def free(self, dataset: Dataset) -> tuple[str, ...]:
        """The examples that a search may label, in data set order.

        Args:
            dataset: the examples of the search.
        """
        return tuple(key for key in dataset.ids if key not in self.fixed)

    def among(self, ids: Iterable[str]) -> Start:
        """The labels known beforehand of some of the examples.

        Args:
            ids: of these examples.
        """
        known = frozenset(ids)
        return Start(
            *(labels.without([key for key in labels if key not in known]) for labels in (self.fixed, self.warm))
        )

    def clashes(self, relations: Relations) -> tuple[str, ...]:
        """The relations that fixed labels break among themselves, in words; every labeling will break them.

        Args:
            relations: of the data set.
        """
        broken = [relations[at] for at in sorted(relations.broken(self.fixed))]
        return tuple(
            f"fixed labels break {relation.constraint} with each other: "
            + ", ".join(f"{key!r} is {self.fixed[key]!r}" for key in relation.ids)
            for relation in broken
        )


def make_start(
    dataset: Dataset, labels: tuple[Label, ...], fixed: Labeling | None = None, warm: Labeling | None = None
) -> Start:
    """The labels known beforehand, checked against the data set and the label set.

    Args:
        dataset: the examples of the search.
        labels: the label set.
        fixed: labels of some of the examples.
        warm: labels that the first restart begins from; ids that the data set does not have are left out.

    Raises:
        ConfigError: a fixed id is not in the data set, a label is not in the label set, or `warm` has labels and
            none of an example of the data set.
    """
    given: dict[str, object] = {"fixed": fixed or Labeling(), "start": warm or Labeling()}
    for name, value in given.items():
        # Also keeps gold labels out if no type checker does.
        if not isinstance(value, Labeling):
            raise ConfigError(f"{name} is a {type(value).__name__}: make it a Labeling, of labels that are not gold")
    known = frozenset(dataset.ids)
    fixed, warm = fixed or Labeling(), warm or Labeling()
    begin = Labeling({key: label for key, label in warm.items() if key in known})
    if warm and not begin:
        raise ConfigError(f"start has {len(warm)} labels, and none of an example of this data set")
    for key in fixed:
        if key not in known:
            raise ConfigError(f"fixed: id {key!r} is not in the data set")
    for name, labeling in (("fixed", fixed), ("start", begin)):
        for key, label in labeling.items():
            if label not in labels:
                raise ConfigError(f"{name}: label {label!r} of id {key!r} is not in the label set {list(labels)}")
    return Start(fixed, begin)


def refuse_folder(settings: SearchSettings) -> None:
    """Whoever searches in memory gives labels to start from, and not the folder of a run: nothing is read here.

    Args:
        settings: of a search in memory.

    Raises:
        ConfigError: the settings name a folder to start from.
    """
    if settings.earlier is not None:
        raise ConfigError(
            f"search.start names a folder, {settings.earlier}, which only a configuration's run reads: give its "
            "labels, start=Result.load(folder).labeling"
        )


def calibration_of(settings: SearchSettings, by_default: str = "batch") -> Calibration:
    """How predictions are calibrated.

    Args:
        settings: of the search.
        by_default: the calibration if the settings name none.

    Raises:
        ConfigError: a share of the prior is not above 0.
    """
    return Calibration(settings.calibration or by_default, settings.prior)


async def zero_shot_labels(objective: Objective, settings: SearchSettings, start: Start) -> Labeling:
    """The labels of an earlier run if there are any; else calibrated zero-shot predictions, relations kept.

    Args:
        objective: gives the predictions; one request per free example, if there is no earlier run.
        settings: the calibration, by default over the batch, and the prior.
        start: labels known beforehand; fixed ones are shown.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    if start.warm:
        return start.given
    predicted = await objective.conditionals(start.free(objective.dataset), start.fixed)
    return align(objective, calibration_of(settings)(predicted), start.fixed, most_probable)


def random_start(objective: Objective, settings: SearchSettings, start: Start, rng: Random) -> Labeling:
    """The fixed labels and K random ones, such that no relation is broken if that is possible.

    Args:
        objective: holds the examples, the label set and the relations.
        settings: K is `seed_labels`, and at most a quarter of the examples (but 2).
        start: labels known beforehand.
        rng: all chance comes from here.
    """
    relations, labels = objective.relations, objective.labels
    # With K random labels among few examples there would be nothing left to infer.
    count = min(settings.seed_labels, max(2, len(objective.dataset) // 4))
    labeling = start.fixed
    for key in seed_ids(start.free(objective.dataset), count, rng):
        legal = relations.legal_labelings([key], labeling, len(labels))
        labeling = labeling.assign({key: rng.choice([way[key] for way in legal or ()] or labels)})
    return labeling


def seed_ids(ids: Sequence[str], count: int, rng: Random) -> list[str]:
    """K of these examples, to label at random, in the order drawn; all if there are no more than K.

    Args:
        ids: to draw from.
        count: K.
        rng: all chance comes from here.
    """
    return rng.sample(ids, min(count, len(ids)))
