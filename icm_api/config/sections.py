"""The tables of a configuration, and how a value of one is changed. Constraints and judging have files of their own.

Nothing is opened or computed here.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from icm_api.config.presets import ENGINE_DEFAULTS, PRESETS, Preset
from icm_api.data import HUB, find_format, format_names
from icm_api.errors import ConfigError, without_password

TOLERATE = 0.05
"""Share of the examples that a run may set aside if nobody says otherwise."""


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def changed(self, **updates: Any) -> Self:
        """The section with other values, checked as a whole as if it were read anew.

        What was never given is filled in anew, e.g. from another preset.

        Args:
            **updates: values by key, as the constructor takes them.

        Raises:
            ConfigError: a key is unknown, or a value is unusable or does not fit the others.

        Example:
            >>> SearchSettings(preset="paper", seed=3).changed(preset="default").restarts
            4
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        try:
            return self.model_validate({**given, **updates})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ConfigError(described(first, ".".join(map(str, first["loc"])))) from error


def described(problem: ErrorDetails, key: str) -> str:
    """A validation error in one line.

    Args:
        problem: one of `ValidationError.errors()`.
        key: the full key of the value; empty for what is wrong between two sections, which names its keys itself.
    """
    reason = problem["msg"].removeprefix("Value error, ")
    if not key or reason.startswith(f"{key}."):
        return reason
    # What is wrong between the keys of a table names them; the others are not to blame, and one may be a password.
    of_table = problem["type"] == "value_error" and isinstance(problem["input"], dict)
    return f"{key}: {reason}" if of_table else f"{key}: {reason}, got {problem['input']!r}"


class DataSection(Section):
    """`[data]`: where the unlabelled examples are, and what their rows mean.

    Attributes:
        path: a .jsonl, .json, .csv or .tsv file, packed or not, a Parquet file or an Excel workbook, relative to the
            configuration's folder; or "hub:OWNER/NAME".
        format: "rows" are examples by the keys below; the other formats know their own files.
        name: the configuration of a data set of the hub.
        split: the split of a data set of the hub.
        limit: the most examples to take, by whole groups, chosen by `seed`; by default all.
        delimiter: what stands between the cells of delimited text, such as ";"; by default it is found.
        fixed: a file of labels from a person, which no search changes.
        fields: keys of the texts (format "rows"; by default those that the prompt shows), or of the two replies, after
            any that are shown with them (format "preferences").
        seed: seed of that choice.
        id: key of the ids.
        group: key of the groups; examples that constraints may relate share one (format "rows").
        answer: key of what an example claims within its group (format "rows").
        on_empty: what to do with a row without a text: "stop" with an error, or "skip" it and say so.
        drop_thoughts: take out of every text what a model only thought, such as <think> blocks; of solutions (format
            "gsm8k") they are left out in any case.
    """

    path: Path
    format: str = "rows"
    name: str | None = None
    split: str = "train"
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    fixed: Path | None = None
    fields: tuple[str, ...] | None = None
    id: str = "id"
    group: str = "group"
    answer: str = "answer"
    drop_thoughts: bool = False
    on_empty: Literal["stop", "skip"] = "stop"
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)

    @property
    def from_hub(self) -> bool:
        """Whether `path` names a data set of the hub, and no file."""
        return str(self.path).startswith(HUB)

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, name: str) -> str:
        if name not in format_names():
            raise ValueError(f"no such format; there are {', '.join(format_names())}")
        return name

    @model_validator(mode="after")
    def _keys_have_a_meaning(self) -> DataSection:
        if (self.name is not None or self.split != "train") and not self.from_hub:
            raise ValueError('data.name and data.split are of a hub data set: path = "hub:OWNER/NAME"')
        if self.delimiter is not None and (self.from_hub or self.delimiter in '"\r\n' or self.delimiter.isalnum()):
            raise ValueError('data.delimiter is one character between the cells of a file, such as ";" or "\\t"')
        keys = find_format(self.format).keys
        if self.fields is not None and "fields" not in keys:
            raise ValueError(f'data.fields: format = "{self.format}" has fields of its own; leave the key out')
        if (self.group, self.answer) != ("group", "answer") and not {"group", "answer"} <= {*keys}:
            raise ValueError(f'data.group, data.answer: format = "{self.format}" knows them; leave the keys out')
        return self


class PromptSection(Section):
    """`[prompt]`: how an example is shown, and how its label is written.

    Attributes:
        template: text with fields such as `{question}`; a literal brace is written twice. The label follows it.
        instruction: text before everything else, once.
        separator: text after the instruction and after each demonstration.
        labels: the label set; its order decides ties.
        forms: per label, the texts that count as it, the first of them shown in demonstrations; by default one
            space and the label.
    """

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
    """`[model]`: which model to ask, and what its provider takes besides.

    Attributes:
        provider: the spec of the model, such as "pocket", "openai:gpt-6-luna" or "vllm:MODEL@http://127.0.0.1:8000/v1".
        options: what the provider takes besides, e.g. `context_window`; an unknown option is an error.
    """

    provider: str = "pocket"
    options: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("provider")
    @classmethod
    def _in_one_spelling(cls, spec: str) -> str:
        """Without space around it, and without the colon of a model that is not named: "pocket:" is "pocket"."""
        return spec.strip().removesuffix(":")


class SearchSettings(Section):
    """`[search]`: the objective and the search. What is not given comes from the preset.

    Attributes:
        preset: "default", "paper" (Algorithms 1 and 2 to the letter) or "reference" (the published code); the last
            two are ways to anneal.
        engine: "rounds", calibrated rounds that start at zero-shot predictions; "anneal"; "bootstrap", where
            predictions become the next round's demonstrations; "folds", where a fold is relabelled given the others;
            or "gibbs", which samples from the model's own conditionals.
        seed: seed of every random draw.
        steps: proposals, or rounds (bootstrap) and sweeps (folds, gibbs), over all restarts; by default as
            many as the size of the data set asks for (anneal), or so that every restart has its `rounds`.
        restarts: how many times the search begins anew within `steps`.
        rounds: the most rounds or sweeps of one restart (bootstrap, folds, gibbs).
        folds: F, parts of the data set (engine "folds", estimator "shared").
        start: where the first restart begins: "zero-shot" predictions, "random" labels, or the labels of a finished
            run, by its folder; by default as the engine does. Write a folder of such a name as "./random".
        alpha: weight of P(D) against I(D).
        statistic: what is maximised: "information", or U(D) with P(D) summed up in one of the other ways; by default
            information, unless the constraints rule out that all labels are alike.
        calibration: how predictions are calibrated: "none", "batch" or "centres"; by default rounds tries all
            and takes what is worth more, and the other engines do not calibrate.
        prior: the share of each label, if it is known.
        estimator: how P(D) is estimated: "leave_one_out" exactly; "joint", all labels of an ordering in one request,
            if the model gives logprobs of its prompts; "shared", a fold of examples after the same demonstrations; by
            default "joint" or "shared" as the model allows (rounds), or exactly (the other engines).
        demonstrations: the most in a context of estimator "shared"; by default 16, or 4 for each label.
        exact: the most examples for which the labels handed out are scored by leave-one-out too, if another estimator
            was searched with; 0 for never. Decision endpoints take a request for each, so there only if it is stated.
        moves: "groups" moves whole groups of related examples, "single" one example and then repairs (anneal).
        seed_labels: K, examples labelled at random at the start, besides those that a person labelled.
        initial_temperature: T_0 of the schedule, by default 10 in units of U (anneal) and 1 in units of log p (gibbs).
        minimum_temperature: T_min of the schedule, in the same units.
        cooling: beta of the schedule, how fast the temperature falls.
        cool_by: what the schedule counts, steps or accepted changes.
        related_weight: sampling weight of unlabelled examples related to labelled ones.
        repairs: the most conflicts that one `consistency_fix` looks at (moves = "single").
        growth: examples added a step, as a share of those labelled (moves = "groups").
        patience: refused relabelings in a row that end a restart (moves = "groups").
        growth_patience: refused relabelings in a row after which the labeling grows again (moves = "groups").
    """

    preset: Preset = "default"
    engine: str = "rounds"
    seed: int = Field(default=0, ge=0)
    steps: int | None = Field(default=None, ge=1)
    restarts: int = Field(default=4, ge=1)
    rounds: int = Field(default=10, ge=1)
    folds: int = Field(default=4, ge=2)
    start: Literal["zero-shot", "random"] | Path | None = None
    alpha: float = Field(default=50.0, gt=0)
    statistic: Literal["information", "mean_logprob", "sum_logprob", "mean_logodds"] | None = None
    calibration: Literal["none", "batch", "centres"] | None = None
    prior: Mapping[str, float] | None = None
    estimator: Literal["auto", "leave_one_out", "joint", "shared"] = "auto"
    demonstrations: int | None = Field(default=None, ge=1)
    exact: int = Field(default=256, ge=0)
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

    @property
    def earlier(self) -> Path | None:
        """The folder of the finished run that the search starts from, if it does."""
        return self.start if isinstance(self.start, Path) else None

    @model_validator(mode="wrap")
    @classmethod
    def _fill_from_preset(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping):
            return build(given)
        preset = PRESETS.get(str(given.get("preset", "default")), {})
        found = build(
            {**preset, **ENGINE_DEFAULTS.get(str(given.get("engine", preset.get("engine", "rounds"))), {}), **given}
        )
        # What a preset fills in was not given: `changed` fills it in anew.
        found.model_fields_set.intersection_update(given)
        return found

    @model_validator(mode="after")
    def _single_moves_anneal(self) -> SearchSettings:
        if self.engine != "anneal" and (self.preset != "default" or self.moves != "groups"):
            key, value = ("preset", self.preset) if self.preset != "default" else ("moves", self.moves)
            raise ValueError(
                f'{key} = "{value}" is a way to anneal and engine = "{self.engine}" does not: leave one of them out'
            )
        return self

    @model_validator(mode="after")
    def _calibration_is_heard(self) -> SearchSettings:
        for key in ("calibration", "prior"):
            if getattr(self, key) is not None and self.engine != "rounds" and self.start != "zero-shot":
                raise ValueError(
                    f'{key}: engine = "{self.engine}" calibrates only the zero-shot predictions that it starts from: '
                    f'add start = "zero-shot", or leave {key} out'
                )
        return self


class CacheSection(Section):
    """`[cache]`: where answers of models are kept.

    Attributes:
        enabled: keep answers; if false, a resume asks again.
        folder: folder of the answers, on a local disk; by default the user's cache folder.
        url: address of a Redis server that keeps them instead, for several machines: redis://USER@HOST:6379/0. Its
            password is in ICM_REDIS_PASSWORD; one that is written here is kept in no run folder.
    """

    enabled: bool = True
    folder: Path | None = None
    url: str | None = Field(default=None, repr=False)

    @field_serializer("url")
    def _keeps_its_password(self, url: str | None) -> str | None:
        return None if url is None else without_password(url)

    @model_validator(mode="after")
    def _is_in_one_place(self) -> CacheSection:
        if self.folder is not None and self.url is not None:
            raise ValueError("cache.folder and cache.url are two places: leave one of them out")
        if self.url is not None and "://" not in self.url:
            # It could hold a password, and is not repeated.
            raise ValueError("cache.url is no address: write redis://HOST:6379/0, or a folder as cache.folder")
        return self


class RunSection(Section):
    """`[run]`: where a run leaves its files, and what it puts up with.

    Attributes:
        folder: folder of the run; by default `runs/` and the configuration's name, beside the configuration.
        tolerate: the most examples that are set aside, since they are longer than the context window, or the model
            refused them or gave no readable answer: a count such as 5, or a share of the data set such as 0.05,
            rounded up. With 0 the first ends the run.
        deadline: when the run stops, to be resumed, such as 2026-12-01T08:00:00; local time if it names no other.
        executor: "ray" spreads batches and the parts of the rest over the workers of a Ray cluster, or over this
            machine's processors; by default this process does all.
    """

    folder: Path | None = None
    tolerate: int | float = TOLERATE
    deadline: datetime.datetime | None = None
    executor: Literal["ray"] | None = None

    @field_validator("tolerate", mode="before")
    @classmethod
    def _is_a_count_or_a_share(cls, value: Any) -> Any:
        if isinstance(value, str):
            # From the environment; a point makes it a share there too.
            with suppress(ValueError):
                value = float(value) if "." in value else int(value)
        if (type(value) is int and value >= 0) or (type(value) is float and 0 <= value <= 1):
            return value
        raise ValueError("write a count such as 5, or a share of at most 1.0 such as 0.05")


class ClientSettings(Section):
    """`[client]`: how a hosted model is asked. Models in this process are asked in one batch, without any of this.

    Attributes:
        concurrency: requests under way at once in the beginning; it adapts by itself.
        max_concurrency: the most that it grows to.
        requests_per_minute: never exceeded in any minute; by default what the server's headers say, if they do.
        tokens_per_minute: never exceeded in any minute; by default what the server's headers say, if they do.
        attempts: how often one request is tried at most, the first time included.
        retry_seconds: how long one request is tried at most.
        timeout: seconds that one attempt may take; no provider has a timeout of its own, other than 10 s to connect.
        latency: seconds that one answer takes, for the minutes that `icm-api plan` says; it changes nothing else.
        tier: "flex" asks for the slower and cheaper service of hosts that have one (openai, azure); an answer may then
            take 900 s. "batch" sends questions as batch jobs, at half the price and with answers within a day (openai,
            anthropic, chat at together). It is no part of the cache's keys: what was answered at one tier is not asked
            for at another.
        poll: the most seconds between two looks at a batch job.
    """

    concurrency: int = Field(default=8, ge=1)
    max_concurrency: int = Field(default=64, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    attempts: int = Field(default=24, ge=1)
    retry_seconds: float = Field(default=900.0, ge=0)
    timeout: float = Field(default=300.0, gt=0)
    latency: float | None = Field(default=None, gt=0)
    tier: Literal["flex", "batch"] | None = None
    poll: float = Field(default=60.0, gt=0)


class Budget(Section):
    """`[budget]`: what a run may cost at most, over all its sessions; by default there is no limit.

    Attributes:
        money: the most money, in the currency of `[prices]`, which it needs.
        requests: the most answered requests; a list of prompts, or of questions, is one.
        tokens: the most tokens of prompts and replies together.
        ask_above: `icm-api run` asks before it sends anything if the run is likely to cost more money than this.
    """

    money: float | None = Field(default=None, ge=0)
    requests: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    ask_above: float | None = Field(default=None, ge=0)

    @property
    def bounds(self) -> bool:
        """Whether there is any limit that a request could exceed."""
        return (self.money, self.requests, self.tokens) != (None, None, None)


class PriceTier(Section):
    """`[[prices.tier]]`: what requests with longer prompts are charged for all their tokens, per million.

    Attributes:
        above: the tier is of prompts with more tokens than this.
        input: as in `Prices`; so are the others.
        output: reply tokens.
        cached_input: prompt tokens that the server had in its prefix cache; by default as `input`.
    """

    above: int = Field(ge=1)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)


class Prices(Section):
    """`[prices]`: what a provider charges, per million tokens.

    If a provider charges more for prompt tokens that it newly puts into its prefix cache, state that price as `input`.

    Attributes:
        input: prompt tokens.
        output: reply tokens.
        cached_input: prompt tokens that the server had in its prefix cache; by default as `input`.
        currency: currency of the three.
        date: when the prices were looked up.
        tier: dearer prices of longer prompts, the shortest first.
    """

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)
    currency: str = "USD"
    date: datetime.date | None = None
    tier: tuple[PriceTier, ...] = ()

    @model_validator(mode="after")
    def _tiers_rise(self) -> Prices:
        above = [tier.above for tier in self.tier]
        if above != sorted(set(above)):
            raise ValueError(f"prices.tier: `above` must rise from tier to tier, got {above}")
        return self

    def at(self, prompt_tokens: float) -> Prices | PriceTier:
        """What a request is charged.

        Args:
            prompt_tokens: of its prompt.

        Example:
            >>> long = PriceTier(above=272_000, input=5.0, output=22.5)
            >>> prices = Prices(input=2.5, output=15.0, tier=(long,))
            >>> prices.at(272_000).input, prices.at(272_001).input
            (2.5, 5.0)
        """
        found: Prices | PriceTier = self
        for tier in self.tier:
            if prompt_tokens > tier.above:
                found = tier
        return found

    def scaled(self, share: float) -> Prices:
        """All prices times a share.

        Args:
            share: e.g. 0.5 for half.
        """
        keys = ("input", "output", "cached_input")

        def times(values: dict[str, Any]) -> dict[str, Any]:
            return {key: value * share if key in keys and value is not None else value for key, value in values.items()}

        given = times(self.model_dump())
        return Prices.model_validate({**given, "tier": [times(tier) for tier in given["tier"]]})

    def age(self, today: datetime.date) -> int | None:
        """Days since the prices were looked up; None if nobody says when.

        Args:
            today: the date.
        """
        return None if self.date is None else (today - self.date).days
