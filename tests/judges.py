"""A judge of pairs in closed form, and labelled pairs to show it: what a reward model must say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log1p

from icm_api.data.pairs import Pair, both_orders
from icm_api.errors import RequestError, Unanswered
from icm_api.result import LabelledExample, Result
from icm_api.types import (
    Answers,
    Capabilities,
    Dataset,
    LabelDistribution,
    Prompt,
    PromptTemplate,
    Task,
    Usage,
    Verbalizer,
)

JUDGING = Task(PromptTemplate("Prompt: {prompt}\nA: {first}\nB: {second}\nBetter:"), Verbalizer.plain(("A", "B")))
_SHOWN = re.compile(r"Prompt: (.*)\nA: (.*)\nB: (.*)\nBetter:", re.DOTALL)


def sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))


@dataclass
class PairJudge:
    """`Model`: A is better with the log-odds trust * (worth of A - worth of B) + place + length * (longer by).

    Trust is the share of the demonstrations that call the reply of larger worth better, less the share of the others:
    without demonstrations it says nothing of worth.
    """

    worth: Mapping[str, float]
    place: float = 0.0
    length: float = 0.0
    refused: str = "no such text"
    window: int = 100_000
    asked: list[str] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context_window=self.window, method="exact", deterministic=True)

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        unanswered = [
            Unanswered(each.query, tuple(turn.text for turn in each.turns), "a filter")
            for each in prompts
            if self.refused in each.query
        ]
        if unanswered:
            error = RequestError("a filter", kind="refused")
            error.unanswered = tuple(unanswered)
            raise error
        self.asked += [prompt.text for prompt in prompts]
        found = [self._answer(prompt) for prompt in prompts]
        return Answers(tuple(found), {prompt.text: Usage(1, len(prompt.text)) for prompt in prompts})

    def log_odds(self, first: str, second: str, trust: float = 1.0) -> float:
        """That A is better."""
        gained = trust * (self.worth.get(first, 0.0) - self.worth.get(second, 0.0))
        return gained + self.place + self.length * (len(first) - len(second))

    def _answer(self, prompt: Prompt) -> LabelDistribution:
        right = 0
        for turn in prompt.turns:
            _, first, second = self._parts(turn.text)
            better = self.worth.get(first, 0.0) > self.worth.get(second, 0.0)
            right += 1 if better == (turn.answer == " A") else -1
        _, first, second = self._parts(prompt.query)
        odds = self.log_odds(first, second, right / max(len(prompt.turns), 1))
        return LabelDistribution(("A", "B"), (-log1p(exp(-odds)), -log1p(exp(odds))), 0.97, "exact")

    @staticmethod
    def _parts(text: str) -> tuple[str, str, str]:
        found = _SHOWN.fullmatch(text)
        assert found is not None
        return found[1], found[2], found[3]


def labelled_pairs(count: int) -> tuple[Dataset, Result, dict[str, float]]:
    """Pairs of a good and a bad reply with the right labels, and what each reply is worth."""
    pairs = [Pair(f"p{at}", f"p{at}", {"prompt": f"q{at}"}, (f"good {at}", f"bad {at}")) for at in range(count)]
    examples = [example for pair in pairs for example in both_orders(pair)]
    worth = {f"{name} {at}": value for at in range(count) for name, value in (("good", 1.5), ("bad", -0.5))}
    lines = []
    for at, example in enumerate(examples):
        label = "A" if example.fields["first"].startswith("good") else "B"
        sure = round(0.9 - at / (4 * len(examples)), 6)
        probabilities = {name: sure if name == label else round(1 - sure, 6) for name in ("A", "B")}
        lines.append(LabelledExample(example.id, label, sure, 0.99, example.group, probabilities))
    return Dataset(examples), Result(tuple(lines), -1.0, -0.2, 0.0, Usage(), 1, {}), worth
