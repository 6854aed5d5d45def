"""The reward of replies while a model learns to write them: any reward model, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import groupby
from types import TracebackType
from typing import Any, TypeAlias

from icm_api.reward import Ranking, Ranks, open_reward_model

Said: TypeAlias = str | Sequence[Mapping[str, str]]
"""A text, or messages."""
_BELOW = 1.0


class Rewarding:
    """A reward function as TRL calls it: replies to the same prompt are ranked beside each other.

    Args:
        reward: the spec of a trained reward model, or the folder of a run of preferences.
    """

    __name__ = "reward"

    def __init__(self, reward: str) -> None:
        self._spec = reward

    def __enter__(self) -> Rewarding:
        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()
        self._reward: Ranks = self._runner.run(self._stack.enter_async_context(open_reward_model(self._spec)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()

    def __call__(self, prompts: Sequence[Said], completions: Sequence[Said], **_: Any) -> list[float | None]:
        """The score of each reply among those to its prompt, nats.

        Args:
            prompts: what is answered; equal ones follow one another.
            completions: the replies.

        Returns:
            A score each, with mean 0 over the different replies to a prompt. One that is blank is a nat below all
            others; None if the replies to a prompt cannot be compared, which then teach nothing.

        Raises:
            ProviderError, BudgetError: as the reward model raises them.
        """
        pairs = [(spoken(prompt), spoken(reply).strip()) for prompt, reply in zip(prompts, completions, strict=True)]
        groups = [(prompt, [reply for _, reply in some]) for prompt, some in groupby(pairs, key=lambda pair: pair[0])]
        written = [(prompt, [reply for reply in replies if reply]) for prompt, replies in groups]
        asked = [at for at, (_, replies) in enumerate(written) if replies]
        found = self._runner.run(self._ranked([written[at] for at in asked]))
        rankings = dict(zip(asked, found, strict=True))
        return [score for at, (_, replies) in enumerate(groups) for score in scores_of(replies, rankings.get(at))]

    async def _ranked(self, questions: Sequence[tuple[str, Sequence[str]]]) -> Sequence[object]:
        return await self._reward.rank_all(questions)


def scores_of(replies: Sequence[str], ranking: object) -> list[float | None]:
    """The scores of all replies to a prompt.

    Args:
        replies: to it, blank ones among them.
        ranking: of those that are not blank; anything else if there is none.

    Example:
        >>> scores_of(["a", "", "b"], Ranking((0.5, -0.5)))
        [0.5, -1.5, -0.5]
        >>> scores_of(["a", "b"], None)
        [None, None]
    """
    if not isinstance(ranking, Ranking):
        return [None] * len(replies)
    scores, lowest = iter(ranking.scores), min(ranking.scores)
    return [next(scores) if reply else lowest - _BELOW for reply in replies]


def spoken(said: Said) -> str:
    """A text, or messages as one.

    Args:
        said: by a user or a model.
    """
    return said if isinstance(said, str) else "\n\n".join(message["content"] for message in said)
