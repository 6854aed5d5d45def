"""Retries in virtual time: how long is waited, what is never tried again, when it is given up."""

from __future__ import annotations

import pytest

from icm_api.config import ClientSettings
from icm_api.errors import RETRYABLE_KINDS, RequestError, RequestErrorKind
from icm_api.model.client.retry import LONGEST_WAIT, Pace, with_retries
from tests.virtual import VirtualTime


class Failing:
    """Fails so many times, then answers."""

    def __init__(self, times: int, kind: RequestErrorKind = "server", retry_after: float | None = None) -> None:
        self.left = times
        self.tries = 0
        self.error = RequestError("model m: trouble", kind=kind, status=500, retry_after=retry_after)

    async def __call__(self) -> str:
        self.tries += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "answer"


async def tried(failing: Failing, settings: ClientSettings | None = None) -> VirtualTime:
    time = VirtualTime()
    async with time.passing():
        answer = await with_retries(failing, settings or ClientSettings(), clock=time.clock, sleep=time.sleep)
    assert answer == "answer"
    return time


@pytest.mark.parametrize("kind", sorted(RETRYABLE_KINDS))
async def test_what_may_succeed_later_is_tried_again(kind: RequestErrorKind) -> None:
    failing = Failing(3, kind)
    await tried(failing)
    assert failing.tries == 4


@pytest.mark.parametrize("kind", ["bad_request", "authentication", "permission", "not_found", "quota", "refused"])
async def test_defect_13_what_can_not_succeed_is_not_tried_again(kind: RequestErrorKind) -> None:
    failing = Failing(1, kind)
    time = VirtualTime()
    with pytest.raises(RequestError) as caught:
        await with_retries(failing, ClientSettings(), clock=time.clock, sleep=time.sleep)
    assert caught.value is failing.error
    assert (failing.tries, time.slept) == (1, [])


async def test_other_errors_are_not_tried_again() -> None:
    async def broken() -> str:
        raise KeyError("bug")

    time = VirtualTime()
    with pytest.raises(KeyError, match="bug"):
        await with_retries(broken, ClientSettings(), clock=time.clock, sleep=time.sleep)


@pytest.mark.parametrize(("asked", "least"), [(0.0, 0.05), (0.25, 0.25), (7.0, 7.0), (299.0, 299.0)])
async def test_waits_as_long_as_asked_and_a_little_longer(asked: float, least: float) -> None:
    for _ in range(20):
        [slept] = (await tried(Failing(1, "rate_limit", asked))).slept
        assert least <= slept <= least * 1.1 + 0.051


async def test_an_absurd_wait_is_capped_and_an_unusable_one_ignored() -> None:
    [slept] = (await tried(Failing(1, "rate_limit", 86_400.0))).slept
    assert LONGEST_WAIT <= slept <= LONGEST_WAIT * 1.1 + 0.051
    for unusable in (float("nan"), float("inf"), -1.0):
        [slept] = (await tried(Failing(1, "rate_limit", unusable))).slept
        assert slept <= 0.5


async def test_without_advice_the_bound_of_the_wait_doubles_and_the_wait_is_random() -> None:
    waits = [(await tried(Failing(9))).slept for _ in range(30)]
    for at in range(9):
        column = [wait[at] for wait in waits]
        assert min(30.0, 0.1 * 2**at) <= min(column) <= max(column) <= min(60.0, 0.2 * 2**at)
        assert len(set(column)) > 25
    assert max(wait[8] for wait in waits) > 10


@pytest.mark.parametrize("asked", [None, 0.0])
async def test_nothing_is_tried_again_without_a_pause_that_grows(asked: float | None) -> None:
    slept = (await tried(Failing(9, "rate_limit", asked))).slept
    assert min(slept) >= 0.05
    assert slept[8] > 10


async def test_waits_do_not_grow_while_the_server_answers_others() -> None:
    time, failing = VirtualTime(), Failing(9)
    async with time.passing():
        settings = ClientSettings()
        await with_retries(failing, settings, clock=time.clock, sleep=time.sleep, pace=lambda own: Pace(2))
    assert max(time.slept) <= 0.4


async def test_each_wait_is_told_with_its_reason() -> None:
    time, told = VirtualTime(), list[tuple[str, float]]()

    def tell(reason: str, seconds: float) -> None:
        told.append((reason, seconds))

    async with time.passing():
        failing = Failing(2, "rate_limit", 20.0)
        await with_retries(failing, ClientSettings(), clock=time.clock, sleep=time.sleep, tell=tell)
    assert [reason for reason, _ in told] == ["model m: trouble"] * 2
    assert [seconds for _, seconds in told] == time.slept


async def test_gives_up_after_so_many_attempts_and_says_so() -> None:
    failing, time = Failing(100), VirtualTime()
    async with time.passing():
        with pytest.raises(RequestError, match=r"model m: trouble; gave up after 4 attempts in \d+ s") as caught:
            await with_retries(failing, ClientSettings(attempts=4), clock=time.clock, sleep=time.sleep)
    assert failing.tries == 4
    assert (caught.value.kind, caught.value.status, caught.value.exit_code) == ("server", 500, 3)


async def test_gives_up_before_a_wait_that_would_take_too_long() -> None:
    failing, time = Failing(100, "rate_limit", 40.0), VirtualTime()
    async with time.passing():
        with pytest.raises(RequestError, match="gave up after 3 attempts"):
            await with_retries(failing, ClientSettings(retry_seconds=100), clock=time.clock, sleep=time.sleep)
    assert time.now <= 100
