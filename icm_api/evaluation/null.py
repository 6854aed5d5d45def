"""What fitting noise gives: a search of the same texts with every word replaced by a made-up one.

A search finds labels that are somewhat coherent in anything: it follows the model's whims about single texts, and few
examples are easily fitted. How far that goes depends on the model, the prompt, the number of examples and of labels,
so it is measured and not assumed: words keep their places, their lengths and who shares them, and lose their meaning.
Labels that are worth no more than these say nothing of a concept that the model knows.

The search is a short one, from random labels, on a few of the examples: fewer are fitted better, not worse.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import fsum, log, sqrt
from statistics import variance

from icm_api.chance import draw
from icm_api.config.judging import NULL_EXAMPLES, NULL_LEAST, NULL_SCORES
from icm_api.evaluation.allowance import Allowance
from icm_api.evaluation.coherence import legal_logprob
from icm_api.evaluation.thresholds import AHEAD, BEYOND, NULL_ENOUGH
from icm_api.objective import Calibration, Objective, Term, information_terms, pooled
from icm_api.search.align import align, most_probable
from icm_api.types import Dataset, Example, LabelDistribution, Labeling, Predictions, Score

_WORD = re.compile(r"[^\W_]+")
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True, slots=True)
class Null:
    """The labels found, compared with what a search finds in texts without meaning.

    Attributes:
        found: J of the labels found, in nats per example.
        noise: J that the search found in made-up words.
        error: standard error of the difference, over components.
        guessed: what the labels found cost if they are guessed from their shares, in nats per example.
        examples: that the null was measured on.
        noise_guessed: what the labels found in made-up words cost if they are guessed from their shares.
        units: how many unrelated examples leave as much open as these, whose relations settle a part; None if nothing
            is related.
    """

    found: float
    noise: float
    error: float
    guessed: float
    examples: int
    noise_guessed: float = 0.0
    units: float | None = None

    @property
    def share(self) -> float:
        """J of the labels found as a share of the most that it could be."""
        return self.found / self.guessed if self.guessed else 0.0

    @property
    def ahead(self) -> float:
        """By how much the share is ahead of that of the null.

        The most that the null could be is taken as no less than what the labels found could, and a null below 0 as 0,
        since nothing is fitted then.
        """
        most = max(self.guessed, self.noise_guessed)
        return self.share - max(0.0, self.noise) / most if most else 0.0

    @property
    def needed(self) -> float:
        """By how much the share must be ahead."""
        return lead_needed(self.share - self.ahead, self.examples if self.units is None else self.units)

    @property
    def beaten(self) -> bool:
        """Whether they are clearly ahead."""
        return self.ahead >= self.needed

    @property
    def close(self) -> bool:
        """Whether they are ahead by more than chance, and yet not by as much as is asked for."""
        return not self.beaten and self.found - max(0.0, self.noise) > 2 * self.error

    def as_json(self) -> dict[str, float | int | bool | None]:
        """For `summary.json`."""
        return {
            "information": self.found,
            "noise": self.noise,
            "guessed": self.guessed,
            "noise_guessed": self.noise_guessed,
            "standard_error": self.error,
            "share": self.share,
            "ahead": self.ahead,
            "needed": self.needed,
            "examples": self.examples,
            "units": self.units,
            "beaten": self.beaten,
        }


def lead_needed(noise: float, units: float) -> float:
    """By how much the share explained of labels must be ahead of that of made-up words.

    Args:
        noise: share explained of the labels found in made-up words.
        units: unrelated examples that it was measured on, or as many as what it was measured on is worth.

    Example:
        >>> lead_needed(0.1, 24), round(lead_needed(0.7, 24), 2), round(lead_needed(0.1, 8), 2)
        (0.3, 0.2, 0.42)
    """
    return min(AHEAD, BEYOND * max(0.0, 1 - noise)) * max(1.0, sqrt(NULL_ENOUGH / max(NULL_LEAST, units)))


async def null_of(
    objective: Objective, score: Score, seed: int, given: Collection[str] = (), allowance: Allowance | None = None
) -> Null | None:
    """Search some of the texts in made-up words, by the run's own estimator.

    Args:
        objective: of the run; its model, prompts, labels and relations are kept.
        score: of the labels found, with distributions.
        seed: of the search.
        given: ids whose labels a person gave, which count only if there are no others.
        allowance: what may be asked for, which decides how many examples are searched, `NULL_LEAST` at least.

    Returns:
        None if no example has a word.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    noise = noise_of(objective, allowance)
    if noise is None:
        return None
    found = await _searched(noise, seed)
    labels = score.labeling.without(given) or score.labeling
    ours = information_terms(score.distributions, labels, objective.relations)
    theirs = information_terms(found.distributions, found.labeling, noise.relations)
    here = fsum(term.information for term in ours) / len(labels)
    there = fsum(term.information for term in theirs) / len(found.labeling)
    guessed = -fsum(term.on_average for term in ours) / len(labels)
    error = sqrt(_variance(ours, len(labels)) + _variance(theirs, len(found.labeling)))
    noise_guessed = -fsum(term.on_average for term in theirs) / len(found.labeling)
    return Null(here, there, error, guessed, len(found.labeling), noise_guessed, _units(noise, found.labeling))


def noise_of(objective: Objective, allowance: Allowance | None = None) -> Objective | None:
    """The examples that the null is measured on, in made-up words; None if no example has a word.

    Args:
        objective: of the run.
        allowance: what may be asked for, which decides how many examples are searched, `NULL_LEAST` at least.
    """
    renamed = Dataset(map(_made_up, objective.dataset))
    if all(one.fields == other.fields for one, other in zip(objective.dataset, renamed, strict=True)):
        return None
    most = NULL_EXAMPLES
    if allowance is not None:
        longer = _tokens(replace(objective, dataset=renamed)) / max(1, _tokens(objective))
        most = max(NULL_LEAST, min(most, allowance.examples(NULL_SCORES, longer)))
    return _first(replace(objective, dataset=renamed), most)


def _units(objective: Objective, labeling: Labeling) -> float | None:
    """What relations leave open of labels, in labels that nothing is related to; None if nothing is related."""
    if not len(objective.relations):
        return None
    evenly = -log(len(objective.labels))
    return legal_logprob(labeling, list(labeling), objective.relations, lambda *_: evenly) / evenly


def _tokens(objective: Objective) -> int:
    template, count = objective.prompts.template, objective.model.count_tokens
    return sum(count(template.render(example)) for example in objective.dataset)


def _first(objective: Objective, most: int) -> Objective:
    """The same objective on the first components, until there are so many examples."""
    ids: list[str] = []
    for component in objective.relations.components:
        if ids and len(ids) + len(component) > most:
            break
        ids += component
    chosen = frozenset(ids)
    kept = Dataset(example for example in objective.dataset if example.id in chosen)
    return replace(objective, dataset=kept, relations=objective.relations.among(kept.ids))


async def _searched(objective: Objective, seed: int) -> Score:
    """Calibrated rounds from random labels, each in a new order; the last one's score."""
    calibrate, heard = Calibration("batch"), [_random(objective, seed)]
    score: Score | None = None
    for number in range(NULL_SCORES):
        labeling = align(objective, pooled(heard), Labeling(), most_probable)
        ordered = objective.reordered(draw(seed, number, "order of the null"))
        score = await ordered.completed(await ordered(labeling))
        heard = [*(heard if number else ()), calibrate(score.distributions)]
    assert score is not None
    return score


def _random(objective: Objective, seed: int) -> Predictions:
    """Predictions that say nothing, to draw legal labels by."""
    rng, labels = draw(seed, 0, "labels of the null"), objective.labels

    def drawn() -> LabelDistribution:
        weights = [rng.expovariate(1) for _ in labels]
        return LabelDistribution(labels, tuple(log(each / fsum(weights)) for each in weights), 1.0, "exact")

    return {key: drawn() for key in objective.dataset.ids}


def _variance(terms: Sequence[Term], examples: int) -> float:
    """Of the sum of independent terms, divided by the number of examples."""
    return len(terms) * variance([term.information for term in terms]) / examples**2 if len(terms) > 1 else 0.0


def _made_up(example: Example) -> Example:
    return replace(example, fields={name: made_up(text) for name, text in example.fields.items()})


def made_up(text: str) -> str:
    """The text with every word replaced by a made-up one of its length; the same word by the same one.

    Numbers are words, so that no sum stays right. Capitals, spaces and punctuation stay.

    Args:
        text: any.

    Example:
        >>> made_up("The cat, the dog").split()[0].lower() == made_up("the")
        True
        >>> made_up("12 > 7")[2:5]
        ' > '
    """
    return _WORD.sub(lambda match: _word(match.group()), text)


def _word(word: str) -> str:
    drawn = sha256(word.lower().encode()).digest()
    letters = "".join(
        (_VOWELS if at % 2 else _CONSONANTS)[drawn[at % len(drawn)] % (5 if at % 2 else 14)] for at in range(len(word))
    )
    return letters.capitalize() if word[:1].isupper() else letters
