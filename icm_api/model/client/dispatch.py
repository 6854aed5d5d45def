"""What all requests to one endpoint share: slots, limits, the meter, and what was learned of the server.

It does: say which lists may fare better in halves, back off, and tell of long waits.
It does not: send anything (that is `batch`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from icm_api.config import ClientSettings
from icm_api.errors import BudgetError, RequestError
from icm_api.model.client.failures import Failures
from icm_api.model.client.limits import Limiting, Limits
from icm_api.model.client.meter import Metering
from icm_api.model.client.retry import bounded
from icm_api.model.client.slots import Slots
from icm_api.model.request import Endpoint, Request, Response
from icm_api.types import Usage

logger = logging.getLogger(__name__)

# Seconds from which on a wait is worth a line.
_LONG_WAIT = 10.0

# Of a list these may be one request's fault, or the list's own length.
_OF_A_LIST = frozenset({"bad_request", "refused", "broken_answer", "timeout"})
# So may these, as long as no list was answered: some servers take none, and say so badly.
_OF_ANY_LIST = frozenset({"server", "disconnected"})


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


class Dispatcher:
    """What all requests to one endpoint share: slots, limits and the meter.

    Args:
        endpoint: that is asked.
        settings: concurrency, limits and retries.
        meter: counts every request and holds it to the budget.
        limits: requests and tokens a minute; of its own, by the settings, if None.
        clock: seconds, from any beginning.
        sleep: waits so many seconds by that clock.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        settings: ClientSettings,
        meter: Metering,
        limits: Limiting | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = _sleep,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.sleep = sleep
        self.slots = Slots(settings.concurrency, settings.max_concurrency, clock)
        self.limits = limits or Limits(
            settings.requests_per_minute, settings.tokens_per_minute, clock=clock, sleep=sleep, tell=self.tell
        )
        self.meter = meter
        self.endpoint = endpoint
        self.takes_lists = False
        self.failures = Failures()
        self._told_until = float("-inf")
        self._doubted = False

    def tell(self, reason: str, seconds: float) -> None:
        """Say why it takes so long, once for all who wait at the same time.

        Args:
            reason: of a wait that begins.
            seconds: that it takes.
        """
        now = self.clock()
        if seconds > _LONG_WAIT and now >= self._told_until:
            self._told_until = now + seconds
            logger.warning("waiting %.0f s: %s", seconds, reason)

    def answered(
        self, requests: Sequence[Request], reserved: Usage, responses: Sequence[Response], began: float
    ) -> None:
        """Count the answers to what travelled together, and learn from them what the server allows.

        Args:
            requests: that were answered, at least one.
            reserved: for them, by the meter.
            responses: the answers.
            began: when the requests were sent, by the clock.
        """
        self.meter.answered(reserved, sum((response.usage for response in responses), Usage()), requests)
        self.failures.answered(self.clock() - began)
        self.takes_lists |= len(requests) > 1
        first = responses[0]
        if first.doubt and not self._doubted:
            self._doubted = True
            logger.warning(
                "%s: the server's count of tokens can't be used (%s): what the text's length makes likely is charged",
                self.endpoint.identity,
                first.doubt,
            )
        self.slots.succeeded(began)
        self.limits.learn(first.limits)

    def is_of_list(self, error: RequestError | BudgetError) -> bool:
        """Whether the halves of a list that failed may fare better."""
        if isinstance(error, BudgetError):
            return True
        return error.kind in _OF_A_LIST or (error.kind in _OF_ANY_LIST and not self.takes_lists)

    def back_off(self, error: RequestError, began: float) -> None:
        """Send less at once, and pause if the server asks everybody to.

        Args:
            error: says that there are too many requests.
            began: when the refused request was sent, by the clock.
        """
        self.slots.refused(began)
        asked = bounded(error.retry_after)
        # A single refusal may be one machine's; when all are refused the limit is everybody's, and to go on would
        # only use up attempts.
        if asked is not None and error.kind == "rate_limit" and self.slots.all_refused:
            self.limits.pause(asked)
