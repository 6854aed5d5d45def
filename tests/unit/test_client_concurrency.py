"""Slots that adapt: growth by one a round, one shrink a wave, first come first served."""

from __future__ import annotations

import asyncio

import pytest

from icm_api.model.client.slots import Slots
from tests.virtual import VirtualTime


async def fill(slots: Slots) -> None:
    while slots.busy < slots.limit:
        await slots.acquire()


async def test_grows_by_one_a_round_up_to_the_most() -> None:
    time = VirtualTime()
    slots = Slots(4, 8, time.clock)
    limits = []
    for _ in range(8):
        await fill(slots)
        for _ in range(slots.limit):
            slots.succeeded(began=time.now)
        limits.append(slots.limit)
    assert limits == [5, 6, 7, 8, 8, 8, 8, 8]


async def test_does_not_grow_while_slots_are_left_over() -> None:
    time = VirtualTime()
    slots = Slots(4, 8, time.clock)
    await slots.acquire()
    for _ in range(100):
        slots.succeeded(began=time.now)
    assert slots.limit == 4


async def test_shrinks_once_a_wave_and_never_below_one() -> None:
    time = VirtualTime()
    slots = Slots(10, 64, time.clock)
    time.now = 1.0
    for _ in range(10):
        slots.refused(began=0.5)
    assert slots.limit == 7
    time.now = 3.0
    slots.refused(began=2.0)
    assert slots.limit == 4
    for _ in range(20):
        time.now += 1
        slots.refused(began=time.now)
    assert slots.limit == 1


async def test_refusals_among_answers_that_fewer_slots_do_not_mend_take_none() -> None:
    time = VirtualTime()
    slots = Slots(8, 64, time.clock)
    limits = []
    for _ in range(50):
        time.now += 2 / slots.limit
        slots.refused(began=time.now)
        slots.succeeded(began=time.now)
        limits.append(slots.limit)
    assert min(limits) == 4
    assert limits[-1] == 8
    assert slots.chance == pytest.approx(0.5)
    assert slots.tries == 16


async def test_all_refused_means_as_many_as_there_are_slots_with_no_success_between() -> None:
    time = VirtualTime()
    slots = Slots(3, 3, time.clock)
    for _ in range(2):
        slots.refused(began=-1.0)
        slots.refused(began=-1.0)
        assert not slots.all_refused
        slots.succeeded(began=time.now)
    for _ in range(3):
        slots.refused(began=-1.0)
    assert slots.all_refused
    # So few in a row cost no slots.
    assert slots.limit == 3


async def test_first_come_first_served_and_cancelled_waiters_lose_no_slot() -> None:
    slots = Slots(1, 1, VirtualTime().clock)
    await slots.acquire()
    order: list[str] = []

    async def one(name: str) -> None:
        await slots.acquire()
        order.append(name)
        slots.release()

    tasks = [asyncio.create_task(one(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    slots.release()
    # Granted a slot and cancelled in the same turn: it must go on to the next.
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await asyncio.wait(tasks)
    assert order == ["c", "d"]
    assert slots.busy == 0
