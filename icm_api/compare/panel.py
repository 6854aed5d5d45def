"""The baseline panel: every method on every seed, first the searches, then, with gold, what their labels are worth.

`plan_panel` says what it may cost, `search_all` does what needs no gold, `measure_all` the rest. All questions go
through the cache, so that a comparison that was cut short goes on where it was. It prints nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from icm_api.compare.aside import check_left, objective_of_all, of_searches, without_long
from icm_api.compare.comparison import Comparison
from icm_api.compare.field import BASELINES
from icm_api.compare.measuring import CALIBRATED, Bench, SeedCells, doubling, measure_seed
from icm_api.compare.searches import (
    SEARCHES,
    Place,
    at_equal_cost,
    constraints_of,
    method_config,
    searched,
    seeds_executor,
    settings_of,
)
from icm_api.compare.split import Split
from icm_api.compare.summing import compared
from icm_api.config import Config, RowName
from icm_api.data import Gold
from icm_api.errors import ConfigError, ProviderError
from icm_api.model import LanguageModel, Ledger, Meter, check_endpoint, note_session, open_model
from icm_api.runs import JOBS_FOLDER, FinishedRun, Watch, build_task, cache_place, locked, prices_of
from icm_api.runs.executing import Executor, together
from icm_api.search import Start, build_kernel, build_objective, steps_of

Searched = Mapping[tuple[str, int], FinishedRun]
"""The run of each search, by method and seed."""


@dataclass(frozen=True, slots=True)
class PanelWatch:
    """What a caller may want to hear of.

    Attributes:
        on_search: called before each search, with seed and method; what it returns watches that run.
        on_measure: called before each method is measured, with seed and method.
        on_warning: called with what to know of an endpoint.
    """

    on_search: Callable[[int, str], Watch] = lambda seed, method: Watch()
    on_measure: Callable[[int, str], None] = lambda seed, method: None
    on_warning: Callable[[str], None] = lambda warning: None


@dataclass(frozen=True, slots=True)
class PanelPlan:
    """The most that a comparison can ask for.

    Attributes:
        searches: run folders.
        requests: of the model, if every label is one token, before any cache.
        chat_requests: of the chat model, likewise.
    """

    searches: int
    requests: int
    chat_requests: int


async def plan_panel(config: Config, splits: Sequence[Split]) -> PanelPlan:
    """How many requests a comparison may take at most; sends nothing.

    Args:
        config: of the comparison.
        splits: a seed each.

    Raises:
        IcmError: whatever would stop it before its first request.
    """
    _check(config)
    runs = [method for method in SEARCHES if method in config.compare.methods]
    async with _opened(config, Meter()) as model:
        asked = sum(_of_searches(config, runs, split, model) + _of_measures(config, split) for split in splits)
        requests = _with_check(asked, model)
    chat = 0
    if _chats(config):
        async with _opened(config, Meter(), chat=True) as model:
            chat = _with_check(sum(len(split.searched) + len(split.held_out) for split in splits), model)
    return PanelPlan(len(runs) * len(splits), requests, chat)


def _check(config: Config) -> None:
    """Raise ConfigError for what no comparison can be made with."""
    if not config.cache.enabled:
        raise ConfigError("cache.enabled = false: a comparison needs the cache, or it would pay for questions twice")
    if config.budget.money is not None and config.compare.chat is not None and config.compare.chat_prices is None:
        raise ConfigError("budget.money needs the chat model's prices: state them under [compare.chat_prices]")


def _with_check(questions: int, model: LanguageModel) -> int:
    """As requests, with the check of the endpoint that a hosted one has once."""
    return (questions + (not model.capabilities.batches)) * model.capabilities.requests_per_prompt


def _chats(config: Config) -> bool:
    return config.compare.chat is not None and "chat" in config.compare.methods


def _of_searches(config: Config, runs: Sequence[str], split: Split, model: LanguageModel) -> int:
    size, most = len(split.searched), dict[str, int]()
    for method in runs:
        # At ICM's cost, and at most one round over it.
        like = "icm" if method == "bootstrap-equal" else method
        settings = settings_of(config.search, like, split.seed)
        task = build_task(config.changed(constraints=constraints_of(config, like)))
        kernel = build_kernel(build_objective(split.searched, model, task, settings), settings, Start())
        most[method] = kernel.most_requests(steps_of(settings, size)) + (2 * size if method != like else 0)
    return sum(most.values())


def _of_measures(config: Config, split: Split) -> int:
    settings, size, out = config.compare, len(split.searched), len(split.held_out)
    rows = [method for method in settings.rows if method != "chat"]
    asked = {CALIBRATED.get(method, method) for method in rows}
    curve = len(doubling(size)) if settings.curve and "icm" in rows else 0
    zero = {"zero-shot", "pseudo-labels"} & asked
    of_field = sum(BASELINES[name].requests(size) for name in settings.baselines)
    return size * (bool(zero) + ("pseudo-labels" in asked)) + of_field + out * (len(asked) + curve)


def _longest(config: Config, splits: Sequence[Split], aside: Collection[str]) -> int:
    sizes = [sum(key not in aside for key in split.searched.ids) for split in splits]
    return min(*sizes, config.compare.demonstrations or sizes[0], sizes[0])


async def search_all(config: Config, splits: Sequence[Split], folder: Path, watch: PanelWatch) -> Searched:
    """Run every search of the panel, or go on with it; no gold label is loaded yet.

    With `[run] executor`, seeds are searched side by side, and the methods of a seed one after the other.

    Args:
        config: of the comparison.
        splits: a seed each.
        folder: of the comparison; the runs go into `runs/METHOD-SEED` there.
        watch: is told of each search before it begins.

    Raises:
        RunError: another process is working on this comparison.
        IcmError: whatever stops a search; what was paid for is kept, and the same call goes on.
    """
    _check(config)
    place, found = Place(config, folder), dict[tuple[str, int], FinishedRun]()

    async def search_seed(split: Split, executor: Executor | None) -> None:
        for method in SEARCHES:
            if method not in config.compare.methods or (method == "icm-unconstrained" and not config.constraints):
                continue
            listen = watch.on_search(split.seed, method)
            settings = method_config(method, split, place)
            if method == "bootstrap-equal":
                settings = await at_equal_cost(settings, found["icm", split.seed], place, executor)
            found[method, split.seed] = await searched(settings, place, listen, executor)

    with locked(folder):
        async with seeds_executor(place) as executor:
            if executor is not None:
                await together([search_seed(split, executor) for split in splits])
            else:
                for split in splits:
                    await search_seed(split, None)
    ran = [(method, split.seed) for split in splits for method in SEARCHES]
    return {key: found[key] for key in ran if key in found}


async def measure_all(
    config: Config, splits: Sequence[Split], results: Searched, gold: Gold, folder: Path, watch: PanelWatch
) -> Comparison:
    """Compare the labels of every method with gold, and ask for the held-out examples after them.

    Args:
        config: of the comparison.
        splits: a seed each.
        results: as `search_all` gives them.
        gold: as `gold_of_splits` gives it.
        folder: of the comparison.
        watch: is told of each method before it is measured.

    Raises:
        RunError: another process is working on this comparison.
        IcmError: whatever stops a question; what was paid for is kept, and the same call goes on.
    """
    _check(config)
    with locked(folder):
        place = Place(config, folder)
        aside = of_searches(config, splits, results.values())
        bench = Bench(config, build_task(config), gold, results, 1, aside)
        chat, of_chat = None, [SeedCells()] * len(splits)
        # One model after the other, so that what the first spent is known to the second.
        if _chats(config):
            async with _checked(place, watch, chat=True) as model:
                bench, of_chat = await _measured(bench, splits, model, ["chat"], watch)
                chat = model.identity
        methods = [method for method in config.compare.rows if method != "chat"]
        async with _checked(place, watch) as model:
            bench, cells = await _measured(bench, splits, model, methods, watch)
            # What the chat model answered, but the other one did not, is no answer of anyone.
            asked = [{name: cell.without(bench.aside.reasons) for name, cell in one.methods.items()} for one in of_chat]
            both = [SeedCells(one | two.methods, two.curve) for one, two in zip(asked, cells, strict=True)]
            return compared(bench, splits, both, model.identity, chat)


async def _measured(
    bench: Bench, splits: Sequence[Split], model: LanguageModel, methods: Sequence[RowName], watch: PanelWatch
) -> tuple[Bench, list[SeedCells]]:
    """Every seed, and what it was measured with in the end: each example that is refused is one less, for all rows.

    Whatever was answered before that comes from the cache.
    """
    objective = objective_of_all(bench.config, splits, model)
    aside = without_long(bench.aside, objective)
    while True:
        check_left(splits, aside.reasons, bench.gold)
        bench = replace(bench, aside=aside, longest=_longest(bench.config, splits, aside.reasons))
        try:
            return bench, [await measure_seed(bench, split, model, methods, watch.on_measure) for split in splits]
        except ProviderError as error:
            aside = await aside.blaming(error, objective)
            for key, reason in aside.since(bench.aside).items():
                watch.on_warning(f"example {key!r} is set aside: {reason}")


@asynccontextmanager
async def _checked(place: Place, watch: PanelWatch, *, chat: bool = False) -> AsyncIterator[LanguageModel]:
    """The model or the chat model, its endpoint checked; what it sent is noted when it is closed."""
    config = place.config
    meter = Meter(place.left(), prices_of(config, chat=chat), ledger=Ledger(place.spending(chat=chat)))
    async with _opened(config, meter, chat=chat, jobs=place.folder / JOBS_FOLDER) as model:
        began = monotonic()
        try:
            for warning in await check_endpoint(model, build_task(config).verbalizer):
                watch.on_warning(warning)
            yield model
        finally:
            note_session(place.sessions(chat=chat), model, monotonic() - began)


def _opened(config: Config, meter: Meter, *, chat: bool = False, jobs: Path | None = None) -> LanguageModel:
    spec, options, keys = config.model.provider, config.model.options, ("model.provider", "model.options")
    if chat:
        assert config.compare.chat is not None
        spec, options, keys = config.compare.chat, config.compare.chat_options, ("compare.chat", "compare.chat_options")
    try:
        return open_model(
            spec, cache=cache_place(config), settings=config.client, meter=meter, options=options, jobs=jobs
        )
    except ConfigError as error:
        raise config.blamed(error, *keys) from error
