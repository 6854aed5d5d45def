"""A language model: what reads it, above the client that asks, above the endpoint that answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from icm_api.errors import CapabilityError, LogprobsUnavailableError, Unanswered
from icm_api.model.client.client import Client
from icm_api.model.reading.reading import Readers, Sampling, label_distribution
from icm_api.model.request import CountsBatches, Drafts, NotSentError, Request, StatesWindow
from icm_api.types import Answers, Capabilities, LabelDistribution, Prompt, Usage


class LanguageModel:
    """Label distributions of a model, positions inside prompts, and text; implements `Model`.

    It is an async context manager, which closes it.

    Args:
        readers: how it is read.
        client: asks its endpoint; the model closes it.
    """

    def __init__(self, readers: Readers, client: Client) -> None:
        self._readers, self._client = readers, client

    async def __aenter__(self) -> LanguageModel:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def identity(self) -> str:
        """Its provider, host and name."""
        return self._client.endpoint.identity

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, and how exactly."""
        return self._client.capabilities

    @property
    def sent(self) -> Usage:
        """What it really answered by now, without what a cache answered."""
        return self._client.meter.sent

    @property
    def spent(self) -> float | None:
        """What that cost, in the currency of the prices; None if no prices are known."""
        return self._client.meter.spent

    @property
    def under_way(self) -> tuple[int, int] | None:
        """Which batch a model on this machine computes, from 1, and of how many; None if none, or for a hosted one."""
        endpoint = self._client.endpoint
        return endpoint.under_way if isinstance(endpoint, CountsBatches) else None

    def count_tokens(self, text: str) -> int:
        """How many tokens the model sees in this text."""
        return self._client.endpoint.count_tokens(text)

    async def stated_window(self) -> int | None:
        """Tokens of the context window, by the server's own word; None if it says nothing."""
        endpoint = self._client.endpoint
        return await endpoint.stated_window() if isinstance(endpoint, StatesWindow) else None

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        """The model's distribution over each prompt's labels.

        Args:
            prompts: what stands before the labels.

        Returns:
            A distribution for each prompt, in their order, and what the requests cost.

        Raises:
            ProviderError: a request failed. What was answered readably is kept.
            BudgetError: the next request could exceed the budget; it was not sent.
            LogprobsUnavailableError: an answer holds no usable logprob for a label.
            StorageError: the cache can't be read or written.
        """
        readings = await self._readers.labels.read(prompts, self._client)
        found: list[LabelDistribution] = []
        unanswered: list[Unanswered] = []
        for prompt, reading in zip(prompts, readings, strict=True):
            try:
                found.append(label_distribution(prompt.verbalizer, reading))
            except LogprobsUnavailableError as error:
                shown = tuple(turn.text for turn in prompt.turns)
                unanswered.append(Unanswered(prompt.query, shown, f"{self.identity}: {error}"))
        if unanswered:
            trouble = LogprobsUnavailableError(unanswered[0].reason)
            trouble.unanswered = tuple(unanswered)
            raise trouble
        return Answers(tuple(found), readings.costs)

    async def drafted(self, prompt: Prompt) -> tuple[Request, ...]:
        """The requests by which the labels of a prompt would first be asked for; nothing is sent.

        Args:
            prompt: what stands before the labels.
        """
        drafts = Drafts()
        with suppress(NotSentError):
            await self._readers.labels.read([prompt], drafts)
        return drafts.requests

    async def read_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        """Per prompt and turn, the distribution over labels given all that stands before the turn's answer.

        Raises:
            CapabilityError: the model gives no logprobs of prompts.
            ProviderError, BudgetError, StorageError: as in `label_distributions`.
        """
        if self._readers.inside is None:
            raise CapabilityError(
                f"{self.identity} can't read positions inside a prompt; models on this machine can, and completions at "
                "vllm, sglang, together and fireworks"
            )
        readings = await self._readers.inside.read_inside(prompts, self._client)
        found = [
            [label_distribution(prompt.verbalizer, reading) for reading in turns]
            for prompt, turns in zip(prompts, readings, strict=True)
        ]
        return Answers(tuple(found), readings.costs)

    async def generate(
        self, texts: Sequence[str], *, max_tokens: int, temperature: float = 1.0, samples: int = 1
    ) -> Answers[Sequence[str]]:
        """Continuations of each text, or replies to it from a chat model.

        Args:
            texts: what is continued or replied to.
            max_tokens: the most tokens of a reply.
            temperature: 0 for the likeliest tokens, 1 for the model's own probabilities.
            samples: replies to each text.

        Returns:
            `samples` texts for each text, fewer if some were refused, and what the requests cost.

        Raises:
            CapabilityError: the model writes no text.
            ProviderError, BudgetError, StorageError: as in `label_distributions`.
        """
        if self._readers.text is None:
            raise CapabilityError(
                f"{self.identity} writes no text; openai and the hosts of its kind, anthropic, gemini, huggingface "
                "and pocket do"
            )
        return await self._readers.text.write(texts, self._client, Sampling(max_tokens, temperature, samples))

    async def close(self) -> None:
        """Give up what is in flight, and close endpoint and cache."""
        await self._client.close()
