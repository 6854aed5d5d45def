"""Small labelled sets for real models: what a model of a hundred million words may know, and what it does not.

`sentiment`, `things`, `places`, `kinds` and `subjects` are plain English with classes that the smallest models tell
apart; `capitals` and `compare` are true or false claims that they know nothing of. All are made by hand.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from icm_api.types import Dataset, Example, Label, PromptTemplate, Task, Verbalizer

_FOLDER = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Kind:
    """How a set is asked about.

    Attributes:
        template: around the text.
        separator: after each demonstration.
        labels: the label set.
        known: whether a small model can tell the classes apart.
    """

    template: str
    separator: str
    labels: tuple[Label, ...]
    known: bool = True


KINDS = {
    "sentiment": Kind("Review: {text}\nSentiment:", "\n\n", ("positive", "negative")),
    "things": Kind("{text} is a kind of", "\n", ("animal", "fruit", "city")),
    "places": Kind("{text} is a kind of", "\n", ("city", "animal")),
    "kinds": Kind("{text} is a kind of", "\n", ("animal", "fruit", "vehicle", "clothing", "instrument")),
    "subjects": Kind("Text: {text}\nSubject:", "\n\n", ("sport", "food", "weather", "money")),
    "capitals": Kind("{text} True or false?", "\n", ("True", "False"), known=False),
    "compare": Kind("{text} True or false?", "\n", ("True", "False"), known=False),
}
KNOWN = tuple(name for name, kind in KINDS.items() if kind.known)
UNKNOWN = tuple(name for name, kind in KINDS.items() if not kind.known)


def task(name: str) -> Task:
    """Template and labels of a set; no constraints."""
    kind = KINDS[name]
    return Task(PromptTemplate(kind.template, "", kind.separator), Verbalizer.plain(kind.labels))


def subset(name: str, size: int, seed: int, largest: float | None = None) -> tuple[Dataset, dict[str, Label]]:
    """Some examples of a set, and their gold labels.

    Args:
        name: of the set.
        size: about how many examples.
        seed: which ones, and which label is the most frequent.
        largest: share of one label, the others have equal parts of the rest; None for equal shares.
    """
    rows = [json.loads(line) for line in (_FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    labels, rng = list(KINDS[name].labels), random.Random(f"{name} {seed} {largest}")
    rng.shuffle(labels)
    rest = (1 - (largest or 0)) / (len(labels) - 1)
    shares = [1 / len(labels)] * len(labels) if largest is None else [largest, *[rest] * (len(labels) - 1)]
    chosen = []
    for label, share in zip(labels, shares, strict=True):
        pool = [row for row in rows if row["label"] == label]
        chosen += rng.sample(pool, min(len(pool), max(1, round(share * size))))
    rng.shuffle(chosen)
    return Dataset(Example(row["id"], {"text": row["text"]}) for row in chosen), {
        row["id"]: row["label"] for row in chosen
    }
