"""The dispatcher around a fake hosted model, in virtual time: what goes out when, and what is kept when it fails."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from icm_api.config import Budget, ClientSettings
from icm_api.errors import (
    RETRYABLE_KINDS,
    BudgetError,
    GaveUpError,
    LogprobsUnavailableError,
    ProviderError,
    RequestError,
    RequestErrorKind,
    Unanswered,
)
from icm_api.model.client.batch import _GRACE, Batch
from icm_api.model.client.dispatch import Dispatcher
from icm_api.model.client.meter import Meter
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities, Prompt, Turn, Usage, Verbalizer
from tests.virtual import VirtualTime


class Hosted:
    """A hosted model that takes a second per request, and fails as told."""

    identity = "hosted/m"
    capabilities = Capabilities(1000, "top_k", deterministic=True)

    def __init__(self, time: VirtualTime) -> None:
        self.time = time
        self.faults: Callable[[str, int], Exception | None] = lambda name, before: None
        self.sent: list[tuple[str, float]] = []
        self.answered: list[str] = []
        self.under_way = self.peak = 0
        self.limits: Mapping[str, float] | None = None

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None: ...

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        assert len(requests) <= self.capabilities.together
        if len(requests) > 1:
            names = [request.body["name"] for request in requests]
            await self._send(Request({"name": "+".join(names)}))
            return [Response({"name": name}, Usage(1, 100, 1)) for name in names]
        return await self._send(requests[0])

    async def _send(self, request: Request) -> Sequence[Response]:
        name = request.body["name"]
        before = sum(name == other for other, _ in self.sent)
        self.sent.append((name, self.time.now))
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await self.time.pass_by(request.body.get("seconds", 1.0))
        finally:
            self.under_way -= 1
        fault = self.faults(name, before)
        if fault is not None:
            raise fault
        self.answered.append(name)
        return [Response({"name": name}, Usage(1, 100, 1), self.limits)]

    def times(self) -> dict[str, float]:
        return dict(self.sent)


@dataclass
class Trial:
    """A dispatcher, its model, and what landed."""

    settings: ClientSettings = field(default_factory=ClientSettings)
    meter: Meter = field(default_factory=Meter)
    time: VirtualTime = field(default_factory=VirtualTime)
    landed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = Hosted(self.time)
        self.dispatcher = Dispatcher(
            self.model, self.settings, self.meter, clock=self.time.clock, sleep=self.time.sleep
        )

    def land(self, key: str, response: Response) -> None:
        assert response.body["name"] == key
        self.landed.append(key)

    async def run(self, requests: Iterable[Request]) -> None:
        async with self.time.passing():
            await Batch(self.dispatcher, {request.body["name"]: request for request in requests}, self.land).run()


def named(count: int, prefix: str = "", seconds: float = 1.0) -> list[Request]:
    return [Request({"name": f"{prefix}{at}", "seconds": seconds}, prefix=prefix, tokens=100) for at in range(count)]


def grouped(count: int, group: str = "g", prefix: str = "") -> list[Request]:
    return [Request({"name": f"{group}{at}"}, group=group, prefix=prefix, tokens=100) for at in range(count)]


def in_lists(most: int, slots: int = 2, attempts: int = 16) -> Trial:
    trial = Trial(ClientSettings(concurrency=slots, max_concurrency=slots, attempts=attempts))
    trial.model.capabilities = replace(trial.model.capabilities, together=most)
    return trial


def error(kind: RequestErrorKind, retry_after: float | None = None) -> RequestError:
    return RequestError(f"hosted/m: {kind}", kind=kind, retry_after=retry_after)


async def test_every_answer_lands_once_and_concurrency_grows_to_the_most() -> None:
    trial = Trial(ClientSettings(concurrency=4, max_concurrency=16))
    await trial.run(named(500))
    assert sorted(trial.landed) == sorted(f"{at}" for at in range(500))
    assert trial.model.peak == 16
    assert len([name for name, at in trial.model.sent if at == 0]) == 4
    # 4, 5, ... 16 a second, then 16.
    assert trial.time.now == pytest.approx(13 + (500 - sum(range(4, 17))) / 16, abs=1.5)


async def test_nothing_to_do_is_done_at_once() -> None:
    trial = Trial()
    await trial.run([])
    assert trial.landed == []


async def test_only_a_bounded_number_of_tasks_exists() -> None:
    trial = Trial(ClientSettings(max_concurrency=8))
    most = 0
    original = trial.model.send

    async def counting(requests: Sequence[Request]) -> Sequence[Response]:
        nonlocal most
        most = max(most, len(asyncio.all_tasks()))
        return await original(requests)

    trial.model.send = counting  # type: ignore[method-assign]
    await trial.run(named(2000))
    assert most <= 2 * 8 + 3


async def test_the_first_of_equal_beginnings_goes_ahead_and_the_rest_after_its_answer() -> None:
    trial = Trial(ClientSettings(concurrency=64))
    await trial.run([*named(4, "a"), *named(3), *named(2, "b", seconds=5.0), *named(1, "c")])
    times = trial.model.times()
    assert [times[f"a{at}"] for at in range(4)] == [0, 1, 1, 1]
    assert [times[f"{at}"] for at in range(3)] == [0, 0, 0]
    assert [times["b0"], times["b1"], times["c0"]] == [0, 5, 0]


async def test_the_rest_goes_right_after_the_first_though_others_wait_longer() -> None:
    trial = Trial(ClientSettings(concurrency=1, max_concurrency=1))
    await trial.run([*named(2, "a"), *named(4)])
    assert [name for name, _ in trial.model.sent][:4] == ["a0", "a1", "0", "1"]


async def test_who_sleeps_before_another_try_holds_no_slot() -> None:
    trial = Trial(ClientSettings(concurrency=1, max_concurrency=1))
    trial.model.faults = lambda name, before: error("server", 100.0) if name == "0" and not before else None
    await trial.run(named(5))
    assert trial.landed == ["1", "2", "3", "4", "0"]
    assert trial.model.times()["4"] == pytest.approx(4)
    assert trial.model.times()["0"] >= 101


@pytest.mark.parametrize("kind", sorted(RETRYABLE_KINDS))
async def test_a_fifth_failing_in_a_way_that_passes_changes_nothing(kind: RequestErrorKind) -> None:
    trial = Trial()
    trial.model.faults = lambda name, before: error(kind) if (int(name) + before) % 5 == 0 else None
    await trial.run(named(200))
    assert sorted(trial.landed) == sorted(f"{at}" for at in range(200))
    assert trial.meter.sent == Usage(200, 20_000, 200)


async def test_concurrency_backs_off_when_refused_and_recovers() -> None:
    trial = Trial(ClientSettings(concurrency=32, max_concurrency=32))
    limits: dict[float, int] = {}

    def crowded(name: str, before: int) -> Exception | None:
        limits[trial.time.now] = trial.dispatcher.slots.limit
        # Another user takes most of the capacity for a while.
        return error("overloaded") if trial.time.now < 30 and trial.model.under_way >= 4 else None

    trial.model.faults = crowded
    await trial.run(named(1500))
    assert min(limits.values()) <= 4
    assert max(limit for at, limit in limits.items() if at > 70) > 25
    assert len(trial.landed) == 1500


async def test_a_limit_of_the_account_costs_hardly_any_attempts() -> None:
    """60 requests a minute and a model that only says 429: what would use up attempts is to go on asking."""
    trial = Trial(ClientSettings(concurrency=8, attempts=10))
    counted: list[float] = []

    def account(name: str, before: int) -> Exception | None:
        now = trial.time.now
        recent = [at for at in counted if at > now - 60]
        if len(recent) >= 60:
            return error("rate_limit", recent[0] + 60 - now)
        counted.append(now)
        return None

    trial.model.faults = account
    await trial.run(named(600, seconds=0.1))
    assert len(trial.landed) == 600
    assert len(trial.model.sent) < 600 * 1.5
    assert trial.time.now < 12 * 60


async def test_limits_that_the_server_states_are_kept() -> None:
    trial = Trial()
    trial.model.limits = {"requests_per_minute": 20.0}
    await trial.run(named(100))
    times = sorted(at for _, at in trial.model.sent)
    late = [at for at in times if at > 1]
    assert all(sum(begin <= at < begin + 59.9 for at in late) <= 20 for begin in late)


async def test_a_long_wait_is_one_line_however_many_wait(caplog: pytest.LogCaptureFixture) -> None:
    trial = Trial(ClientSettings(concurrency=8))
    trial.model.faults = lambda name, before: error("rate_limit", 40.0) if before == 0 else None
    await trial.run(named(8))
    assert len(trial.landed) == 8
    [line] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("waiting 4")
    assert line.endswith("hosted/m: rate_limit")


async def test_a_wait_for_the_next_minute_is_said_and_a_short_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    trial = Trial(ClientSettings(requests_per_minute=10))
    trial.model.faults = lambda name, before: error("server") if before == 0 else None
    await trial.run(named(8))
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 1
    assert "minute" in lines[0]


UNRETRYABLE = ["authentication", "permission", "not_found", "quota"]
OF_ONE = ["bad_request", "refused"]


@pytest.mark.parametrize("kind", UNRETRYABLE)
async def test_an_error_for_good_stops_new_requests_and_lets_those_under_way_land(kind: RequestErrorKind) -> None:
    trial = Trial(ClientSettings(concurrency=8, max_concurrency=8))
    bad = error(kind)
    trial.model.faults = lambda name, before: bad if name == "3" else None
    with pytest.raises(RequestError) as caught:
        await trial.run(named(1000))
    assert caught.value is bad
    assert len(trial.model.sent) <= 16
    assert set(trial.landed) == set(trial.model.answered)
    assert {"0", "1", "2", "4", "5", "6", "7"} <= set(trial.landed)
    assert trial.meter.sent.requests == len(trial.landed)


def asking(count: int) -> list[Request]:
    """Requests that ask about examples, each after two demonstrations."""
    labels = Verbalizer.plain(["True", "False"])
    shown = (Turn("first", " True"), Turn("second", " False"))
    prompts = [Prompt("", shown, f"text {at}", labels) for at in range(count)]
    return [Request({"name": str(at)}, prompt=prompt, tokens=100) for at, prompt in enumerate(prompts)]


@pytest.mark.parametrize("kind", OF_ONE)
async def test_what_concerns_one_request_stops_no_other_and_is_named(kind: RequestErrorKind) -> None:
    trial = Trial(ClientSettings(concurrency=8, max_concurrency=8))
    trial.model.faults = lambda name, before: error(kind) if name in ("30", "7", "55") else None
    with pytest.raises(RequestError) as caught:
        await trial.run(asking(100))
    assert len(trial.landed) == 97
    assert caught.value.kind == kind
    told = {each.query: each for each in caught.value.unanswered}
    assert told.keys() == {"text 7", "text 30", "text 55"}
    assert told["text 7"] == Unanswered("text 7", ("first", "second"), f"hosted/m: {kind}", kind == "refused")


@pytest.mark.parametrize("kind", OF_ONE)
async def test_a_server_that_answers_hardly_any_is_left_alone(kind: RequestErrorKind) -> None:
    trial = Trial(ClientSettings(concurrency=8, max_concurrency=8))
    trial.model.faults = lambda name, before: error(kind) if int(name) % 3 else None
    with pytest.raises(RequestError):
        await trial.run(named(1000))
    assert len(trial.model.sent) <= 16


async def test_what_concerns_all_hides_behind_nothing() -> None:
    trial = Trial(ClientSettings(concurrency=1, max_concurrency=1))
    trial.model.faults = lambda name, before: {"3": error("refused"), "9": error("quota")}.get(name)
    with pytest.raises(RequestError) as caught:
        await trial.run(asking(20))
    assert (caught.value.kind, caught.value.unanswered) == ("quota", ())
    assert len(trial.model.sent) == 10


async def test_who_never_answers_delays_an_error_by_less_than_a_second() -> None:
    assert 0.1 < _GRACE < 1.0
    trial = Trial()
    forever = asyncio.Event()

    async def hang_or_fail(requests: Sequence[Request]) -> Sequence[Response]:
        if requests[0].body["name"] == "0":
            raise error("authentication")
        await forever.wait()
        raise AssertionError

    trial.model.send = hang_or_fail  # type: ignore[method-assign]
    with pytest.raises(RequestError, match="authentication"):
        await trial.run(reversed(named(3)))


async def test_sleepers_are_woken_by_an_error_for_good() -> None:
    trial = Trial(ClientSettings(concurrency=2))
    trial.model.faults = lambda name, before: error("server", 200.0) if name == "0" else error("permission")
    with pytest.raises(RequestError, match="permission"):
        await trial.run([named(1)[0], Request({"name": "slow", "seconds": 50.0})])
    assert trial.time.now < 100


async def test_an_answer_that_can_not_be_used_is_paid_for_and_stops_the_rest() -> None:
    trial = Trial(ClientSettings(concurrency=1, max_concurrency=1))

    def refuse(key: str, response: Response) -> None:
        raise LogprobsUnavailableError(f"hosted/m: nothing in {key}")

    async with trial.time.passing():
        with pytest.raises(LogprobsUnavailableError, match="nothing in 0"):
            await Batch(trial.dispatcher, {request.body["name"]: request for request in named(50)}, refuse).run()
    assert trial.meter.sent.requests == len(trial.model.answered) < 4


async def test_what_is_known_by_the_time_it_could_be_sent_is_not_sent() -> None:
    trial = Trial(ClientSettings(concurrency=2, max_concurrency=2))
    requests = {request.body["name"]: request for request in named(6, "p")}
    async with trial.time.passing():
        await Batch(
            trial.dispatcher, requests, trial.land, lambda keys: [key for key in keys if key in {"p0", "p3"}]
        ).run()
    assert sorted(name for name, _ in trial.model.sent) == ["p1", "p2", "p4", "p5"]
    assert trial.dispatcher.slots.busy == 0


async def test_a_budget_is_used_up_and_never_exceeded_however_many_are_under_way() -> None:
    trial = Trial(ClientSettings(concurrency=64), Meter(Budget(requests=37)))
    with pytest.raises(BudgetError, match="37 of 37"):
        await trial.run(named(100))
    assert len(trial.model.sent) == len(trial.landed) == trial.meter.sent.requests == 37


@pytest.mark.parametrize("kind", ["disconnected", "timeout", "broken_answer"])
async def test_no_more_arrives_than_the_budget_also_if_answers_get_lost(kind: RequestErrorKind) -> None:
    trial = Trial(ClientSettings(concurrency=8), Meter(Budget(requests=37)))
    trial.model.faults = lambda name, before: error(kind) if (int(name) + before) % 3 == 0 else None
    with pytest.raises(BudgetError, match="37 of 37"):
        await trial.run(named(100))
    assert len(trial.model.sent) == 37


async def test_a_budget_of_tokens_stops_within_one_request_of_it() -> None:
    trial = Trial(ClientSettings(concurrency=64), Meter(Budget(tokens=2000)))
    with pytest.raises(BudgetError):
        await trial.run(named(100))
    # 101 tokens each; the worst case of the next is 113.
    assert trial.meter.sent.requests == 19
    assert len(trial.landed) == 19


async def test_too_slow_is_a_timeout_and_tried_again() -> None:
    trial = Trial(ClientSettings(timeout=0.01, attempts=1))
    forever = asyncio.Event()

    async def hang(requests: Sequence[Request]) -> Sequence[Response]:
        await forever.wait()
        raise AssertionError

    trial.model.send = hang  # type: ignore[method-assign]
    with pytest.raises(RequestError, match=r"no answer in 0.01 s \(client.timeout\)") as caught:
        await Batch(trial.dispatcher, {"0": named(1)[0]}, trial.land).run()
    assert caught.value.kind == "timeout"


async def test_not_one_answer_to_one_request_is_refused() -> None:
    trial = Trial()

    async def twice(requests: Sequence[Request]) -> Sequence[Response]:
        return [Response({"name": "0"}, Usage())] * 2

    trial.model.send = twice  # type: ignore[method-assign]
    with pytest.raises(ProviderError, match="2 answers to one request"):
        await trial.run(named(1))


async def test_cancelling_leaves_nothing_running() -> None:
    trial = Trial()
    run = asyncio.create_task(Batch(trial.dispatcher, {"0": named(1)[0]}, trial.land).run())
    await asyncio.sleep(0.01)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert trial.dispatcher.slots.busy == trial.model.under_way == 0


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
async def test_of_many_side_by_side_some_fail_in_a_row_by_chance_which_lengthens_no_wait(count: int) -> None:
    took = []
    for failing in (False, True):
        trial, chance = Trial(), random.Random(count)

        def fault(name: str, before: int, failing: bool = failing, chance: random.Random = chance) -> Exception | None:
            return RequestError("busy", kind="server") if failing and chance.random() < 0.5 else None

        trial.model.faults = fault
        await trial.run([Request({"name": str(at), "seconds": 0.05}) for at in range(count)])
        took.append(trial.time.now)
    assert took[1] < 4 * took[0]


# Lists


async def test_requests_of_a_group_travel_together_and_others_alone() -> None:
    trial = in_lists(4)
    # Of two groups in turns, and one that goes alone.
    mixed = [each for pair in zip(grouped(6, "a"), grouped(6, "b"), strict=True) for each in pair]
    await trial.run([*mixed, *named(1)])
    sent = [name for name, _ in trial.model.sent]
    assert sorted(sent) == sorted(["a0+a1+a2+a3", "a4+a5", "b0+b1+b2+b3", "b4+b5", "0"])
    assert sorted(trial.landed) == sorted([f"{group}{at}" for group in "ab" for at in range(6)] + ["0"])
    assert trial.meter.sent == Usage(5, 1300, 13)


def beginning(prefix: str, count: int) -> list[Request]:
    return [Request({"name": f"{prefix}{at}"}, group="g", prefix=prefix, tokens=100) for at in range(count)]


async def test_the_first_list_with_a_beginning_goes_ahead_and_the_others_after_its_answer() -> None:
    trial = in_lists(4)
    await trial.run([*beginning("p", 9), *beginning("q", 2)])
    assert trial.model.sent == [("p0+p1+p2+p3", 0.0), ("q0+q1", 0.0), ("p4+p5+p6+p7", 1.0), ("p8", 1.0)]


async def test_a_list_holds_several_beginnings_one_after_the_other() -> None:
    trial = in_lists(64)
    await trial.run([each for pair in zip(beginning("p", 3), beginning("q", 3), strict=True) for each in pair])
    assert trial.model.sent == [("p0+p1+p2+q0+q1+q2", 0.0)]


@pytest.mark.parametrize("kind", ["bad_request", "refused", "broken_answer", "timeout"])
@pytest.mark.parametrize("bad", ["g0", "g5", "g15"])
async def test_a_list_with_one_that_is_refused_falls_apart_and_all_others_land(
    kind: RequestErrorKind, bad: str
) -> None:
    trial = in_lists(16, attempts=1)
    trial.model.faults = lambda name, before: error(kind) if bad in name.split("+") else None
    with pytest.raises(RequestError) as caught:
        await trial.run(grouped(16))
    assert sorted(trial.landed) == sorted(f"g{at}" for at in range(16) if f"g{at}" != bad)
    # Halves, and the halves of the half that fails, down to the one: not sixteen single requests.
    assert len(trial.model.sent) == 9
    if caught.value.of_one:
        assert len(caught.value.unanswered) == 1


@pytest.mark.parametrize("kind", ["timeout", "disconnected", "broken_answer"])
async def test_a_server_that_answers_nothing_is_sent_the_parts_of_a_list_no_longer_than_one_request(
    kind: RequestErrorKind,
) -> None:
    settings = ClientSettings(concurrency=64, max_concurrency=64, retry_seconds=3)
    sent = []
    for together in (1, 64):
        trial = Trial(settings)
        trial.model.capabilities = replace(trial.model.capabilities, together=together)
        trial.model.faults = lambda name, before: error(kind)
        with pytest.raises(GaveUpError, match="gave up"):
            await trial.run(grouped(64))
        sent.append(max(Counter(each for name, _ in trial.model.sent for each in name.split("+")).values()))
    # Each may have been billed, every time.
    assert sent[1] <= sent[0] + 1


@pytest.mark.parametrize("kind", ["bad_request", "timeout"])
async def test_the_parts_of_a_list_that_waited_for_all_else_are_tried_as_any_request_is(kind: RequestErrorKind) -> None:
    trial = Trial(ClientSettings(concurrency=1, max_concurrency=1, retry_seconds=8))
    trial.model.capabilities = replace(trial.model.capabilities, together=2)

    def faults(name: str, before: int) -> RequestError | None:
        if "+" in name:
            return error(kind)
        return error("overloaded") if name == "g0" and before == 0 else None

    trial.model.faults = faults
    await trial.run([*grouped(2), *named(40)])
    assert trial.time.now > 40
    assert {"g0", "g1"} <= {*trial.landed}


async def test_a_list_that_meets_a_limit_goes_again_as_it_is() -> None:
    trial = in_lists(8)
    trial.model.faults = lambda name, before: error("rate_limit", 1.0) if before == 0 else None
    await trial.run(grouped(8))
    assert len({name for name, _ in trial.model.sent}) == 1
    assert len(trial.model.sent) == 2


async def test_a_server_that_fails_at_every_list_still_answers_single_requests() -> None:
    trial = in_lists(8)
    trial.model.faults = lambda name, before: error("server") if "+" in name else None
    await trial.run(grouped(8))
    assert sorted(trial.landed) == [f"g{at}" for at in range(8)]


async def test_once_lists_are_known_to_work_a_failing_server_gets_them_again_whole() -> None:
    trial = in_lists(4, slots=1)
    failing = "g4+g5+g6+g7"
    trial.model.faults = lambda name, before: error("server") if name == failing and before < 3 else None
    await trial.run(grouped(8))
    assert [name for name, _ in trial.model.sent].count(failing) == 4
    assert len(trial.landed) == 8


async def test_a_budget_is_used_up_to_the_last_request_by_lists_too() -> None:
    trial = in_lists(64, slots=1)
    meter = Meter(Budget(tokens=21 * 101))
    trial.dispatcher.meter = meter
    with pytest.raises(BudgetError, match=r"2,020 of 2,121 tokens are used, and it may take 113"):
        await trial.run(grouped(64))
    assert meter.sent.prompt_tokens == 100 * len(trial.landed) == 2000


async def test_a_list_is_one_request_of_a_budget() -> None:
    trial = in_lists(8, slots=1)
    trial.dispatcher.meter = meter = Meter(Budget(requests=2))
    with pytest.raises(BudgetError, match="2 of 2 requests are used"):
        await trial.run(grouped(64))
    assert len(trial.landed) == 16
    assert meter.sent.requests == len(trial.model.sent) == 2


async def test_of_a_list_only_what_is_not_known_meanwhile_is_sent() -> None:
    trial = in_lists(8)
    requests = {request.body["name"]: request for request in grouped(8)}
    async with trial.time.passing():
        await Batch(trial.dispatcher, requests, trial.land, lambda keys: [key for key in keys if key > "g1"]).run()
    assert [name for name, _ in trial.model.sent] == ["g0+g1"]


async def test_of_a_list_all_that_can_be_used_lands_before_the_rest_is_refused() -> None:
    trial = in_lists(8)
    landed = []

    def land(key: str, response: Response) -> None:
        if key < "g3":
            raise LogprobsUnavailableError(f"hosted/m: nothing in {key}")
        landed.append(key)

    async with trial.time.passing():
        with pytest.raises(LogprobsUnavailableError) as caught:
            await Batch(trial.dispatcher, {request.body["name"]: request for request in grouped(8)}, land).run()
    assert landed == [f"g{at}" for at in range(3, 8)]
    assert len(caught.value.unanswered) == 3
