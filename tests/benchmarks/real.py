"""Real language models: zero-shot, the default search and golden few-shot, raw and calibrated, with no constraint.

`python -m tests.benchmarks real --help` lists the options. It prints a row per subset, with the verdict that a run of
it would print, then the means per set. It needs `pip install -e '.[local]' gguf`; the models are fetched by
`tests.real.models`. Gold labels are seen by nothing but the last columns and the accuracies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from icm_api.chance import draw
from icm_api.config import DiagnosticsSettings, SearchSettings
from icm_api.model import LanguageModel, open_model
from icm_api.objective import CENTRES, Calibration, Objective, information
from icm_api.runs.judging import Trail, judged, with_zero_shot
from icm_api.search import build_objective, result_of, search
from icm_api.types import Dataset, Label, Labeling, Predictions
from tests.benchmarks.worlds.measuring import Comfort, balanced, comfort_of
from tests.real.models import MODELS, folder_of
from tests.real.sets import KINDS, KNOWN, UNKNOWN, subset, task

ORDERS = 3
OLD = {"engine": "anneal", "statistic": "mean_logprob", "restarts": 4}
"""The default of the first release, which maximises U."""


@dataclass(frozen=True)
class Row:
    """Accuracies on one subset, and what it took.

    Attributes:
        name, size, seed, largest: which subset.
        zero_shot, zero_shot_batch, zero_shot_centres: without demonstrations, raw and calibrated.
        found, balanced: of the default search, of all and of each label on average.
        old: of the old default; None if it was not run.
        golden, golden_batch, golden_centres: after golden demonstrations, the mean over orders of them.
        information, noise: J of the labels found, and of the same search in made-up words.
        diagnosis: what a run's summary says of the labels.
        golden_information: J of the gold labels.
        majority: largest share of a label found.
        requests: of the search.
        seconds: of the search.
    """

    name: str
    size: int
    seed: int
    largest: float | None
    zero_shot: float
    zero_shot_batch: float
    zero_shot_centres: float
    found: float
    balanced: float
    old: float | None
    golden: float
    golden_batch: float
    golden_centres: float
    information: float
    noise: float
    diagnosis: dict[str, Any]
    golden_information: float
    majority: float
    requests: int
    seconds: float

    @property
    def comfort(self) -> Comfort:
        """What the verdict promises, and whether it may."""
        row = {"gold_accuracy": self.found, "gold_balanced": self.balanced}
        return comfort_of({**row, "diagnosis": self.diagnosis})

    def line(self) -> str:
        """For people."""
        old = "    " if self.old is None else f"{self.old:.2f}"
        share = "equal" if self.largest is None else f"{self.largest:.2f}"
        zero_shot = f"{self.zero_shot:.2f} {self.zero_shot_batch:.2f} {self.zero_shot_centres:.2f}"
        golden = f"{self.golden:.2f} {self.golden_batch:.2f} {self.golden_centres:.2f}"
        verdict = f"{self.diagnosis['coherent']}, {self.diagnosis['named']['answer']}"
        noise = f"J {self.information:5.2f} noise {self.noise:5.2f}"
        return (
            f"{self.name:<10}{self.size:>4} {share} {self.seed:>2}  {zero_shot}  {old}  {self.found:.2f}  {golden}  "
            f"{noise} gold {self.golden_information:5.2f}  {self.requests:>5} requests {self.seconds:.0f} s  {verdict}"
        )


HEADER = "set          n share seed  zero-shot raw, batch, centres; old default; default; golden raw, batch, centres"


async def measure(model: LanguageModel, name: str, size: int, seed: int, largest: float | None, *, old: bool) -> Row:
    """One subset of one set.

    Args:
        model: whom to ask.
        name: of the set.
        size: about how many examples.
        seed: of the subset and of the search.
        largest: share of the most frequent label; None for equal shares.
        old: run the old default too, which takes many times as long.
    """
    dataset, gold = subset(name, size, seed, largest)
    began = time.monotonic()
    settings, trail = SearchSettings(seed=seed), Trail()
    objective = build_objective(dataset, model, task(name), settings)
    found = await search(objective, settings, on_step=lambda progress: trail.add(progress.state.labeling))
    seconds, requests = time.monotonic() - began, found.usage.requests
    result = await with_zero_shot(found, result_of(found, settings), settings)
    result = await judged(found, result, trail, DiagnosticsSettings(), seed)
    diagnosis = result.about["diagnosis"]
    assert found.score.information is not None
    before = None
    if old:
        annealed = SearchSettings(seed=seed).changed(**OLD)
        before = accuracy(
            (await search(build_objective(dataset, model, task(name), annealed), annealed)).score.labeling, gold
        )
    zero_shot = await objective.conditionals(dataset.ids, Labeling())
    golden = [await _golden(objective, gold, dataset, order) for order in range(ORDERS)]
    counts = list(found.score.labeling.values())
    raw, batch, centres = (fmean(best(reads, gold, way) for reads in golden) for way in CENTRES)
    return Row(
        name,
        len(dataset),
        seed,
        largest,
        best(zero_shot, gold, "none"),
        best(zero_shot, gold, "batch"),
        best(zero_shot, gold, "centres"),
        accuracy(found.score.labeling, gold),
        balanced(found.score.labeling, gold),
        before,
        raw,
        batch,
        centres,
        found.score.information,
        diagnosis["measures"]["null"]["noise"],
        diagnosis,
        fmean(information(reads, Labeling(gold)) for reads in golden),
        max(counts.count(label) for label in KINDS[name].labels) / len(counts),
        requests,
        seconds,
    )


async def _golden(objective: Objective, gold: Mapping[str, Label], dataset: Dataset, order: int) -> Predictions:
    ordered = objective.reordered(draw(order, 0, "golden demonstrations"))
    return await ordered.conditionals(dataset.ids, Labeling(gold))


def best(reads: Predictions, gold: Mapping[str, Label], calibration: str) -> float:
    """Accuracy of the most probable labels, calibrated."""
    return accuracy({key: read.best for key, read in Calibration(calibration)(reads).items()}, gold)


def accuracy(labels: Mapping[str, Label], gold: Mapping[str, Label]) -> float:
    """Share of the labels that are the gold label."""
    return fmean(labels[key] == gold[key] for key in gold)


def means(rows: list[Row]) -> list[str]:
    """The mean of each column, per set."""
    lines = []
    for name in dict.fromkeys(row.name for row in rows):
        of = [row for row in rows if row.name == name]
        columns = (
            "zero_shot",
            "zero_shot_batch",
            "zero_shot_centres",
            "found",
            "golden",
            "golden_batch",
            "golden_centres",
        )
        shown = "  ".join(f"{column} {fmean(getattr(row, column) for row in of):.3f}" for column in columns)
        old = [row.old for row in of if row.old is not None]
        lines.append(f"mean {name:<10} ({len(of)}) {shown}" + (f"  old {fmean(old):.3f}" if old else ""))
    return lines


async def _all(arguments: argparse.Namespace) -> None:
    folder = arguments.folder or folder_of(arguments.model)
    options = {"device": arguments.device, "dtype": "float32", "batch_size": arguments.batch}
    rows = []
    print(HEADER, flush=True)
    async with open_model(f"huggingface:{folder}", cache=arguments.cache, options=options) as model:
        for largest in arguments.largest:
            for name in arguments.sets.split(","):
                for seed in range(arguments.first, arguments.first + arguments.seeds):
                    rows.append(await measure(model, name, arguments.size, seed, largest, old=arguments.old))
                    print(rows[-1].line(), flush=True)
                    if arguments.json:
                        with arguments.json.open("a") as stream:
                            stream.write(json.dumps(asdict(rows[-1])) + "\n")
    for line in means(rows):
        print(line)


def report(argv: list[str]) -> None:
    """Print the table as it comes."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks real")
    parser.add_argument("model", nargs="?", choices=tuple(MODELS), default="smollm2-135m-instruct")
    parser.add_argument("--folder", type=Path, help="of a model for transformers, in place of a name")
    parser.add_argument("--sets", default=",".join((*KNOWN, *UNKNOWN)))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--largest", type=_share, nargs="*", default=[None, 0.75], help="share of one label, or equal")
    parser.add_argument("--old", action="store_true", help="the old default too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--cache", type=Path, help="folder of answers")
    parser.add_argument("--json", type=Path, help="append the rows to this file")
    asyncio.run(_all(parser.parse_args(argv)))


def _share(text: str) -> float | None:
    return None if text == "equal" else float(text)
