"""`icm-api compare`: the baseline panel of a configuration, as a table, files and figures.

It prints; what is compared, how, and into which files, is `icm_api.compare`. Gold labels are loaded last.
"""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from icm_api.cli.live import LiveView
from icm_api.compare import (
    HELD_OUT,
    LABELS,
    Comparison,
    PanelWatch,
    Part,
    Row,
    gold_of_splits,
    load_splits,
    measure_all,
    plan_panel,
    search_all,
    write_figures,
)
from icm_api.compare.searches import Place
from icm_api.config import Config, load_config
from icm_api.data import HUB
from icm_api.errors import BudgetError, ClusterError, ConfigError, DataError, GaveUpError, StorageError
from icm_api.evaluation import Measure
from icm_api.runs import Watch, folder_of
from icm_api.wording import count_of

_WIDTH = 100


def compare_verb(arguments: Namespace) -> None:
    """`icm-api compare CONFIG --gold FILE`."""
    config = _config(arguments)
    folder = arguments.out.resolve() if arguments.out else _beside(folder_of(config))
    if not arguments.gold.startswith(HUB) and not Path(arguments.gold).is_file():
        # The gold labels are loaded last; that the file is missing is said first.
        raise DataError(f"{arguments.gold}: no such file; check the path of the gold labels")
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    place = Place(config, folder)
    before, paid = place.sent()
    try:
        comparison = asyncio.run(_compared(config, arguments, folder, console))
    except (KeyboardInterrupt, StorageError, BudgetError, ClusterError, GaveUpError):
        console.print("to go on: the same command again")
        raise
    written = comparison.save(folder)
    try:
        written += write_figures(comparison, folder)
    except ConfigError as error:
        console.print(f"no figures: {error}")
    if arguments.json:
        print(json.dumps(comparison.as_json()))
    else:
        _show(comparison, Console(width=_WIDTH, highlight=False))
        for run in place.finished():
            print(f"{run.folder.name}: {', '.join([run.result.verdict or 'not judged', *run.result.counts])}")
        if config.prices is not None and paid is not None:
            whole, money = place.sent()
            now, currency = (money or 0.0) - paid, config.prices.currency
            print(
                f"sent now: {count_of(whole.requests - before.requests, 'request')}, {now:,.4f} {currency}; for the "
                f"whole comparison: {count_of(whole.requests, 'request')}, {money:,.4f} {currency}"
            )
        print(f"written to {folder}: {', '.join(path.name for path in written)}")


def _config(arguments: Namespace) -> Config:
    compare = {
        "seeds": arguments.seeds,
        "baselines": [name.strip() for name in arguments.baselines.split(",")] if arguments.baselines else None,
        "chat": arguments.chat,
        "chat_options": dict(arguments.chat_option) or None,
    }
    given = {name: value for name, value in compare.items() if value is not None}
    return load_config(arguments.config, {"compare": given})


def _beside(run: Path) -> Path:
    return run.with_name(f"{run.name}-compare")


async def _compared(config: Config, arguments: Namespace, folder: Path, console: Console) -> Comparison:
    splits = load_splits(config)
    plan = await plan_panel(config, splits)
    chat = f" and {plan.chat_requests:,} to the chat model" if plan.chat_requests else ""
    console.print(
        f"{count_of(len(splits), 'seed')}, {count_of(plan.searches, 'search', 'searches')}: at most "
        f"{count_of(plan.requests, 'request')}{chat}, where every label "
        "is one token; less what the cache has"
    )
    with LiveView(console) as view:

        def begun(what: str) -> None:
            console.print(what)
            view.doing(what)

        def search(seed: int, method: str) -> Watch:
            begun(f"seed {seed}: searching, {method}")
            return replace(view.watch, on_warning=warned)

        def warned(warning: str) -> None:
            console.print(f"warning: {warning}")

        def measure(seed: int, method: str) -> None:
            begun(f"seed {seed}: measuring, {method}")

        watch = PanelWatch(search, measure, warned)
        results = await search_all(config, splits, folder, watch)
        gold = gold_of_splits(config, Path(arguments.gold), splits, arguments.label_field, dict(arguments.map))
        return await measure_all(config, splits, results, gold, folder, watch)


def _show(comparison: Comparison, console: Console) -> None:
    """Print the two tables and what there is to say of them."""
    seeds = f"mean over {count_of(len(comparison.seeds), 'seed')}" if len(comparison.seeds) > 1 else "one seed"
    priced = any(part.cost.money is not None for row in comparison.rows for part in row.parts.values())
    held_out = _sizes(comparison.held_out)
    titles = {
        LABELS: f"Labels of {_sizes(comparison.searched)} searched examples against gold, {seeds}",
        HELD_OUT: f"Answers to {held_out} held-out examples with the labels as demonstrations, {seeds}",
    }
    for part, title in titles.items():
        rows = [row for row in comparison.rows if part in row.parts]
        if rows:
            console.print(_table(title, part, rows, priced=priced))
            console.print()
    for line in _lines(comparison):
        console.print(Text(line))


def _table(title: str, part: str, rows: Sequence[Row], *, priced: bool) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    headers = ["accuracy (95%)", "balanced", "AUROC", "ECE"]
    headers += ["gap"] if part == HELD_OUT else []
    headers += ["requests", "tokens", *(["money"] if priced else [])]
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.title, *_cells(row.parts[part], part, priced=priced))
    return table


def _cells(part: Part, name: str, *, priced: bool) -> list[str]:
    found = {metric: over.measure() for metric, over in part.metrics.items()}
    cells = [
        _with_limits(found["accuracy"]),
        _shown(found["balanced_accuracy"], ".1%"),
        _shown(found["auroc"], ".3f"),
        _shown(found["calibration_error"], ".3f"),
    ]
    if name == HELD_OUT:
        cells.append("-" if part.recovered is None else _shown(part.recovered, ".0%"))
    cells += [f"{part.cost.requests:,.0f}", f"{part.cost.prompt_tokens:,.0f}"]
    if priced:
        cells.append("unknown" if part.cost.money is None else f"{part.cost.money:.4f}")
    return cells


def _with_limits(found: Measure) -> str:
    if found.value is None or found.low is None or found.high is None:
        return _shown(found, ".1%")
    return f"{found.value:.1%} ({found.low * 100:.1f}-{found.high * 100:.1f})"


def _shown(found: Measure, form: str) -> str:
    return "-" if found.value is None else f"{found.value:{form}}"


def _sizes(sizes: Sequence[int]) -> str:
    return f"{sizes[0]:,}" if len(set(sizes)) == 1 else f"{min(sizes):,} to {max(sizes):,}"


def _lines(comparison: Comparison) -> list[str]:
    titles = {row.method: row.title for row in comparison.rows}
    where = {LABELS: "labels", HELD_OUT: "held-out"}
    lines = [
        *comparison.notes,
        *(
            f"{where[each.part]}, ICM less {titles[each.less]}: {_points(each.measure)}"
            for each in comparison.differences
        ),
    ]
    return [
        *lines,
        f"model: {comparison.model}" + (f"; chat model: {comparison.chat}" if comparison.chat else ""),
        "intervals: 95%, 2,000 draws of seeds and of groups; gap: share of the way from zero-shot to golden",
        "requests, tokens: what a row alone asks in a seed, whether the cache answers or the model",
    ]


def _points(found: Measure) -> str:
    assert found.value is not None
    if found.low is None or found.high is None:
        return f"{found.value * 100:+.1f} points ({found.note})"
    return f"{found.value * 100:+.1f} points ({found.low * 100:+.1f} to {found.high * 100:+.1f})"
