"""The queue: which examples a person should look at first, the most uncertain ones, few of each group.

Ranks only. What the person says comes back as fixed labels of another search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest

from icm_api.consistency import Relations
from icm_api.evaluation.measures import Margin
from icm_api.result import LabelledExample
from icm_api.types import Dataset, Label, LabelDistribution, Labeling, Score


def queue_of(
    score: Score,
    dataset: Dataset,
    relations: Relations,
    *,
    repeats: Sequence[Labeling] = (),
    per_group: int = 1,
    fixed: Collection[str] = (),
) -> tuple[str, ...]:
    """Ids in the order in which a person's labels help most.

    Examples in broken relations come first: there some label is wrong for certain, or the relation. Then the least
    sure label, by the mean of p(label) and one vote (1 or 0) for each repeated prediction.

    Args:
        score: of the labels found, with distributions.
        dataset: of each of its groups at most `per_group` examples are listed; if an example has no group, its
            component counts as such.
        relations: of the search.
        repeats: predictions made again: other orders, other restarts, a second opinion.
        per_group: the most examples of one group, since one label tells much about the others.
        fixed: ids that have a person's label already, and are left out.

    Returns:
        Ids, the one to look at first first.

    Raises:
        ValueError: `per_group` is below 1.
    """
    if per_group < 1:
        raise ValueError(f"per_group is {per_group}: at least one of each group")
    broken = {key for at in score.broken for key in relations[at].ids}

    def uncertainty(key: str) -> tuple[bool, float, int]:
        label = score.labeling[key]
        votes = [float(repeat[key] == label) for repeat in repeats if key in repeat]
        sure = (score.distributions[key].probability(label) + sum(votes)) / (1 + len(votes))
        return key not in broken, sure, dataset.position(key)

    listed: list[str] = []
    taken: Counter[tuple[str, str]] = Counter()
    for key in sorted((key for key in score.distributions if key not in fixed), key=uncertainty):
        group = dataset.get(key).group
        # A group may be named like the id of an example that has no group.
        home = ("group", group) if group is not None else ("component", relations.component(key)[0])
        taken[home] += 1
        if taken[home] <= per_group:
            listed.append(key)
    return tuple(listed)


def name_settling(rows: Iterable[LabelledExample], per_label: int) -> tuple[LabelledExample, ...]:
    """A few examples whose answers settle which label is which: those that the model is surest of.

    An answer to an uncertain example says which label that example has. An answer to a sure one says what the label
    means.

    Args:
        rows: of a result.
        per_label: how many of each label; fewer if there are fewer.

    Returns:
        The surest of each label, then the second of each, and so on; of a group one of each label, and none that a
        person labelled.
    """
    surest: dict[Label, dict[tuple[str, str], LabelledExample]] = {}
    for row in sorted(rows, key=lambda row: -row.confidence):
        if not row.fixed:
            home = ("example", row.id) if row.group is None else ("group", row.group)
            surest.setdefault(row.label, {}).setdefault(home, row)
    turns = zip_longest(*(list(each.values())[:per_label] for _, each in sorted(surest.items())))
    return tuple(row for turn in turns for row in turn if row is not None)


def margins(score: Score) -> tuple[Margin, ...]:
    """How far each label is ahead of the next best, the least far first.

    Args:
        score: with distributions.
    """
    rows = [
        Margin(key, score.labeling[key], _margin(read, score.labeling[key]))
        for key, read in score.distributions.items()
    ]
    return tuple(sorted(rows, key=lambda row: row.margin))


def _margin(read: LabelDistribution, label: Label) -> float:
    return read.logprob(label) - max(read.logprob(other) for other in read.labels if other != label)
