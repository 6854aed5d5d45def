"""After the search: judge the labels without gold, say how sure to be of each, and which a person should look at.

It puts together what `icm_api.evaluation` measures, and adds it to the result. It changes no label.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from icm_api.config import DiagnosticsSettings, SearchSettings
from icm_api.evaluation import (
    LEGAL,
    Diagnosis,
    Judged,
    Temperature,
    ask_zero_shot,
    calibrated,
    diagnose,
    legal_posterior,
    queue_of,
    temperature_of_agreement,
    temperature_of_labels,
)
from icm_api.result import Guess, LabelledExample, Result
from icm_api.search import Found, calibration_of
from icm_api.types import Label, LabelDistribution, Labeling, Model, Score

FEWEST_GIVEN = 10
"""Labels from a person by which to calibrate; with fewer, how often repeated predictions agree says more."""
_MOST_KEPT = 64


class Trail:
    """The labelings that a search went through, thinned out evenly to a bounded number."""

    def __init__(self) -> None:
        self._kept: list[Labeling] = []
        self._every = 1
        self._steps = 0

    def add(self, labeling: Labeling) -> None:
        """The labeling after the next step."""
        if self._steps % self._every == 0:
            self._kept.append(labeling)
        self._steps += 1
        if len(self._kept) > _MOST_KEPT:
            self._kept = self._kept[::2]
            self._every *= 2

    @property
    def labelings(self) -> tuple[Labeling, ...]:
        """First to last."""
        return tuple(self._kept)


async def with_zero_shot(found: Found, result: Result, settings: SearchSettings) -> Result:
    """The result with what the model says of each example by itself, and a summary of that in `about`.

    Args:
        found: by the search.
        result: made of it.
        settings: of the search; the calibration is over the batch unless they name one.

    Raises:
        ProviderError: the model gave no usable logprobs.
        BudgetError: the budget does not suffice.
    """
    objective = replace(found.objective, tally=found.objective.tally.part())
    asked = await ask_zero_shot(objective, found.start.fixed, calibration_of(settings))

    def row(example: LabelledExample) -> LabelledExample:
        if example.id not in asked.raw:
            return example
        return replace(
            example,
            zero_shot=_guess(asked.raw[example.id], asked.labels[example.id]),
            zero_shot_calibrated=_guess(asked.calibrated[example.id], asked.calibrated_labels[example.id]),
        )

    about = {**result.about, "zero_shot": asked.as_json(result.labeling)} if asked.raw else result.about
    usage = result.usage + objective.tally.usage
    return replace(result, examples=tuple(map(row, result.examples)), usage=usage, about=about)


def _guess(read: LabelDistribution, label: Label) -> Guess:
    return Guess(label, {name: round(read.probability(name), 6) for name in read.labels})


async def judged(
    found: Found,
    result: Result,
    trail: Trail,
    settings: DiagnosticsSettings,
    seed: int,
    witness: Model | None = None,
) -> Result:
    """The result with a verdict in `about`, and with calibrated probabilities and a place in the queue per example.

    What judging asked for is added to the usage.

    Args:
        found: by the search.
        result: made of it.
        trail: the labelings that the search went through.
        settings: how much to spend.
        seed: of the search.
        witness: another model, to score the labels once more.

    Raises:
        ProviderError: the model gave no usable logprobs.
        BudgetError: the budget does not suffice.
    """
    state, path = found.state, trail.labelings
    judgement = Judged(
        found.estimated, found.ends, found.start.fixed, path, state.rivals, state.reordered, searched=found.usage
    )
    diagnosis = await diagnose(found.objective, judgement, settings, seed, witness)
    legal = _legal(found)
    temperature = _temperature(legal, found.start.fixed, diagnosis, related=len(found.objective.relations) > 0)
    sure = {row.id: row for row in calibrated(legal, temperature, settings.abstain_below)}
    queue = queue_of(
        found.score,
        found.objective.dataset,
        found.objective.relations,
        repeats=diagnosis.repeats,
        per_group=settings.per_group,
        fixed=found.start.fixed,
    )
    places = {key: place for place, key in enumerate(queue, start=1)}

    def row(example: LabelledExample) -> LabelledExample:
        one = sure[example.id]
        return replace(
            example,
            calibrated={label: round(value, 6) for label, value in one.probabilities.items()},
            abstained=one.label is None and not example.fixed,
            review=places.get(example.id),
        )

    rows = tuple(map(row, result.examples))
    about = {"diagnosis": diagnosis.as_json(), "calibration": asdict(temperature)}
    usage = result.usage + diagnosis.usage
    return replace(result, examples=rows, usage=usage, about={**result.about, **about})


def _legal(found: Found) -> Score:
    """The score with each label's probability under the posterior over the legal labelings of its component."""
    score, relations = found.score, found.objective.relations
    return replace(score, distributions=legal_posterior(score.distributions, relations)) if len(relations) else score


def _temperature(legal: Score, fixed: Labeling, diagnosis: Diagnosis, *, related: bool) -> Temperature:
    """By a person's labels if there are enough; else what relations settle needs none, and agreement is left."""
    if len(fixed) >= FEWEST_GIVEN:
        return temperature_of_labels([(legal.distributions[key], label) for key, label in fixed.items()])
    if related:
        return Temperature(source=LEGAL)
    return temperature_of_agreement(legal.distributions, diagnosis.repeats)
