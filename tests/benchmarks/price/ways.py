"""How labels are found at a price: this library in one configuration on one kind of server, and the published search.

Ours run as a user runs them, over a loopback server that waits 50 ms with every answer, the judge included: requests,
tokens and time are the server's and the clock's. The published search asks some hundred thousand times at 256 examples,
so it is answered in this process by the same learner. Its time is 50 ms for every 64 requests of a scoring, and for
each request the work that `check` finds on few examples over the wire, where its counts are compared with the server's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

from icm_api.config import ClientSettings, DiagnosticsSettings, SearchSettings
from icm_api.model import open_model
from icm_api.runs import run
from icm_api.testing import Faults, serve
from icm_api.testing.wire import get_dialect
from tests.benchmarks.price.learner import MINDS, SEPARATOR, Learner, LearnerBackend
from tests.benchmarks.price.published import STEPS, Labels, Published
from tests.benchmarks.price.rows import Rows, rows_of
from tests.benchmarks.price.ruler import CONCURRENCY, LATENCY, Price, Ruler, Wire, usage_of

PUBLISHED, BY_GOLD, ONCE = "published", "published, key of gold", ", once"
CHECK_SIZE, CHECK_STEPS = 16, 25
WHOLE = {"context_window": 2**20}
"""By default a hosted model has 8,192 tokens, and longer prompts are made of fewer demonstrations."""
AT_ONCE = ClientSettings(concurrency=CONCURRENCY, max_concurrency=CONCURRENCY)


@dataclass(frozen=True, slots=True)
class Way:
    """A configuration of this library, and the kind of server that it asks.

    Attributes:
        search: of `[search]`, beside the seed.
        judge: whether the labels are judged.
        host: what a spec calls the kind of server.
        dialect: how the server behaves.
        options: of the model, beside its context window.
        largest: the most examples that it is run on; None for any number.
    """

    search: Mapping[str, Any] = field(default_factory=dict)
    judge: bool = True
    host: str = "vllm"
    dialect: str = "vllm"
    options: Mapping[str, Any] = field(default_factory=dict)
    largest: int | None = None


_TOP_K = Way(host="openai-compatible", dialect="llama.cpp", options={"api": "completions", "top_logprobs": 20})
WAYS: Mapping[str, Way] = {
    "default, with echo": Way(),
    "default, with echo, exact = 0": Way({"exact": 0}),
    "default, top-k only": _TOP_K,
    "default, prompt lists, no echo": Way(options={"echo": False}),
    "default, prompt lists, 32 shown": Way({"demonstrations": 32}, options={"echo": False}),
    "default, decisions": Way(host="vllm-decisions"),
    "leave-one-out, top-k only": replace(_TOP_K, search={"estimator": "leave_one_out"}),
    "bootstrap, top-k only": replace(_TOP_K, search={"engine": "bootstrap"}),
    "reference, no judge": Way({"preset": "reference", "steps": STEPS}, judge=False, largest=64),
}


@dataclass(frozen=True, slots=True)
class Reenacted:
    """How the published search is run.

    Attributes:
        seed: of it.
        steps: how many.
        by_gold: whether its relations are taken from gold labels, as its code does for TruthfulQA.
        each: seconds of work that a request takes beyond latency.
    """

    seed: int
    steps: int = STEPS
    by_gold: bool = False
    each: float = 0.0


async def published(rows: Rows, learner: Learner, how: Reenacted) -> tuple[Price, Price]:
    """The published search, counted in this process: as it sends, and with every prompt paid once."""
    ruler, batch = Ruler(rows, learner), rows.batch(by_gold=how.by_gold)
    labels = _named(rows, await Published(batch, ruler.ask, Random(how.seed), how.steps).search())
    sent, once = (Price(labels, usage, wall + usage.requests * how.each) for usage, wall in (ruler.sent, ruler.once))
    return sent, once


async def published_on_wire(rows: Rows, learner: Learner, how: Reenacted) -> Price:
    """The published search over a server; nothing that was asked before is remembered."""
    with _served(learner, "vllm") as server:
        spec, options = f"vllm:{server.model}@{server.url}", {**WHOLE, "prompt_list": 1}
        async with open_model(spec, settings=AT_ONCE, memory=0, options=options) as model:
            began, batch = perf_counter(), rows.batch(by_gold=how.by_gold)
            labels = await Published(batch, Wire(rows, model).ask, Random(how.seed), how.steps).search()
            wall = perf_counter() - began
        usage = usage_of(server.log)
    return Price(_named(rows, labels), usage, wall)


async def ours(rows: Rows, learner: Learner, way: Way, seed: int) -> Price:
    """One of our configurations, over a server."""
    search = SearchSettings().changed(**way.search, seed=seed)
    diagnostics = DiagnosticsSettings(enabled=way.judge)
    with _served(learner, way.dialect) as server:
        spec = f"{way.host}:{server.model}@{server.url}"
        async with open_model(spec, settings=AT_ONCE, options={**WHOLE, **way.options}) as model:
            began = perf_counter()
            result = await run(rows.dataset, rows.task, model, search=search, diagnostics=diagnostics)
            wall = perf_counter() - began
        usage = usage_of(server.log)
    return Price(dict(result.labeling), usage, wall)


def _served(learner: Learner, dialect: str) -> Any:
    slow = Faults(("slow",), times=None, delay=LATENCY)
    # A decision endpoint writes the prompt, by the separator of its dialect.
    separated = replace(get_dialect(dialect), separator=SEPARATOR)
    return serve(dialect=separated, faults=slow, backend=LearnerBackend(learner))


def _named(rows: Rows, labels: Labels) -> dict[str, str]:
    return {rows.dataset.ids[at]: str(label) for at, label in labels.items()}


@dataclass(frozen=True, slots=True)
class Checked:
    """The published search by both rulers, on few examples and steps."""

    ruler: Price
    wire: Price

    @property
    def each(self) -> float:
        """Seconds of work that a request takes beyond latency, on this machine as busy as it is."""
        return max(0.0, self.wire.wall - self.ruler.wall) / self.wire.usage.requests

    def lines(self) -> Iterator[str]:
        """For people."""
        same = "the same labels" if self.ruler.labels == self.wire.labels else "OTHER LABELS"
        yield f"published search, {CHECK_STEPS} steps, counted here / by a server: {same}"
        ruler, wire = self.ruler, self.wire
        for name, one, other in (
            ("requests", ruler.usage.requests, wire.usage.requests),
            ("prompt tokens", ruler.usage.prompt_tokens, wire.usage.prompt_tokens),
            ("beyond a prefix cache", ruler.new_tokens, wire.new_tokens),
            ("seconds, latency / all", ruler.wall, wire.wall),
        ):
            yield f"  {name:<24}{one:>12,.0f}{other:>12,.0f}"
        yield f"  work beyond latency: {1000 * self.each:.1f} ms a request"


async def check(folder: Path | None) -> Checked:
    """Run the published search both ways."""
    rows, mind, how = rows_of("gsm8k", folder, CHECK_SIZE, 0), MINDS["order noise"], Reenacted(0, CHECK_STEPS)
    by_ruler, _ = await published(rows, rows.learner(mind), how)
    return Checked(by_ruler, await published_on_wire(rows, rows.learner(mind), how))
