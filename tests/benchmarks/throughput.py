"""Requests a second through the client, against a bare loop over the same SDK in the same process and run; and prompts
a second in lists of 64 against single requests; CPU time a request in scorings of few and of many examples.

The server is another process that answers at once with made-up logprobs. Concurrency 64, prompts of 16 kB; the client
reads every answer and keeps it on disk, the bare loop only waits for it. All are measured in turns. CPU time is that
of this process, which other work on the machine hardly changes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, NamedTuple

import openai

from icm_api.config import ClientSettings, SearchSettings
from icm_api.model import Client, Readers, open_model
from icm_api.model.client.cache import ResponseCache
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk
from icm_api.model.host import PROMPT_LIST
from icm_api.model.open import open_endpoint
from icm_api.model.request import Body, Request
from icm_api.search import build_objective
from icm_api.testing import serve
from icm_api.types import Answers, Dataset, Example, Labeling, Prompt, Task, Verbalizer

CONCURRENCY = 64
PROMPT_BYTES = 16_000
REQUESTS = 1_000
ROUNDS = 5
SIZES = (32, 256)
SETTINGS = ClientSettings(concurrency=CONCURRENCY, max_concurrency=CONCURRENCY)
_TWO = Verbalizer.plain(["True", "False"])


@contextmanager
def instant_server(dialect: str = "openai") -> Iterator[tuple[str, str]]:
    """A server in a process of its own that answers at once; its address and its model."""
    with serve() as here:
        model = here.model
    command = [sys.executable, "-m", "icm_api.testing", "--instant", "--dialect", dialect]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), model
        finally:
            process.terminate()


def questions(label: str, count: int) -> list[Prompt]:
    """Prompts that nobody asked before."""
    return [Prompt("", (), f"{label} {at} ".ljust(PROMPT_BYTES - 1, "x") + ":", _TWO) for at in range(count)]


async def bodies_of(readers: Readers, prompts: list[Prompt]) -> list[Request]:
    """The requests that the readers make of these prompts."""
    caught: list[Request] = []

    class Caught(Exception):  # noqa: N818
        pass

    class Catching:
        async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
            caught.extend(requests)
            raise Caught

    with suppress(Caught):
        await readers.labels.read(prompts, Catching())
    return caught


class Rate(NamedTuple):
    """Of one way to ask: requests or prompts a second, and CPU seconds of this process for each."""

    each_second: float
    cpu: float


@contextmanager
def timed(found: list[Rate], count: int) -> Iterator[None]:
    """Add the rate of what is done inside, so many requests."""
    began, cpu = perf_counter(), process_time()
    yield
    found.append(Rate(count / (perf_counter() - began), (process_time() - cpu) / count))


async def bare(sdk: openai.AsyncOpenAI, bodies: list[Mapping[str, Any]]) -> Rate:
    """As many workers as there are slots, each a loop over the SDK."""
    left, found = iter(bodies), list[Rate]()

    async def work() -> None:
        for body in left:
            await sdk.completions.create(**body)

    with timed(found, len(bodies)):
        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return found[0]


async def ours(client: Client, requests: list[Request]) -> Rate:
    """One `ask`, all of whose answers are looked at."""
    found: list[Rate] = []
    with timed(found, len(requests)):
        for _ in await client.ask(requests):
            pass
    return found[0]


async def measure(url: str, model: str, transport: str, requests: int = REQUESTS) -> list[tuple[Rate, Rate]]:
    """Bare and ours, once per round."""
    found = []
    options = {"api": "completions", "http_client": transport}
    with TemporaryDirectory() as folder:
        endpoint, readers = open_endpoint(f"openai-compatible:{model}@{url}", options)
        sdk = open_sdk(Connection(url, None, transport))  # type: ignore[arg-type]
        async with Client(endpoint, ResponseCache(Path(folder)), settings=SETTINGS) as client, sdk:
            for turn in range(-1, ROUNDS):
                mine = await bodies_of(readers, questions(f"ours {turn}", requests))
                theirs = await bodies_of(readers, questions(f"bare {turn}", requests))
                pair = (await bare(sdk, [request.body for request in theirs]), await ours(client, mine))
                # The first turn opens connections.
                if turn >= 0:
                    found.append(pair)
    return found


async def measure_lists(url: str, model: str, transport: str, requests: int = REQUESTS) -> list[tuple[Rate, Rate]]:
    """Prompts single and in lists, once per round."""
    found = []
    spec, options = f"openai-compatible:{model}@{url}", {"api": "completions", "http_client": transport}
    with TemporaryDirectory() as folder:
        ways = [open_endpoint(spec, {**options, "prompt_list": most}) for most in (1, PROMPT_LIST)]
        single, lists = (
            Client(endpoint, ResponseCache(Path(folder, str(at))), settings=SETTINGS)
            for at, (endpoint, _) in enumerate(ways)
        )
        async with single, lists:
            for turn in range(-1, ROUNDS):
                figures = []
                for client, (_, readers) in zip((single, lists), ways, strict=True):
                    mine = await bodies_of(readers, questions(f"lists {turn}", requests))
                    figures.append(await ours(client, mine))
                if turn >= 0:
                    found.append((figures[0], figures[1]))
    return found


async def measure_size(url: str, model: str, size: int, most: int, requests: int = REQUESTS) -> Rate:
    """Leave-one-out scorings of so many examples, whose texts are so long that prompts have 16 kB.

    Prompts are put together, sent in lists of `most`, read, and kept on disk.
    """
    text = PROMPT_BYTES // size - len(" False\n\n")
    data = Dataset(Example(str(at), {"text": f"claim {at} ".ljust(text, "x")}) for at in range(size))
    options = {"api": "completions", "context_window": 2**20, "top_logprobs": 20, "prompt_list": most}
    spec, settings = f"openai-compatible:{model}@{url}", SearchSettings(estimator="leave_one_out")
    turns, found = max(1, requests // size), list[Rate]()
    with TemporaryDirectory() as folder:
        async with open_model(spec, cache=Path(folder), settings=SETTINGS, options=options) as opened:
            objective = build_objective(data, opened, Task(), settings)

            async def score(turn: int) -> None:
                rng = Random(turn)
                await objective(Labeling({key: str(rng.random() < 0.5) for key in data.ids}))

            # This one opens connections.
            await score(-1)
            with timed(found, turns * size):
                for turn in range(turns):
                    await score(turn)
    return found[0]


def report() -> Iterator[str]:
    """The figures, a line each."""
    yield f"requests/s at concurrency {CONCURRENCY}, {PROMPT_BYTES // 1000} kB prompts, medians of {ROUNDS} rounds"
    with instant_server() as (url, model):
        for transport in ("httpx2", "aiohttp"):
            if transport == "aiohttp" and find_spec("aiohttp") is None:
                yield "  aiohttp  not installed, not measured"
                continue
            pairs = asyncio.run(measure(url, model, transport))
            plain, mine = (median(pair[way].each_second for pair in pairs) for way in (0, 1))
            ratios = [pair[1].each_second / pair[0].each_second for pair in pairs]
            bare_cpu, own_cpu = (1000 * median(pair[way].cpu for pair in pairs) for way in (0, 1))
            yield (
                f"  {transport:8} bare {plain:6.0f}   client {mine:6.0f}   ratio {median(ratios):.0%} "
                f"(lowest {min(ratios):.0%}); CPU a request {bare_cpu:.2f} and {own_cpu:.2f} ms"
            )
            both = asyncio.run(measure_lists(url, model, transport))
            times = median(lists.each_second / single.each_second for single, lists in both)
            one, many = (median(pair[way].each_second for pair in both) for way in (0, 1))
            cpu, least = (1000 * median(pair[way].cpu for pair in both) for way in (0, 1))
            yield (
                f"  {'':8} prompts/s: single {one:6.0f}   lists of {PROMPT_LIST} {many:6.0f}   {times:.1f} times; "
                f"CPU a prompt {cpu:.2f} and {least:.2f} ms"
            )
        for most in (1, PROMPT_LIST):
            rounds = [[asyncio.run(measure_size(url, model, size, most)).cpu for size in SIZES] for _ in range(ROUNDS)]
            few, many = (1000 * median(each[way] for each in rounds) for way in (0, 1))
            ratio = median(each[1] / each[0] for each in rounds)
            yield (
                f"  a scoring of {SIZES[0]} and of {SIZES[1]} examples, lists of {most}: "
                f"CPU a prompt {few:.2f} and {many:.2f} ms, ratio {ratio:.0%}"
            )
