"""`icm-api demo`: the whole of ICM on the embedded model, with no key and nothing prepared.

It writes a folder as a user would have one (claims, configuration; gold apart), runs it, and measures what
came out: agreement with gold, and the four bars on held-out claims. All figures are the model's own.
"""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from icm_api.cli.flags.outside import DEMO_TASKS
from icm_api.cli.running import watched
from icm_api.compare import Bar, WithGold, baseline_panel, recovered_of_bars
from icm_api.config import Config, load_config
from icm_api.data import load_gold, load_jsonl
from icm_api.errors import ConfigError
from icm_api.evaluation import Evaluation, evaluate, spread
from icm_api.files import write_whole
from icm_api.pocket.world import Claim, make_split
from icm_api.result import Result
from icm_api.runs import (
    Watch,
    build_task,
    config_of,
    differing_settings,
    has_run,
    load_dataset,
    open_model,
    resume,
    run_config,
)
from icm_api.wording import count_of

CONSTRAINTS = MappingProxyType(
    {
        "comparisons": '[[constraints]]\nkind = "asymmetric"\nlabel = "True"\ntotal = true\n',
        "sums": '[[constraints]]\nkind = "mutually_exclusive"\nlabel = "True"\n\n'
        '[[constraints]]\nkind = "equivalent"\n',
        "facts": '[[constraints]]\nkind = "mutually_exclusive"\nlabel = "True"\n',
        "lucky": "",
    }
)
_CONFIG = """\
# Written by icm-api demo; run it yourself with: icm-api run config.toml
[data]
path = "claims.jsonl"
fields = ["text"]

[prompt]
template = "{{text}}"
separator = "\\n"
labels = ["True", "False"]

[model]
provider = "pocket"

{constraints}
[search]
preset = "{preset}"
seed = {seed}

[run]
folder = "run"
"""
_HELD_OUT = 200


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of one seed of the demo."""

    seed: int
    result: Result
    agreement: Evaluation
    bars: tuple[Bar, ...]


def demo_verb(arguments: Namespace) -> None:
    """`icm-api demo`."""
    if arguments.seeds < 1 or arguments.size < 4 or arguments.seed < 0:
        raise ConfigError("demo: --seeds must be at least 1, --size at least 4, --seed at least 0")
    outcomes = []
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        folder = arguments.out / _name(arguments, seed)
        outcome = _outcome(folder, arguments, seed)
        outcomes.append(outcome)
        print(json.dumps(_as_json(outcome)) if arguments.json else "\n".join(_outcome_lines(outcome)), flush=True)
    if len(outcomes) > 1 and not arguments.json:
        print("\n".join(_spread_lines(outcomes)))


def _name(arguments: Namespace, seed: int) -> str:
    bare = "-no-constraints" if arguments.no_constraints else ""
    return f"{arguments.task}-{arguments.size}-{arguments.preset}{bare}-{seed}"


def _outcome(folder: Path, arguments: Namespace, seed: int) -> _Outcome:
    config = _write_inputs(folder, arguments, seed)
    _check_settings(config)
    if not arguments.json:
        print(f"{arguments.task}, seed {seed}: {DEMO_TASKS[arguments.task]}", flush=True)
    result = watched(_run_or_resume(config), _run_folder(config), show=not arguments.json)
    return asyncio.run(_measure(folder, config, result, seed))


def _write_inputs(folder: Path, arguments: Namespace, seed: int) -> Config:
    """Write claims, gold and configuration, as a user would have them; the same arguments, the same bytes."""
    try:
        claims, held_out = make_split(arguments.task, arguments.size, _HELD_OUT, seed)
    except ValueError as error:
        raise ConfigError(f"demo: --size {arguments.size} and {_HELD_OUT} held-out claims: {error}") from error
    for name, some in (("claims", claims), ("held_out", held_out)):
        write_whole(folder / f"{name}.jsonl", _lines(_unlabelled(claim) for claim in some))
        write_whole(folder / f"{name}_gold.jsonl", _lines({"id": c.id, "gold": str(c.truth)} for c in some))
    text = _CONFIG.format(
        preset=arguments.preset, seed=seed, constraints="" if arguments.no_constraints else CONSTRAINTS[arguments.task]
    )
    write_whole(folder / "config.toml", text)
    return load_config(folder / "config.toml")


def _check_settings(config: Config) -> None:
    """A run that is there already goes on with its own settings, so others would print what they did not do."""
    folder = _run_folder(config)
    if has_run(folder) and (others := [key for key, _ in differing_settings(config_of(folder), config)]):
        tables = ", ".join(dict.fromkeys(f"[{key.partition('.')[0]}]" for key in others))
        raise ConfigError(
            f"demo: {folder} holds a run with other settings in {tables}: choose another folder, e.g. "
            f"--out {folder.parents[1]}-2"
        )


def _run_or_resume(config: Config) -> Callable[[Watch], Coroutine[Any, Any, Result]]:
    """A new run, or what is left of one that is there already: the demo can be repeated."""
    folder = _run_folder(config)
    if has_run(folder):
        return lambda watch: resume(folder, watch)
    return lambda watch: run_config(config, watch)


async def _measure(folder: Path, config: Config, result: Result, seed: int) -> _Outcome:
    task, gold = build_task(config), load_gold(folder / "claims_gold.jsonl")
    held_out = WithGold(load_jsonl(folder / "held_out.jsonl"), load_gold(folder / "held_out_gold.jsonl"))
    async with open_model(config) as model:
        bars = await baseline_panel(model, task, WithGold(load_dataset(config), gold), result, held_out, seed)
    return _Outcome(seed, result, evaluate(result, gold), bars)


def _outcome_lines(outcome: _Outcome) -> list[str]:
    """One seed, for people."""
    recovered = recovered_of_bars(outcome.bars)
    share = "golden labels are not clearly ahead, so there is none" if recovered is None else f"{recovered:.0%}"
    return [
        f"agreement with gold: {outcome.agreement.accuracy.value:.1%}",
        f"accuracy on {outcome.bars[0].total} held-out claims:",
        *(f"  {bar.name:<26}{bar.accuracy:6.1%}" for bar in outcome.bars),
        f"share of the gap from zero-shot to golden labels that ICM recovers: {share}",
        "",
    ]


def _spread_lines(outcomes: Sequence[_Outcome]) -> list[str]:
    """Several seeds, for people: mean, standard deviation, smallest and largest."""
    rows: dict[str, list[float]] = {"agreement with gold": [o.agreement.accuracy.value for o in outcomes]}
    for at, bar in enumerate(outcomes[0].bars):
        rows[bar.name] = [outcome.bars[at].accuracy for outcome in outcomes]
    shares = [share for outcome in outcomes if (share := recovered_of_bars(outcome.bars)) is not None]
    rows["share of the gap recovered"] = shares
    without = len(outcomes) - len(shares)
    return [
        f"over {count_of(len(outcomes), 'seed')}, mean (standard deviation; smallest to largest):",
        *(
            f"  {name:<28}{found.mean:6.1%} ({found.standard_deviation:.1%}; {found.low:.1%} to {found.high:.1%})"
            for name, found in ((name, spread(values)) for name, values in rows.items() if len(values) > 1)
        ),
        *([f"  no clear gap in {without} of them"] if without else []),
    ]


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    """One seed, for machines."""
    return {
        "seed": outcome.seed,
        "utility": outcome.result.utility,
        "mutual_predictability": outcome.result.mutual_predictability,
        "inconsistency": outcome.result.inconsistency,
        "steps": outcome.result.steps,
        "usage": asdict(outcome.result.usage),
        "agreement": outcome.agreement.as_json(),
        "held_out": {bar.name: bar.accuracy for bar in outcome.bars},
        "gap_recovered": recovered_of_bars(outcome.bars),
    }


def _run_folder(config: Config) -> Path:
    assert config.run.folder is not None
    return config.run.folder


def _unlabelled(claim: Claim) -> dict[str, str]:
    row = {"id": claim.id, "text": claim.text, "group": claim.group, "answer": claim.answer}
    return row | ({"left": claim.left, "right": claim.right} if claim.left else {})


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
