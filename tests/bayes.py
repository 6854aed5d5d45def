"""An ideal in-context learner in closed form, to hold the search against: no network, no weights.

It believes that one of four labellers wrote the demonstrations: the truth, its opposite, one who says True to
almost everything, one who tosses a coin; and answers with the exact posterior predictive. Every request is
counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, log

from icm_api.types import Answers, Capabilities, Dataset, Example, LabelDistribution, Prompt, Usage, logsumexp

PRIORS = {"truth": 0.5, "opposite": 0.03, "always": 0.35, "coin": 0.12}


class BayesModel:
    """`Model` over claims whose truth is known by their text.

    Args:
        truth: text -> whether it is true; of other texts, no labeller knows anything but to say True.
        noise: how often a labeller slips.
        window: context window in characters.
    """

    def __init__(self, truth: Mapping[str, bool], *, noise: float = 0.05, window: int = 1_000_000) -> None:
        self._truth = truth
        self._noise = noise
        self._window = window
        self._memory: dict[str, LabelDistribution] = {}
        self.asked: list[str] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(context_window=self._window, method="exact", deterministic=True)

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        found = []
        for prompt in prompts:
            if prompt.text not in self._memory:
                self.asked.append(prompt.text)
                self._memory[prompt.text] = self._answer(prompt)
            found.append(self._memory[prompt.text])
        return Answers(tuple(found), {prompt.text: Usage(1, len(prompt.text)) for prompt in prompts})

    def log_joint(self, labels: Mapping[str, bool]) -> float:
        """log p of all these answers to these texts together, in any order, in closed form."""
        return logsumexp(
            [log(prior) + sum(self._log_p(name, *pair) for pair in labels.items()) for name, prior in PRIORS.items()]
        )

    def _answer(self, prompt: Prompt) -> LabelDistribution:
        posterior = {
            name: log(prior) + sum(self._log_p(name, turn.text, turn.answer == " True") for turn in prompt.turns)
            for name, prior in PRIORS.items()
        }
        evidence = logsumexp(list(posterior.values()))
        true = sum(exp(weight - evidence + self._log_p(name, prompt.query, True)) for name, weight in posterior.items())
        return LabelDistribution(("True", "False"), (log(true), log(1 - true)), 1.0, "exact")

    def _log_p(self, labeller: str, text: str, answer: bool) -> float:
        known = self._truth.get(text)
        likely = {
            "truth": known,
            "opposite": None if known is None else not known,
            "always": True,
            "coin": None,
        }[labeller]
        noise = 3 * self._noise if labeller == "opposite" else self._noise
        return log(0.5 if likely is None else 1 - noise if answer == likely else noise)


class InsideBayesModel(BayesModel):
    """The same, and it answers inside a prompt too, at a request a prompt."""

    async def read_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        found = [
            [
                self._answer(replace(prompt, turns=prompt.turns[:at], query=turn.text))
                for at, turn in enumerate(prompt.turns)
            ]
            for prompt in prompts
        ]
        self.asked += [prompt.text for prompt in prompts]
        return Answers(tuple(found), {prompt.text: Usage(1, len(prompt.text)) for prompt in prompts})


def pairs(count: int) -> tuple[Dataset, dict[str, bool]]:
    """Both orders of `count` pairs, and which are true."""
    examples, truth = [], {}
    for number in range(count):
        low, high = str(2 * number), str(2 * number + 1)
        for left, right in ((low, high), (high, low)):
            text = f"{left}>{right}"
            truth[text] = left == high
            examples.append(
                Example(text, {"text": text, "left": left, "right": right}, group=f"{low},{high}", answer=left)
            )
    return Dataset(examples), truth


def candidates(questions: int, each: int) -> tuple[Dataset, dict[str, bool]]:
    """`each` candidate answers for every question, the first of them right, and which are true."""
    examples, truth = [], {}
    for question in range(questions):
        for answer in range(each):
            text = f"q{question}={answer}"
            truth[text] = answer == 0
            examples.append(Example(text, {"text": text}, group=f"q{question}", answer=str(answer)))
    return Dataset(examples), truth
