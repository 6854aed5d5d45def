"""What a person's blind answers on labels drawn at random say: how many of a run's labels are right, at the least.

It draws the sample and does the arithmetic; files are read and written elsewhere. The sample is of the labels that no
person gave, so that what it says holds for these labels of this run, and for no others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

from icm_api.evaluation.distance import places_of
from icm_api.evaluation.intervals import exact_lower_limit
from icm_api.types import Label

FEWEST_ANSWERS = 20
"""Of a check that may pass, unless there are fewer labels."""
FEWEST_RIGHT = 0.8
"""Share of the answers that a check needs to pass: 16 of 20. Labels that are 59% right pass in 4% of samples."""


@dataclass(frozen=True, slots=True)
class Check:
    """Labels drawn at random, beside a person's blind answers.

    Attributes:
        right: labels that are what the person answered.
        answered: labels that the person answered.
        drawn: labels of the samples that were begun; one that is not answered counts as wrong.
        labels: that could have been drawn: all of the run that no person gave before.
        samples: drawn and begun.
        distance: mean distance of label and answer in places of the label set, if its labels are numbers; else None.
        confidence: mean probability that the run gives to the labels answered; None if it is not known.
        names: how many labels the label set has.
    """

    right: int
    answered: int
    drawn: int
    labels: int
    samples: int = 1
    distance: float | None = None
    confidence: float | None = None
    names: int = 0

    @property
    def at_least(self) -> float:
        """Share of the labels that is right at the least, with 95% confidence; the share itself if all were drawn."""
        return self.right / self.drawn if self.drawn >= self.labels else exact_lower_limit(self.right, self.drawn)

    @property
    def passed(self) -> bool:
        """Whether "checked" may be said."""
        enough = self.drawn >= min(FEWEST_ANSWERS, self.labels)
        return enough and self.right / self.drawn >= FEWEST_RIGHT

    @property
    def answer(self) -> str:
        """In a word or two: "checked", "check not complete", "check too small", or "check failed"."""
        if self.passed:
            return "checked"
        if self.answered < self.drawn:
            return "check not complete"
        return "check failed" if self.right / self.drawn < FEWEST_RIGHT else "check too small"

    def says(self) -> str:
        """What was counted, in a sentence."""
        times = "" if self.samples == 1 else f" in {self.samples} samples"
        open_ = self.drawn - self.answered
        unanswered = f"; {open_} not answered, which count as wrong until they are" if open_ else ""
        count = f"a person answered {self.answered} of {self.drawn} labels drawn at random{times} without seeing them"
        if self.confidence is not None:
            unanswered += f" (the run itself is {self.confidence:.0%} sure of the labels answered, on average)"
        if self.drawn >= self.labels:
            return f"{count}, all there are: {self.right} are right{unanswered}"
        far = "" if self.distance is None else f", and the labels are off by {self.distance:.2f} places on average"
        return (
            f"{count}: {self.right} are right{far}{unanswered}; so at least {self.at_least:.0%} of the run's labels "
            "are right, with 95% confidence"
        )

    def advice(self, run: str) -> str:
        """What to do next.

        Args:
            run: the run folder, for a command to copy.
        """
        match self.answer:
            case "check not complete":
                return f"answer the rest of the rows, then again: icm-api check {run} FILE"
            case "check too small":
                more = FEWEST_ANSWERS - self.drawn
                return f"draw more: icm-api queue {run} --random {more} --seed {self.samples} --out more.csv"
            case "check failed" if self.names == 2 and self.right <= (1 - FEWEST_RIGHT) * self.drawn:
                return (
                    "don't use these labels: nearly all are wrong, so the model seems to give the two labels each "
                    "other's name; put the answers under [data] fixed, which names them, and run again into another "
                    "folder (--out)"
                )
            case "check failed":
                return (
                    "don't use these labels: too many are wrong. Word the task more plainly, take a stronger model, or "
                    "give labels under [data] fixed"
                )
        return f"use the labels, of which a few may be wrong: icm-api export {run} --to csv --out labels"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "answer": self.answer,
            "right": self.right,
            "answered": self.answered,
            "drawn": self.drawn,
            "labels": self.labels,
            "samples": self.samples,
            "at_least": self.at_least,
            "mean_distance": self.distance,
            "mean_confidence": self.confidence,
            "says": self.says(),
        }


def check_of(
    found: Mapping[str, Label],
    samples: Sequence[Sequence[str]],
    answers: Mapping[str, Label],
    labels: Sequence[Label],
    confidences: Mapping[str, float] | None = None,
) -> Check | None:
    """Count the answers. A label that was drawn twice counts once.

    Args:
        found: the labels of the run that no person gave.
        samples: ids as they were drawn, a sequence a sample; one without any answer counts for nothing.
        answers: by id; those to no id drawn count for nothing.
        labels: the label set.
        confidences: by id, the probability that the run gives to the label found.

    Returns:
        None if nothing was answered.

    Example:
        >>> found = {"a": "True", "b": "False", "c": "True", "d": "True"}
        >>> check = check_of(found, [["a", "b"], ["b", "c"]], dict.fromkeys("abc", "True"), ["True", "False"])
        >>> check.right, check.drawn, check.labels, check.samples
        (2, 3, 4, 2)
    """
    begun = [sample for sample in samples if any(key in answers for key in sample)]
    drawn = dict.fromkeys(key for sample in begun for key in sample)
    answered = [key for key in drawn if key in answers]
    if not answered:
        return None
    right = sum(found[key] == answers[key] for key in answered)
    places = places_of(labels)
    far = [abs(places[found[key]] - places[answers[key]]) for key in answered] if places else []
    distance = sum(far) / len(far) if far else None
    sure = None if confidences is None else sum(confidences[key] for key in answered) / len(answered)
    return Check(right, len(answered), len(drawn), len(found), len(begun), distance, sure, len(labels))


def draw_sample(homes: Mapping[str, Hashable], count: int, rng: Random) -> tuple[str, ...]:
    """A random sample in which every label has the same chance, and related ones are spread.

    Components are put in random order, the members of each side by side, and every (labels / count)th is taken from a
    random start on. So each label is drawn with probability count / labels exactly, and of a component no larger than
    labels / count one at most.

    Args:
        homes: per id, the component that it belongs to.
        count: how many; fewer if there are fewer.
        rng: all chance comes from here.

    Returns:
        Ids, in the order of a hash, which says nothing of where they were.

    Example:
        >>> from random import Random
        >>> found = draw_sample({f"{pair}{side}": pair for pair in "abcdefgh" for side in "12"}, 8, Random(1))
        >>> sorted(key[0] for key in found)
        ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    """
    members: dict[Hashable, list[str]] = {}
    for key in sorted(homes):
        members.setdefault(homes[key], []).append(key)
    components = list(members.values())
    rng.shuffle(components)
    row = [key for component in components for key in rng.sample(component, len(component))]
    taken = min(count, len(row))
    start = rng.randrange(len(row)) if row else 0
    drawn = [row[(start + at * len(row)) // taken] for at in range(taken)]
    salt = rng.random()
    return tuple(sorted(drawn, key=lambda key: sha256(f"{salt}/{key}".encode()).digest()))
