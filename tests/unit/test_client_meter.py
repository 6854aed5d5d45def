"""The meter: money by hand, a hard stop before the request that would exceed the budget, never a made-up price."""

from __future__ import annotations

import asyncio

import pytest

from icm_api.config import Budget, Prices, PriceTier
from icm_api.errors import BudgetError, ConfigError
from icm_api.model.client.meter import Meter, cost, most_cost
from icm_api.model.request import Request
from icm_api.types import Usage

PRICES = Prices(input=2.0, output=8.0, cached_input=0.5)


def request(tokens: int = 100, completion: int = 10) -> Request:
    return Request({"prompt": "x", "max_tokens": completion}, tokens=tokens, completion_tokens=completion)


async def pay(meter: Meter, usage: Usage, asked: Request | None = None) -> None:
    asked = asked or request()
    meter.answered(await meter.reserve([asked]), usage, [asked])


def test_cost_by_hand() -> None:
    usage = Usage(3, 1_000_000, 500_000, 250_000)
    assert cost(usage, PRICES) == pytest.approx(0.75 * 2 + 0.25 * 0.5 + 0.5 * 8)
    assert cost(usage, Prices(input=2.0, output=8.0)) == pytest.approx(2 + 4)
    assert cost(Usage(), PRICES) == 0


TIERED = Prices(
    input=2.0,
    output=8.0,
    cached_input=0.5,
    tier=(PriceTier(above=1000, input=4.0, output=12.0), PriceTier(above=2000, input=6.0, output=20.0)),
)


def test_a_longer_prompt_is_charged_by_its_tier_for_all_its_tokens() -> None:
    assert cost(Usage(1, 1000, 10, 400), TIERED) == pytest.approx((600 * 2 + 400 * 0.5 + 10 * 8) / 1e6)
    # No price for cached tokens is stated here, so that they cost what the others do.
    assert cost(Usage(1, 1001, 10, 400), TIERED) == pytest.approx((1001 * 4 + 10 * 12) / 1e6)
    assert cost(Usage(3, 9000, 30), TIERED) == pytest.approx((9000 * 6 + 30 * 20) / 1e6)
    # Of a sum whose parts are not known, all may have been one long prompt.
    assert most_cost(Usage(9, 2700, 10), TIERED) == pytest.approx((2700 * 6 + 10 * 20) / 1e6)
    assert most_cost(Usage(9, 2700, 10), PRICES) == cost(Usage(9, 2700, 10), PRICES)


async def test_the_meter_charges_each_answer_by_its_own_tier_and_holds_the_budget_by_it() -> None:
    meter = Meter(Budget(money=0.02), TIERED)
    await pay(meter, Usage(1, 500, 10), request(450))
    await pay(meter, Usage(1, 1500, 10), request(1400))
    assert meter.spent == pytest.approx((500 * 2 + 10 * 8 + 1500 * 4 + 10 * 12) / 1e6)
    assert meter.sent == Usage(2, 2000, 20)
    # At most 1.125 times 2000 tokens, of the third tier: 0.0137, and 0.0072 are spent; by the first it would be 0.0046.
    with pytest.raises(BudgetError, match=r"0\.0072 of 0\.02 USD are spent, and it may cost 0\.0137"):
        await meter.reserve([request(2000)])
    # What was given back is gone from its tier too.
    kept = await meter.reserve([request(1500)])
    meter.unanswered(kept, billed=False)
    await pay(meter, Usage(1, 1500, 10), request(1500))


@pytest.mark.parametrize("above", [(2000, 1000), (1000, 1000)])
def test_tiers_that_do_not_rise_are_refused(above: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        Prices(input=1, output=1, tier=tuple(PriceTier(above=each, input=1, output=1) for each in above))


def test_half_the_price_is_half_of_every_price() -> None:
    usage = Usage(1, 1500, 10, 300)
    assert cost(usage, TIERED.scaled(0.5)) == pytest.approx(cost(usage, TIERED) / 2)
    assert cost(Usage(1, 10, 10, 3), TIERED.scaled(0.5)) == pytest.approx(cost(Usage(1, 10, 10, 3), TIERED) / 2)


def test_no_price_no_money() -> None:
    assert Meter().spent is None
    assert Meter(Budget(requests=5)).spent is None
    assert Meter(prices=PRICES).spent == 0
    with pytest.raises(ConfigError, match=r"\[prices\]"):
        Meter(Budget(money=1))


async def test_counts_what_was_answered() -> None:
    meter = Meter(prices=PRICES)
    await pay(meter, Usage(1, 100, 5, 40))
    await pay(meter, Usage(1, 120, 5, 0))
    assert meter.sent == Usage(2, 220, 10, 40)
    assert meter.spent == pytest.approx((180 * 2 + 40 * 0.5 + 10 * 8) / 1e6)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(requests=3), "3 of 3 requests"),
        (Budget(tokens=3 * 105 + 122), "315 of 437 tokens.* 123"),
        (Budget(money=(3 * 240 + 305) / 1e6), "0.0007 of 0.001025 USD.* 0.0003"),
    ],
)
async def test_stops_before_the_request_that_could_exceed(budget: Budget, words: str) -> None:
    """Each answer has 100 + 5 tokens and costs 240 millionths; the worst case is 113 + 10 and 306 millionths."""
    meter = Meter(budget, PRICES)
    for _ in range(3):
        await pay(meter, Usage(1, 100, 5))
    with pytest.raises(BudgetError, match=words) as caught:
        await meter.reserve([request()])
    assert caught.value.exit_code == 3
    assert "resume" in str(caught.value)
    assert meter.sent.requests == 3


async def test_what_exactly_fits_is_sent() -> None:
    meter = Meter(Budget(tokens=3 * 105 + 123))
    for _ in range(4):
        await pay(meter, Usage(1, 100, 5))
    assert meter.sent.requests == 4


async def test_waits_for_what_is_under_way_before_it_gives_up() -> None:
    meter = Meter(Budget(tokens=230))
    first = await meter.reserve([request()])
    second = asyncio.create_task(meter.reserve([request()]))
    third = asyncio.create_task(meter.reserve([request()]))
    await asyncio.sleep(0)
    assert not second.done()
    meter.answered(first, Usage(1, 100, 5), [request()])
    reserved = await second
    await asyncio.sleep(0)
    assert not third.done()
    meter.answered(reserved, Usage(1, 100, 5), [request()])
    with pytest.raises(BudgetError):
        await third


async def test_a_failed_attempt_gives_back_its_reservation_unless_it_may_have_been_billed() -> None:
    meter = Meter(Budget(requests=2))
    for _ in range(5):
        meter.unanswered(await meter.reserve([request()]), billed=False)
    for _ in range(2):
        meter.unanswered(await meter.reserve([request()]), billed=True)
    assert meter.sent == Usage()
    with pytest.raises(BudgetError, match="2 of 2 requests"):
        await meter.reserve([request()])


async def test_earlier_sessions_count_against_the_budget_but_not_as_sent() -> None:
    meter = Meter(Budget(requests=10), before=Usage(9, 900, 9))
    await pay(meter, Usage(1, 100, 5))
    assert meter.sent.requests == 1
    with pytest.raises(BudgetError, match="10 of 10"):
        await meter.reserve([request()])


async def test_an_estimate_that_was_too_low_widens_the_margin() -> None:
    meter = Meter(Budget(tokens=1000))
    await pay(meter, Usage(1, 200, 0), request(100, 0))
    await pay(meter, Usage(1, 350, 0), request(200, 0))
    with pytest.raises(BudgetError, match=r"550 of 1,000 tokens are used, and it may take 500"):
        await meter.reserve([request(250, 0)])


async def test_without_an_estimate_no_prompt_has_more_tokens_than_bytes() -> None:
    long = Request({"prompt": "é" * 100})
    with pytest.raises(BudgetError):
        await Meter(Budget(tokens=200)).reserve([long])
    assert await Meter(Budget(tokens=300)).reserve([long])


async def test_what_another_process_reserved_is_taken_over_and_counted_once() -> None:
    theirs = Usage(6, 600, 6)
    meter = Meter(Budget(requests=10), before=Usage(8, 800, 8))
    meter.adopt(theirs)
    # 2 were answered before, and 6 are under way: there is room for 2 more.
    await meter.reserve([request(), request()])
    meter.answered(theirs, Usage(5, 500, 5), [])
    # Of the 6, 5 were answered, so that there is room for one more.
    assert (await meter.reserve([request()])).requests == 1
    assert meter.sent == Usage(5, 500, 5)


async def test_what_may_be_billed_is_taken_over_again_when_it_goes_on() -> None:
    meter = Meter(Budget(requests=10))
    reserved = await meter.reserve([request()] * 6)
    meter.unanswered(reserved, billed=True)
    with pytest.raises(BudgetError, match="6 of 10 requests"):
        await meter.reserve([request()] * 5)
    meter.adopt(reserved)
    meter.answered(reserved, Usage(4, 400, 4), [])
    assert meter.sent == Usage(4, 400, 4)
    with pytest.raises(BudgetError, match="4 of 10 requests"):
        await meter.reserve([request()] * 7)
    await meter.reserve([request()] * 6)
