"""The client around a fake hosted model: what is on disk and when, and several clients on one cache."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from icm_api.config import Budget, ClientSettings, Prices
from icm_api.errors import BudgetError, LogprobsUnavailableError, RequestError, StorageError
from icm_api.model import Client, Ledger, Meter, spent
from icm_api.model.client.cache import ResponseCache
from icm_api.model.request import Body, Request, Response
from icm_api.types import Capabilities, Usage


class Hosted:
    """A hosted model that answers a name in as many milliseconds as told, unless told to fail."""

    identity = "hosted/m"
    capabilities = Capabilities(1000, "top_k", deterministic=True)

    def __init__(self, milliseconds: float = 0.0) -> None:
        self.delay = milliseconds / 1000
        self.sent: list[tuple[str, float]] = []
        self.answered: dict[str, float] = {}
        self.errors: dict[str, Exception] = {}
        self.extra: dict[str, Any] = {}
        self.fourth = asyncio.Event()

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None: ...

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        [request] = requests
        name, loop = request.body["name"], asyncio.get_running_loop()
        self.sent.append((name, loop.time()))
        if len(self.sent) == 4:
            self.fourth.set()
        await asyncio.sleep(self.delay)
        if name in self.errors:
            raise self.errors[name]
        self.answered.setdefault(name, loop.time())
        return [Response({"name": name, **self.extra}, Usage(1, 10, 1, 4))]


def named(*names: object, unreadable: str = "") -> list[Request]:
    def check(body: Body) -> None:
        if body["name"] == unreadable:
            raise LogprobsUnavailableError("no logprobs")

    return [Request({"name": str(name)}, tokens=10, check=check) for name in names]


def open_client(directory: Path | None, model: Hosted, settings: ClientSettings | None = None) -> Client:
    return Client(model, ResponseCache(directory) if directory else None, settings=settings)


@pytest.fixture
def model() -> Hosted:
    return Hosted()


async def test_each_question_is_sent_once_and_answers_stand_in_order(model: Hosted) -> None:
    async with open_client(None, model) as client:
        bodies = await client.ask(named(*"abacab"))
        assert [body["name"] for body in bodies] == list("abacab")
        both = await asyncio.gather(client.ask(named("d", "a")), client.ask(named("d")))
        assert both[0][0] == both[1][0]
    assert sorted(name for name, _ in model.sent) == list("abcd")
    assert client.meter.sent == Usage(4, 40, 4, 16)


async def test_usage_does_not_depend_on_what_the_server_had_in_its_prefix_cache(tmp_path: Path, model: Hosted) -> None:
    for _ in range(2):
        async with open_client(tmp_path, model) as client:
            assert (await client.ask(named(*range(5)))).usage == Usage(5, 50, 5)
    assert client.meter.sent == Usage()
    assert len(model.sent) == 5


async def test_every_answer_is_on_disk_before_the_next_error(tmp_path: Path, model: Hosted) -> None:
    model.errors["7"] = RequestError("hosted/m: no", kind="permission", status=403)
    async with open_client(tmp_path, model) as client:
        with pytest.raises(RequestError, match="no"):
            await client.ask(named(*range(100)))
        paid = client.meter.sent.requests
        assert 7 <= paid == len(model.answered) < 100
    model.errors.clear()
    async with open_client(tmp_path, model) as client:
        await client.ask(named(*range(100)))
        assert client.meter.sent.requests == 100 - paid


async def test_an_answer_is_kept_while_others_are_still_under_way(tmp_path: Path) -> None:
    model = Hosted(30)
    async with open_client(tmp_path, model, ClientSettings(concurrency=1, max_concurrency=1)) as client:
        asking = asyncio.create_task(client.ask(named(*range(5))))
        await model.fourth.wait()
        assert len(ResponseCache(tmp_path)) == 3
        await asking


async def test_an_unreadable_answer_is_paid_but_never_kept(tmp_path: Path, model: Hosted) -> None:
    async with open_client(tmp_path, model) as client:
        with pytest.raises(LogprobsUnavailableError):
            await client.ask(named(*"abc", unreadable="b"))
        assert client.meter.sent.requests == 3
    assert len(ResponseCache(tmp_path)) == 2


async def test_an_answer_that_is_no_json_is_refused_and_its_neighbours_are_kept(tmp_path: Path, model: Hosted) -> None:
    async with open_client(tmp_path, model) as client:
        await client.ask(named("a"))
        model.extra = {"x": float("nan")}
        with pytest.raises(LogprobsUnavailableError, match="cannot be kept"):
            await client.ask(named("b"))
    assert len(ResponseCache(tmp_path)) == 1


async def test_a_full_disk_stops_with_its_own_error(
    tmp_path: Path, model: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ResponseCache, encoded: Mapping[str, bytes]) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(ResponseCache, "put_encoded", full)
    async with open_client(tmp_path, model) as client:
        with pytest.raises(StorageError, match="disk full"):
            await client.ask(named(*range(50)))


@pytest.mark.parametrize("milliseconds", [0, 5])
async def test_a_full_disk_stops_at_what_is_under_way_and_all_is_kept_once_there_is_room(
    milliseconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, write, slots = Hosted(milliseconds), ResponseCache.put_encoded, 4

    def full(self: ResponseCache, encoded: Mapping[str, bytes]) -> None:
        if encoded and len(self) + len(encoded) > 20:
            raise StorageError("disk full")
        write(self, encoded)

    settings = ClientSettings(concurrency=slots, max_concurrency=slots)
    async with open_client(tmp_path, model, settings) as client:
        with monkeypatch.context() as patched:
            patched.setattr(ResponseCache, "put_encoded", full)
            for _ in range(2):
                # Two at once, which share the slots.
                asking = (client.ask(named(*some)) for some in (range(50), range(50, 100)))
                found = await asyncio.gather(*asking, return_exceptions=True)
                assert [str(each) for each in found] == ["disk full"] * 2
        # Those whose answers could not be written, and those sent before that was known.
        assert len(model.sent) <= len(ResponseCache(tmp_path)) + 2 * slots
        await client.ask(named(*range(100)))
    assert len(model.sent) == len(ResponseCache(tmp_path)) == 100


async def test_two_clients_on_one_cache_pay_twice_only_for_what_both_asked_before_either_had_it(
    tmp_path: Path,
) -> None:
    one, other = Hosted(3), Hosted(2)
    settings = ClientSettings(concurrency=3, max_concurrency=3)
    names = named(*range(60))
    async with open_client(tmp_path, one, settings) as first, open_client(tmp_path, other, settings) as second:
        await asyncio.gather(first.ask(names), second.ask(names[::-1]))
    # From both ends, they meet in the middle: what is under way there is all that both can have asked for.
    counts = Counter(name for name, _ in one.sent + other.sent)
    assert set(counts) == set(map(str, range(60)))
    assert sum(count > 1 for count in counts.values()) < 20
    assert max(counts.values()) == 2


async def test_no_more_is_spent_than_the_budget_and_a_higher_one_goes_on(tmp_path: Path, model: Hosted) -> None:
    prices = Prices(input=1.0, output=2.0, cached_input=0.25)
    each = (6 * 1.0 + 4 * 0.25 + 1 * 2.0) / 1e6
    path = tmp_path / "spending.jsonl"

    async def ask(money: float) -> Client:
        ledger = Ledger(path)
        meter = Meter(Budget(money=money), prices, ledger.before, ledger)
        async with Client(model, ResponseCache(tmp_path / "cache"), meter=meter) as client:
            await client.ask(named(*range(40)))
            return client

    with pytest.raises(BudgetError):
        await ask(20 * each)
    paid = spent(path).requests
    assert 15 <= paid <= 20
    with pytest.raises(BudgetError):
        await ask(20 * each)
    assert spent(path).requests <= 20
    client = await ask(100 * each)
    assert spent(path).requests == len(model.sent) == 40
    assert client.meter.spent == pytest.approx(client.meter.sent.requests * each)
