"""How much longer a search takes over a server that fails half of all requests, than over one that fails none.

Both answer after 20 to 50 ms, with made-up logprobs. Errors come with status 429, 503 and 529, inside a 200, as half a
body, as a connection that breaks; some answers come 0.2 s late. Ratios only: seconds say more of the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from statistics import median
from time import perf_counter

from icm_api.config import SearchSettings
from icm_api.model import open_model
from icm_api.model.host import PROMPT_LIST
from icm_api.pocket.world import make_claims
from icm_api.search import search_labels
from icm_api.testing import Faults, serve
from icm_api.types import Dataset, Example

KINDS = ("429-none", "503", "529", "200-error", "truncated-json", "cut", "slow")
LATENCY = (0.02, 0.05)
SEEDS = 5
ENGINES = {
    "rounds": SearchSettings(restarts=1, rounds=2, estimator="leave_one_out"),
    "bootstrap": SearchSettings(engine="bootstrap", restarts=1, rounds=3),
}


async def taken(settings: SearchSettings, together: int, size: int, rate: float, seed: int = 0) -> tuple[float, int]:
    """Seconds, and requests sent, of a search for so many labels, with so many prompts in a request at most."""
    claims = make_claims("comparisons", size, seed=seed)
    data = Dataset(Example(claim.id, {"text": claim.text}) for claim in claims)
    faults = Faults(KINDS, rate, seed, times=None, delay=0.2, latency=LATENCY)
    with serve(faults=faults, instant=True) as server:
        options = {"prompt_list": together}
        async with open_model(f"vllm:{server.model}@{server.url}", options=options) as model:
            began = perf_counter()
            await search_labels(data, model, settings=settings, seed=seed)
            return perf_counter() - began, sum(server.log.requests.values())


async def ratios(settings: SearchSettings, together: int, size: int) -> list[tuple[float, float]]:
    """Per seed: times as long, and times as many requests."""
    found = []
    for seed in range(SEEDS):
        calm, broken = [await taken(settings, together, size, rate, seed) for rate in (0.0, 0.5)]
        found.append((broken[0] / calm[0], broken[1] / calm[1]))
    return found


def report(size: int = 100) -> Iterator[str]:
    """The ratios, a line each."""
    yield f"half of all requests fail, {size} labels, medians of {SEEDS} seeds: times as long, times as many requests"
    for name, settings in ENGINES.items():
        for together in (1, PROMPT_LIST):
            longer, more = zip(*asyncio.run(ratios(settings, together, size)), strict=True)
            yield (
                f"  {name}, up to {together:2} prompts in a request: {median(longer):4.1f} "
                f"({min(longer):.1f} to {max(longer):.1f})   {median(more):4.1f}"
            )
