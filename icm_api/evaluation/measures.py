"""What is measured of a finished labeling, as values: `diagnostics` measures them, `verdict` draws the conclusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean, stdev

from icm_api.evaluation.coherence import Coherence
from icm_api.evaluation.naming import Prior
from icm_api.evaluation.null import Null
from icm_api.types import Label, Labeling, Score, Usage


@dataclass(frozen=True, slots=True)
class Judged:
    """What a finished search is judged by.

    Attributes:
        score: of the labels found, complete.
        ends: per restart, the complete labeling that it ended at.
        fixed: labels that a person gave, which the search could not move.
        path: the labelings that it went through, first to last; for the drift of the label balance.
        rivals: other labelings, as the search scored them in the data set's own order.
        reordered: the labels found, as the search scored them with the demonstrations in other orders.
        searched: what the search asked for, of which judging may take a share; None for no limit.
    """

    score: Score
    ends: tuple[Labeling, ...] = ()
    fixed: Labeling = field(default_factory=Labeling)
    path: tuple[Labeling, ...] = ()
    rivals: tuple[Score, ...] = ()
    reordered: tuple[Score, ...] = ()
    searched: Usage | None = None


@dataclass(frozen=True, slots=True)
class Rival:
    """Another labeling, compared with the labels found.

    Attributes:
        name: what it is, in a few words.
        coherence: of it.
        agreement: share of the examples with the same label in both, in [0, 1].
        agreement_renamed: the same after the renaming of the labels that agrees best.
        auroc: of zero-shot log-odds against it, as in `Prior`.
        leaning: by how much zero-shot prefers the labels found where the two differ, see `naming.leaning_of`.
    """

    name: str
    coherence: Coherence
    agreement: float
    agreement_renamed: float
    auroc: float | None = None
    leaning: float | None = None

    def as_json(self) -> dict[str, object]:
        """For `summary.json`."""
        return {
            "name": self.name,
            "agreement": self.agreement,
            "agreement_renamed": self.agreement_renamed,
            "auroc": self.auroc,
            "leaning": self.leaning,
            **self.coherence.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Opinion:
    """The independent second opinion, see `diagnostics`.

    Attributes:
        rival: its labeling, compared with the labels found.
        rounds: that it took.
        debiased: whether predictions were taken relative to their mean.
        given: how many labels a person gave.
        given_shared: how many of them it has too.
        contradicted: share of the given labels that it contradicts, each weighed by how sure it is: 0 if it could as
            well have the given label, 1 if it is certain of another.
    """

    rival: Rival
    rounds: int
    debiased: bool
    given: int
    given_shared: int
    contradicted: float = 0.0

    def as_json(self) -> dict[str, object]:
        """For `summary.json`."""
        return {
            **self.rival.as_json(),
            "rounds": self.rounds,
            "debiased": self.debiased,
            "given_labels": self.given,
            "given_labels_shared": self.given_shared,
            "given_labels_contradicted": self.contradicted,
        }


@dataclass(frozen=True, slots=True)
class Chance:
    """A labeling compared with shuffles of itself.

    Attributes:
        of: "found", or "second opinion" if the labels found are all alike and shuffling them changes nothing.
        gain: of the labeling, nats per example.
        shuffled: gain of each shuffle, nats per example.
    """

    of: str
    gain: float
    shuffled: tuple[float, ...]

    @property
    def exceeded(self) -> int:
        """How many shuffles are at least as coherent."""
        return sum(value >= self.gain for value in self.shuffled)

    @property
    def margin(self) -> float | None:
        """Nats per example by which the labeling is ahead of the mean shuffle; None if there are no shuffles."""
        return self.gain - fmean(self.shuffled) if self.shuffled else None

    @property
    def z(self) -> float | None:
        """The margin in standard deviations of the shuffles; None if they do not vary."""
        deviation = stdev(self.shuffled) if len(self.shuffled) > 1 else 0.0
        return None if self.margin is None or not deviation else self.margin / deviation

    def as_json(self) -> dict[str, object]:
        """For `summary.json`."""
        return {
            "of": self.of,
            "gain": self.gain,
            "shuffled": list(self.shuffled),
            "exceeded": self.exceeded,
            "margin": self.margin,
            "z": self.z,
        }


@dataclass(frozen=True, slots=True)
class Orders:
    """The same labels, demonstrated in other orders.

    Attributes:
        predictability: mean log p of the labels in each other order, nats per example.
        flipped: share of (example, order) pairs whose most probable label is another than in the run's order.
    """

    predictability: tuple[float, ...]
    flipped: float

    def as_json(self) -> dict[str, object]:
        """For `summary.json`."""
        return {"predictability": list(self.predictability), "flipped": self.flipped}


@dataclass(frozen=True, slots=True)
class Margin:
    """An example and how far its label is ahead.

    Attributes:
        id: of the example.
        label: found.
        margin: log p of the label less log p of the best other label, nats; below 0 if that is more probable.
    """

    id: str
    label: Label
    margin: float


@dataclass(frozen=True, slots=True)
class Witness:
    """The labels found, scored again by another model.

    Attributes:
        model: its identity.
        share: share of the label entropy that the other labels explain for it, see `Coherence.share`.
        auroc: of its log-odds against the labels, given all other labels; None if all are alike.
        agreement: share of the labels that it finds most probable.
    """

    model: str
    share: float
    auroc: float | None
    agreement: float

    def says(self) -> str:
        """What it finds, in a sentence."""
        ordered = "" if self.auroc is None else f" and orders {self.auroc:.0%} of pairs as they do"
        return (
            f"a witness, {self.model}, shown the same labels, agrees with {self.agreement:.0%} of them{ordered}; for "
            f"it the other labels explain {max(self.share, 0):.0%}"
        )

    def as_json(self) -> dict[str, object]:
        """For `summary.json`."""
        return {
            "model": self.model,
            "share_explained": self.share,
            "auroc": self.auroc,
            "agreement": self.agreement,
        }


@dataclass(frozen=True, slots=True)
class Measures:
    """All that the verdict rests on.

    Attributes:
        labels: the label set.
        found: coherence of the labels found.
        one_sided: (nearly) all labels that no person gave are alike, and the others do not predict them.
        core: share explained of the best two thirds of the components, see `core_share`.
        counts: examples per label.
        drift: share of each label among those labelled, at evenly spaced places of the run, last the end.
        chance: compared with shuffles; None if not even a second opinion could be shuffled.
        renamed: the same division under other names: the inverse, for two labels.
        ends: those of the restarts, without those that are the labels found.
        ends_agreeing: restarts whose best is the labels found.
        orders: other orders of demonstrations; None if none were asked for.
        opinion: the second opinion.
        prior: what the model says without demonstrations, beside the labels found.
        coverage: mean and smallest share of probability that fell on the labels; None if it is not known.
        margins: examples, smallest margin first.
        conflicts: broken relations by constraint.
        null: what a search finds in made-up words; None if it was not measured.
        witness: what another model says of the labels; None if none was asked.
        requests: that judging took, whether the cache answered or the model.
        tokens: of their prompts.
    """

    labels: tuple[Label, ...]
    found: Coherence
    one_sided: bool
    core: float
    counts: Mapping[Label, int]
    drift: tuple[Mapping[Label, float], ...]
    chance: Chance | None
    renamed: tuple[Rival, ...]
    ends: tuple[Rival, ...]
    ends_agreeing: int
    orders: Orders | None
    opinion: Opinion
    prior: Prior
    coverage: tuple[float, float] | None
    margins: tuple[Margin, ...]
    conflicts: Mapping[str, int]
    requests: int
    null: Null | None = None
    witness: Witness | None = None
    tokens: int = 0

    @property
    def size(self) -> int:
        """n."""
        return len(self.found.labeling)

    def as_json(self) -> dict[str, object]:
        """For `summary.json`."""
        return {
            "found": self.found.as_json(),
            "one_sided": self.one_sided,
            "core_share_explained": self.core,
            "counts": dict(self.counts),
            "drift": [dict(shares) for shares in self.drift],
            "chance": self.chance.as_json() if self.chance else None,
            "renamed": [rival.as_json() for rival in self.renamed],
            "ends": {"same": self.ends_agreeing, "others": [rival.as_json() for rival in self.ends]},
            "orders": self.orders.as_json() if self.orders else None,
            "second_opinion": self.opinion.as_json(),
            "prior": self.prior.as_json(),
            "coverage": {"mean": self.coverage[0], "smallest": self.coverage[1]} if self.coverage else None,
            "contested": [{"id": each.id, "label": each.label, "margin": each.margin} for each in self.margins],
            "conflicts": dict(self.conflicts),
            "null": self.null.as_json() if self.null else None,
            "witness": self.witness.as_json() if self.witness else None,
            "requests": self.requests,
            "tokens": self.tokens,
        }
