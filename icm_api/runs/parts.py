"""From a configuration to what a run is made of: examples, task, labels known beforehand, model.

Nothing is searched here, and nothing written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from platformdirs import user_cache_path

from icm_api.config import Config, ConstraintSection, Prices, load_config
from icm_api.consistency import constraints
from icm_api.data import DataSource, find_format, load_examples, load_fixed
from icm_api.errors import ConfigError, RunError
from icm_api.model import LanguageModel, Ledger, Meter
from icm_api.model import open_model as open_spec
from icm_api.model.client.limits import Limiting
from icm_api.model.client.line import Line
from icm_api.model.client.meter import Metering
from icm_api.result import Result
from icm_api.runs.folder import CONFIG_FILE, JOBS_FOLDER, SPENDING_FILE, existing, folder_of
from icm_api.search import Start, make_start
from icm_api.types import Constraint, Dataset, Labeling, PromptTemplate, Task, Verbalizer

MOST_DAYS = 180
"""After so many days prices deserve another look."""
# What tiers of service cost, as a share of the list (looked up 2026-11).
_SHARES: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("openai", "flex"): 0.5,
        ("openai", "batch"): 0.5,
        ("anthropic", "batch"): 0.5,
        # Of some models.
        ("together", "batch"): 0.5,
    }
)
_CONSTRAINT_KEYS = ("by", "to", "first", "second")
"""The settings of a constraint that name a key of the examples."""


def config_of(folder: Path) -> Config:
    """The resolved configuration of a run, from its folder.

    Raises:
        RunError: it is not the folder of a run.
    """
    return load_config(existing(folder, CONFIG_FILE), environment=False)


def build_task(config: Config) -> Task:
    """Template, labels and constraints as the configuration states them.

    Raises:
        ConfigError: the template, a form or a constraint is unusable.
    """
    prompt = config.prompt
    try:
        verbalizer = Verbalizer({label: prompt.forms.get(label, (f" {label}",)) for label in prompt.labels})
    except ValueError as error:
        raise ConfigError(f"prompt.labels, prompt.forms: {error}") from error
    template = PromptTemplate(prompt.template, prompt.instruction, prompt.separator)
    return Task(template, verbalizer, tuple(build_constraint(section) for section in config.constraints))


def build_constraint(section: ConstraintSection) -> Constraint:
    """The constraint that a `[[constraints]]` table describes."""
    values = section.model_dump()
    factory = getattr(constraints, values.pop("kind"))
    built: Constraint = factory(**values)
    return built


def load_dataset(config: Config) -> Dataset:
    """The unlabelled examples.

    Raises:
        DataError: the source is missing or has a bad row.
        ConfigError: `[data]` does not fit the source.
    """
    return load_examples(data_source(config))


def data_source(config: Config) -> DataSource:
    """Where the examples come from. Only keys that the prompt shows or a constraint names are loaded from rows."""
    data = config.data
    shown = PromptTemplate(config.prompt.template).fields if find_format(data.format).by_columns else None
    return DataSource(
        str(data.path),
        data.format,
        data.fields or shown,
        id=data.id,
        group=data.group,
        answer=data.answer,
        metadata=tuple(key for key in keys_of(config.constraints) if key not in ("answer", "group")),
        name=data.name,
        split=data.split,
        limit=data.limit,
        seed=data.seed,
        drop_thoughts=data.drop_thoughts,
        delimiter=data.delimiter,
        on_empty=data.on_empty,
    )


def keys_of(sections: Sequence[ConstraintSection]) -> tuple[str, ...]:
    """The keys of the examples that constraints read, in the order of the alphabet.

    Args:
        sections: of the configuration.
    """
    named = {getattr(section, key, None) for section in sections for key in _CONSTRAINT_KEYS}
    return tuple(sorted(key for key in named if key))


def load_start(config: Config, dataset: Dataset, task: Task) -> Start:
    """The labels that a person fixed, and those of the run to start from.

    Raises:
        DataError: the file of fixed labels is missing or has a bad row.
        RunError: the run to start from is missing or not finished.
        ConfigError: it has no label for any of the examples, or labels of another label set.
    """
    labels, path = task.verbalizer.labels, config.data.fixed
    fixed = Labeling() if path is None else load_fixed(path, dataset, labels)
    before = config.search.earlier
    try:
        warm = None if before is None else Result.load(before).labeling
    except RunError as error:
        raise RunError(f"search.start: {error}") from error
    return make_start(dataset, labels, fixed, warm)


def default_cache_folder() -> Path:
    """Where answers are kept when a configuration names no other place: the user's own cache folder."""
    return user_cache_path("icm-api") / "responses"


def cache_place(config: Config) -> Path | str | None:
    """Where answers are kept: a folder, or the address of a server; None if they are not.

    Args:
        config: of the run.
    """
    cache = config.cache
    return (cache.url or cache.folder or default_cache_folder()) if cache.enabled else None


def prices_of(config: Config, *, chat: bool = False) -> Prices | None:
    """What the model's provider charges in the service tier that is asked for; None if nobody stated it.

    Args:
        config: with prices as they are on the provider's list of ordinary requests.
        chat: those of the chat model of a comparison.
    """
    spec, prices = (
        (config.compare.chat or "", config.compare.chat_prices) if chat else (config.model.provider, config.prices)
    )
    share = _SHARES.get((spec.partition(":")[0], config.client.tier or ""), 1.0)
    return prices if prices is None or share == 1 else prices.scaled(share)


def old_prices(config: Config) -> str:
    """What to say of prices that were looked up long ago; empty if they were not.

    Args:
        config: with the prices.
    """
    age = None if config.prices is None else config.prices.age(datetime.now(UTC).date())
    if age is None or age <= MOST_DAYS:
        return ""
    return f"the prices were looked up {age} days ago (prices.date): look at the provider's list, and state them anew"


@asynccontextmanager
async def open_models(
    config: Config, line: Line | None = None
) -> AsyncIterator[tuple[LanguageModel, LanguageModel | None]]:
    """The model, and the witness if one is named, under one budget, on which earlier sessions of the run count.

    Args:
        config: of the run.
        line: to what holds budget and limits for several processes; by default this process has its own.

    Raises:
        ConfigError: unknown provider.
        ProviderError: a model cannot be loaded.
        StorageError: the cache cannot be opened.
        RunError: the ledger of the run is damaged.
    """
    limits = None if line is None else line.limits
    meter: Metering = line or run_meter(config)
    async with AsyncExitStack() as opened:
        model = await opened.enter_async_context(open_model(config, meter=meter, limits=limits))
        spec, witness = config.diagnostics.witness, None
        if spec is not None and config.diagnostics.enabled:
            named = config.model.changed(provider=spec, options=dict(config.diagnostics.witness_options))
            witness = await opened.enter_async_context(
                open_model(config.changed(model=named), meter=meter, limits=limits)
            )
        yield model, witness


def run_meter(config: Config) -> Meter:
    """The meter of a run, with its ledger, and with what earlier sessions spent.

    Args:
        config: of the run.

    Raises:
        RunError: the ledger of the run is damaged.
    """
    ledger = Ledger(folder_of(config) / SPENDING_FILE)
    return Meter(config.budget, prices_of(config), ledger.before, ledger)


def open_model(config: Config, *, meter: Metering | None = None, limits: Limiting | None = None) -> LanguageModel:
    """The model, with its cache, its limits and its budget, on which earlier sessions of the run count.

    Args:
        config: of the run.
        meter: of the budget, if it is shared with another model.
        limits: requests and tokens a minute, if they are shared with another process.

    Raises:
        ConfigError: an unknown provider or option: which flag, variable or file states it.
        ProviderError: the model cannot be loaded.
        StorageError: the cache cannot be opened.
        RunError: the ledger of the run is damaged.
    """
    meter = meter or run_meter(config)
    try:
        return open_spec(
            config.model.provider,
            cache=cache_place(config),
            settings=config.client,
            meter=meter,
            limits=limits,
            options=config.model.options,
            jobs=folder_of(config) / JOBS_FOLDER,
        )
    except ConfigError as error:
        raise config.blamed(error) from error
