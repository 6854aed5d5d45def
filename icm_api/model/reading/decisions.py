"""Label probabilities of decision models: closed questions about a text, answered with a probability for each option.

It does: write the demonstrations as the text and a prompt's query as the question, and read the answer.
It does not: send, or take these numbers for the model's own logprobs. The server writes the prompt, divides by the
labels' sum, so that how much they had together is unknown, and may clamp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import log
from typing import Any, TypeGuard

from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.model.decision_hosts import DecisionHost
from icm_api.model.reading.reading import Below, Reading, named
from icm_api.model.request import Asks, Body, Request, bytes_in_tokens
from icm_api.types import Answers, Label, Prompt

METHOD = "decisions"

# Part of every cache key: never to be changed.
_ASK = "Which label follows this text, by the same rule as in the examples?"
_ASK_ALONE = "Which label fits this text?"
_ADVICE = "choose another model, and check it by `icm-api probe`"
_NO_EXAMPLES = "(no examples)"
_NAME = "label"
# What frames of questions and options take.
_FRAME_TOKENS, _OPTION_TOKENS = 64, 8
# A probability of 0 is one that was rounded: to two decimals or more.
_ROUNDED = 0.005
# Rounding moves the sum of so many options no further than this.
_LARGEST_ERROR = 0.02


class Decisions:
    """Reads whole labels, one question a prompt; implements `ReadsLabels`.

    Prompts with equal demonstrations are questions about the same text, and may travel together.

    Args:
        host: the model and its host.
    """

    def __init__(self, host: DecisionHost) -> None:
        self._host = host

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """The labels of each prompt, one question a prompt.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            CapabilityError: there are more labels than the host takes, or two are written alike.
            ProviderError: a request failed, or an answer can't be used.
        """
        answers = await client.ask([self.request(prompt) for prompt in prompts])
        readings = [self._read(prompt, body) for prompt, body in zip(prompts, answers, strict=True)]
        return Answers(tuple(readings), answers.costs)

    def request(self, prompt: Prompt) -> Request:
        """The question of one prompt.

        Raises:
            CapabilityError: there are more labels than the host takes, or two are written alike.
        """
        entry, host = self._host.entry, self._host
        options = self._options(prompt)
        text = prompt.shown.rstrip() or _NO_EXAMPLES
        ask = f"{_ASK if prompt.turns else _ASK_ALONE}\n\n{prompt.query}"
        question: dict[str, Any]
        if entry.wire == "openai":
            question = {"type": "choice", "instructions": ask, "choices": [{"value": each} for each in options]}
            asked: dict[str, Any] = {"input": text, "questions": [question]}
        else:
            question = {"type": "choice", "instructions": ask, "criteria": {each: each for each in options}}
            asked = {"state": text, "questions": {_NAME: question}}
        shared = bytes_in_tokens(text) + _FRAME_TOKENS
        own = bytes_in_tokens(ask) + sum(_OPTION_TOKENS + bytes_in_tokens(each) for each in options)
        return Request(
            {"model": host.model, **asked, **host.extra},
            entry.path,
            prompt,
            group=repr((text, host.extra)),
            tokens=shared + own,
            shared=shared,
            check=named(host.identity, host.blot, partial(self._read, prompt)),
        )

    def _options(self, prompt: Prompt) -> Mapping[str, Label]:
        """What each label is called in a question: as demonstrations write it."""
        verbalizer, most = prompt.verbalizer, self._host.entry.options
        options = {verbalizer.written(label).strip(): label for label in verbalizer.labels}
        if len(options) < len(verbalizer.labels):
            raise CapabilityError(
                f"{self._host.identity}: two labels are written alike but for white space: {[*options]}"
            )
        if len(options) > most:
            raise CapabilityError(
                f"{self._host.identity} takes at most {most} options, and there are {len(options)} labels"
            )
        return options

    def _read(self, prompt: Prompt, body: Body) -> Reading:
        answer = _the_answer(body)
        options = self._options(prompt)
        found = _probabilities(answer, options)
        mass = answer.get("label_mass")
        known = isinstance(mass, float) and 0 < mass <= 1
        before = log(mass) if isinstance(mass, float) and known else 0.0
        read = {label: _bounded(found[each], self._host.entry.clamp, before) for each, label in options.items()}
        return Reading({}, METHOD, labels=read, normalised=not known)


def _the_answer(body: Body) -> Body:
    """The one answer of a body, in either wire."""
    answers = body.get("answers")
    listed = [*answers.values()] if isinstance(answers, Mapping) else answers if isinstance(answers, list) else []
    if len(listed) != 1 or not isinstance(listed[0], Mapping):
        raise LogprobsUnavailableError(f"the answer holds no answer to the question: {body!r:.200}")
    answer: Body = listed[0]
    if answer.get("type") == "refusal":
        raise RequestError(
            "the model declined to answer: reword the instruction or the example, or use another model", kind="refused"
        )
    return answer


def _probabilities(answer: Body, options: Mapping[str, Label]) -> dict[str, float]:
    """The probability of each option.

    Raises:
        LogprobsUnavailableError: one is missing or no probability, or they don't sum to 1.
    """
    said = answer.get("probabilities")
    if isinstance(said, list):
        pairs = [(each.get("value"), each.get("probability")) for each in said if isinstance(each, Mapping)]
    else:
        pairs = [*said.items()] if isinstance(said, Mapping) else []
    found: dict[str, float] = {}
    for value, number in pairs:
        if isinstance(value, str) and value not in found and _is_probability(number):
            found[value] = number
    if found.keys() != options.keys() or len(pairs) != len(options):
        raise LogprobsUnavailableError(
            f"the answer has no probability for each of {[*options]}: {dict(answer)!r:.200}; {_ADVICE}"
        )
    if abs(sum(found.values()) - 1) > _LARGEST_ERROR + _ROUNDED * len(found):
        raise LogprobsUnavailableError(
            f"the labels' probabilities sum to {sum(found.values()):.3f}, not to 1; {_ADVICE}"
        )
    return found


def _is_probability(number: object) -> TypeGuard[float]:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1


def _bounded(p: float, clamp: float, before: float) -> float | Below:
    """log p, or a bound if p may have been rounded or clamped to what it is."""
    if p <= max(clamp, 0.0):
        return Below(before + log(clamp or _ROUNDED))
    if clamp and p >= 1 - clamp:
        return Below(before, before + log(1 - clamp))
    return before + log(p)
