"""Workers of several processes under one limiter: budget, rates, equal questions, and either end killed."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from icm_api.config import Budget, ClientSettings
from icm_api.errors import BudgetError, ConfigError, IcmError, LogprobsUnavailableError, RequestError, Unanswered
from icm_api.model import Ledger, Meter
from icm_api.model.client.cache import ResponseCache
from icm_api.model.client.client import Client
from icm_api.model.client.ledger import spent
from icm_api.model.client.limiter import Ask, Grant, Limiter, News
from icm_api.model.client.limits import Limits
from icm_api.model.client.line import LimiterAwayError, Line
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities, Usage
from tests.virtual import VirtualTime

REQUEST = Request({"prompt": "1+1="}, tokens=10, completion_tokens=1)
COST = Usage(1, 8, 1)


@dataclass
class Near:
    """A limiter in this process, that may be away or begin anew as if it was killed."""

    make: Callable[[], Limiter]
    away: bool = False
    limiter: Limiter = field(init=False)
    killed: asyncio.Event = field(init=False)

    def __post_init__(self) -> None:
        self.limiter, self.killed = self.make(), asyncio.Event()

    def kill(self) -> None:
        self.limiter.close()
        self.killed.set()
        self.__post_init__()

    async def exchange(self, worker: str, news: News, asks: Sequence[Ask]) -> Sequence[Grant]:
        if self.away:
            raise LimiterAwayError
        found = asyncio.ensure_future(self.limiter.exchange(worker, news, asks))
        killed = asyncio.ensure_future(self.killed.wait())
        try:
            await asyncio.wait([found, killed], return_when=asyncio.FIRST_COMPLETED)
            if not found.done():
                raise LimiterAwayError
            return found.result()
        finally:
            found.cancel()
            killed.cancel()

    async def hear(self, worker: str, news: News) -> None:
        if self.away:
            raise LimiterAwayError
        self.limiter.hear(worker, news)


def near(path: Path | None = None, requests: int | None = None) -> Near:
    def make() -> Limiter:
        ledger = None if path is None else Ledger(path)
        meter = Meter(Budget(requests=requests), None, None if ledger is None else ledger.before, ledger)
        return Limiter(meter, Limits(None, None, clock=asyncio.get_running_loop().time, sleep=asyncio.sleep))

    return Near(make)


def lines(far: Near, *names: str) -> list[Line]:
    async def soon(seconds: float) -> None:
        await asyncio.sleep(0)

    return [Line(far, name, sleep=soon) for name in names]


async def reserved(line: Line) -> Usage:
    found = await line.reserve([REQUEST])
    assert found is not None
    return found


async def test_two_workers_spend_one_budget_and_the_last_of_it_is_waited_for(tmp_path: Path) -> None:
    far = near(tmp_path / "spending.jsonl", requests=3)
    one, other = lines(far, "one", "other")
    first, second, third = await reserved(one), await reserved(other), await reserved(one)
    waiting = asyncio.create_task(reserved(other))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    assert spent(tmp_path / "spending.jsonl").requests == 3
    one.unanswered(first, billed=False)
    fourth = await waiting
    for line, each in ((other, second), (one, third), (other, fourth)):
        line.answered(each, COST, [REQUEST])
    await asyncio.gather(one.finish(), other.finish())
    with pytest.raises(BudgetError, match="3 of 3 requests are used"):
        await one.reserve([REQUEST])
    assert spent(tmp_path / "spending.jsonl") == COST + COST + COST
    assert far.limiter.totals == (COST + COST + COST, None)
    far.limiter.close()


async def test_what_a_killed_worker_had_under_way_counts_in_full_and_nobody_waits_for_it(tmp_path: Path) -> None:
    far = near(tmp_path / "spending.jsonl", requests=2)
    one, other = lines(far, "one", "other")
    await reserved(one)
    answered = await reserved(one)
    one.answered(answered, COST, [REQUEST])
    waiting = asyncio.create_task(reserved(other))
    await asyncio.sleep(0.03)
    far.limiter.leave("one")
    with pytest.raises(BudgetError, match="2 of 2"):
        await waiting
    polls = [asyncio.create_task(far.limiter.exchange("third", News(), ())) for _ in range(3)]
    await asyncio.sleep(0)
    far.limiter.leave("third")
    await asyncio.wait_for(asyncio.gather(*polls), 5)
    # A message of the dead that comes late.
    assert await far.limiter.exchange("one", News(), [Ask(9, (REQUEST,))]) == ()
    assert spent(tmp_path / "spending.jsonl").requests == 2
    far.limiter.close()


async def test_a_killed_limiter_knows_from_the_ledger_what_was_let_go(tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    far = near(path, requests=3)
    one, other = lines(far, "one", "other")
    first, _ = await reserved(one), await reserved(other)
    far.kill()
    # Reserved by the first limiter, answered under the second.
    one.answered(first, COST, [REQUEST])
    third = await reserved(one)
    assert spent(path).requests == 3
    one.answered(third, COST, [REQUEST])
    await one.finish()
    with pytest.raises(BudgetError):
        await other.reserve([REQUEST])
    assert far.limiter.totals[0] == COST + COST
    # What the other had under way is not settled: it counts at its most.
    assert spent(path).requests == 3
    assert spent(path).prompt_tokens > 3 * COST.prompt_tokens
    far.limiter.close()


async def test_whoever_waits_while_the_limiter_is_away_is_heard_when_it_is_back() -> None:
    far = near()
    far.away = True
    (line,) = lines(far, "one")
    waiting = asyncio.create_task(reserved(line))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    far.away = False
    await asyncio.wait_for(waiting, 5)


async def test_who_is_cancelled_gives_back_what_it_was_granted() -> None:
    far = near(requests=1)
    one, other = lines(far, "one", "other")
    held = await reserved(one)
    waiting = asyncio.create_task(reserved(other))
    await asyncio.sleep(0.03)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await other.finish()
    one.unanswered(held, billed=False)
    assert (await asyncio.wait_for(reserved(one), 5)).requests == 1


async def test_a_minute_has_so_many_requests_of_all_workers_together() -> None:
    time, went = VirtualTime(), list[float]()
    far = Near(lambda: Limiter(Meter(), Limits(2, None, clock=time.clock, sleep=time.sleep)))

    async def one(line: Line) -> None:
        line.answered(await reserved(line), COST, [REQUEST])
        went.append(time.clock())

    async with time.passing():
        await asyncio.gather(*map(one, lines(far, *"abcde")))
    assert went == pytest.approx([0, 0, 60, 60, 120], abs=0.01)


@dataclass
class Slow:
    """Answers after a moment, and counts."""

    capabilities: Capabilities
    asked: list[Request] = field(default_factory=list)
    identity: str = "slow/x"

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        self.asked += requests
        await asyncio.sleep(0.03)
        return [Response({"answer": request.body["prompt"]}, COST) for request in requests]

    async def close(self) -> None:
        pass


async def test_what_two_workers_ask_at_once_is_sent_once(tmp_path: Path) -> None:
    far, endpoint = near(), Slow(Capabilities(99, "exact", True))
    clients = [
        Client(endpoint, ResponseCache(tmp_path), settings=ClientSettings(), meter=line, limits=line.limits)
        for line in lines(far, "one", "other")
    ]
    questions = [replace(REQUEST, body={"prompt": str(number)}) for number in range(20)]
    found = await asyncio.gather(*(client.ask(questions) for client in clients))
    assert list(found[0]) == list(found[1]) == [{"answer": str(number)} for number in range(20)]
    assert len(endpoint.asked) == 20
    assert found[0].costs == found[1].costs
    for client in clients:
        await client.close()


@pytest.mark.parametrize(
    "error",
    [
        RequestError("late", kind="timeout", status=504, retry_after=2.0),
        ConfigError("no", option="api"),
        BudgetError("spent"),
        LogprobsUnavailableError("none"),
    ],
)
def test_an_error_passes_from_one_process_to_another(error: IcmError) -> None:
    if isinstance(error, LogprobsUnavailableError):
        error.unanswered = (Unanswered("q", (), "why"),)
    again = copy.copy(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("question", [REQUEST, replace(REQUEST, more={"return_token_ids": True})])
def test_a_question_travels_to_another_process(question: Request) -> None:
    # A deep copy takes the way of pickle.
    assert copy.deepcopy(question) == question
