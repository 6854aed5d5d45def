"""One budget over a whole comparison: what its runs, its questions and its chat model sent, and what is left.

It reads the notes of sessions that runs leave in their folders; like them it does not know of a killed process.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icm_api.config import Budget, Config
from icm_api.model import sent_before
from icm_api.model.client.meter import cost
from icm_api.run import SESSIONS_FILE
from icm_api.types import Usage

CHAT_SESSIONS_FILE = "chat-sessions.jsonl"


@dataclass(frozen=True, slots=True)
class Purse:
    """The budget of a comparison.

    Attributes:
        config: states budget and prices.
        folder: of the comparison.
    """

    config: Config
    folder: Path

    @property
    def bounded(self) -> bool:
        """Whether there is a bound at all."""
        return self.config.budget != Budget()

    @property
    def sessions(self) -> Path:
        """Where questions outside the runs are noted."""
        return self.folder / SESSIONS_FILE

    @property
    def chat_sessions(self) -> Path:
        """Where questions to the chat model are noted."""
        return self.folder / CHAT_SESSIONS_FILE

    def left(self, but: Path | None = None) -> Budget:
        """What may still be spent.

        Args:
            but: a run folder whose sessions are not counted.
        """
        budget, prices = self.config.budget, self.config.prices
        if not self.bounded:
            return budget
        files = [self.sessions, *self.folder.glob(f"runs/*/{SESSIONS_FILE}")]
        asked = sum((sent_before(path) for path in files if but is None or path.parent != but), Usage())
        chat = sent_before(self.chat_sessions)
        money = budget.money
        if money is not None and prices is not None:
            other = self.config.compare.chat_prices
            money -= cost(asked, prices) + (cost(chat, other) if other is not None else 0.0)
        used = asked + chat
        return Budget(
            money=None if money is None else max(0.0, money),
            requests=_rest(budget.requests, used.requests),
            tokens=_rest(budget.tokens, used.prompt_tokens + used.completion_tokens),
        )


def _rest(budget: int | None, used: int) -> int | None:
    return None if budget is None else max(0, budget - used)
