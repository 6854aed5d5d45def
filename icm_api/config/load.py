"""Reading a configuration: the whole of it, where each value comes from, and what is wrong with an unusable one.

Flags win over the environment, the environment over the file, the file over the defaults: here and nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Self, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, PrivateAttr, ValidationError, model_validator

from icm_api.config.constraints import Constraints
from icm_api.config.costs import Budget, Prices
from icm_api.config.judging import CompareSettings, DiagnosticsSettings
from icm_api.config.large import BatchesSection, CoreSection
from icm_api.config.model import CacheSection, ClientSettings, ModelSection
from icm_api.config.presets import ENGINE_NAMES
from icm_api.config.run import RunSection
from icm_api.config.search import SearchSettings
from icm_api.config.section import TAG, Section, described
from icm_api.config.task import DataSection, PromptSection
from icm_api.config.toml_file import read_toml
from icm_api.errors import ConfigError

ENVIRONMENT_PREFIX = "ICM_"
"""How the names of variables begin that set a key: `ICM_SEARCH__STEPS` sets `search.steps`."""
RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "data.task": "data.format",
        "model.options.timeout": "client.timeout",
        "compare.chat_options.timeout": "client.timeout",
    }
)
"""Keys that had another name once: the old name, and the one of today."""
_S = TypeVar("_S", bound=Section)


class Config(Section):
    """Everything a run depends on. Built in Python it reads no file and no environment: `load_config` does.

    Attributes:
        data: where the unlabelled examples are.
        prompt: how an example is shown, and how its label is written.
        model: which model to ask.
        constraints: what holds between labels of related examples.
        search: the objective and the search.
        core: what is searched of a large data set; by default what fits the context window.
        batches: how it is searched in batches, if it is.
        client: how a hosted model is asked.
        budget: what the run may cost at most.
        prices: what the model's provider charges.
        diagnostics: how the labels are judged without gold.
        compare: the baselines of `icm-api compare`.
        cache: where answers of models are kept.
        run: the run folder.
    """

    data: DataSection
    prompt: PromptSection = PromptSection()
    model: ModelSection = ModelSection()
    constraints: tuple[Constraints, ...] = ()
    search: SearchSettings = SearchSettings()
    core: CoreSection | None = None
    batches: BatchesSection | None = None
    client: ClientSettings = ClientSettings()
    budget: Budget = Budget()
    prices: Prices | None = None
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    compare: CompareSettings = CompareSettings()
    cache: CacheSection = CacheSection()
    run: RunSection = RunSection()
    _sources: _Sources = PrivateAttr(default_factory=lambda: _Sources())

    def changed(self, **updates: Any) -> Self:
        """As `Section.changed`; what is not given is still known to come from where it came from."""
        found = super().changed(**updates)
        found._sources = self._sources
        return found

    def blamed(self, error: ConfigError, name: str = "model.provider", options: str = "model.options") -> ConfigError:
        """An error of opening a model, with the flags, the variable or the file that states what is to blame.

        Args:
            error: as `open_model` raises it.
            name: the key of the model that was opened.
            options: the key of its options.

        Returns:
            The same error if it is of nothing that a configuration states, or if this one was built in Python.
        """
        if error.option is None:
            return error
        # An address may be part of the name.
        source = self._sources.of(f"{options}.{error.option}") or self._sources.of(name)
        return error if source is None else ConfigError(f"{source}: {error}", option=error.option)

    @model_validator(mode="after")
    def _jobs_have_one_sender(self) -> Self:
        if self.client.tier == "batch" and self.run.executor is not None:
            raise ValueError('client.tier = "batch" has one process send whole jobs: leave run.executor out')
        return self

    @model_validator(mode="after")
    def _money_has_prices(self) -> Self:
        if self.budget.money is not None and self.prices is None:
            raise ValueError("budget.money needs the model's prices: state them under [prices]")
        if self.budget.ask_above is not None and self.prices is None:
            raise ValueError("budget.ask_above needs the model's prices: state them under [prices]")
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
        ConfigError: the file is missing or no TOML, a key is unknown, or a value is unusable. It is one line that
            names the flags, the variable or the file, and the key.
    """
    path = Path(path)
    variables = {name.upper(): text for name, text in os.environ.items()} if environment else {}
    sources = _Sources(path, read_toml(path), variables, flags or {})
    sources.check_names()
    try:
        found = Config.model_validate(sources.merged())
    except ValidationError as error:
        raise ConfigError(sources.explained(error)) from error
    sources.check_engine(found.search.engine)
    found._sources = sources
    return _with_absolute_paths(found, path)


def _with_absolute_paths(config: Config, path: Path) -> Config:
    base = path.resolve().parent
    folder = config.run.folder or Path("runs") / path.stem
    return config.changed(
        data=_absolute(config.data, base, *(["fixed"] if config.data.from_hub else ["path", "fixed"])),
        search=_absolute(config.search, base, "start"),
        compare=_absolute(config.compare, base, "test", "test_gold"),
        run=config.run.changed(folder=base / folder.expanduser()),
        cache=_absolute(config.cache, base, "folder"),
    )


def _absolute(section: _S, base: Path, *keys: str) -> _S:
    """The section with its paths starting at a folder; a path that is not given stays so."""
    given = {key: path for key in keys if isinstance(path := getattr(section, key), Path)}
    return section.changed(**{key: base / path.expanduser() for key, path in given.items()})


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where the values of a configuration come from, each nested like the file. It makes no configuration another one.

    Attributes:
        path: of the file; None if there is none.
        file: what the file says.
        variables: of the environment, by their names in capitals.
        flags: of the command line, or of the caller.
    """

    path: Path | None = field(default=None, compare=False)
    file: Mapping[str, Any] = field(default_factory=dict, compare=False)
    variables: Mapping[str, str] = field(default_factory=dict, compare=False)
    flags: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def merged(self) -> Mapping[str, Any]:
        """Flags over environment over file; if flags name a model of another provider, no options but theirs."""
        below, model = _over(self.file, self._environment()), self.flags.get("model", {})
        before = below.get("model")
        if isinstance(before, Mapping) and _provider(model, before) != _provider(before):
            below = {**below, "model": {key: value for key, value in before.items() if key != "options"}}
        return _over(below, self.flags)

    def of(self, key: str) -> str | None:
        """The source of a key; None if none states it."""
        place = key.split(".")
        return self._named(place) if _has(self.merged(), place) else None

    def _environment(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = {}
        # A variable of a whole table first, and then those of its keys.
        for name in sorted(self.variables, key=lambda name: (name.count("__"), name)):
            place = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            if name.startswith(ENVIRONMENT_PREFIX) and place[0] in Config.model_fields:
                value = _decoded(name, place, self.variables[name])
                for key in reversed(place):
                    value = {key: value}
                found = _over(found, value)
        return found

    def check_names(self) -> None:
        """Raises ConfigError if a key has its old name, or if a variable is all but one of a table's."""
        for name in sorted(self.variables):
            table = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")[0]
            if name.startswith(ENVIRONMENT_PREFIX) and "__" in name and table not in Config.model_fields:
                for near in get_close_matches(table, Config.model_fields, n=1):
                    meant = ENVIRONMENT_PREFIX + near.upper() + name[len(ENVIRONMENT_PREFIX + table) :]
                    raise ConfigError(f"{name}: there is no table [{table}]; did you mean {meant}?")
        merged = self.merged()
        for old, new in RENAMED.items():
            place = old.split(".")
            if _has(merged, place):
                raise ConfigError(f"{self._named(place)}: unknown key {old!r}: it is now called {new!r}")

    def check_engine(self, name: str) -> None:
        """Raises ConfigError if there is no engine of that name."""
        if name not in ENGINE_NAMES:
            near = get_close_matches(name, ENGINE_NAMES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            where = self._named(["search", "engine"])
            raise ConfigError(
                f"{where}: search.engine: unknown engine {name!r}; {hint}known: {', '.join(ENGINE_NAMES)}"
            )

    def explained(self, error: ValidationError) -> str:
        """The first thing that is wrong, in one line, and where the value came from."""
        first, count = error.errors(include_url=False)[0], error.error_count()
        place = [str(part) for part in first["loc"] if str(part) not in _CONSTRAINT_KINDS]
        key = ".".join(place)
        if first["type"] == "extra_forbidden":
            near = _nearest(key)
            message = f"unknown key {key!r}" + (f"; did you mean {near!r}?" if near else "")
        elif first["type"] in ("missing", "union_tag_not_found"):
            missing = key if first["type"] == "missing" else f"{key}.{TAG}"
            message = f"key {missing!r} is missing"
        else:
            message = described(first, key)
        return f"{self._named(place)}: {message}" + (f" (and {count - 1} more)" if count > 1 else "")

    def _named(self, place: Sequence[str]) -> str:
        """The source of a value: of those that state it, the one that wins."""
        if _has(self.flags, place):
            return "flags"
        for length in range(len(place), 0, -1):
            variable = ENVIRONMENT_PREFIX + "__".join(place[:length]).upper()
            if variable in self.variables and _has(self._environment(), place):
                return variable
        return str(self.path)


def _provider(*models: Mapping[str, Any]) -> str:
    """The provider of the first `[model]` that names one."""
    stated = (model["provider"] for model in models if model.get("provider") is not None)
    return str(next(stated, ModelSection().provider)).partition(":")[0]


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """Both, table by table; what is above wins."""
    both = {key: _over(below[key], value) for key, value in above.items() if _are_tables(below.get(key), value)}
    return {**below, **above, **both}


def _are_tables(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _has(source: Any, place: Sequence[str]) -> bool:
    """Whether a source says anything at a place; an empty table says nothing, and the whole is no place."""
    for key in place:
        if isinstance(source, list) and key.isdigit() and int(key) < len(source):
            source = source[int(key)]
        elif isinstance(source, Mapping):
            source = source.get(key)
        else:
            return False
    return bool(place) and source is not None and source != {}


def _decoded(variable: str, place: Sequence[str], text: str) -> Any:
    """A variable's value: JSON if the key holds a table or a list, else its text."""
    annotation: Any = Config
    for key in place:
        fields = (model.model_fields for model in _alternatives(annotation) if _is_a(model, BaseModel))
        annotation = next((known[key].annotation for known in fields if key in known), None)
    kinds = _alternatives(annotation)
    if not any(_is_a(kind, BaseModel, Mapping, tuple) for kind in kinds):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not isinstance(value, Mapping) and any(_is_a(kind, BaseModel, Mapping) for kind in kinds):
        # Else a table of another source could cover it up.
        raise ConfigError(f"{variable}: {'.'.join(place)} is a table: write it as a JSON object, got {text!r}")
    return value


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types that a field may have: `Prices | None` is two."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_a(annotation: Any, *kinds: type) -> bool:
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, kinds)


_CONSTRAINT_KINDS = frozenset(
    get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(Constraints)[0])
)


def _nearest(key: str) -> str | None:
    """The valid key that is most like an unknown one."""
    known = list(_known_keys())
    plain = ".".join(part for part in key.split(".") if not part.isdigit())
    near = get_close_matches(plain, known, n=1, cutoff=0.5) or get_close_matches(
        key.rpartition(".")[2], [each.rpartition(".")[2] for each in known], n=1, cutoff=0.5
    )
    return near[0] if near else None


def _known_keys() -> Iterator[str]:
    for section, info in Config.model_fields.items():
        yield section
        models = get_args(get_args(Constraints)[0]) if section == "constraints" else _alternatives(info.annotation)
        for model in models:
            if _is_a(model, BaseModel):
                yield from (f"{section}.{key}" for key in model.model_fields)
