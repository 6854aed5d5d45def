"""The table `[search]`: the objective, the engine and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from icm_api.config.presets import ENGINE_DEFAULTS, PRESETS, Preset
from icm_api.config.section import Section


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
