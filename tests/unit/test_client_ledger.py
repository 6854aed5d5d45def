"""The ledger: what is on disk at each moment is enough for the budget to hold, whenever a process is killed."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from icm_api.config import Budget, ClientSettings, Prices
from icm_api.errors import BudgetError, RunError, StorageError
from icm_api.model import Client, Ledger, Meter, Request, Response, Sent, read_sent, spent
from icm_api.model.client.cache import ResponseCache
from icm_api.model.client.meter import cost
from icm_api.types import Capabilities, Usage

PRICES = Prices(input=2.0, output=8.0, cached_input=0.5)
REAL = Usage(1, 100, 5, 40)
MOST = Usage(1, 113, 10)


class Killed(BaseException):
    """The process is gone: nothing that it does from here on counts."""


class Costly:
    """A hosted model that counts what it was really sent, over all processes, and has the asking one killed."""

    identity = "costly/m"

    def __init__(self, ledger: Path, *, batches: bool = False) -> None:
        self.capabilities = Capabilities(1000, "top_k", deterministic=True, batches=batches)
        self.ledger = ledger
        self.spent = Usage()
        self.kill_after = 0
        self.on_disk: bytes | None = None

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None: ...

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        if self.on_disk is not None:
            raise Killed
        self.spent += total(REAL, len(requests))
        self.look()
        self.kill_after -= len(requests)
        if self.kill_after <= 0:
            self.on_disk = self.ledger.read_bytes()
            raise Killed
        await asyncio.sleep(random.random() / 500)
        if self.on_disk is None:
            self.look()
        return [Response({"name": request.body["name"]}, REAL) for request in requests]

    def begin(self, kill_after: int) -> None:
        """A new process, which is killed when so many more requests have come."""
        self.kill_after, self.on_disk = kill_after, None

    def look(self) -> None:
        """At each moment all that was sent is on disk, as a kill could come then."""
        counted = spent(self.ledger)
        assert counted.requests == self.spent.requests
        assert counted.prompt_tokens >= self.spent.prompt_tokens
        assert counted.completion_tokens >= self.spent.completion_tokens
        assert counted.cached_tokens <= self.spent.cached_tokens


def total(usage: Usage, count: int) -> Usage:
    return sum([usage] * count, Usage())


def named(*names: object) -> list[Request]:
    return [Request({"name": str(name), "max_tokens": 10}, tokens=100, completion_tokens=10) for name in names]


async def session(model: Costly, budget: Budget, names: Sequence[object], kill_after: int) -> None:
    """One process: it is killed when the model says so, and leaves what was on disk then."""
    model.begin(kill_after)
    ledger = Ledger(model.ledger)
    meter = Meter(budget, PRICES, ledger.before, ledger)
    settings = ClientSettings(concurrency=8, max_concurrency=8)
    client = Client(model, settings=settings, meter=meter)
    try:
        await client.ask(named(*names))
    except Killed:
        assert model.on_disk is not None
    finally:
        await client.close()
        if model.on_disk is not None:
            model.ledger.write_bytes(model.on_disk)


BUDGETS = [
    Budget(requests=60),
    Budget(tokens=60 * 105),
    Budget(money=60 * cost(REAL, PRICES)),
    Budget(requests=60, tokens=55 * 105, money=60 * cost(REAL, PRICES)),
]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("batches", [False, True])
async def test_no_number_of_kills_makes_more_be_spent_than_the_budget(
    budget: Budget, batches: bool, tmp_path: Path
) -> None:
    model = Costly(tmp_path / "spending.jsonl", batches=batches)
    rng = random.Random(3)
    kills = 0
    for at in range(200):
        names = [f"{at}/{number}" for number in range(rng.randrange(1, 9))]
        try:
            await session(model, budget, names, rng.randrange(1, 9))
        except BudgetError:
            break
        kills += model.on_disk is not None
    assert kills >= 2
    used, counted = model.spent, spent(model.ledger)
    assert budget.requests is None or used.requests <= budget.requests
    assert budget.tokens is None or used.prompt_tokens + used.completion_tokens <= budget.tokens
    assert budget.money is None or cost(used, PRICES) <= budget.money
    # A kill loses no more than what a request can cost beyond what it did cost, of those under way.
    assert used.requests == counted.requests
    assert counted.prompt_tokens - used.prompt_tokens <= kills * 8 * (MOST - REAL).prompt_tokens
    # And nothing stops before there is no room for what one session asks at once.
    with pytest.raises(BudgetError):
        await Meter(budget, PRICES, counted).reserve(named(*range(8)))


async def test_without_a_budget_what_was_answered_is_on_disk_and_only_what_was_under_way_is_not(tmp_path: Path) -> None:
    model = Costly(tmp_path / "spending.jsonl")
    ledger = Ledger(model.ledger)
    meter = Meter(ledger=ledger)
    asked = named(1)
    for number in range(1, 4):
        assert await meter.reserve(asked) == Usage()
        meter.answered(Usage(), REAL, asked)
        assert spent(model.ledger) == total(REAL, number)
    await meter.reserve(asked)
    assert spent(model.ledger) == total(REAL, 3)
    meter.close()


async def test_what_may_have_been_billed_counts_in_later_sessions_too_and_what_was_not_does_not(tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    meter = Meter(Budget(requests=3), ledger=Ledger(path))
    meter.unanswered(await meter.reserve(named(1)), billed=True)
    meter.unanswered(await meter.reserve(named(2)), billed=False)
    meter.close()
    assert spent(path) == MOST


async def test_what_the_cache_answers_adds_nothing(tmp_path: Path) -> None:
    model = Costly(tmp_path / "spending.jsonl")
    model.kill_after = 100
    for _ in range(2):
        ledger = Ledger(model.ledger)
        meter = Meter(Budget(requests=5), None, ledger.before, ledger)
        async with Client(model, ResponseCache(tmp_path / "cache"), meter=meter) as client:
            await client.ask(named(*range(5)))
        assert spent(model.ledger) == total(REAL, 5)


def test_a_torn_last_line_is_dropped_and_the_next_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    assert spent(path) == Ledger(path).before == Usage()
    assert not path.exists()
    ledger = Ledger(path)
    ledger.reserve(MOST)
    before = path.read_bytes()
    ledger.settle(REAL - MOST)
    after = path.read_bytes()
    ledger.close()
    assert after.startswith(before)
    for cut in range(len(before), len(after)):
        # Without its correction the reservation counts at its most.
        path.write_bytes(after[:cut])
        assert spent(path) == MOST
        ledger = Ledger(path)
        ledger.reserve(MOST)
        ledger.close()
        assert path.read_bytes().count(b"\n") == 2
        assert spent(path) == MOST + MOST

    for cut in range(len(before)):
        # Of a reservation that is not whole nothing was sent.
        path.write_bytes(before[:cut])
        assert spent(path) == Usage()


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_no_bit_of_a_ledger_changes_unnoticed(tmp_path: Path, every: int) -> None:
    path = tmp_path / "spending.jsonl"
    ledger = Ledger(path)
    for _ in range(3):
        ledger.reserve(MOST)
        ledger.settle(REAL - MOST)
    ledger.close()
    whole, right = path.read_bytes(), spent(path)
    for place in range(0, 8 * (len(whole) - 1), every):
        at, bit = divmod(place, 8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        with suppress(RunError):
            assert spent(path) == right, (at, bit)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "null",
        "[1]",
        "{",
        '{"requests": 1',
        '{"requests": "1"}',
        '{"requests": 1.0}',
        '{"requests": true}',
        '{"requests": NaN}',
        '{"asked": 1}',
        '{"requests": -2}',
        "\udcff",
    ],
)
def test_a_damaged_line_stops_the_run_with_its_place(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "spending.jsonl"
    for rest in ('{"requests": 5}\n', ""):
        path.write_bytes(b'{"requests": 1}\n' + damage.encode(errors="surrogateescape") + b"\n" + rest.encode())
        with pytest.raises(RunError, match=r"spending.jsonl:2: damaged .*put the file back"):
            Ledger(path)


async def test_without_room_nothing_is_sent_and_no_answer_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "spending.jsonl"
    meter = Meter(Budget(requests=3), ledger=(ledger := Ledger(path)))
    reserved = await meter.reserve(named(1))
    assert ledger._stream is not None
    with_room, ledger._stream = ledger._stream, Full(path)
    meter.answered(reserved, REAL, named(1))
    assert meter.sent == REAL
    with_room.close()
    # What the disk took of the line is a torn line.
    assert path.read_bytes().count(b"\n") == 1
    assert not path.read_bytes().endswith(b"\n")
    ledger._stream = Full(path)
    with pytest.raises(StorageError, match=r"spending.jsonl.*free some space"):
        await meter.reserve(named(2))
    # Room again.
    await meter.reserve(named(2))
    assert spent(path) == REAL + MOST
    meter.close()


class Full(FileIO):
    """Takes four bytes, and no more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "ab")

    def write(self, data: Any, /) -> int:
        return super().write(bytes(data)[:4])


def test_sessions_are_added_up_and_money_only_where_all_have_it(tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    ledger = tmp_path / "spending.jsonl"
    assert read_sent(path, ledger) is None
    one = {"sent": {"requests": 2, "prompt_tokens": 20}, "seconds": 1.5, "money": 0.25}
    path.write_text(json.dumps(one) + "\n" + json.dumps(one) + "\n" + '{"sent": {"req')
    assert read_sent(path, ledger) == Sent(2, 1, Usage(4, 40), 3.0, 0.5)
    del one["money"]
    path.write_text(path.read_text().splitlines()[0] + "\n" + json.dumps(one) + "\n")
    assert read_sent(path, ledger) == Sent(2, 0, Usage(4, 40), 3.0, None)


def test_what_no_session_noted_is_the_rest_of_the_ledger(tmp_path: Path) -> None:
    path, ledger = tmp_path / "sessions.jsonl", tmp_path / "spending.jsonl"
    ledger.write_text(
        '{"requests": 3, "prompt_tokens": 30}\n{"requests": 4, "prompt_tokens": 40, "cached_tokens": 5}\n'
    )
    killed = Usage(7, 70, 0, 5)
    assert read_sent(path, ledger) == Sent(0, 0, killed, 0.0, 0.0, killed)
    path.write_text(json.dumps({"sent": {"requests": 4, "prompt_tokens": 45}, "seconds": 1.5}) + "\n")
    assert read_sent(path, ledger) == Sent(1, 0, killed, 1.5, None, Usage(3, 25, 0, 5))
    ledger.write_text('{"requests": 4, "prompt_tokens": 45}\n')
    assert read_sent(path, ledger) == Sent(1, 0, Usage(4, 45), 1.5, None)
