"""The rows of the price benchmark: real texts from files that the repository does not carry, or made-up claims."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

from icm_api.consistency import equivalent, mutually_exclusive
from icm_api.data import DataSource, Gold, load_examples, load_gold_labels
from icm_api.pocket.world import make_claims
from icm_api.types import Constraint, Dataset, Example, Label, PromptTemplate, Task
from tests.benchmarks.price.learner import SEPARATOR, UNSURE, Learner, Mind, normal
from tests.benchmarks.price.published import Batch

_SOLUTIONS: tuple[Constraint, ...] = (mutually_exclusive("True"), equivalent())


_OF_GROUP = 4
"""Answers to a question, as in the published data; questions with fewer are left out."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A file with its format and the name of the text that is judged; the claims to take without the file."""

    file: str
    claim: str
    claims: str
    constraints: tuple[Constraint, ...] = ()


SETS = {
    "truthfulqa": _Kind("TruthfulQA.csv", "answer", "comparisons"),
    "gsm8k": _Kind("example_model_solutions.jsonl", "solution", "sums", _SOLUTIONS),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """A data set, how it is shown, and the labels that the learner's beliefs are about.

    Attributes:
        name: of the set, "made-up" in it if the texts are not from its file.
        dataset: the examples.
        task: template, labels, constraints.
        gold: what is so.
    """

    name: str
    dataset: Dataset
    task: Task
    gold: Gold

    def learner(self, mind: Mind) -> Learner:
        """Who is asked: the same beliefs each time."""
        beliefs = {}
        for example in self.dataset:
            text = self.task.template.render(example)
            beliefs[text] = (1 if self.gold[example.id] == "True" else -1) + UNSURE * normal(text)
        return Learner(mind, beliefs)

    def batch(self, *, by_gold: bool = False) -> Batch:
        """What the published search knows of the examples.

        Args:
            by_gold: answers to a question are called the same if gold labels them alike, as its code has it for
                TruthfulQA; else relations are those of our task.
        """
        kept = bool(self.task.constraints)
        answers = (self.gold[each.id] if by_gold else each.answer if kept else None for each in self.dataset)
        return Batch(tuple(example.group or example.id for example in self.dataset), tuple(answers))

    def agreement(self, labels: dict[str, Label]) -> float:
        """Share of the examples with the label that is so; one without a label has not."""
        return sum(labels.get(key) == label for key, label in self.gold.items()) / len(self.gold)


def rows_of(name: str, folder: Path | None, size: int, seed: int) -> Rows:
    """Whole groups of rows, at most `size` examples, another choice with each seed.

    Args:
        name: in `SETS`.
        folder: that has the file of the set; None for made-up claims of the embedded model's world.
        size: examples.
        seed: of the choice.
    """
    kind = SETS[name]
    if folder is None:
        claims = make_claims(kind.claims, size, seed)
        dataset = Dataset(Example(claim.id, {"text": claim.text}, claim.group, claim.answer) for claim in claims)
        task = Task(PromptTemplate("{text}", separator=SEPARATOR), constraints=kind.constraints)
        return Rows(f"{name}, made-up", dataset, task, Gold({claim.id: str(claim.truth) for claim in claims}))
    groups, gold = _read(folder / kind.file, name)
    chosen = Random(f"{name}/{seed}").sample(groups, size // _OF_GROUP)
    dataset = Dataset(example for group in chosen for example in group)
    template = PromptTemplate(f"Question: {{question}}\nClaim: {{{kind.claim}}}\nI think this claim is")
    task = Task(template, constraints=kind.constraints)
    return Rows(name, dataset, task, Gold({key: gold[key] for key in dataset.ids}))


@cache
def _read(path: Path, name: str) -> tuple[list[list[Example]], Gold]:
    """The first answers to every question of a file, and their gold labels."""
    source, by_group = DataSource(str(path), name), defaultdict[str, list[Example]](list)
    gold = load_gold_labels(source)
    for example in load_examples(source):
        if example.id in gold and example.group is not None:
            # The learner finds examples by the separator.
            fields = {key: text.replace(SEPARATOR, "\n") for key, text in example.fields.items()}
            by_group[example.group].append(replace(example, fields=fields))
    return [group[:_OF_GROUP] for group in by_group.values() if len(group) >= _OF_GROUP], gold
