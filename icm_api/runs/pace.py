"""How long questions take: at a latency and the client's own concurrency and limits, or at a speed that was measured.

Nothing is asked here, and no speed is made up: what nobody stated or measured is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import NamedTuple

from icm_api.config import ClientSettings
from icm_api.types import Usage

HANDLED, HANDLED_IN_LIST = 0.003, 0.0009
"""Seconds of this process that a question takes from prompt to disk, alone and in a list; they follow one another, so
that a server that answers at once is no faster. Measured on a machine with two cores, see `tests.benchmarks
throughput`."""


class Wave(NamedTuple):
    """Questions whose answers are waited for `waits` times, with all that they ask for.

    They are sent in `sent` requests, where many questions travel in one; None if each is a request.
    """

    usage: Usage
    waits: float
    sent: float | None = None

    @property
    def requests(self) -> float:
        """To the model."""
        return self.usage.requests if self.sent is None else self.sent

    @property
    def handled(self) -> float:
        """Seconds of this process."""
        return self.usage.requests * (HANDLED if self.sent is None else HANDLED_IN_LIST)

    def times(self, requests: float, tokens: float | None = None) -> Wave:
        """So many times the questions, replies and waits, and the prompt tokens.

        Args:
            requests: factor.
            tokens: factor; None for the same.
        """
        usage, tokens = self.usage, requests if tokens is None else tokens
        return Wave(
            Usage(
                round(usage.requests * requests),
                round(usage.prompt_tokens * tokens),
                round(usage.completion_tokens * requests),
                round(usage.cached_tokens * tokens),
            ),
            self.waits * requests,
            None if self.sent is None else self.sent * requests,
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """What is known of how fast a model answers; of several speeds the first that is there counts.

    Attributes:
        latency: seconds that one answer takes.
        new_tokens: prompt tokens that a local model computes in a second, those in its prefix cache apart.
        request: seconds a request, all that goes on at once included.
        client: concurrency and limits.
        source: who says so.
    """

    latency: float | None = None
    new_tokens: float | None = None
    request: float | None = None
    client: ClientSettings = field(default_factory=ClientSettings)
    source: str = ""

    def limited(self, stated: dict[str, float]) -> Pace:
        """With the limits a minute that a server states, unless the configuration has them.

        Args:
            stated: "requests_per_minute", "tokens_per_minute".
        """
        missing = {name: value for name, value in stated.items() if getattr(self.client, name, 0) is None}
        return replace(self, client=self.client.changed(**missing)) if missing else self

    def minutes(self, waves: Sequence[Wave]) -> float | None:
        """How long all of it takes; None if nothing is known.

        Args:
            waves: one after the other.
        """
        usage = sum((wave.usage for wave in waves), Usage())
        if self.latency is not None:
            answers = trips(waves, self.client.concurrency, self.client.max_concurrency)
            seconds = max(self.latency * answers, sum(wave.handled for wave in waves))
        elif self.new_tokens is not None:
            seconds = (usage.prompt_tokens - usage.cached_tokens) / self.new_tokens
        elif self.request is not None:
            return sum(wave.requests for wave in waves) * self.request / 60
        else:
            return None
        return max(seconds / 60, self._limits(usage, sum(wave.requests for wave in waves)))

    def _limits(self, usage: Usage, requests: float) -> float:
        """Minutes for which the limits hold the last request back: what fits into one minute goes out at once."""
        tokens = usage.prompt_tokens + usage.completion_tokens
        each = ((requests, self.client.requests_per_minute), (tokens, self.client.tokens_per_minute))
        return max([0.0, *(ceil(amount / limit) - 1.0 for amount, limit in each if limit is not None and amount)])


def trips(waves: Sequence[Wave], slots: int, most: int) -> float:
    """How many answers follow one another, if so many requests are under way at once.

    A slot more is there for as many answers as there are slots, as in `model.client.limits.Slots`.

    Args:
        waves: one after the other.
        slots: in the beginning.
        most: slots.

    Example:
        >>> trips([Wave(Usage(requests=32), waits=2)], slots=8, most=8)
        4.0
        >>> trips([Wave(Usage(requests=32), waits=1)], slots=8, most=64)
        4.0
    """
    slots, found = min(slots, most), 0.0
    for wave in waves:
        waits, turns = wave.waits, ceil(wave.waits)
        # Requests are whole, and so are those of one wait; what rounding adds is no further answer to wait for.
        at_once = max(1, round(wave.requests / waits)) if wave.requests else 0
        for _ in range(turns):
            left, here = at_once, 0
            while left > 0:
                full = left >= slots
                left, here = left - slots, here + 1
                slots = min(most, slots + full)
            found += here * waits / turns
    return found
