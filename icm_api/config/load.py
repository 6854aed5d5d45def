"""Reading a configuration: the whole of it, where its values come from, and what is wrong with one that won't do."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from icm_api.config.compare import CompareSettings
from icm_api.config.constraints import Constraints
from icm_api.config.diagnostics import DiagnosticsSettings
from icm_api.config.sections import (
    Budget,
    CacheSection,
    ClientSettings,
    DataSection,
    ModelSection,
    Prices,
    PromptSection,
    RunSection,
    SearchSettings,
)
from icm_api.errors import ConfigError

ENVIRONMENT_PREFIX = "ICM_"
_S = TypeVar("_S", bound=BaseModel)


class Config(BaseSettings):
    """Everything a run depends on."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__"
    )

    data: DataSection
    prompt: PromptSection = PromptSection()
    model: ModelSection = ModelSection()
    constraints: tuple[Constraints, ...] = ()
    search: SearchSettings = SearchSettings()
    client: ClientSettings = ClientSettings()
    budget: Budget = Budget()
    prices: Prices | None = None
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    compare: CompareSettings = CompareSettings()
    cache: CacheSection = CacheSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _money_has_prices(self) -> Config:
        if self.budget.money is not None and self.prices is None:
            raise ValueError("budget.money needs the model's prices: state them under [prices]")
        return self


def load_config(path: str | Path, flags: Mapping[str, Any] | None = None, *, environment: bool = True) -> Config:
    """Read a configuration file, with the environment and flags over it.

    Args:
        path: a TOML file.
        flags: nested like the file, e.g. {"search": {"steps": 200}}; they win over everything.
        environment: whether `ICM_*` variables count; they don't for a configuration that is already resolved.

    Returns:
        The checked configuration; its paths are absolute.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown, or a value is unusable. One line.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")

    class FileConfig(Config):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            between = (env_settings,) if environment else ()
            return init_settings, *between, TomlConfigSettingsSource(settings_cls, path)

    try:
        found = FileConfig(**(flags or {}))
    except ValidationError as error:
        raise ConfigError(_explain(error, path, flags or {})) from error
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return _with_absolute_paths(found, path)


def _with_absolute_paths(config: Config, path: Path) -> Config:
    base = path.resolve().parent
    folder = config.run.folder or Path("runs") / path.stem
    cache = config.cache
    if cache.folder is not None:
        cache = cache.model_copy(update={"folder": base / cache.folder.expanduser()})
    return Config.model_construct(
        **{
            **{name: getattr(config, name) for name in Config.model_fields},
            "data": _absolute(config.data, base, *(["fixed"] if config.data.from_hub else ["path", "fixed"])),
            "search": _absolute(config.search, base, "start"),
            "compare": _absolute(config.compare, base, "test", "test_gold"),
            "run": RunSection(folder=base / folder.expanduser()),
            "cache": cache,
        }
    )


def _absolute(section: _S, base: Path, *keys: str) -> _S:
    """The section with its paths starting at a folder; a path that is not given stays so."""
    given = {key: path for key in keys if (path := getattr(section, key)) is not None}
    return section.model_copy(update={key: base / path.expanduser() for key, path in given.items()})


def _explain(error: ValidationError, path: Path, flags: Mapping[str, Any]) -> str:
    first, count = error.errors()[0], error.error_count()
    place = [str(part) for part in first["loc"] if str(part) not in _CONSTRAINT_KINDS]
    key, variable = ".".join(place), ENVIRONMENT_PREFIX + "__".join(place).upper()
    given: Any = flags
    for part in place:
        given = given.get(part) if isinstance(given, Mapping) else None
    source = "flags: " if given is not None else f"{variable}: " if variable in os.environ else f"{path}: "
    if first["type"] == "extra_forbidden":
        known = list(_known_keys())
        near = get_close_matches(_without_numbers(key), known, n=1, cutoff=0.5) or get_close_matches(
            key.rpartition(".")[2], [each.rpartition(".")[2] for each in known], n=1, cutoff=0.5
        )
        message = f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    elif first["type"] == "missing":
        message = f"key {key!r} is missing"
    else:
        reason = first["msg"].removeprefix("Value error, ")
        # What is wrong between two sections has no place of its own, and names its keys itself.
        message = f"{key}: {reason}, got {first['input']!r}" if key else reason
    return source + message + (f" (and {count - 1} more)" if count > 1 else "")


_CONSTRAINT_KINDS = frozenset(
    get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(Constraints)[0])
)


def _known_keys() -> Iterator[str]:
    for section, field in Config.model_fields.items():
        yield section
        models = get_args(get_args(Constraints)[0]) if section == "constraints" else _alternatives(field.annotation)
        for model in models:
            if isinstance(model, type) and issubclass(model, BaseModel):
                yield from (f"{section}.{key}" for key in model.model_fields)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types that a field may have: `Prices | None` is two."""
    return get_args(annotation) or (annotation,)


def _without_numbers(key: str) -> str:
    return ".".join(part for part in key.split(".") if not part.isdigit())
