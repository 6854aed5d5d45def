"""Notices a server that cuts long prompts without a word, by its own count of tokens.

It does: hold what was sent against what was counted, and stop with the proof.
It does not: judge one answer alone: texts differ by a factor of ten in how many bytes a token has.
"""

from __future__ import annotations

from collections.abc import Iterable

from icm_api.errors import ProviderError
from icm_api.model.request import Request

# No server has a smaller window: what is counted as less, however long it is, is not counted at all.
_LEAST = 256
# How much longer the longest prompt of a proof is than the shortest, and how many different ones it takes.
_LONGER = 1.5
_WITNESSES = 3
# Servers that drop whole messages count a little less than their window.
_NEAR = 0.75


class CutWatch:
    """Looks at every answer of one model.

    Two things prove a cut: prompts of several lengths that are all counted as the most tokens ever seen; and prompts
    that hold all demonstrations of another and many more, yet are counted as no more than it.

    Args:
        model: its identity, for the message.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._most = 0
        self._fullest: Request | None = None
        self._same: set[int] = set()
        self._beyond: set[int] = set()

    def look(self, answered: Iterable[tuple[Request, int]]) -> None:
        """Take in what requests were counted as.

        Args:
            answered: requests with the server's count of their prompt tokens. Without an estimate they say nothing.

        Raises:
            ProviderError: the server cuts prompts: what was sent, and what was counted.
        """
        for request, counted in answered:
            if request.tokens <= 0:
                continue
            # What is as much as the estimate may be the estimate.
            if counted < _LEAST or counted >= request.tokens:
                self._note_most(request, counted)
                continue
            if counted > self._most:
                self._note_most(request, counted)
            elif counted == self._most:
                self._same.add(request.tokens)
            if self._holds_more(request) and counted >= _NEAR * self._most:
                self._beyond.add(request.tokens)
            for lengths in (self._same, self._beyond | self._shortest()):
                if len(lengths) >= _WITNESSES and max(lengths) >= _LONGER * min(lengths):
                    raise self._proof(lengths)

    def _note_most(self, request: Request, counted: int) -> None:
        if counted > self._most:
            self._most, self._fullest = counted, request
            self._same, self._beyond = {request.tokens}, set()

    def _shortest(self) -> set[int]:
        return {self._fullest.tokens} if self._fullest is not None else set()

    def _holds_more(self, request: Request) -> bool:
        """Whether a prompt has all demonstrations of the one that was counted as most, and is much longer."""
        most = self._fullest
        if most is None or most.prompt is None or request.prompt is None or request.tokens < _LONGER * most.tokens:
            return False
        return {turn.text for turn in most.prompt.turns} < {turn.text for turn in request.prompt.turns}

    def _proof(self, lengths: set[int]) -> ProviderError:
        return ProviderError(
            f"{self._model} cuts prompts without a word: {len(lengths)} prompts of about {min(lengths):,} to "
            f"{max(lengths):,} tokens, by their lengths, were counted as {self._most:,} tokens at most, so it reads no "
            "more and fewer tokens than were sent. Give the server a larger window (Ollama: num_ctx, llama.cpp: -c), "
            f"or set context_window = {self._most} under [model.options], so that whole demonstrations are left out"
        )
