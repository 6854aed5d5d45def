"""How long a run takes: against the client's own dispatcher by virtual time, and limits by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from icm_api.config import ClientSettings
from icm_api.model.client.batch import Batch
from icm_api.model.client.dispatch import Dispatcher
from icm_api.model.client.meter import Meter
from icm_api.model.request import Request, Response
from icm_api.runs.pace import HANDLED, HANDLED_IN_LIST, Pace, Wave, trips
from icm_api.runs.rates import most_tokens
from icm_api.types import Capabilities, Usage
from tests.virtual import VirtualTime

LATENCY = 0.8


class Slow:
    """An endpoint that takes its time, by a clock that jumps."""

    identity = "slow"
    capabilities = Capabilities(1000, "exact", deterministic=True)

    def __init__(self, time: VirtualTime) -> None:
        self._time = time

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        await self._time.pass_by(LATENCY)
        return [Response({}, Usage(1, request.tokens)) for request in requests]

    async def close(self) -> None: ...


async def taken(settings: ClientSettings, waves: Sequence[int]) -> float:
    """Minutes that the dispatcher takes for one batch after the other."""
    time = VirtualTime()
    shared = Dispatcher(Slow(time), settings, Meter(), clock=time.clock, sleep=time.sleep)
    async with time.passing():
        for number, size in enumerate(waves):
            asked = {f"{number} {at}": Request({"at": at}, tokens=100) for at in range(size)}
            await Batch(shared, asked, lambda key, response: None).run()
    return time.now / 60


@pytest.mark.parametrize(
    ("settings", "waves"),
    [
        (ClientSettings(), [64] * 12),
        (ClientSettings(), [1] * 30),
        (ClientSettings(concurrency=4, max_concurrency=4), [30, 30, 7]),
        (ClientSettings(concurrency=32), [256] * 6),
        (ClientSettings(requests_per_minute=100), [64] * 6),
        (ClientSettings(tokens_per_minute=5000), [64] * 4),
    ],
)
async def test_minutes_are_those_that_the_client_takes(settings: ClientSettings, waves: list[int]) -> None:
    planned = Pace(latency=LATENCY, client=settings).minutes([Wave(Usage(size, 100 * size), 1.0) for size in waves])
    assert planned == pytest.approx(await taken(settings, waves), rel=0.25)


def test_what_waits_more_often_takes_longer_and_slots_are_bounded() -> None:
    together, apart = (trips([Wave(Usage(64), waits)], 8, 8) for waits in (1.0, 64.0))
    assert (together, apart) == (8.0, 64.0)
    assert trips([Wave(Usage(64), 1.0)], slots=100, most=4) == 16.0


@pytest.mark.parametrize("waits", [13.28, 2.6, 0.35])
def test_a_share_of_a_request_takes_no_turn_of_its_own(waits: float) -> None:
    rounded = Wave(Usage(round(24 * waits)), waits)
    assert trips([rounded], 8, 8) == pytest.approx(3 * waits)


def test_no_server_is_faster_than_this_process_takes_its_answers() -> None:
    pace = Pace(latency=0.001, client=ClientSettings(concurrency=64))
    alone, listed = (pace.minutes([Wave(Usage(6400), 10.0, sent)]) for sent in (None, 100.0))
    assert alone == pytest.approx(6400 * HANDLED / 60)
    assert listed == pytest.approx(6400 * HANDLED_IN_LIST / 60)
    assert Pace(latency=1.0).minutes([Wave(Usage(8), 1.0)]) == pytest.approx(1 / 60)


def test_no_speed_is_made_up_and_a_local_models_is_of_its_new_tokens() -> None:
    waves = [Wave(Usage(10, 6000, 0, 3000), 1.0)]
    assert Pace().minutes(waves) is None
    assert Pace(new_tokens=50.0).minutes(waves) == pytest.approx(1.0)
    assert Pace(request=6.0).minutes(waves) == pytest.approx(1.0)


def test_limits_of_a_server_count_where_the_configuration_has_none() -> None:
    own = Pace(latency=0.001, client=ClientSettings(requests_per_minute=1000))
    stated = own.limited({"requests_per_minute": 10, "tokens_per_minute": 500, "something": 1.0})
    assert (stated.client.requests_per_minute, stated.client.tokens_per_minute) == (1000, 500)
    assert stated.minutes([Wave(Usage(10, 2000), 1.0)]) == pytest.approx(3.0)


@pytest.mark.parametrize("text", ["", "27>82", "The claim is true.", "naïve café", "数学", "x = f(1, 2) + 3\n\n"])
def test_no_more_tokens_than_bytes_are_bounded(text: str) -> None:
    assert 1 <= most_tokens(text) <= len(text.encode()) + 1
