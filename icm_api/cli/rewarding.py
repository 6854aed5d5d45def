"""The verbs that use a reward model, a run of preferences or a trained one: prefer, best, rewardbench.

A run asks a model, on the run's budget and with its cache: what was asked once is not sent again. A trained one, by its
spec in place of the run, computes scores on this machine.
"""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from icm_api.cli.asking import check_writing, written
from icm_api.config import Prices
from icm_api.data import find_format, read_rows
from icm_api.data.own_text import without_thoughts
from icm_api.data.preferences import TwoReplies, two_replies
from icm_api.errors import ConfigError
from icm_api.evaluation import mean_interval
from icm_api.export import export_labels
from icm_api.export.exporting import check_free
from icm_api.files import write_whole
from icm_api.model.request import bytes_in_tokens
from icm_api.reward import (
    BestOf,
    Comparison,
    Preference,
    Refused,
    RewardModel,
    ScoredReward,
    best_line,
    biases,
    is_trained,
    open_reward_model,
    preference_data,
    rank_written,
    read_benchmark,
    run_benchmark,
)
from icm_api.reward.bradley_terry import most_meetings
from icm_api.reward.comparing import Asked, in_words, plain
from icm_api.reward.opening import shown_with_replies
from icm_api.runs import config_of
from icm_api.types import Usage
from icm_api.wording import count_of

_CHOSEN = ("chosen", "rejected")


def prefer_verb(arguments: Namespace) -> None:
    """`icm-api prefer RUN FILE`."""
    if arguments.out is not None and Path(arguments.replies).resolve() == arguments.out.resolve():
        raise ConfigError(f"--out {arguments.out} is the file of the replies; name another")
    pairs = list(two_replies(read_rows(arguments.replies), _fields(arguments.run)))
    told, usage = asyncio.run(_preferred(arguments, pairs))
    rows = [_row(pair, each) for pair, each in zip(pairs, told, strict=True)]
    answered = [(pair, each) for pair, each in zip(pairs, told, strict=True) if isinstance(each, Preference)]
    _some_answered(told, len(answered))
    found = biases([(_comparison(pair), each) for pair, each in answered])
    # Of data that say so, which reply people chose.
    odds = [each.log_odds for pair, each in answered if pair.keys == _CHOSEN]
    agreement = mean_interval([0.5 if not each else float(each > 0) for each in odds]) if odds else None
    if arguments.out is not None:
        write_whole(arguments.out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    if arguments.json:
        chosen = {} if agreement is None else {"chosen_preferred": plain(agreement)}
        shown = {} if arguments.out is not None else {"compared": rows}
        refused = len(told) - len(answered)
        print(json.dumps({**found.as_json(), **chosen, "refused": refused, "asked": asdict(usage), **shown}))
        return
    if arguments.out is None:
        print("\n".join(map(_told, rows)))
    print("\n".join(found.lines()))
    if agreement is not None:
        print(f"chosen reply preferred: {in_words(agreement)}")
    if len(answered) < len(told):
        print(f"{len(told) - len(answered):,} comparisons got no answer")
    print(_asked(usage))
    if arguments.out is not None:
        print(f"written: {arguments.out}")


def _fields(run: Path) -> Sequence[str] | None:
    """The columns of the run's own data, if they have names of their own."""
    if is_trained(run):
        return None
    data = config_of(run).data
    return data.fields if find_format(data.format).pairs else None


async def _preferred(arguments: Namespace, pairs: Sequence[TwoReplies]) -> tuple[Sequence[Preference | Refused], Usage]:
    async with _opened(arguments) as reward:
        return await reward.prefer_all(map(_comparison, pairs)), reward.usage


def _comparison(pair: TwoReplies) -> Comparison:
    # Under another name than the run's, if there is one text only.
    prompt: Asked = pair.shown if len(pair.shown) > 1 else next(iter(pair.shown.values()), "")
    return Comparison(prompt, *pair.texts)


def _row(pair: TwoReplies, told: Preference | Refused) -> dict[str, Any]:
    if isinstance(told, Refused):
        return {"id": pair.id, "refused": str(told.error)}
    p, (one, other) = told.probability, pair.keys
    return {
        "id": pair.id,
        "better": one if p > 0.5 else other if p < 0.5 else "tie",
        "probabilities": {one: round(p, 6), other: round(1 - p, 6)},
        "shown_first": round(told.shown_first, 6),
        "shown_second": round(told.shown_second, 6),
    }


def _told(row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"{row['id']}: no answer: {row['refused']}"
    return f"{row['id']}: {row['better']}, {max(row['probabilities'].values()):.3f}"


def rewardbench_verb(arguments: Namespace) -> None:
    """`icm-api rewardbench RUN FILE`."""
    prompts = not is_trained(arguments.run) and bool(shown_with_replies(arguments.run))
    items = read_benchmark(arguments.rows, split=arguments.split, limit=arguments.limit, prompts=prompts)

    async def measured() -> tuple[Any, Usage]:
        async with _opened(arguments) as reward:
            return await run_benchmark(reward, items), reward.usage

    found, usage = asyncio.run(measured())
    if arguments.json:
        print(json.dumps({**found.as_json(), "asked": asdict(usage)}))
        return
    print("\n".join([*found.lines(), _asked(usage)]))


def best_verb(arguments: Namespace) -> None:
    """`icm-api best RUN QUESTIONS --model SPEC --out FILE`."""
    check_writing(arguments)
    folder = arguments.out.with_name(f"{arguments.out.stem}-{arguments.to}")
    _check_best(arguments, folder)
    rows = list(read_rows(arguments.questions))
    ids, prompts = [row.id for row in rows], [row.text(arguments.field) for row in rows]
    if arguments.estimate:
        _say_estimate(arguments, prompts)
        return
    replies, failure, cost = asyncio.run(written(arguments, prompts))
    if failure is not None:
        # What was written is kept, and comes from the cache the next time.
        raise failure
    shown = (lambda text: text) if arguments.keep_thoughts else without_thoughts
    texts = [[*map(shown, some or ())] for some in replies]

    async def ranked() -> tuple[Sequence[BestOf | Refused], Usage]:
        async with _opened(arguments) as reward:
            return await rank_written(ids, prompts, texts, reward), reward.usage

    found, usage = asyncio.run(ranked())
    best = sum(isinstance(each, BestOf) for each in found)
    _some_answered(found, best)
    write_whole(arguments.out, "".join(best_line(key, each) for key, each in zip(ids, found, strict=True)))
    exported = arguments.to and export_labels(preference_data(found), arguments.to, folder, force=arguments.force)
    summary = {"prompts": len(found), "best": best, "written": cost, "judged": asdict(usage)}
    if arguments.json:
        print(json.dumps({**summary, **({"pairs": exported.as_json()} if exported else {})}))
        return
    print(
        f"best of {count_of(arguments.samples, 'reply', 'replies')} by {cost['model']} to {best:,} of "
        f"{count_of(len(found), 'prompt')}"
    )
    print(_asked(usage))
    print("\n".join([f"written: {arguments.out}", *(exported.lines() if exported else [])]))


def _say_estimate(arguments: Namespace, prompts: Sequence[str]) -> None:
    """What the replies take at most, and how often the run's model is asked to compare them."""
    samples: int = arguments.samples
    asked = len(prompts) * samples
    given, made = samples * sum(map(bytes_in_tokens, prompts)), asked * arguments.max_tokens
    prices: tuple[float, float] | None = arguments.prices
    money = None if prices is None else (given * prices[0] + made * prices[1]) / 1e6
    # Both orders of each comparison.
    judged = 0 if is_trained(arguments.run) else 2 * len(prompts) * most_meetings(samples)
    if arguments.json:
        found = {"requests": asked, "prompt_tokens": given, "completion_tokens": made, "money": money}
        print(json.dumps({"prompts": len(prompts), "written": found, "judged": {"requests": judged}}))
        return
    price = "; --prices says what they cost" if money is None else f", {money:,.2f} USD"
    print(
        f"to write {count_of(samples, 'reply', 'replies')} to each of {count_of(len(prompts), 'prompt')}: at most "
        f"{count_of(asked, 'request')}, {given:,} prompt "
        f"tokens and {made:,} reply tokens{price}\n"
        + (
            f"to compare them: about {count_of(judged, 'request')} of the run, on its [budget]"
            if judged
            else "to score them: nothing is asked"
        )
    )


def _check_best(arguments: Namespace, folder: Path) -> None:
    """Check what can be known before replies are written and paid for."""
    shown = ("prompt",) if is_trained(arguments.run) else shown_with_replies(arguments.run)
    if len(shown) != 1:
        raise ConfigError(
            f"{arguments.run}: the run's template shows {list(shown) or 'nothing'} beside the replies, and replies to "
            "a prompt are compared by a run whose template shows the prompt alone: name a run with {prompt}, {first} "
            "and {second} in [prompt] template; nothing was sent"
        )
    if arguments.to:
        check_free(folder, force=arguments.force)


def _some_answered(found: Sequence[object], answered: int) -> None:
    """What is wrong with all of them is an error."""
    first = next((each for each in found if isinstance(each, Refused)), None)
    if first is not None and not answered:
        raise first.error


@asynccontextmanager
async def _opened(arguments: Namespace) -> AsyncIterator[RewardModel | ScoredReward]:
    """The reward model, which tells a terminal how many comparisons are answered."""
    prices: tuple[float, float] | None = arguments.judge_prices
    trained = is_trained(arguments.run)
    if arguments.judge is None and (prices is not None or (arguments.judge_option and not trained)):
        raise ConfigError("--judge-option and --judge-prices are of another model: name it with --judge")
    console = Console(stderr=True)
    opened = open_reward_model(
        arguments.run,
        model=arguments.judge,
        options=dict(arguments.judge_option),
        prices=None if prices is None else Prices(input=prices[0], output=prices[1]),
        demonstrations=arguments.demonstrations,
    )
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} comparisons answered"), TimeElapsedColumn())
    quiet = arguments.json or not console.is_terminal
    async with opened as reward:
        with Progress(*columns, console=console, transient=True, disable=quiet) as progress:
            task = progress.add_task("comparisons", total=None)
            yield replace(reward, heard=lambda answered: progress.advance(task, answered))


def _asked(usage: Usage) -> str:
    return (
        f"asked to compare: {count_of(usage.requests, 'request')}, {count_of(usage.prompt_tokens, 'prompt token')}, "
        "those that the cache answered included"
    )
