"""How well cheap estimators of P(D) rank labelings, beside exact leave-one-out in another order, and what they take.

Per set 20 labelings of 32 examples, from gold to random. The measure is the mean of leave-one-out over `ORDERS` orders
of the demonstrations; each estimator asks in other orders than these, and so does the first row, which is the agreement
of leave-one-out with itself reordered. The embedded model answers; `python -m tests.benchmarks estimators real` asks a
real one about the sets of `tests.real`, and needs what `real` needs.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from icm_api.model import LanguageModel, open_model
from icm_api.objective import Joint, LeaveOneOut, Shared, information
from icm_api.objective.estimator import Estimate, Estimator
from icm_api.pocket.world import make_claims
from icm_api.prompts import PromptBuilder
from icm_api.types import (
    Dataset,
    Label,
    Labeling,
    PromptTemplate,
    Task,
    Usage,
    Verbalizer,
)
from tests.benchmarks.recovery import dataset_of
from tests.real.models import MODELS, folder_of
from tests.real.sets import KINDS, KNOWN, subset
from tests.real.sets import task as real_task

SIZE, LABELINGS, ORDERS = 32, 20, 3
POCKET = ("sums", "facts", "comparisons")


@dataclass(frozen=True)
class Way:
    """An estimator, and over how many orders of the data set its estimates are averaged."""

    name: str
    estimator: Estimator
    orders: int = 1


WAYS = (
    Way("leave_one_out", LeaveOneOut()),
    Way("joint", Joint()),
    Way("joint, 4 times", Joint(), 4),
    Way("shared, 4 folds", Shared(4)),
    Way("shared, 16 shown", Shared(4, 16)),
)


@dataclass(frozen=True)
class Found:
    """How a way did on one set.

    Attributes:
        p, j: rank correlation of P and of J with those of the measure.
        requests, tokens: for each label of an estimate, tokens of prompts.
        seconds: an estimate took.
    """

    p: float
    j: float
    requests: float
    tokens: float
    seconds: float


async def compared(
    model: LanguageModel,
    task: Task,
    dataset: Dataset,
    gold: Mapping[str, Label],
    ways: Sequence[Way] = WAYS,
    count: int = LABELINGS,
) -> dict[str, Found]:
    """Each way on one set, by its name.

    Args:
        model: whom to ask.
        task: how.
        dataset: the examples.
        gold: their labels, between which and random ones the labelings are.
        ways: estimators.
        count: of labelings.
    """
    prompts = PromptBuilder(task.template, task.verbalizer, model.count_tokens, model.capabilities.context_window)
    labelings = labelings_of(gold, task.verbalizer.labels, count)

    async def asked(estimator: Estimator, labeling: Labeling, orders: range) -> list[Estimate]:
        return [await estimator.estimate(labeling, reordered(dataset, order), prompts, model) for order in orders]

    measure = [_figures(await asked(LeaveOneOut(), each, range(-ORDERS, 0)), each) for each in labelings]
    found = {}
    for way in ways:
        began = time.monotonic()
        estimates = [await asked(way.estimator, each, range(way.orders)) for each in labelings]
        seconds = time.monotonic() - began
        figures = [_figures(some, each) for some, each in zip(estimates, labelings, strict=True)]
        p, j = (
            rank_correlation(own, true)
            for own, true in zip(zip(*figures, strict=True), zip(*measure, strict=True), strict=True)
        )
        usage = sum((cost for some in estimates for each in some for cost in each.costs.values()), Usage())
        labels = len(labelings) * len(dataset)
        found[way.name] = Found(p, j, usage.requests / labels, usage.prompt_tokens / labels, seconds / len(labelings))
        # With a real model each takes many minutes.
        print(f"{way.name}: P {p:.2f}, J {j:.2f}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return found


def labelings_of(gold: Mapping[str, Label], labels: Sequence[Label], count: int = LABELINGS) -> list[Labeling]:
    """From gold to labels that are all drawn at random, in equal steps."""
    found = []
    for at in range(count):
        rng = random.Random(f"labeling {at}")
        drawn = set(rng.sample(sorted(gold), round(len(gold) * at / (count - 1))))
        found.append(Labeling({key: rng.choice(labels) if key in drawn else label for key, label in gold.items()}))
    return found


def reordered(dataset: Dataset, order: int) -> Dataset:
    """The same examples in another order, by its number."""
    examples = list(dataset)
    random.Random(f"order {order}").shuffle(examples)
    return Dataset(examples)


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, of numbers that are all different."""
    first, second = (np.argsort(np.argsort(values)) for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def _figures(estimates: Sequence[Estimate], labeling: Labeling) -> tuple[float, float]:
    """P and J, the means over some estimates."""
    return (
        fmean(fmean(each.logprobs.values()) for each in estimates),
        fmean(information(each.distributions, labeling) for each in estimates),
    )


def table(found: Mapping[str, Mapping[str, Found]]) -> Iterator[str]:
    """Means over the sets, a line each way; below, the smallest correlations.

    Args:
        found: per set, what each way did.
    """
    yield f"rank correlation with leave-one-out over {ORDERS} orders; sets: {', '.join(found)}"
    yield "                        P  least      J  least  requests  tokens a label  s an estimate"
    for name in next(iter(found.values())):
        own = [each[name] for each in found.values()]
        yield (
            f"{name:<20}{fmean(x.p for x in own):>6.2f}{min(x.p for x in own):>7.2f}{fmean(x.j for x in own):>7.2f}"
            f"{min(x.j for x in own):>7.2f}{fmean(x.requests for x in own):>10.3f}{fmean(x.tokens for x in own):>16.0f}"
            f"{fmean(x.seconds for x in own):>15.2f}"
        )


async def pocket(ways: Sequence[Way] = WAYS, size: int = SIZE, seeds: int = 1) -> dict[str, dict[str, Found]]:
    """Sets of the embedded model's world."""
    task = Task(PromptTemplate(separator="\n"), Verbalizer.plain(("True", "False")))
    found = {}
    async with open_model("pocket") as model:
        for name in POCKET:
            for seed in range(seeds):
                gold = {claim.id: str(claim.truth) for claim in make_claims(name, size, seed)}
                found[f"{name} {seed}"] = await compared(model, task, dataset_of(name, size, seed), gold, ways)
    return found


async def real(argv: Sequence[str], ways: Sequence[Way] = WAYS) -> dict[str, dict[str, Found]]:
    """Sets of a real model."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks estimators real")
    parser.add_argument("model", nargs="?", choices=tuple(MODELS), default="smollm2-135m-instruct")
    parser.add_argument("--folder", type=Path, help="of a model for transformers, in place of a name")
    parser.add_argument("--sets", default=",".join(KNOWN), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--labelings", type=int, default=LABELINGS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args(argv)
    found = {}
    spec = f"huggingface:{given.folder or folder_of(given.model)}"
    options = {"device": given.device, "dtype": "float32", "batch_size": given.batch}
    async with open_model(spec, cache=given.cache, options=options) as model:
        for name in given.sets.split(","):
            for seed in range(given.seeds):
                dataset, gold = subset(name, given.size, seed)
                task, count = real_task(name), given.labelings
                found[f"{name} {seed}"] = await compared(model, task, dataset, gold, ways, count)
    return found


def report(argv: Sequence[str] = ()) -> Iterator[str]:
    """The table, of the embedded model or of a real one."""
    yield from table(asyncio.run(real(argv[1:]) if argv[:1] == ["real"] else pocket()))
