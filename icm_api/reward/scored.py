"""A reward model with a score for each reply: the output of one number that was trained on a run's preferences.

What computes the scores is a head: the embedded model's (`pocket_head`) or a network of transformers (`local_head`).
Nothing here trains it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import exp
from typing import Protocol

from icm_api.errors import ConfigError, IcmError, PromptError
from icm_api.reward.comparing import TIE, Asked, Comparison, Preference, Ranking, Refused, answered
from icm_api.types import Usage

STRETCH = 64
"""Replies scored at once; between two stretches others have their turn."""


class Head(Protocol):
    """What computes scores."""

    @property
    def identity(self) -> str:
        """The model, with a fingerprint of its weights."""

    def length(self, prompt: str, reply: str) -> int:
        """Tokens of a prompt with a reply.

        Args:
            prompt: "" if there is none.
            reply: to it.
        """

    @property
    def window(self) -> int:
        """The most tokens of both."""

    def scores(self, asked: Sequence[tuple[str, str]]) -> Sequence[float]:
        """The score of each reply, nats.

        Args:
            asked: prompts, each with a reply; none is too long.
        """


class Scoring:
    """Scores replies by a head, and counts them; whoever shares it shares the count.

    Args:
        head: computes the scores.
    """

    def __init__(self, head: Head) -> None:
        self._head = head
        self._usage = Usage()

    @property
    def identity(self) -> str:
        """The model, with a fingerprint of its weights."""
        return self._head.identity

    @property
    def usage(self) -> Usage:
        """Replies that were scored, as requests, and their tokens."""
        return self._usage

    async def scores(self, asked: Sequence[tuple[str, str]]) -> tuple[float | Refused, ...]:
        """The scores of many replies; one that is empty or too long costs the others nothing.

        Args:
            asked: prompts, each with a reply; what is asked twice is scored once.

        Returns:
            A score for each, nats.

        Raises:
            ProviderError: the weights cannot be loaded.
        """
        found: dict[tuple[str, str], float | Refused] = {}
        for each in dict.fromkeys(asked):
            error = self._refused(*each)
            if error is not None:
                found[each] = Refused(error)
        waiting = iter([each for each in dict.fromkeys(asked) if each not in found])
        while stretch := [*islice(waiting, STRETCH)]:
            scores = await asyncio.to_thread(self._head.scores, stretch)
            found |= dict(zip(stretch, map(float, scores), strict=True))
            self._usage += Usage(len(stretch), sum(self._head.length(*each) for each in stretch))
        return tuple(found[each] for each in asked)

    def _refused(self, prompt: str, reply: str) -> IcmError | None:
        if not reply.strip():
            return PromptError("a reply is empty: there is nothing to score")
        length = self._head.length(prompt, reply)
        if length > self._head.window:
            return PromptError(
                f"a prompt with its reply has {length} tokens, more than the context window of {self._head.window} of "
                f"{self.identity}; shorten one of them"
            )
        return None


@dataclass(frozen=True, eq=False)
class ScoredReward:
    """A reward model whose replies have a score each; a reply is better by the difference of the scores, in log-odds.

    It has no order of two replies, so that none can have an influence.

    Attributes:
        scoring: scores the replies.
        heard: called with the number of comparisons each time that some are answered.

    Example:
        ``async with icm_api.open_reward_model("huggingface:FOLDER") as reward: await reward.score(prompt, reply)``
    """

    scoring: Scoring
    heard: Callable[[int], object] = lambda answered: None

    @property
    def identity(self) -> str:
        """The model, with a fingerprint of its weights."""
        return self.scoring.identity

    @property
    def usage(self) -> Usage:
        """Replies that were scored, as requests, and their tokens."""
        return self.scoring.usage

    async def score(self, prompt: Asked, reply: str, against: Sequence[str] = ()) -> float:
        """How good a reply is.

        Args:
            prompt: what is answered; "" if there is nothing.
            reply: to be scored.
            against: other replies to the prompt, to be compared with; none for the score alone.

        Returns:
            The score in nats, on a scale of the model's own; or, against others, the mean probability that the reply
            is better than one of them, in [0, 1], as of other reward models.

        Raises:
            PromptError: the reply is empty or too long.
            ConfigError: the prompt has several texts.
        """
        if against:
            told = await self.prefer_all(Comparison(prompt, reply, other) for other in against)
            return sum(answered(each).probability for each in told) / len(told)
        (found,) = await self.scores([(prompt, reply)])
        return answered(found)

    async def scores(self, asked: Sequence[tuple[Asked, str]]) -> tuple[float | Refused, ...]:
        """The scores of many replies; one that is empty or too long costs the others nothing.

        Args:
            asked: prompts, each with a reply.

        Returns:
            A score for each, nats.

        Raises:
            ConfigError: a prompt has several texts.
            ProviderError: the weights cannot be loaded.
        """
        return await self.scoring.scores([(_text(prompt), reply) for prompt, reply in asked])

    async def prefer(self, prompt: Asked, one: str, other: str) -> Preference:
        """Which of two replies is better.

        Args:
            prompt: what both answer.
            one: a reply.
            other: another one.

        Raises:
            PromptError: a reply is empty or too long.
            ConfigError: the prompt has several texts.
        """
        (found,) = await self.prefer_all([Comparison(prompt, one, other)])
        return answered(found)

    async def prefer_all(self, comparisons: Iterable[Comparison]) -> tuple[Preference | Refused, ...]:
        """Many comparisons at once; one that is refused costs the others nothing.

        Args:
            comparisons: pairs of replies.

        Returns:
            What the scores say of each, in order.

        Raises:
            ConfigError: a prompt has several texts.
        """
        wanted = list(comparisons)
        scores = iter(await self.scores([(each.prompt, text) for each in wanted for text in (each.one, each.other)]))
        found: list[Preference | Refused] = []
        for one, other in zip(scores, scores, strict=True):
            if isinstance(one, Refused):
                found.append(one)
            else:
                found.append(other if isinstance(other, Refused) else _preference(one, other))
        self.heard(len(found))
        return tuple(found)

    async def rank(self, prompt: Asked, replies: Sequence[str]) -> Ranking:
        """Order replies to one prompt by their scores.

        Args:
            prompt: what is answered.
            replies: one or more.

        Raises:
            ConfigError: there are no replies, or the prompt has several texts.
            PromptError: a reply is empty or too long.
        """
        (found,) = await self.rank_all([(prompt, replies)])
        return answered(found)

    async def rank_all(self, questions: Sequence[tuple[Asked, Sequence[str]]]) -> tuple[Ranking | Refused, ...]:
        """The replies to many prompts, each ranked by itself.

        Args:
            questions: prompts, each with its replies.

        Returns:
            A ranking for each: scores with mean 0 over the different replies; `Refused` if one of them is.

        Raises:
            ConfigError: there are no replies, or a prompt has several texts.
        """
        if any(not replies or isinstance(replies, str) for _, replies in questions):
            raise ConfigError("rank: give a list of replies, at least one")
        scores = iter(await self.scores([(prompt, reply) for prompt, replies in questions for reply in replies]))
        found = tuple(_ranking(replies, [*islice(scores, len(replies))]) for _, replies in questions)
        self.heard(len(found))
        return found


def _ranking(replies: Sequence[str], scores: Sequence[float | Refused]) -> Ranking | Refused:
    known = []
    for score in scores:
        if isinstance(score, Refused):
            return score
        known.append(score)
    different = dict(zip(replies, known, strict=True)).values()
    centre = sum(different) / len(different)
    return Ranking(tuple(score - centre for score in known))


def _preference(one: float, other: float) -> Preference:
    if one == other:
        return TIE
    p = 1 / (1 + exp(min(other - one, 700.0)))
    return Preference(p, p)


def _text(prompt: Asked) -> str:
    """A prompt as one text."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) > 1:
        raise ConfigError(f"a trained reward model takes one text as the prompt, and this one has {list(prompt)}")
    return next(iter(prompt.values()), "") if isinstance(prompt, Mapping) else ""
