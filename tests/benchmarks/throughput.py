"""Requests a second through the client, against a bare loop over the same SDK in the same process and run; and prompts
a second in lists of 64 against single requests.

The server is another process that answers at once with made-up logprobs. Concurrency 64, prompts of 16 kB; the client
reads every answer and keeps it on disk, the bare loop only waits for it. All are measured in turns.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import openai

from icm_api.config import ClientSettings
from icm_api.model import Client, Readers
from icm_api.model.catalog import PROMPT_LIST
from icm_api.model.client.cache import ResponseCache
from icm_api.model.endpoints.openai import Connection, open_sdk
from icm_api.model.open import open_endpoint
from icm_api.model.request import Body, Request
from icm_api.testing import serve
from icm_api.types import Answers, Prompt, Verbalizer

CONCURRENCY = 64
PROMPT_BYTES = 16_000
REQUESTS = 1_000
ROUNDS = 5
SETTINGS = ClientSettings(concurrency=CONCURRENCY, max_concurrency=CONCURRENCY)
_TWO = Verbalizer.plain(["True", "False"])


@contextmanager
def instant_server() -> Iterator[tuple[str, str]]:
    """A server in a process of its own that answers at once; its address and its model."""
    with serve() as here:
        model = here.model
    command = [sys.executable, "-m", "icm_api.testing", "--instant", "--dialect", "openai"]
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


async def bare(sdk: openai.AsyncOpenAI, bodies: list[Mapping[str, Any]]) -> float:
    """Requests a second of as many workers as there are slots, each a loop over the SDK."""
    left = iter(bodies)

    async def work() -> None:
        for body in left:
            await sdk.completions.create(**body)

    began = perf_counter()
    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return len(bodies) / (perf_counter() - began)


async def ours(client: Client, requests: list[Request]) -> float:
    """Requests a second of one `ask`."""
    began = perf_counter()
    await client.ask(requests)
    return len(requests) / (perf_counter() - began)


async def measure(url: str, model: str, transport: str, requests: int = REQUESTS) -> list[tuple[float, float]]:
    """Requests a second, bare and ours, once per round."""
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


async def measure_lists(
    url: str, model: str, transport: str, requests: int = REQUESTS
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Prompts a second and CPU seconds a prompt of this process, single and in lists, once per round."""
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
                    began = process_time()
                    rate = await ours(client, mine)
                    figures.append((rate, (process_time() - began) / requests))
                if turn >= 0:
                    found.append((figures[0], figures[1]))
    return found


def report() -> Iterator[str]:
    """The figures, a line each."""
    yield f"requests/s at concurrency {CONCURRENCY}, {PROMPT_BYTES // 1000} kB prompts, medians of {ROUNDS} rounds"
    with instant_server() as (url, model):
        for transport in ("httpx2", "aiohttp"):
            if transport == "aiohttp" and find_spec("aiohttp") is None:
                yield "  aiohttp  not installed, not measured"
                continue
            pairs = asyncio.run(measure(url, model, transport))
            plain, mine = median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
            ratio = median(pair[1] / pair[0] for pair in pairs)
            lowest = min(pair[1] / pair[0] for pair in pairs)
            yield f"  {transport:8} bare {plain:6.0f}   client {mine:6.0f}   ratio {ratio:.0%} (lowest {lowest:.0%})"
            both = asyncio.run(measure_lists(url, model, transport))
            times = median(lists[0] / single[0] for single, lists in both)
            (one, many), (cpu, least) = (
                [median(each[way][figure] for each in both) for way in (0, 1)] for figure in (0, 1)
            )
            yield (
                f"  {'':8} prompts/s: single {one:6.0f}   lists of {PROMPT_LIST} {many:6.0f}   {times:.1f} times; "
                f"CPU a prompt {1000 * cpu:.2f} and {1000 * least:.2f} ms"
            )
