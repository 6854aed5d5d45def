"""Refusals by chance, and for want of room: what the dispatcher makes of simulated servers, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from icm_api.config import ClientSettings
from icm_api.errors import RequestError, RequestErrorKind
from icm_api.model.client import retry
from icm_api.model.client.batch import Batch
from icm_api.model.client.crowding import Crowding
from icm_api.model.client.dispatch import Dispatcher
from icm_api.model.client.meter import Meter
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities, Usage
from tests.virtual import VirtualTime

SECONDS = 0.03


@pytest.fixture(autouse=True)
def same_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "uniform", random.Random(0).uniform)


@dataclass
class Simulated:
    """A server that refuses some requests; how, the rules say.

    Attributes:
        seconds: that an answer takes.
        instantly: refusals take no time, else as long as an answer.
        rules: each says why a request that arrives now is refused, or nothing; of those under way it is one.
    """

    rules: Sequence[Callable[[Simulated], RequestError | None]] = ()
    seconds: Callable[[Simulated], float] = lambda server: SECONDS * server.chance.uniform(0.7, 1.3)
    instantly: bool = True
    time: VirtualTime = field(default_factory=VirtualTime)
    identity = "simulated/m"
    capabilities = Capabilities(1000, "top_k", deterministic=True)

    def __post_init__(self) -> None:
        self.working, self.sent, self.answered = 0, 0, 0
        self.chance: random.Random = random.Random(1)
        self.arrivals: list[float] = []
        self.limits: list[int] = []

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None: ...

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        self.sent += 1
        self.limits.append(self.dispatcher.slots.limit)
        refusal = next(filter(None, (rule(self) for rule in self.rules)), None)
        if refusal is not None:
            await self.time.pass_by(0.002 if self.instantly else self.seconds(self))
            raise refusal
        self.working += 1
        await self.time.pass_by(self.seconds(self))
        self.working -= 1
        self.answered += 1
        return [Response({"name": requests[0].body["name"]}, Usage(1, 100, 1))]

    async def serve(self, count: int, concurrency: int = 8) -> Simulated:
        """Ask so many questions."""
        self.dispatcher = Dispatcher(
            self, ClientSettings(concurrency=concurrency), Meter(), clock=self.time.clock, sleep=self.time.sleep
        )
        landed: list[str] = []
        asked = {str(at): Request({"name": str(at)}, tokens=100) for at in range(count)}
        async with self.time.passing():
            await Batch(self.dispatcher, asked, lambda key, response: landed.append(key)).run()
        assert sorted(landed) == sorted(asked)
        return self


def refusal(kind: RequestErrorKind = "overloaded", retry_after: float | None = None) -> RequestError:
    return RequestError(f"simulated/m: {kind}", kind=kind, retry_after=retry_after)


def by_chance(
    share: float, kinds: Sequence[RequestErrorKind] = ("overloaded", "rate_limit")
) -> Callable[[Simulated], RequestError | None]:
    return lambda server: refusal(server.chance.choice(kinds)) if server.chance.random() < share else None


def room(most: Callable[[float], int]) -> Callable[[Simulated], RequestError | None]:
    return lambda server: refusal() if server.working >= most(server.time.now) else None


def rate(second: float, burst: float, advice: bool) -> Callable[[Simulated], RequestError | None]:
    """A bucket that holds so many requests, and gains so many a second."""
    level, before = burst, 0.0

    def rule(server: Simulated) -> RequestError | None:
        nonlocal level, before
        level = min(burst, level + second * (server.time.now - before))
        before = server.time.now
        if level >= 1:
            level -= 1
            return None
        return refusal("rate_limit", (1 - level) / second if advice else None)

    return rule


async def unbroken(count: int) -> float:
    """Seconds without a refusal."""
    return (await Simulated().serve(count)).time.now


@pytest.mark.parametrize("count", [400, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("share", "times"), [(0.02, 2.0), (0.2, 3.0), (0.5, 4.0)])
async def test_refusals_by_chance_cost_little_time_and_no_request_more_than_they_must(
    count: int, share: float, times: float
) -> None:
    server = await Simulated([by_chance(share)]).serve(count)
    assert server.time.now < times * await unbroken(count)
    assert server.sent < 1.15 * count / (1 - share)


async def test_all_kinds_of_failures_half_of_the_time() -> None:
    kinds: tuple[RequestErrorKind, ...] = ("overloaded", "rate_limit", "server", "disconnected", "broken_answer")
    server = await Simulated([by_chance(0.5, kinds)], instantly=False).serve(400)
    assert server.time.now < 4 * await unbroken(400)
    assert server.sent < 2.3 * 400


@pytest.mark.parametrize("instantly", [True, False])
@pytest.mark.parametrize("seconds", [SECONDS, 10.0])
async def test_room_for_eight_is_found_and_used(instantly: bool, seconds: float) -> None:
    server = Simulated([room(lambda now: 8)], lambda server: seconds * server.chance.uniform(0.7, 1.3), instantly)
    await server.serve(400)
    assert server.time.now < 1.4 * 400 * seconds / 8
    assert server.sent < 1.5 * 400
    assert max(server.limits[200:]) <= 12


async def test_room_is_found_among_refusals_by_chance() -> None:
    server = await Simulated([by_chance(0.3), room(lambda now: 8)]).serve(600)
    assert server.time.now < 2 * 600 * SECONDS / 8 / 0.7
    assert server.sent < 2 * 600 / 0.7
    assert max(server.limits[400:]) <= 16


@pytest.mark.parametrize(("first", "then"), [(40, 4), (4, 40)])
async def test_room_that_changes_is_found_again(first: int, then: int) -> None:
    server = await Simulated([room(lambda now: first if now < 0.5 else then)]).serve(1200)
    assert server.time.now < 2.5 * 1200 * SECONDS / then
    assert server.sent < 1.3 * 1200
    assert abs(server.limits[-100] - then) <= max(3, then / 2)


@pytest.mark.parametrize("advice", [True, False])
async def test_a_rate_of_twenty_a_second_is_kept(advice: bool) -> None:
    server = await Simulated([rate(20, 20, advice)]).serve(400)
    # The last who had no luck wait longer.
    assert server.time.now < 400 / 20 + 15
    assert server.sent < 3 * 400
    assert max(server.limits[200:]) <= 4


@pytest.mark.parametrize("seed", range(3))
async def test_a_rate_of_two_a_second_uses_up_nobody_s_attempts(seed: int) -> None:
    server = Simulated([rate(2, 2, advice=False)])
    server.chance.seed(seed)
    await server.serve(60)
    assert server.time.now < 60 / 2 + 40


async def test_a_server_that_only_slows_down_is_left_no_slower() -> None:
    server = Simulated([by_chance(0.5)], lambda server: SECONDS * max(1.0, server.working / 8))
    await server.serve(400)
    assert server.time.now < 2.2 * 400 * SECONDS / 8


async def test_a_refusal_that_says_when_to_come_back_holds_nobody_else_s_place() -> None:
    rules = [lambda server: refusal("rate_limit", 5.0) if server.sent % 4 == 0 else None]
    server = await Simulated(rules).serve(200, concurrency=2)
    assert server.time.now < 30


def test_the_usual_share_of_refusals_is_put_to_the_test_again() -> None:
    now = 0.0
    crowding = Crowding(16, 16, lambda: now)

    def rounds(count: int, refused: Callable[[int], bool]) -> None:
        nonlocal now
        for at in range(32 * count):
            now += 1 / crowding.limit
            crowding.refused(now) if refused(at) else crowding.answered(now, full=True)

    rounds(4, lambda at: at % 2 == 0)
    assert crowding.chance == pytest.approx(0.5)
    assert crowding.limit == 16
    # From now on there is room for eight.
    rounds(40, lambda at: at % crowding.limit >= 8)
    assert crowding.limit <= 9
