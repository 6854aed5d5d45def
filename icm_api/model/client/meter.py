"""What was sent, what it cost, and the budget that it must not exceed.

It does: reserve what a request can cost at most before it is sent, and put the real cost in its place afterwards; have
a ledger write both down, so that a kill loses nothing of it.
It does not: know any price that it isn't given, or count what was refused or never arrived as spent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from math import ceil, floor
from typing import Protocol

from icm_api.config import Budget, Prices, PriceTier
from icm_api.errors import BudgetError, ConfigError
from icm_api.model.client.ledger import Ledger
from icm_api.model.request import Request, sent_as, tokens_together
from icm_api.types import Usage

_PER = 1_000_000

# Providers estimate the tokens of a prompt; grown when an answer shows a larger ratio.
_MARGIN = 1.125


def cost(usage: Usage, prices: Prices) -> float:
    """Money, in the currency of the prices.

    Args:
        usage: of one request, or of several with prompts of about the same length, which decides the tier of prices;
            cached tokens are part of the prompt tokens.
        prices: per million tokens.

    Example:
        >>> prices = Prices(input=2.0, output=10.0, cached_input=0.5)
        >>> cost(Usage(requests=1, prompt_tokens=1_000_000, completion_tokens=1000, cached_tokens=600_000), prices)
        1.11
    """
    return _charged(usage, prices.at(_length(usage)))


def most_cost(usage: Usage, prices: Prices) -> float:
    """The most money that requests of any lengths can have cost, of which no more is known than their sum.

    Args:
        usage: the sum.
        prices: per million tokens, which do not fall from tier to tier.
    """
    return _charged(usage, prices.at(usage.prompt_tokens))


def _charged(usage: Usage, price: Prices | PriceTier) -> float:
    cached_price = price.input if price.cached_input is None else price.cached_input
    fresh = usage.prompt_tokens - usage.cached_tokens
    return (fresh * price.input + usage.cached_tokens * cached_price + usage.completion_tokens * price.output) / _PER


def _length(usage: Usage) -> float:
    """The mean prompt, also of what is taken back."""
    return usage.prompt_tokens / usage.requests if usage.requests else usage.prompt_tokens


class _Bill:
    """A sum, by tier of prices: in whole numbers, so that no order of adding up makes a difference."""

    def __init__(self, prices: Prices | None) -> None:
        self._prices = prices
        self.total = Usage()
        self._by: dict[Prices | PriceTier, Usage] = {}

    def add(self, usage: Usage) -> None:
        self.total += usage
        if self._prices is not None and self._prices.tier:
            price = self._prices.at(_length(usage))
            self._by[price] = self._by.get(price, Usage()) + usage

    def parts(self) -> Iterator[tuple[Prices | PriceTier, Usage]]:
        if self._prices is not None:
            yield from self._by.items() if self._prices.tier else ((self._prices, self.total),)


def _together(parts: Iterable[tuple[Prices | PriceTier, Usage]]) -> float:
    sums: dict[Prices | PriceTier, Usage] = {}
    for price, usage in parts:
        sums[price] = sums.get(price, Usage()) + usage
    return sum(_charged(usage, price) for price, usage in sums.items())


class Metering(Protocol):
    """What a client needs of a meter: of its own, or of the one that several processes share."""

    @property
    def sent(self) -> Usage:
        """What was answered by now."""
        ...

    @property
    def spent(self) -> float | None:
        """What the answers cost; None if prices are not known."""
        ...

    async def reserve(self, requests: Sequence[Request], keys: Sequence[str] = ()) -> Usage | None:
        """As `Meter.reserve`; None if another process asked for some of it, so that a cache may have the answers."""
        ...

    def answered(self, reserved: Usage, usage: Usage, requests: Sequence[Request]) -> None:
        """As `Meter.answered`."""
        ...

    def unanswered(self, reserved: Usage, *, billed: bool) -> None:
        """As `Meter.unanswered`."""
        ...

    def close(self) -> None:
        """As `Meter.close`."""
        ...


class Meter:
    """Counts what is sent, and stops before the request that would exceed the budget.

    Args:
        budget: the most that may be spent; None for no bound.
        prices: of the model; None if they are not known.
        before: what earlier sessions of the same run sent; it counts against the budget and nowhere else.
        ledger: where all that is sent is written down; the meter closes it. None if nothing is to outlive the process.

    Raises:
        ConfigError: the budget is in money and there are no prices.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        prices: Prices | None = None,
        before: Usage | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        budget = budget or Budget()
        if budget.money is not None and prices is None:
            raise ConfigError("a budget of money needs the model's prices: state them under [prices]")
        self._budget = budget
        self._prices = prices
        self._before = before or Usage()
        self._ledger = ledger
        self._sent, self._reserved, self._doubtful = (_Bill(prices) for _ in range(3))
        self._under_way = 0
        self._margin = _MARGIN
        self._news = asyncio.Event()

    @property
    def sent(self) -> Usage:
        """What was answered by now; of requests, those over HTTP: a list of prompts is one."""
        return self._sent.total

    @property
    def spent(self) -> float | None:
        """What the answers cost; None if prices are not known."""
        return None if self._prices is None else _together(self._sent.parts())

    async def reserve(self, requests: Sequence[Request], keys: Sequence[str] = ()) -> Usage:
        """Set aside the most that these can cost, once there is room for it. To be settled in any case.

        Args:
            requests: that are to be sent together.
            keys: of the questions, which make no difference here.

        Raises:
            BudgetError: they would exceed the budget even if nothing else was under way.
            StorageError: the ledger cannot be written.
        """
        worst = self._worst(requests)
        while exceeded := list(self._exceeded(worst)):
            if not self._under_way:
                raise BudgetError(
                    f"the next {'request' if len(requests) == 1 else f'{len(requests)} requests'} could exceed the "
                    f"budget: {'; '.join(exceeded)}. Nothing of it was sent, and every answer paid for is kept: "
                    "raise the budget (in config.toml of the run folder, if it is a run), then resume"
                )
            # What is under way is reserved at its worst, and may cost less.
            await self._news.wait()
        if self._ledger is not None:
            self._ledger.reserve(worst)
        self._reserved.add(worst)
        self._under_way += 1
        return worst

    def adopt(self, reserved: Usage) -> None:
        """Take over what was reserved before, for something that is still under way. To be settled likewise.

        Args:
            reserved: as `reserve` gave it, to this process or to an earlier one on the same ledger.

        Raises:
            StorageError: the ledger cannot be written.
        """
        if _holds(self._doubtful.total, reserved):
            self._doubtful.add(Usage() - reserved)
        elif _holds(self._before, reserved):
            self._before -= reserved
        elif self._ledger is not None:
            # It was noted in another ledger.
            self._ledger.reserve(reserved)
        self._reserved.add(reserved)
        self._under_way += 1

    def answered(self, reserved: Usage, usage: Usage, requests: Sequence[Request]) -> None:
        """Put the real cost in place of a reservation.

        Args:
            reserved: as `reserve` gave it.
            usage: what the answers cost.
            requests: that were answered, if they are known; what travelled together counts as one request, however many
                questions it has.
        """
        if requests:
            usage = replace(usage, requests=sent_as(requests))
        self._sent.add(usage)
        estimated = tokens_together(requests)
        if estimated:
            self._margin = max(self._margin, usage.prompt_tokens / estimated)
        self._settle(usage - reserved)
        self._free(reserved)

    def unanswered(self, reserved: Usage, *, billed: bool) -> None:
        """Give a reservation back, or if the server may have `billed` it, leave it counted against the budget.

        Args:
            reserved: as `reserve` gave it.
            billed: the server may have done the work.
        """
        if billed:
            self._doubtful.add(reserved)
        else:
            self._settle(Usage() - reserved)
        self._free(reserved)

    def settled_late(self, reserved: Usage, usage: Usage | None, *, billed: bool) -> None:
        """Settle what an earlier process reserved, which counts as spent by it.

        Args:
            reserved: by that process.
            usage: what the answers cost; None if there are none.
            billed: without an answer, whether the server may have done the work.
        """
        if usage is None and billed:
            return
        self._before -= reserved
        self._sent.add(usage or Usage())
        self._settle((usage or Usage()) - reserved)
        self._tell()

    def close(self) -> None:
        """Close the ledger.

        Raises:
            StorageError: it cannot be written.
        """
        if self._ledger is not None:
            self._ledger.close()

    def _settle(self, change: Usage) -> None:
        if self._ledger is not None:
            self._ledger.settle(change)

    def _free(self, reserved: Usage) -> None:
        self._reserved.add(Usage() - reserved)
        self._under_way -= 1
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _worst(self, requests: Sequence[Request]) -> Usage:
        if not self._budget.bounds:
            return Usage()
        return Usage(
            sent_as(requests),
            sum(map(self._most_prompt_tokens, requests))
            - floor(self._margin * sum(each.shared for each in requests[1:])),
            sum(request.completion_tokens for request in requests),
        )

    def _most_prompt_tokens(self, request: Request) -> int:
        if request.tokens:
            return ceil(request.tokens * self._margin)
        # Nobody estimated them; no tokenizer makes more tokens than there are bytes.
        return len(json.dumps(request.body, ensure_ascii=False).encode())

    def _exceeded(self, worst: Usage) -> Iterator[str]:
        counted = self._before + self._sent.total + self._doubtful.total
        after = counted + self._reserved.total + worst
        budget, prices = self._budget, self._prices
        if budget.requests is not None and after.requests > budget.requests:
            yield f"{counted.requests:,} of {budget.requests:,} requests are used"
        if budget.tokens is not None and _tokens(after) > budget.tokens:
            yield f"{_tokens(counted):,} of {budget.tokens:,} tokens are used, and it may take {_tokens(worst):,}"
        if budget.money is not None and prices is not None:
            # Of earlier sessions only the sum is known.
            used = [(prices.at(self._before.prompt_tokens), self._before)]
            used += chain(self._sent.parts(), self._doubtful.parts())
            next_one = (prices.at(_length(worst)), worst)
            if _together([*used, *self._reserved.parts(), next_one]) > budget.money:
                yield (
                    f"{_together(used):.4f} of {budget.money:g} {prices.currency} are spent, and it may cost "
                    f"{_charged(worst, next_one[0]):.4f}"
                )


def _holds(whole: Usage, part: Usage) -> bool:
    left = whole - part
    return min(left.requests, left.prompt_tokens, left.completion_tokens, left.cached_tokens) >= 0


def _tokens(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens
