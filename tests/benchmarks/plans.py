"""Plans beside what runs take: requests and prompt tokens an example, likely, at most and taken, engine by engine.

Means over `SEEDS` runs a set on the embedded model, judging included; "off" is how far a single run is from likely, on
the mean. What is taken apart by kind of question is what the means in `icm_api.search.forecast` and
`icm_api.evaluation.forecast` were set by.

Before the table, how rounds went on, and single runs on a server that takes `LATENCY` seconds for each answer: six
engines and tasks, each on the data sets of `SETS`. Each is planned after a probe: what was likely
beside what the server counted, minutes among it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import NamedTuple

from icm_api.config import DiagnosticsSettings, SearchSettings, load_config
from icm_api.model import LanguageModel, open_model
from icm_api.runs import Watch, plan, run, run_config
from icm_api.runs.planning import planned
from icm_api.search import ENGINES, Progress, Start, build_objective, search
from icm_api.search.forecast import Course, left_open
from icm_api.search.rounds import RoundsState
from icm_api.testing import Faults, serve
from icm_api.types import Answers, Capabilities, LabelDistribution, Prompt, PromptTemplate, Task
from tests.benchmarks.engines import CONSTRAINTS
from tests.benchmarks.recovery import dataset_of
from tests.worlds import write_world

SIZES, SEEDS = (16, 32), 3
LATENCY = 0.25
SETS = range(400, 405)
_NEAR = 0.25, 0.25, 0.5
SIX = (
    ("rounds", "comparisons"),
    ("rounds", "facts"),
    ("bootstrap", "facts"),
    ("folds", "comparisons"),
    ("anneal", "sums"),
    ("gibbs", "comparisons"),
)


class Counting:
    """A model that counts distinct prompts: by who asks, the search or the judge, and how many examples they show."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._seen: set[str] = set()
        self.judging = False
        self.counts: Counter[tuple[bool, int]] = Counter()

    @property
    def capabilities(self) -> Capabilities:
        return self._model.capabilities

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        self._count(prompts)
        return await self._model.label_distributions(prompts)

    async def read_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        self._count(prompts)
        return await self._model.read_inside(prompts)

    def _count(self, prompts: Sequence[Prompt]) -> None:
        for prompt in prompts:
            if prompt.text not in self._seen:
                self._seen.add(prompt.text)
                self.counts[self.judging, len(prompt.turns)] += 1

    def per_example(self, size: int, *, judging: bool) -> tuple[float, float, float]:
        """Questions an example that show none of the others, some, and all."""
        found = [0.0, 0.0, 0.0]
        for (judged, shown), count in self.counts.items():
            if judged == judging:
                found[0 if not shown else 2 if shown >= size - 1 else 1] += count / size
        return found[0], found[1], found[2]


class Row(NamedTuple):
    """One run."""

    likely: float
    most: float
    taken: float
    tokens: float
    search: tuple[float, float, float]
    judge: tuple[float, float, float]


async def row(task: str, engine: str, size: int, seed: int) -> Row:
    """Plan one run, and take it."""
    dataset = dataset_of(task, size, seed)
    asked = Task(PromptTemplate(separator="\n"), constraints=CONSTRAINTS[task])
    settings, diagnostics = SearchSettings(engine=engine, seed=seed), DiagnosticsSettings()
    async with open_model("pocket") as model:
        objective = build_objective(dataset, model, asked, settings)
        expected = await planned(objective, settings, diagnostics, Start(), model)
        counting = Counting(model)

        def judging() -> None:
            counting.judging = True

        result = await run(dataset, asked, counting, search=settings, watch=Watch(on_judging=judging))
    assert result.usage.requests <= expected["most_requests"]
    assert result.usage.prompt_tokens <= expected["most_prompt_tokens"]
    return Row(
        expected["requests"] / size,
        expected["most_requests"] / size,
        result.usage.requests / size,
        result.usage.prompt_tokens / expected["prompt_tokens"],
        counting.per_example(size, judging=False),
        counting.per_example(size, judging=True),
    )


class Six(NamedTuple):
    """One run on a server: planned and taken requests, prompt tokens and minutes."""

    likely: tuple[float, float, float]
    most: tuple[float, float]
    taken: tuple[float, float, float]

    @property
    def off(self) -> list[float]:
        """Taken for each that was likely: requests, tokens, minutes."""
        return [taken / likely for taken, likely in zip(self.taken, self.likely, strict=True)]


async def one_of_six(folder: Path, engine: str, task: str, seed: int) -> Six:
    """Plan one run after a probe, and take it."""
    with serve(dialect="openai", faults=Faults(("slow",), times=None, delay=LATENCY)) as server:
        path = write_world(folder, task, 24, f'engine = "{engine}"\nseed = {seed}', seed)
        spec = (
            f'"openai-compatible:{server.model}@{server.url}"\noptions = {{ api = "completions", top_logprobs = 20 }}'
        )
        path.write_text(path.read_text().replace('"pocket"', spec) + "\n[client]\nmax_concurrency = 8\n")
        config = load_config(path)
        planned = await plan(config, probe=True)
        await run_config(config)
    likely, sent = planned.likely, json.loads((folder / "run" / "sessions.jsonl").read_text())
    assert likely.minutes is not None
    return Six(
        (likely.requests, likely.prompt_tokens, likely.minutes),
        (planned.requests, planned.prompt_tokens),
        (sent["sent"]["requests"], sent["sent"]["prompt_tokens"], sent["seconds"] / 60),
    )


def six() -> Iterator[str]:
    """Six engines and tasks, each on several data sets."""
    yield "single runs on a server: likely, at most and taken requests; of likely taken: requests, tokens, minutes"
    found = []
    for (engine, task), seed in product(SIX, SETS):
        with TemporaryDirectory() as folder:
            one = asyncio.run(one_of_six(Path(folder), engine, task, seed))
        assert one.taken[0] <= one.most[0]
        assert one.taken[1] <= one.most[1]
        (likely, *_), (most, _), (taken, *_) = one.likely, one.most, one.taken
        found.append(one.off)
        yield (
            f"{engine:10}{task:12}{seed:4}  likely {likely:6,.0f}  at most {most:7,.0f}  taken {taken:6,.0f}  "
            + "  ".join(f"{off:.2f}" for off in one.off)
        )
    columns = zip(zip(*found, strict=True), _NEAR, strict=True)
    near = [sum(abs(each - 1) <= off for each in column) for column, off in columns]
    yield f"of {len(found)} near: {near[0]} in requests, {near[1]} in tokens (a quarter), {near[2]} in minutes (a half)"


async def course(task: str, size: int, seed: int, *, related: bool) -> tuple[float, Course]:
    """How one search by rounds went on, after what relations left open."""
    asked = Task(PromptTemplate(separator="\n"), constraints=CONSTRAINTS[task] if related else ())
    settings, steps = SearchSettings(seed=seed), list[Progress]()
    async with open_model("pocket") as model:
        objective = build_objective(dataset_of(task, size, seed), model, asked, settings)
        await search(objective, settings, on_step=steps.append)
    last = steps[-1].state
    assert isinstance(last, RoundsState)
    # What each restart began and ended with.
    restarts, witnesses = len(last.candidates) // 2, sum(each.witness for each in last.candidates) / 2
    rounds = sum(each.info.kind == "relabel" for each in steps)
    ends = len({each.labeling for each in last.candidates})
    return round(left_open(objective, Start()), 1), Course(
        restarts - witnesses, witnesses, rounds / restarts, ends / restarts
    )


def courses() -> Iterator[str]:
    """How rounds went on, by what relations left open and by size; see `icm_api.search.forecast`."""
    yield "courses of rounds: left open, size; restarts from zero-shot, witnesses; rounds and different ends a restart"
    found = defaultdict[tuple[float, int], list[Course]](list)
    for task, related, size, seed in product(CONSTRAINTS, (True, False), (*SIZES, 64), range(SEEDS)):
        left, taken = asyncio.run(course(task, size, seed, related=related))
        found[left, size].append(taken)
    for (left, size), some in sorted(found.items()):
        means = "".join(f"{fmean(figure):7.2f}" for figure in zip(*some, strict=True))
        yield f"{left:10.1f}{size:4}{means}   ({len(some)} searches)"


def report() -> Iterator[str]:
    """The table."""
    yield from six()
    yield from courses()
    yield "requests an example; tokens: taken for each planned; search and judge: showing none, some, all of the others"
    for engine in ENGINES:
        for task in CONSTRAINTS:
            for size in SIZES:
                rows = [asyncio.run(row(task, engine, size, seed)) for seed in range(SEEDS)]
                likely, most, taken, tokens = (fmean(each) for each in list(zip(*rows, strict=True))[:4])
                off = fmean(abs(each.taken / each.likely - 1) for each in rows)
                parts = [fmean(each) for each in zip(*(each.search + each.judge for each in rows), strict=True)]
                yield (
                    f"{engine:10}{task:12}{size:4}  likely {likely:6.1f}  taken {taken:6.1f}  at most {most:7.1f}  "
                    f"off {off:4.0%}  tokens {tokens:4.2f}  search "
                    + " ".join(f"{part:.1f}" for part in parts[:3])
                    + "  judge "
                    + " ".join(f"{part:.1f}" for part in parts[3:])
                )
