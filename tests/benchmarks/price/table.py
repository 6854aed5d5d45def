"""The price of a label: configurations of this library beside the published search, each on the same rows and learner.

Ours run as a user runs them, over a loopback server that waits 50 ms with every answer, the judge included: requests,
tokens and time are the server's and the clock's. The published search asks some hundred thousand times at 256 examples,
so it is answered in this process by the same learner. Its time is 50 ms for every 64 requests of a scoring, and for
each request the work that `check` finds on few examples over the wire, where its counts are compared with the server's.

It is given twice: as it sends, and `once`, with nothing paid for twice, as if it had a cache by prompt. Ratios are over
the latter. `key of gold` takes TruthfulQA's relations from gold labels as its code does; without, there are none. U is
exact, averaged over three orders, less broken pairs of our relations; agreement is with what the learner's beliefs are
about, and an example without a label does not agree.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from statistics import fmean
from time import perf_counter
from typing import Any

from icm_api.config import ClientSettings, DiagnosticsSettings, SearchSettings
from icm_api.errors import ConfigError
from icm_api.model import open_model
from icm_api.runs import run
from icm_api.testing import Faults, serve
from tests.benchmarks.price.learner import MINDS, Learner, LearnerBackend
from tests.benchmarks.price.published import STEPS, Labels, Published
from tests.benchmarks.price.rows import SETS, Rows, rows_of
from tests.benchmarks.price.ruler import CONCURRENCY, LATENCY, Price, Ruler, Wire, exact_utility, usage_of

PUBLISHED, BY_GOLD, ONCE = "published", "published, key of gold", ", once"
CHECK_SIZE, CHECK_STEPS = 16, 25
WHOLE = {"context_window": 2**20}
"""By default a hosted model has 8,192 tokens, and longer prompts are made of fewer demonstrations."""
AT_ONCE = ClientSettings(concurrency=CONCURRENCY, max_concurrency=CONCURRENCY)


@dataclass(frozen=True, slots=True)
class Way:
    """A configuration of this library.

    Attributes:
        search: of `[search]`, beside the seed; one that this version does not know is left out, and said.
        judge: whether the labels are judged.
        dialect: how the server behaves.
        largest: the most examples that it is run on; None for any number.
    """

    search: Mapping[str, Any] = field(default_factory=dict)
    judge: bool = True
    dialect: str = "vllm"
    largest: int | None = None


WAYS: Mapping[str, Way] = {
    "default": Way(),
    "default, leave-one-out": Way({"estimator": "leave_one_out"}),
    "default, joint": Way({"estimator": "joint"}),
    "default, shared": Way({"estimator": "shared"}),
    "leave-one-out, no judge": Way({"estimator": "leave_one_out"}, judge=False),
    "joint, no judge": Way({"estimator": "joint"}, judge=False),
    "bootstrap": Way({"engine": "bootstrap"}),
    "preset reference, no judge": Way({"preset": "reference", "steps": STEPS}, judge=False, largest=64),
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
        async with open_model(f"vllm:{server.model}@{server.url}", settings=AT_ONCE, memory=0, options=WHOLE) as model:
            began, batch = perf_counter(), rows.batch(by_gold=how.by_gold)
            labels = await Published(batch, Wire(rows, model).ask, Random(how.seed), how.steps).search()
            wall = perf_counter() - began
        usage = usage_of(server.log)
    return Price(_named(rows, labels), usage, wall)


async def ours(rows: Rows, learner: Learner, way: Way, seed: int) -> Price:
    """One of our configurations, over a server.

    Raises:
        ConfigError: this version does not know a setting of it.
    """
    search = SearchSettings().changed(**way.search, seed=seed)
    diagnostics = DiagnosticsSettings(enabled=way.judge)
    with _served(learner, way.dialect) as server:
        async with open_model(f"vllm:{server.model}@{server.url}", options=WHOLE) as model:
            began = perf_counter()
            result = await run(rows.dataset, rows.task, model, search=search, diagnostics=diagnostics)
            wall = perf_counter() - began
        usage = usage_of(server.log)
    return Price(dict(result.labeling), usage, wall)


def _served(learner: Learner, dialect: str) -> Any:
    slow = Faults(("slow",), times=None, delay=LATENCY)
    return serve(dialect=dialect, faults=slow, backend=LearnerBackend(learner))


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


@dataclass(frozen=True, slots=True)
class Cell:
    """One configuration on one set, learner and seed: figures a label, and what the labels are worth."""

    size: int
    price: Price
    utility: float
    agreement: float


_FIGURES: tuple[Callable[[Price], float], ...] = (
    lambda price: price.usage.requests,
    lambda price: price.usage.prompt_tokens,
    lambda price: price.new_tokens,
    lambda price: 1000 * price.money,
)
"""A label each; and the wall, which is not divided."""
HEADER = (
    f"  {'':<30}{'requests':>9}{'tokens':>11}{'new':>10}{'USD/1,000':>11}{'wall s':>9}{'U':>8}{'agrees':>8}"
    f"   published, once, over this: requests, tokens, new, money, wall; tokens as sent"
)


def line(name: str, of: Mapping[str, Sequence[Cell]]) -> str:
    """A line of the table: means over seeds, per label but for the wall and what the labels are worth."""
    cells = of[name]
    requests, tokens, new, money, wall = mine = _means(cells)
    said = (
        f"  {name:<30}{requests:>9,.1f}{tokens:>11,.0f}{new:>10,.0f}{money:>11.2f}{wall:>9.1f}"
        f"{fmean(each.utility for each in cells):>8.1f}{fmean(each.agreement for each in cells):>8.0%}"
    )
    if PUBLISHED not in of or name.startswith(PUBLISHED):
        return said
    ratios = [theirs / own for own, theirs in zip(mine, _means(of[f"{PUBLISHED}{ONCE}"]), strict=True)]
    as_sent = _means(of[PUBLISHED])[1] / tokens
    return said + "   " + "  ".join(f"{ratio:,.1f}" for ratio in ratios) + f"; {as_sent:,.0f}"


def _means(cells: Sequence[Cell]) -> list[float]:
    found = [fmean(figure(each.price) / each.size for each in cells) for figure in _FIGURES]
    return [*found, fmean(each.price.wall for each in cells)]


async def _prices(rows: Rows, learner: Learner, name: str, how: Reenacted) -> dict[str, Price]:
    if name not in (PUBLISHED, BY_GOLD):
        return {name: await ours(rows, learner, WAYS[name], how.seed)}
    found = await published(rows, learner, replace(how, by_gold=name == BY_GOLD))
    return dict(zip((name, f"{name}{ONCE}"), found, strict=True))


def table(name: str, mind: str, size: int, given: argparse.Namespace, each: float) -> Iterator[str]:
    """One set, learner and size: a line for every configuration."""
    cells: dict[str, list[Cell]] = {}
    refused: dict[str, str] = {}
    for seed in range(given.seeds):
        rows = rows_of(name, given.data, size, seed)
        if not seed:
            yield f"{rows.name}, {len(rows.dataset)} rows, learner: {mind}, {given.seeds} seeds"
        for way_name in given.ways:
            way = WAYS.get(way_name)
            if way is not None and way.largest is not None and size > way.largest:
                continue
            if way_name == BY_GOLD and name != "truthfulqa":
                continue
            try:
                how = Reenacted(seed, given.steps, each=each)
                found = asyncio.run(_prices(rows, rows.learner(MINDS[mind]), way_name, how))
            except ConfigError as error:
                refused[way_name] = str(error)
                continue
            for named, price in found.items():
                worth = exact_utility(rows, rows.learner(MINDS[mind]), price.labels), rows.agreement(price.labels)
                cells.setdefault(named, []).append(Cell(len(rows.dataset), price, *worth))
    yield HEADER
    for named in cells:
        yield line(named, cells)
    for named, reason in refused.items():
        yield f"  {named:<30}not in this version: {reason.splitlines()[0]:.80}"


def report(argv: list[str]) -> None:
    """Print the tables as they come."""
    names = (PUBLISHED, BY_GOLD, *WAYS)
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks price")
    parser.add_argument("--data", type=Path, help="folder with TruthfulQA.csv and example_model_solutions.jsonl")
    parser.add_argument("--sets", nargs="*", choices=tuple(SETS), default=tuple(SETS))
    parser.add_argument("--learners", nargs="*", choices=tuple(MINDS), default=tuple(MINDS))
    parser.add_argument("--sizes", nargs="*", type=int, default=(64, 128, 256))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the published search")
    parser.add_argument("--ways", nargs="*", choices=names, default=names)
    given = parser.parse_args(argv)
    checked = asyncio.run(check(given.data))
    for said in checked.lines():
        print(said, flush=True)
    for size in given.sizes:
        for name in given.sets:
            for mind in given.learners:
                for said in table(name, mind, size, given, checked.each):
                    print(said, flush=True)
