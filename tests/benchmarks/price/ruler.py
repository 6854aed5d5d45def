"""What a search asked for, by two rulers that agree: a server's own counts, and the same counts without a wire.

Both count tokens as the server does, a word or a sign each, and let a prefix cache of four million tokens hold what was
asked before; without a wire, beginnings are shared by whole questions, claims and labels. Time without a wire is 50 ms
for every 64 requests of one `ask`, and for each request what it took over a wire beyond that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil, exp, log1p
from random import Random
from statistics import fmean

from icm_api.config import Prices
from icm_api.model.client.meter import cost
from icm_api.testing import ServerLog
from icm_api.testing.backend import PrefixCache
from icm_api.types import Label, Model, Prompt, Turn, Usage
from tests.benchmarks.price.learner import SEPARATOR, Learner, LearnerBackend
from tests.benchmarks.price.published import ALPHA, Question
from tests.benchmarks.price.rows import Rows

CONCURRENCY, LATENCY = 64, 0.05
PRICES = Prices(input=0.10, cached_input=0.01, output=0.50)
"""Per million tokens, in USD: the list that the guide's examples state."""
ORDERS = 3
_HELD = 2**22


@dataclass(frozen=True, slots=True)
class Price:
    """What labels cost, and what they are worth.

    Attributes:
        labels: by id.
        usage: as sent; `cached_tokens` are those that the prefix cache held.
        wall: in seconds.
    """

    labels: dict[str, Label]
    usage: Usage
    wall: float

    @property
    def new_tokens(self) -> int:
        """Prompt tokens beyond the prefix cache."""
        return self.usage.prompt_tokens - self.usage.cached_tokens

    @property
    def money(self) -> float:
        """By the price list, in USD, with its discount for what the prefix cache held."""
        return cost(self.usage, PRICES)


def usage_of(log: ServerLog) -> Usage:
    """What a server was asked; questions to its tokenizer are not counted."""
    asked = sum(count for path, count in log.requests.items() if "tokenize" not in path)
    return Usage(asked, log.prompt_tokens, log.completion_tokens, log.cached_tokens)


@dataclass(eq=False)
class Ruler:
    """Answers a published search's questions in this process, and counts them.

    Attributes:
        rows: the examples.
        learner: who answers.
        sent: every request as it is sent, and the seconds that they take.
        once: only those that were not sent before.
    """

    rows: Rows
    learner: Learner
    sent: tuple[Usage, float] = (Usage(), 0.0)
    once: tuple[Usage, float] = (Usage(), 0.0)

    def __post_init__(self) -> None:
        backend, separator = LearnerBackend(self.learner), self.rows.task.template.separator
        pieces: dict[str, int] = {}
        self._tokens: list[int] = []
        self._parts: dict[int, tuple[int, ...]] = {}
        self._numbers = []
        for example in self.rows.dataset:
            text = self.rows.task.template.render(example)
            number = self.learner.number(text)
            self._numbers.append(number)
            # Prompts part after a question, after a claim or after a label.
            question, line, claim = text.partition("\n")
            for code, label in (
                (-number - 1, ""),
                (2 * number, f" False{separator}"),
                (2 * number + 1, f" True{separator}"),
            ):
                whole = [piece for piece in (question + line, claim, label) if piece]
                for piece in whole:
                    if piece not in pieces:
                        pieces[piece] = len(pieces)
                        self._tokens.append(len(backend.encode(piece)))
                self._parts[code] = tuple(pieces[piece] for piece in whole)
        self._sizes = {code: sum(self._tokens[at] for at in parts) for code, parts in self._parts.items()}
        self._prefixes = PrefixCache(_HELD * len(pieces) // sum(self._tokens))
        self._answers: dict[int, float] = {}

    async def ask(self, questions: Sequence[Question]) -> list[float]:
        """Log-odds of True per question, in nats."""
        found = [self._answer(each) for each in questions]
        self.sent = _added(self.sent, [usage for _, usage, _ in found])
        self.once = _added(self.once, [usage for _, usage, new in found if new])
        return [odds for odds, _, _ in found]

    def _answer(self, question: Question) -> tuple[float, Usage, bool]:
        """Log-odds, what the request costs, and whether it is the first of its kind."""
        codes = tuple([2 * self._numbers[at] + label for at, label in question.shown])
        number = self._numbers[question.query]
        whole = (*codes, -number - 1)
        key, tokens = hash(whole), sum(map(self._sizes.__getitem__, whole))
        if key in self._answers:
            # In its favour: whatever was asked before is still in the prefix cache.
            return self._answers[key], Usage(1, tokens, 1, tokens), False
        parts = tuple(chain.from_iterable(map(self._parts.__getitem__, whole)))
        held = self._prefixes.longest(parts)
        self._prefixes.add(parts)
        self._answers[key] = odds = self.learner.odds(codes, number)
        return odds, Usage(1, tokens, 1, sum(map(self._tokens.__getitem__, parts[:held]))), True


def _added(so_far: tuple[Usage, float], asked: Sequence[Usage]) -> tuple[Usage, float]:
    return sum(asked, so_far[0]), so_far[1] + ceil(len(asked) / CONCURRENCY) * LATENCY


@dataclass(frozen=True, slots=True)
class Wire:
    """Answers a published search's questions by a server.

    Attributes:
        rows: the examples.
        model: whom to ask; without memory, so that what is asked again is sent again.
    """

    rows: Rows
    model: Model

    async def ask(self, questions: Sequence[Question]) -> list[float]:
        """Log-odds of True per question, in nats."""
        reads = await self.model.label_distributions(list(map(self._prompt, questions)))
        return [round(read.logprob("True") - read.logprob("False"), 6) for read in reads]

    def _prompt(self, question: Question) -> Prompt:
        task, examples = self.rows.task, tuple(self.rows.dataset)
        texts = {at: task.template.render(examples[at]) for at in (*dict(question.shown), question.query)}
        turns = tuple(Turn(texts[at], f" {label}") for at, label in question.shown)
        return Prompt("", turns, texts[question.query], task.verbalizer, SEPARATOR)


def exact_utility(rows: Rows, learner: Learner, labels: dict[str, Label]) -> float:
    """U of labels by exact leave-one-out: 50 times the mean log p of each given all others, less broken pairs.

    Averaged over orders of the demonstrations, the same ones for all labelings of a data set.

    Args:
        rows: the examples.
        learner: who is asked; nothing is counted.
        labels: complete or not.
    """
    places = [at for at, example in enumerate(rows.dataset) if example.id in labels]
    examples = tuple(rows.dataset)
    numbers = {at: learner.number(rows.task.template.render(examples[at])) for at in places}
    true = {at: labels[examples[at].id] == "True" for at in places}
    means = []
    for order in range(ORDERS):
        shuffled = Random(f"order {order}").sample(places, len(places))
        codes = [2 * numbers[at] + true[at] for at in shuffled]
        odds = [learner.odds(codes[:at] + codes[at + 1 :], numbers[one]) for at, one in enumerate(shuffled)]
        means.append(fmean(-log1p(exp(-odd if true[at] else odd)) for at, odd in zip(shuffled, odds, strict=True)))
    return ALPHA * fmean(means) - len(rows.batch().broken(true))
