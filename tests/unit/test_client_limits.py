"""Requests and tokens per minute, in virtual time: never more in any minute, and no longer than needed."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_api.model.client.limits import Limits
from tests.virtual import VirtualTime


async def sent_at(requests: float | None, tokens: float | None, sizes: list[int]) -> list[float]:
    """When requests of these sizes go out that are all asked for at once."""
    time = VirtualTime()
    limits = Limits(requests, tokens, clock=time.clock, sleep=time.sleep)
    sent: list[float] = []

    async def one(size: int) -> None:
        await limits.wait(size)
        sent.append(time.now)

    async with time.passing():
        await asyncio.gather(*map(one, sizes))
    return sent


async def test_no_limit_no_wait() -> None:
    assert await sent_at(None, None, [10**9] * 5) == [0.0] * 5


async def test_requests_per_minute_as_by_hand() -> None:
    assert await sent_at(2, None, [0] * 5) == pytest.approx([0, 0, 60, 60, 120])


async def test_tokens_per_minute_as_by_hand() -> None:
    assert await sent_at(None, 100, [60, 40, 50, 50, 100]) == pytest.approx([0, 0, 60, 60, 120])


async def test_one_request_above_the_limit_passes_alone() -> None:
    assert await sent_at(None, 100, [30, 250, 30]) == pytest.approx([0, 60, 120])


@settings(max_examples=30)
@given(limit=st.integers(1, 5), most=st.integers(10, 60), sizes=st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_no_minute_ever_has_more_than_the_limits(limit: int, most: int, sizes: list[int]) -> None:
    sent = asyncio.run(sent_at(limit, most, sizes))
    assert sent == sorted(sent)
    for begin in sent:
        window = [size for at, size in zip(sent, sizes, strict=True) if begin <= at < begin + 60 - 1e-3]
        assert len(window) <= limit
        assert sum(window) <= most or sum(map(bool, window)) == 1


async def test_what_the_server_states_counts_unless_the_configuration_did() -> None:
    time = VirtualTime()
    limits = Limits(1000, None, clock=time.clock, sleep=time.sleep)
    limits.learn({"requests_per_minute": 1, "tokens_per_minute": 100, "unknown": 1})
    limits.learn({"tokens_per_minute": 0})
    limits.learn(None)
    sent = []
    async with time.passing():
        for _ in range(3):
            await limits.wait(50)
            sent.append(time.now)
    assert sent == pytest.approx([0, 0, 60])


async def test_a_pause_holds_everybody() -> None:
    time = VirtualTime()
    limits = Limits(None, None, clock=time.clock, sleep=time.sleep)
    limits.pause(7)
    limits.pause(3)
    async with time.passing():
        await asyncio.gather(limits.wait(0), limits.wait(0))
    assert time.now == pytest.approx(7)


async def test_first_come_first_served() -> None:
    sizes = [90, 90, 5, 5]
    sent = await sent_at(None, 100, sizes)
    assert all(early <= late for early, late in pairwise(sent))
    assert sent == pytest.approx([0, 60, 60, 60])
