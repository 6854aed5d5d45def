"""From questions to requests, tokens, money and minutes: what a model makes of a prompt, as far as it is known.

A reader says which request a prompt becomes, without sending it; a probe sends one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from time import monotonic

from icm_api.config import Config, Prices
from icm_api.evaluation.null import made_up
from icm_api.model import Client, LanguageModel, Request, open_endpoint
from icm_api.model.client.meter import cost
from icm_api.model.findings import Recorder, limits_found, seconds_found
from icm_api.objective import Joint, LeaveOneOut, Lengths, Objective, Shared
from icm_api.runs.pace import Pace, Wave
from icm_api.search import Asked
from icm_api.types import Example, Labeling, Model, Prompt, Usage

FEWER = 0.75
"""Tokens that a server counts for each that is estimated: a token for every three bytes is estimated, and English has
four."""
_PROBED = 32
_PIECES = re.compile(r"[A-Za-z]+| (?=[A-Za-z])|.", re.DOTALL)
# Prefix caches of hosted models begin at so many tokens.
_CACHED_FROM = 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What something takes.

    Attributes:
        requests: to the model; a list of prompts, or of questions, is one.
        prompt_tokens: of all prompts.
        cached_tokens: those of them that a prefix cache has read before.
        completion_tokens: of all replies.
        money: in the currency of the prices; None without `[prices]`.
        minutes: None if no speed is known.
        questions: that these requests ask, as many as a finished run counts.
    """

    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    money: float | None = None
    minutes: float | None = None
    questions: int = 0

    def at_most(self, most: Usage, money: float | None) -> Cost:
        """The same within a bound, which what earlier runs took can be beyond.

        Args:
            most: that can be asked for.
            money: that this costs.
        """
        return replace(
            self,
            requests=min(self.requests, most.requests),
            prompt_tokens=min(self.prompt_tokens, most.prompt_tokens),
            cached_tokens=min(self.cached_tokens, most.prompt_tokens),
            money=self.money if self.money is None or money is None else min(self.money, money),
            questions=min(self.questions, most.requests),
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """What a question takes of one model.

    Attributes:
        requests: that one question takes.
        tokens: that the server counts for each that is estimated.
        most_tokens: the most of these.
        reply: tokens of one reply.
        once: requests that are made once for all: those that ask how a server cuts the texts into tokens.
        prices: what they cost.
        pace: how long they take.
        together: the most questions that travel in one request.
        alike: only questions about the same demonstrations do, which then count once.
        frames: tokens, as they are estimated, that a decision endpoint has besides the texts: in each request, and in
            each question.
    """

    requests: float = 1.0
    tokens: float = 1.0
    most_tokens: float = 1.0
    reply: int = 1
    once: int = 0
    prices: Prices | None = None
    pace: Pace = field(default_factory=Pace)
    together: int = 1
    alike: bool = False
    frames: tuple[int, int] = (0, 0)

    def wave(self, asked: Asked, objective: Objective, lengths: Lengths) -> Wave:
        """What some questions ask for.

        Args:
            asked: the questions.
            objective: knows what a scoring takes.
            lengths: of all examples.
        """
        size = len(lengths.shown)
        scores = LeaveOneOut() if asked.exact else objective
        scored = scores.usage(lengths.part(min(size, asked.shown))) if asked.scores else Usage()
        shown = asked.shown * sum(lengths.shown) / size
        question = lengths.prompt(shown, sum(lengths.asked) / size)
        # Questions that are asked at once share their demonstrations.
        shared = max(0.0, asked.questions - asked.waits) * min(shown, question) if asked.waits else 0.0
        estimator = LeaveOneOut() if asked.exact else objective.estimator
        # Inside a prompt all tokens of all labels are read at once.
        each = 1.0 if isinstance(estimator, Joint) else self.requests
        shared *= self.requests
        tokens = each * asked.scores * scored.prompt_tokens + self.requests * asked.questions * question
        cached = each * asked.scores * scored.cached_tokens + shared
        requests = each * asked.scores * scored.requests + self.requests * asked.questions
        sent, once = None, 0.0
        if self.together > 1:
            contexts = estimator.orders if isinstance(estimator, Shared) else scored.requests
            waits = asked.waits or 1.0
            sent = asked.scores * self._sent(each * scored.requests, contexts)
            sent += waits * self._sent(self.requests * asked.questions / waits, float(asked.shown > 0))
        if self.alike:
            # What the questions of a request share is read once, and the next request shows others first.
            once = cached if isinstance(estimator, Shared) else shared
        framed = self.tokens * (self.frames[0] * (requests if sent is None else sent) + self.frames[1] * requests)
        # Of made-up words a tokenizer knows none, and cuts them into pieces of about two letters.
        scale = max(self.tokens, self.most_tokens) if asked.noise else self.tokens
        usage = Usage(
            round(requests),
            round((tokens - once) * scale + framed),
            round(requests * self.reply),
            round((cached - once) * scale),
        )
        return Wave(usage, asked.waits, sent)

    def _sent(self, questions: float, contexts: float) -> float:
        """Requests that so many questions travel in, which are asked at once after so many contexts."""
        if self.alike:
            each = max(1.0, contexts)
            return each * ceil(questions / each / self.together)
        return float(ceil(questions / self.together))

    def cost(self, waves: Sequence[Wave]) -> Cost:
        """What they take together.

        Args:
            waves: one after the other.
        """
        usage = sum((wave.usage for wave in waves), Usage())
        prices = self.prices
        money = None if prices is None else sum(cost(_billed(wave.usage), prices) for wave in waves)
        return Cost(
            round(sum(wave.requests for wave in waves)),
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            money,
            self.pace.minutes(waves),
            usage.requests,
        )


def _billed(usage: Usage) -> Usage:
    """Nothing off for prompts that are too short for a host's prefix cache."""
    short = usage.prompt_tokens < _CACHED_FROM * usage.requests
    return Usage(usage.requests, usage.prompt_tokens, usage.completion_tokens, 0 if short else usage.cached_tokens)


def measured_lengths(objective: Objective, model: LanguageModel, *, noise: bool = False) -> Lengths:
    """Tokens of the examples' own texts, as the model's endpoint counts or estimates them.

    Args:
        objective: has examples and prompts.
        model: counts.
        noise: of the same texts in made-up words, which tokenizers do not know.
    """
    prompts, count = objective.prompts, model.count_tokens
    template, verbalizer = prompts.template, prompts.verbalizer
    answers = sorted((verbalizer.written(label) for label in verbalizer.labels), key=count)
    ends = [answer + template.separator for answer in dict.fromkeys((answers[0], answers[-1]))]
    examples = map(_made_up, objective.dataset) if noise else objective.dataset
    texts = [template.render(example) for example in examples]
    shown = tuple(round(sum(count(text + end) for end in ends) / len(ends)) for text in texts)
    head = count(template.instruction + template.separator) if template.instruction else 0
    return Lengths(head, shown, tuple(map(count, texts)), model.capabilities.context_window)


def longest_prompt(objective: Objective, model: Model) -> int:
    """Tokens of a prompt that shows all examples with their labels, cut to no window."""
    template, verbalizer = objective.prompts.template, objective.prompts.verbalizer
    texts = [template.render(example) for example in objective.dataset]
    answer = max((verbalizer.written(label) for label in verbalizer.labels), key=model.count_tokens)
    shown = sum(model.count_tokens(text + answer + template.separator) for text in texts)
    return shown + model.count_tokens(template.instruction + template.separator)


def _made_up(example: Example) -> Example:
    return replace(example, fields={name: made_up(text) for name, text in example.fields.items()})


def typical(objective: Objective) -> Prompt:
    """An example after all others, whose labels are made up; the first that is not too long, if there is one."""
    labels, prompts, examples = objective.labels, objective.prompts, list(objective.dataset)
    first = next((each for each in examples if prompts.too_long(each) is None), examples[0])
    others = [each for each in examples if each is not first]
    return prompts.prompt(first, [(other, labels[at % len(labels)]) for at, other in enumerate(others)])


async def stated_rates(objective: Objective, model: LanguageModel) -> Rates:
    """What is known of a model without asking it.

    Args:
        objective: has the prompts.
        model: that would be asked.

    Raises:
        PromptError: an example alone is longer than the context window.
    """
    can = model.capabilities
    prompt = typical(objective)
    drafts = await model.drafted(prompt)
    reply = max([1, *(draft.completion_tokens for draft in drafts)])
    if can.batches:
        return Rates(float(can.requests_per_prompt), reply=reply)
    texts = [objective.prompts.template.render(example) for example in objective.dataset]
    most = max(1.0, sum(map(most_tokens, texts)) / max(1, sum(map(model.count_tokens, texts))))
    # What a tokenizer is asked has no tokens.
    once = await _asked_once(objective, model) if not any(draft.tokens for draft in drafts) else 0
    found = Rates(float(can.requests_per_prompt), FEWER, most, reply, once, together=can.together, alike=can.alike)
    return replace(found, frames=_frames(prompt, drafts[0], model)) if can.method == "decisions" else found


def _frames(prompt: Prompt, draft: Request, model: Model) -> tuple[int, int]:
    """What a decision endpoint's host has besides the texts: in the request of a prompt, and in its question."""
    shared = draft.shared - model.count_tokens(prompt.shown)
    return max(0, shared), max(0, draft.tokens - draft.shared - model.count_tokens(prompt.query))


async def _asked_once(objective: Objective, model: LanguageModel) -> int:
    """Requests of which some may serve several texts."""
    examples = [*objective.dataset, *map(_made_up, objective.dataset)]
    drafts = [await model.drafted(objective.prompts.prompt(example, ())) for example in examples]
    return len({json.dumps(draft.body, sort_keys=True) for each in drafts for draft in each})


def most_tokens(text: str) -> int:
    """The most tokens that a tokenizer in use makes of a text: two letters each, and one for every other byte.

    Example:
        >>> most_tokens("The sum is 12.")
        9
    """
    return sum(_most_of(piece) for piece in _PIECES.findall(text)) + 1


def _most_of(piece: str) -> int:
    if piece.isascii() and piece.isalpha():
        return -(-len(piece) // 2)
    return 0 if piece == " " else len(piece.encode())


@dataclass(frozen=True, slots=True)
class Probed:
    """What sending a question showed.

    Attributes:
        requests: that it took.
        tokens: that the server counted for each that was estimated; None if nothing was estimated.
        pace: how fast it was.
        usage: what it cost.
    """

    requests: float
    tokens: float | None
    pace: Pace
    usage: Usage


async def probed(config: Config, objective: Objective) -> Probed:
    """Ask one question of the run's own, or of a local model some at once, past any cache of answers.

    Args:
        config: names the model.
        objective: has the prompts.

    Raises:
        ProviderError: the model gave no usable answer.
    """
    endpoint, readers = open_endpoint(config.model.provider, config.model.options)
    recorder, settings = Recorder(endpoint), config.client
    try:
        async with LanguageModel(readers, Client(recorder, memory=0, settings=settings)) as model:
            if endpoint.capabilities.batches:
                return await _speed(objective, model)
            await model.label_distributions([typical(objective)])
    finally:
        await endpoint.close()
    # What only says how a text is cut into tokens is no question.
    asked = [each for each in recorder.exchanges if each.response.usage.completion_tokens] or recorder.exchanges
    usage = sum((each.response.usage for each in recorder.exchanges), Usage())
    estimated = sum(each.request.tokens for each in asked)
    counted = sum(each.response.usage.prompt_tokens for each in asked)
    pace = Pace(latency=seconds_found(asked).value, client=settings, source="measured by one question")
    limits = dict(limits_found(recorder).value or {})
    return Probed(len(asked), counted / estimated if estimated else None, pace.limited(limits), usage)


async def _speed(objective: Objective, model: LanguageModel) -> Probed:
    """New tokens a second of a leave-one-out over some of the examples."""
    some = tuple(objective.dataset)[:_PROBED]
    labels = {example.id: objective.labels[at % len(objective.labels)] for at, example in enumerate(some)}
    lengths = measured_lengths(objective, model)
    usage = objective.usage(Lengths(lengths.head, lengths.shown[:_PROBED], lengths.asked[:_PROBED], lengths.window))
    own = Objective(objective.dataset, objective.prompts, model, objective.relations, estimator=objective.estimator)
    began = monotonic()
    await own(Labeling(labels))
    speed = (usage.prompt_tokens - usage.cached_tokens) / max(monotonic() - began, 1e-6)
    pace = Pace(new_tokens=speed, source=f"measured by {len(some)} questions, {speed:,.0f} new tokens a second")
    return Probed(model.capabilities.requests_per_prompt, None, pace, model.sent)


def largest(known: Iterable[float | None]) -> float:
    """The largest of those that are known, at least 1."""
    return max([1.0, *(value for value in known if value is not None)])
