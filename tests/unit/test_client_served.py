"""The client against a real loopback server: faults of every kind, two processes, kill -9, flat memory."""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.config import Budget, ClientSettings
from icm_api.errors import BudgetError, ProviderError
from icm_api.model import LanguageModel, Meter, open_model
from icm_api.model.client.cache import ResponseCache
from icm_api.model.host import PROMPT_LIST
from icm_api.model.open import Opened, open_endpoint
from icm_api.model.request import Endpoint, Request, Response
from icm_api.testing import CONTENT, MISCOUNTS, RETRYABLE, UNRETRYABLE, Faults, Server, serve
from icm_api.types import LabelDistribution, Prompt, Turn, Verbalizer
from tests.benchmarks.faults import ENGINES, ratios
from tests.benchmarks.throughput import instant_server
from tests.models import as_model
from tests.worlds import write_world

TWO = Verbalizer.plain(["True", "False"])


def prompts(count: int) -> list[Prompt]:
    return [
        Prompt("", (Turn("1 > 2 is", " False"),), f"{at // 9 + 1} > {at % 9 + 1} is", TWO, "\n") for at in range(count)
    ]


async def ask(server: Server, count: int, cache: Path | None = None) -> tuple[list[LabelDistribution], LanguageModel]:
    # One by one, so that every prompt meets faults of its own.
    async with open_model(f"vllm:{server.model}@{server.url}", cache=cache, options={"prompt_list": 1}) as client:
        return list(await client.label_distributions(prompts(count))), client


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(dialect="vllm") as running:
        yield running


async def test_a_fifth_of_faults_that_pass_changes_no_number(server: Server) -> None:
    expected, _ = await ask(server, 60)
    faults = Faults(RETRYABLE, rate=0.2, times=None, retry_after=0.02, delay=0.05)
    with serve(dialect="vllm", faults=faults) as faulty:
        found, _ = await ask(faulty, 60)
        hit = sum(faulty.log.faults.values())
    assert hit > 5
    assert found == expected
    async with open_model("pocket") as oracle:
        exact = await oracle.label_distributions(prompts(60))
    for mine, true in zip(found, exact, strict=True):
        assert mine.logprobs == pytest.approx(true.logprobs, abs=1e-4)


@pytest.mark.parametrize("kind", UNRETRYABLE)
def test_a_fault_for_good_is_one_line_and_exit_code_2_and_nothing_is_sent_again(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_world(tmp_path, search='steps = 30\nestimator = "leave_one_out"')
    with serve(dialect="vllm", faults=Faults((kind,), rate=0.3, times=None), record=100_000) as faulty:
        spec = f'"vllm:{faulty.model}@{faulty.url}"\noptions.prompt_list = 1'
        text = config.read_text().replace('"pocket"', spec)
        config.write_text(text + "tolerate = 0\n\n[client]\nconcurrency = 1\nmax_concurrency = 1\n")
        assert main(["run", str(config)]) == 2
        bodies = [json.dumps(request.body, sort_keys=True) for request in faulty.requests]
        assert len(set(bodies)) == len(bodies)
        # What is wrong with an answer is seen once its batch is there, an error at once.
        assert faulty.log.faults.keys() == {kind}
        assert kind in CONTENT or faulty.log.faults[kind] == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("icm-api: ")


@pytest.mark.slow
def test_a_run_under_faults_ends_in_the_same_bytes_and_a_second_one_sends_nothing(tmp_path: Path) -> None:
    written = []
    for name, faults in (("calm", None), ("stormy", Faults(RETRYABLE, rate=0.2, retry_after=0.05, delay=0.1))):
        config = write_world(tmp_path / name, search="steps = 30")
        with serve(dialect="vllm", faults=faults) as running:
            text = config.read_text()
            config.write_text(text.replace('"pocket"', f'"vllm:{running.model}@{running.url}"'))
            assert main(["run", str(config)]) == 0
            asked = sum(running.log.requests.values())
            assert main(["run", str(config), "--out", str(tmp_path / name / "again")]) == 0
            assert sum(running.log.requests.values()) == asked
        for run in ("run", "again"):
            folder = config.parent / run
            written.append([(folder / file).read_bytes() for file in ("labels.jsonl", "trace.jsonl", "summary.json")])
    assert all(files == written[0] for files in written)


@pytest.mark.parametrize("kind", MISCOUNTS)
async def test_a_budget_of_tokens_holds_whatever_the_server_counts(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with serve(dialect="llama.cpp", faults=Faults((kind,), times=None)) as odd:
        async with open_model(f"llamacpp:{odd.model}@{odd.url}", meter=Meter(Budget(tokens=1500))) as model:
            with pytest.raises(BudgetError, match="tokens are used"):
                await model.label_distributions(prompts(60))
        really = odd.log.prompt_tokens + odd.log.completion_tokens
    assert 500 < really <= 1500
    doubted = [record.message for record in caplog.records if "count of tokens can't be used" in record.message]
    assert len(doubted) == (kind in ("usage-none", "usage-negative", "usage-cached-above"))


async def test_a_server_that_cuts_prompts_is_stopped_with_the_proof() -> None:
    turns = [Turn(f"{at} is a number of several digits and so on", " True") for at in range(60)]
    growing = [Prompt("", tuple(turns[:count]), "1 > 2 is", TWO, "\n") for count in range(5, 60, 5)]
    with serve(dialect="vllm", faults=Faults(("usage-constant",), times=None), instant=True) as cutting:
        options = {"api": "completions", "context_window": 100_000}
        async with open_model(f"openai-compatible:{cutting.model}@{cutting.url}", options=options) as model:
            with pytest.raises(ProviderError, match=r"cuts prompts without a word.*counted as 256 tokens"):
                await model.label_distributions(growing)


@pytest.mark.slow
async def test_half_of_all_requests_failing_takes_less_than_four_times_as_long() -> None:
    took = []
    # Each answer takes 0.1 s, and no failure asks for a wait of its own: a date is a second or more.
    kinds = tuple(kind for kind in RETRYABLE if kind not in ("slow", "429-date"))
    for drawn in (("slow",), (*kinds, *["slow"] * len(kinds))):
        faults = Faults(drawn, times=None, delay=0.1)
        with serve(dialect="vllm", faults=faults) as running:
            began = time.monotonic()
            await ask(running, 200)
            took.append(time.monotonic() - began)
    assert took[1] < 4 * took[0]


class Distant:
    """An endpoint as far away as 50 ms."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        await asyncio.sleep(0.05)
        return await self._endpoint.send(requests)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("500", "cut", "truncated-json", "slow"), ("500",)])
async def test_half_of_all_attempts_failing_takes_a_distant_server_less_than_four_times_as_long(
    kinds: tuple[str, ...],
) -> None:
    took, answers = [], []
    for rate in (0.0, 0.5):
        faults = Faults(kinds, rate=rate, times=None, retry_after=0.2, delay=0.2)
        with serve(dialect="vllm", faults=faults, instant=True) as running:
            endpoint, readers = open_endpoint(f"vllm:{running.model}@{running.url}", {"prompt_list": 1})
            async with as_model(Opened(Distant(endpoint), readers)) as model:
                began = time.monotonic()
                answers.append(list(await model.label_distributions(prompts(100))))
                took.append(time.monotonic() - began)
            hit = sum(running.log.faults.values())
    assert hit > 50
    assert answers[0] == answers[1]
    assert took[1] < 4 * took[0], took


async def test_a_second_client_on_the_same_cache_sends_nothing(server: Server, tmp_path: Path) -> None:
    first, _ = await ask(server, 20, tmp_path)
    before = sum(server.log.requests.values())
    second, client = await ask(server, 20, tmp_path)
    assert second == first
    assert sum(server.log.requests.values()) == before
    assert client.sent.requests == 0


ASKS = """
    import asyncio, sys
    from pathlib import Path
    from icm_api.model import open_model
    from icm_api.types import Prompt, Turn, Verbalizer

    TWO = Verbalizer.plain(["True", "False"])

    def prompts(count):
        before = (Turn("1 > 2 is", " False"),)
        return [Prompt("", before, f"{at // 9 + 1} > {at % 9 + 1} is", TWO) for at in range(count)]

    async def ask():
        async with open_model(sys.argv[1], cache=Path(sys.argv[2]), options={"prompt_list": 1}) as client:
            await client.label_distributions(prompts(int(sys.argv[3])))
            print(client.sent.requests)

    asyncio.run(ask())
"""


def start(server: Server, cache: Path, count: int = 20) -> subprocess.Popen[str]:
    code = "\n".join(line.removeprefix("    ") for line in ASKS.splitlines())
    arguments = [sys.executable, "-c", code, f"vllm:{server.model}@{server.url}", str(cache), str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


@pytest.mark.slow
def test_two_processes_on_one_cache_pay_once_or_twice_for_each(tmp_path: Path) -> None:
    with serve(dialect="vllm") as running:
        both = [start(running, tmp_path), start(running, tmp_path)]
        paid = [int(process.communicate(timeout=60)[0]) for process in both]
        assert all(process.returncode == 0 for process in both)
        cache = ResponseCache(tmp_path)
        assert sum(paid) == sum(running.log.requests.values())
        assert len(cache) <= sum(paid) <= 2 * len(cache)
        cache.close()
        third = start(running, tmp_path)
        assert int(third.communicate(timeout=60)[0]) == 0


def test_kill_9_loses_at_most_what_was_under_way(tmp_path: Path) -> None:
    most = ClientSettings().max_concurrency
    with serve(dialect="vllm", faults=Faults(("slow",), delay=0.05, times=None)) as running:
        process = start(running, tmp_path, 81)
        while sum(running.log.statuses.values()) < 30:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        answered = sum(running.log.statuses.values())
        cache = ResponseCache(tmp_path)
        assert answered - most <= len(cache) > 0
        assert cache.damaged() == ()
        cache.close()


def resident() -> int:
    """Bytes of memory that this process has; tracing them would take ten times as long."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
async def test_memory_is_flat_over_50_000_requests(tmp_path: Path) -> None:
    """Resident memory after each tenth, through the provider, the dispatcher and the cache on disk."""
    held = []
    with instant_server() as (url, model):
        provider = open_endpoint(f"openai-compatible:{model}@{url}", {"api": "completions"})
        async with as_model(provider, ResponseCache(tmp_path), memory=100) as client:
            for batch in range(10):
                questions = [Prompt("", (), f"{batch} and {at} is", TWO) for at in range(5000)]
                await client.label_distributions(questions)
                gc.collect()
                held.append(resident())
            assert client.sent.requests >= 50_000
    # A kilobyte left behind by each request would be 40 MB.
    assert max(held[2:]) - held[1] < 20_000_000, held


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
async def test_half_of_all_requests_failing_takes_no_more_than_four_times_as_long(engine: str) -> None:
    longer, more = zip(*await ratios(ENGINES[engine], PROMPT_LIST, 100), strict=True)
    assert median(longer) < 4
    assert median(more) < 2.3
