"""One budget over a whole comparison: what its runs, its questions and its chat model sent, and what is left.

It adds up the ledgers that runs keep in their folders and those of its own questions, so that it knows of what killed
processes spent too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from icm_api.config import Budget, Config
from icm_api.model import spent
from icm_api.model.client.meter import cost
from icm_api.runs import SESSIONS_FILE, SPENDING_FILE
from icm_api.types import Usage

CHAT_SESSIONS_FILE = "chat-sessions.jsonl"
CHAT_SPENDING_FILE = "chat-spending.jsonl"


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

    @property
    def spending(self) -> Path:
        """The ledger of questions outside the runs."""
        return self.folder / SPENDING_FILE

    @property
    def chat_spending(self) -> Path:
        """The ledger of questions to the chat model."""
        return self.folder / CHAT_SPENDING_FILE

    def left(self, but: Path | None = None) -> Budget:
        """What may still be spent.

        Args:
            but: a run folder whose ledger is not counted.

        Raises:
            RunError: a ledger is damaged.
            StorageError: a ledger cannot be read.
        """
        budget, prices = self.config.budget, self.config.prices
        if not self.bounded:
            return budget
        files = [self.spending, *self.folder.glob(f"runs/*/{SPENDING_FILE}")]
        asked = sum((spent(path) for path in files if but is None or path.parent != but), Usage())
        chat = spent(self.chat_spending)
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
