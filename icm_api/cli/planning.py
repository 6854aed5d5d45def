"""Before a run: its configuration, the verb `plan`, and the question if it is likely to cost much.

It prints what the library planned, and what a finished run took beside it. It computes nothing itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from icm_api.config import Config, load_config
from icm_api.errors import NotConfirmedError
from icm_api.runs import FinishedRun, Plan, compare_plans, plan
from icm_api.wording import count_of

_HEAD = ("engine", "estimator", "requests", "tokens", "new", "money", "minutes", "requests", "tokens", "money")
_LEFT = 2


def read_config(arguments: Namespace) -> Config:
    """The configuration with the flags over it.

    Args:
        arguments: of a verb that takes a configuration.
    """
    search = {name: getattr(arguments, name) for name in ("preset", "engine", "seed", "steps")}
    flags: dict[str, Any] = {"search": {name: value for name, value in search.items() if value is not None}}
    if getattr(arguments, "latency", None) is not None:
        flags["client"] = {"latency": arguments.latency}
    if arguments.limit is not None:
        flags["data"] = {"limit": arguments.limit}
    if arguments.no_cache:
        flags["cache"] = {"enabled": False}
    if arguments.out is not None:
        flags["run"] = {"folder": arguments.out.resolve()}
    if arguments.model is not None:
        flags["model"] = {"provider": arguments.model}
    return load_config(arguments.config, flags)


def plan_verb(arguments: Namespace) -> None:
    """`icm-api plan CONFIG`."""
    config = read_config(arguments)
    if arguments.compare:
        found = asyncio.run(compare_plans(config, probe=arguments.probe))
        print(json.dumps([asdict(each) for each in found]) if arguments.json else "\n".join(_table(found, config)))
        return
    one = asyncio.run(plan(config, probe=arguments.probe))
    print(json.dumps(asdict(one)) if arguments.json else "\n".join(_lines(one, config)))


def ask_before(config: Config) -> None:
    """Ask on a terminal whether to go on, if the run is likely to cost more than `budget.ask_above`.

    Args:
        config: of the run.

    Raises:
        NotConfirmedError: the answer was no, or there is nobody to ask.
    """
    above = config.budget.ask_above
    if above is None or config.prices is None:
        return
    found = asyncio.run(plan(config))
    if found.likely.money is None or found.likely.money <= above:
        return
    told = (
        f"the run is likely to cost {_money(found.likely.money, config)} (at most {_money(found.money, config)}), more "
        f"than budget.ask_above, {above:g}"
    )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NotConfirmedError(f"{told}, and there is no terminal to ask on: nothing was sent; --yes runs it")
    print(f"{told}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotConfirmedError("nothing was sent")


def taken_line(run: FinishedRun) -> Iterator[str]:
    """What was planned for a finished run, beside what it took; nothing if nobody planned it.

    Args:
        run: finished.
    """
    planned, taken = run.planned, run.result.usage
    if planned is None:
        return
    yield (
        f"planned: likely {planned['requests']:,} requests, {planned['prompt_tokens']:,} prompt tokens; taken: "
        f"{taken.requests / planned['requests']:.0%} and {taken.prompt_tokens / planned['prompt_tokens']:.0%} of that"
    )


def _lines(found: Plan, config: Config) -> Iterator[str]:
    likely = found.likely
    found_there = (count_of(found.examples, "example"), count_of(found.relations, "relation"))
    yield ", ".join((*found_there, f"at most {count_of(found.steps, 'step')}"))
    if found.rest:
        yield (
            f"{found.examples - found.rest:,} of them are searched; the other {found.rest:,} are labelled from these, "
            "a request each"
        )
    if found.batches > 1:
        yield f"searched in {count_of(found.batches, 'batch', 'batches')}"
    asked = f" of {count_of(likely.questions, 'question')}" if likely.questions > likely.requests else ""
    parts = [
        f"{count_of(likely.requests, 'request')}{asked}",
        f"{count_of(likely.prompt_tokens, 'prompt token')}, {likely.prompt_tokens - likely.cached_tokens:,} of them "
        "new to a prefix cache",
        *_paid(likely.money, likely.minutes, config),
    ]
    yield "likely: " + ", ".join(parts)
    bounds = [count_of(found.requests, "request"), count_of(found.prompt_tokens, "prompt token")]
    yield "at most: " + ", ".join([*bounds, *_paid(found.money, found.minutes, config)]) + ", before any cache"
    yield f"longest prompt {count_of(found.longest_prompt, 'token')}; context window {found.context_window:,}"
    if found.longest_prompt == found.context_window and not found.rest:
        yield "not all demonstrations fit the context window together: whole ones will be left out, none cut"
    if found.too_long:
        named = ", ".join(found.too_long[:5]) + (", ..." if len(found.too_long) > 5 else "")
        told = "alone longer than the window, so set aside up to run.tolerate"
        yield f"{told}: {count_of(len(found.too_long), 'example')}: {named}"
    yield from found.notes
    if likely.minutes is None and config.client.tier != "batch":
        yield "minutes: not known; --latency SECONDS states how long an answer takes, --probe measures it"
    yield "other engines beside it: icm-api plan --compare"


def _paid(money: float | None, minutes: float | None, config: Config) -> list[str]:
    return [
        *([] if money is None else [_money(money, config)]),
        *([] if minutes is None else [f"{_minutes(minutes)} minutes"]),
    ]


def _money(money: float | None, config: Config) -> str:
    currency = config.prices.currency if config.prices is not None else ""
    return f"{money:,.2f} {currency}" if money is not None else "not known"


def _minutes(minutes: float | None) -> str:
    if minutes is None:
        return "not known"
    return "under 0.1" if minutes < 0.05 else f"{minutes:,.1f}" if minutes < 10 else f"{minutes:,.0f}"


def _table(found: Sequence[Plan], config: Config) -> Iterator[str]:
    """A row an engine and estimator, that of the configuration first."""
    rows: list[tuple[str, ...]] = [("", "", "likely", "", "", "", "", "at most", "", ""), _HEAD]
    for one in found:
        likely = one.likely
        amounts = (likely.requests, likely.prompt_tokens, likely.prompt_tokens - likely.cached_tokens)
        rows.append(
            (
                one.engine,
                one.estimator,
                *(f"{amount:,}" for amount in amounts),
                _price(likely.money),
                _minutes(likely.minutes),
                f"{one.requests:,}",
                f"{one.prompt_tokens:,}",
                _price(one.money),
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEAD))]
    for row in rows:
        cells = (
            cell.ljust(width) if at < _LEFT else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
    if config.prices is not None:
        yield f"money in {config.prices.currency}"
    yield from dict.fromkeys(note for one in found for note in one.notes)


def _price(money: float | None) -> str:
    return "not known" if money is None else f"{money:,.2f}"
