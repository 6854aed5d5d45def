"""The configuration of a run: what a TOML file, the environment and flags may say, checked at once.

Precedence: flags > environment (`ICM_SEARCH__STEPS=200`) > file > defaults. An unknown key is an error that
names the nearest valid one. API keys have no place here: they come from the environment alone.
Nothing is opened or computed here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from icm_api.errors import ConfigError

ENVIRONMENT_PREFIX = "ICM_"

Preset: TypeAlias = Literal["default", "paper", "reference"]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        # Algorithms 1 and 2 to the letter: the sum, one example a step, one long annealing.
        "paper": {"moves": "single", "statistic": "sum_logprob", "restarts": 1},
        # What the published code does: log-odds, and a temperature that falls with accepted changes, by 2.
        "reference": {
            "moves": "single",
            "statistic": "mean_logodds",
            "restarts": 1,
            "cool_by": "accepted",
            "cooling": 2.0,
        },
    }
)


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSection(Section):
    """`[data]`: the file of unlabelled examples. A relative path starts at the configuration's folder."""

    path: Path
    fields: tuple[str, ...] | None = None
    id: str = "id"
    group: str = "group"
    answer: str = "answer"


class PromptSection(Section):
    """`[prompt]`: how an example is shown, and how its label is written."""

    template: str = "{text}"
    instruction: str = ""
    separator: str = "\n\n"
    labels: tuple[str, ...] = ("True", "False")
    forms: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _forms_name_labels(self) -> PromptSection:
        for label in self.forms:
            if label not in self.labels:
                raise ValueError(f"forms: {label!r} is none of the labels {list(self.labels)}")
        return self


class ModelSection(Section):
    """`[model]`: which model to ask, as a spec such as "pocket"."""

    provider: str = "pocket"


class ConstraintSection(Section):
    """Fields that every `[[constraints]]` table has."""

    weight: float = Field(default=1.0, gt=0)


class MutuallyExclusive(ConstraintSection):
    """Two different answers of a group cannot both have the label."""

    kind: Literal["mutually_exclusive"]
    label: str
    by: str = "answer"


class Equivalent(ConstraintSection):
    """Equal answers of a group have equal labels."""

    kind: Literal["equivalent"]
    by: str = "answer"


class Implies(ConstraintSection):
    """One label forces another on the examples that metadata key `to` names."""

    kind: Literal["implies"]
    if_label: str
    then_label: str
    to: str = "implies"


class Asymmetric(ConstraintSection):
    """A pair and its swapped copy cannot both have the label."""

    kind: Literal["asymmetric"]
    label: str
    first: str = "left"
    second: str = "right"
    total: bool = False


class ExactlyOne(ConstraintSection):
    """One example of each group has the label."""

    kind: Literal["exactly_one"]
    label: str


class Transitive(ConstraintSection):
    """a over b and b over c force a over c."""

    kind: Literal["transitive"]
    label: str
    first: str = "left"
    second: str = "right"


Constraints = Annotated[
    MutuallyExclusive | Equivalent | Implies | Asymmetric | ExactlyOne | Transitive,
    Field(discriminator="kind"),
]


class SearchSettings(Section):
    """`[search]`: the objective and the search. What is not given comes from the preset.

    Attributes:
        preset: "default", "paper" (Algorithms 1 and 2 to the letter) or "reference" (the published code).
        seed: of every random draw.
        steps: proposals, over all restarts; by the size of the data set where not given.
        restarts: how many times the search begins anew within `steps`.
        alpha: weight of P(D) against I(D).
        statistic: how P(D) is summed up.
        estimator: how P(D) is estimated.
        moves: "groups" moves whole groups of related examples, "single" one example and then repairs.
        seed_labels: K, examples labelled at random at the start.
        initial_temperature, minimum_temperature, cooling: T_0, T_min and beta of the schedule.
        cool_by: what the schedule counts, steps or accepted changes.
        related_weight: sampling weight of unlabelled examples related to labelled ones.
        repairs: the most conflicts that one `consistency_fix` looks at (moves = "single").
        growth: examples added a step, as a share of those labelled (moves = "groups").
        patience: refused relabelings in a row that end a restart; growth_patience: that end a relabeling
            between two steps of growth (moves = "groups").
    """

    preset: Preset = "default"
    seed: int = Field(default=0, ge=0)
    steps: int | None = Field(default=None, ge=1)
    restarts: int = Field(default=4, ge=1)
    alpha: float = Field(default=50.0, gt=0)
    statistic: Literal["mean_logprob", "sum_logprob", "mean_logodds"] = "mean_logprob"
    estimator: Literal["leave_one_out"] = "leave_one_out"
    moves: Literal["groups", "single"] = "groups"
    seed_labels: int = Field(default=8, ge=0)
    initial_temperature: float = Field(default=10.0, gt=0)
    minimum_temperature: float = Field(default=0.01, gt=0)
    cooling: float = Field(default=0.99, ge=0)
    cool_by: Literal["steps", "accepted"] = "steps"
    related_weight: float = Field(default=100.0, gt=0)
    repairs: int = Field(default=10, ge=0)
    growth: float = Field(default=0.25, gt=0)
    patience: int = Field(default=24, ge=1)
    growth_patience: int = Field(default=2, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = PRESETS.get(str(given.get("preset", "default")), {})
        return {**preset, **given}

    def budget(self, size: int) -> int:
        """Steps for a data set of this size: as given, else enough that every restart can finish."""
        return self.steps if self.steps is not None else max(300, 6 * size)


class CacheSection(Section):
    """`[cache]`: where answers of models are kept; `enabled = false` keeps none, and then a resume asks again."""

    enabled: bool = True
    folder: Path | None = None


class RunSection(Section):
    """`[run]`: the run folder; by default `runs/` and the configuration's name, beside the configuration."""

    folder: Path | None = None


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
    cache: CacheSection = CacheSection()
    run: RunSection = RunSection()


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
            "data": config.data.model_copy(update={"path": base / config.data.path.expanduser()}),
            "run": RunSection(folder=base / folder.expanduser()),
            "cache": cache,
        }
    )


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
        message = f"{key}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r}"
    return source + message + (f" (and {count - 1} more)" if count > 1 else "")


_CONSTRAINT_KINDS = frozenset(
    get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(Constraints)[0])
)


def _known_keys() -> Iterator[str]:
    for section, field in Config.model_fields.items():
        yield section
        models = get_args(get_args(Constraints)[0]) if section == "constraints" else (field.annotation,)
        for model in models:
            if isinstance(model, type) and issubclass(model, BaseModel):
                yield from (f"{section}.{key}" for key in model.model_fields)


def _without_numbers(key: str) -> str:
    return ".".join(part for part in key.split(".") if not part.isdigit())
