"""What a model learns from labels of six kinds: the paper's ablation, on the embedded model or on a real one.

`python -m tests.benchmarks training` takes the embedded model, `training real` a real one: `training real --help`. With
`--json FILE` each seed is kept when it is done, and one that is in the file is not measured again; with `--work FOLDER`
so is each model that was trained.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from icm_api.types import PromptTemplate, Task
from tests.ablation import Learned, Setting, ablation, table
from tests.real import sets
from tests.real.models import MODELS, folder_of
from tests.worlds import biased

SEEDS = 5
WORLDS = ("sums", "comparisons", "facts")
TRAIN, HELD_OUT = 32, 64
CLAIMS = Task(PromptTemplate("{text}", "", "\n"))
REAL = {"epochs": 3, "learning_rate": 5e-4, "device": "cpu"}


def pocket_setting(world: str, seed: int) -> Setting:
    """Claims of the embedded world with no constraint between them."""
    claims = biased(world, TRAIN + HELD_OUT, seed)
    return Setting.split("pocket", {}, CLAIMS, claims, train=TRAIN, seed=seed)


def real_setting(folder: Path, name: str, size: int, seed: int) -> Setting:
    """One of the sets of `tests.real`, half of it to learn from."""
    rows = sets.subset(name, 2 * size, seed)
    return Setting.split(f"huggingface:{folder}", REAL, sets.task(name), rows, train=size, seed=seed)


def report(argv: list[str] | None = None) -> Iterator[str]:
    """The figures, a line each.

    Args:
        argv: what follows `training real`; None for the embedded model.
    """
    if argv is not None:
        yield from _real(argv)
        return
    for world in WORLDS:
        settings = [pocket_setting(world, seed) for seed in range(SEEDS)]
        yield f"embedded model, {world}: {TRAIN} claims to learn from, {HELD_OUT} held out, seeds 0 to {SEEDS - 1}"
        yield from table(settings, [_measured(setting) for setting in settings])


def _measured(setting: Setting, place: Path | None = None) -> dict[str, Learned]:
    if place is not None:
        return asyncio.run(ablation(setting, place))
    with TemporaryDirectory() as folder:
        return asyncio.run(ablation(setting, Path(folder)))


def _real(argv: list[str]) -> Iterator[str]:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks training real")
    parser.add_argument("model", nargs="?", choices=tuple(MODELS), default="smollm2-135m-instruct")
    parser.add_argument("--folder", type=Path, help="of a model for transformers, in place of a name")
    parser.add_argument("--sets", default="kinds,sentiment")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--size", type=int, default=48, help="texts to learn from, and as many held out")
    parser.add_argument("--json", type=Path, help="append what is measured to this file, and begin with what is there")
    parser.add_argument("--work", type=Path, help="folder for what is trained and answered, which is kept")
    given = parser.parse_args(argv)
    folder, kept = given.folder or folder_of(given.model), _kept(given.json)
    for name in given.sets.split(","):
        settings = [real_setting(folder, name, given.size, seed) for seed in range(given.seeds)]
        found = []
        for setting in settings:
            key = f"{folder.name} {name} {given.size} {setting.seed}"
            if key not in kept:
                kept[key] = _measured(setting, given.work and given.work / key.replace(" ", "-"))
                if given.json:
                    row = {"key": key, "learned": {kind: asdict(one) for kind, one in kept[key].items()}}
                    with given.json.open("a") as stream:
                        stream.write(json.dumps(row) + "\n")
            found.append(kept[key])
            told = ", ".join(f"{kind} {one.right(setting.truth):.0%}" for kind, one in found[-1].items())
            yield f"{key}: {told}"
        yield from table(settings, found)


def _kept(path: Path | None) -> dict[str, Mapping[str, Learned]]:
    """What a file holds, by set and seed."""
    if path is None or not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["key"]: {kind: Learned(**one) for kind, one in row["learned"].items()} for row in rows}
