"""What fitting noise gives: the same search on the same texts with every word replaced by a made-up one.

A search finds labels that are somewhat coherent in anything: it follows the model's whims about single texts, and few
examples are easily fitted. How far that goes depends on the model, the prompt, the number of examples and of labels,
so it is measured and not assumed: words keep their places, their lengths and who shares them, and lose their meaning.
Labels that are worth no more than these say nothing of a concept that the model knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import fsum, sqrt
from statistics import NormalDist, variance

from icm_api.config import SearchSettings
from icm_api.config.judging import NULL_EXAMPLES, NULL_ROUNDS
from icm_api.consistency import Relations
from icm_api.objective import INFORMATION, Objective, Term, information_terms
from icm_api.search import search
from icm_api.types import Dataset, Example, Score

CONFIDENCE = 0.95
"""One-sided, that the labels found are worth more than the null."""

_WORD = re.compile(r"[^\W_]+")
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True, slots=True)
class Null:
    """The labels found, compared with what the same search finds in texts without meaning.

    Attributes:
        found: J of the labels found, in nats per example.
        noise: J that the search found in made-up words.
        error: standard error of the difference, over components.
        guessed: what the labels found cost if they are guessed from their shares, in nats per example.
        examples: that the null was measured on.
    """

    found: float
    noise: float
    error: float
    guessed: float
    examples: int

    @property
    def share(self) -> float:
        """J of the labels found as a share of the most that it could be."""
        return self.found / self.guessed if self.guessed else 0.0

    @property
    def beaten(self) -> bool:
        """Whether the labels found are worth more, with 95% confidence."""
        return self.found - self.noise > NormalDist().inv_cdf(CONFIDENCE) * self.error

    def as_json(self) -> dict[str, float | int | bool]:
        """For `summary.json`."""
        return {
            "information": self.found,
            "noise": self.noise,
            "standard_error": self.error,
            "share": self.share,
            "examples": self.examples,
            "beaten": self.beaten,
        }


async def null_of(objective: Objective, score: Score, seed: int, given: Collection[str] = ()) -> Null | None:
    """Search the same texts in made-up words; at most 11 requests per example, of 64 examples at most.

    Args:
        objective: of the run; its model, prompts, labels and relations are kept.
        score: of the labels found, with distributions.
        seed: of the search.
        given: ids whose labels a person gave, which count only if there are no others.

    Returns:
        None if no example has a word.

    Raises:
        ProviderError: the model gave no usable logprobs.
    """
    examples = list(objective.dataset)[:NULL_EXAMPLES]
    texts = [_made_up(example) for example in examples]
    if all(one.fields == other.fields for one, other in zip(examples, texts, strict=True)):
        return None
    ids = frozenset(example.id for example in examples)
    kept = [relation for relation in objective.relations if ids.issuperset(relation.ids)]
    relations = Relations(kept, [example.id for example in examples], objective.labels)
    noise = replace(objective, dataset=Dataset(texts), relations=relations, statistic=INFORMATION)
    settings = SearchSettings(engine="rounds", restarts=1, steps=NULL_ROUNDS, calibration="batch", seed=seed)
    found = (await search(noise, settings)).score
    labels = score.labeling.without(given) or score.labeling
    ours = information_terms(score.distributions, labels, objective.relations)
    theirs = information_terms(found.distributions, found.labeling, relations)
    here = fsum(term.information for term in ours) / len(labels)
    there = fsum(term.information for term in theirs) / len(found.labeling)
    guessed = -fsum(term.on_average for term in ours) / len(labels)
    error = sqrt(_variance(ours, len(labels)) + _variance(theirs, len(examples)))
    return Null(here, there, error, guessed, len(examples))


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
