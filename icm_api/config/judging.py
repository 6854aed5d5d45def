"""The tables `[diagnostics]` and `[compare]`: how labels are judged without gold, and compared with other methods'.

What they mean is in `icm_api.evaluation` and `icm_api.compare`. No search reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, field_validator, model_validator

from icm_api.config.costs import Prices
from icm_api.config.presets import BaselineName, MethodName, RowName
from icm_api.config.section import Section

NULL_EXAMPLES, NULL_LEAST = 24, 8
"""Examples that the null is measured on, at most and at least: with few, noise is fitted better, not worse."""
NULL_SCORES = 3
"""Labelings that the search of the null scores."""


class DiagnosticsSettings(Section):
    """`[diagnostics]`: how the labels found are judged without gold. With n examples, each unit below is n requests.

    Attributes:
        enabled: judge at all.
        share: of the requests and tokens of the search, how many judging may take. What does not fit is left out, the
            last first: the null, the second opinion, orders, ends, renamings, shuffles.
        shuffles: labelings with the same labels in other places, to compare the labels found with.
        orders: other orders of the demonstrations.
        rounds: rounds of each of the two second opinions, which start from the model's zero-shot predictions.
        renamings: other ways to name the labels, if there are more than two; with two there is one.
        ends: the most ends of other restarts that are scored again; the cache answers those that the search scored.
        null: search a few of the texts in made-up words too, to see what fitting noise gives.
        contested: how many of the most contested examples are listed.
        abstain_below: labels less probable than this, calibrated, are marked as open ("don't know").
        per_group: the most examples of one group that are put forward to a person.
        witness: spec of another model, to score the labels found once more, n requests; its key comes from the
            environment.
        witness_options: what the provider of that model takes besides.
    """

    enabled: bool = True
    share: float = Field(default=0.1, gt=0)
    shuffles: int = Field(default=4, ge=2)
    orders: int = Field(default=2, ge=0)
    rounds: int = Field(default=3, ge=1)
    renamings: int = Field(default=4, ge=1)
    ends: int = Field(default=4, ge=0)
    null: bool = True
    contested: int = Field(default=10, ge=0)
    abstain_below: float = Field(default=0.0, ge=0, le=1)
    per_group: int = Field(default=1, ge=1)
    witness: str | None = None
    witness_options: Mapping[str, Any] = Field(default_factory=dict)

    def most_requests(self, size: int, labels: int, searching: int | None = None) -> int:
        """The most requests that judging a labeling takes: `size` for each labeling that is looked at.

        Args:
            size: how many examples are labelled.
            labels: how many labels there are.
            searching: the most requests of the search; None if judging has no limit.

        Example:
            >>> DiagnosticsSettings(null=False).most_requests(100, labels=2)
            1800
            >>> DiagnosticsSettings().most_requests(100, labels=2, searching=6000)
            800
        """
        renamings = 1 if labels == 2 else self.renamings
        opinions = 2 * self.rounds + 1  # both share their first round, and each result is scored
        null = NULL_SCORES * min(size, NULL_EXAMPLES) if self.null else 0
        most = size * (self.shuffles + self.orders + renamings + self.ends + opinions) + null
        if searching is not None:
            # Zero-shot and its labels are asked about in any case; most searches have done so.
            most = min(most, 2 * size + max(int(self.share * searching), NULL_SCORES * min(size, NULL_LEAST)))
        return most + (size if self.witness else 0)


class CompareSettings(Section):
    """`[compare]`: the baseline panel of `icm-api compare`. No search reads it.

    Attributes:
        methods: the rows.
        baselines: further rows, other ways of the field to label without labels: "epfl" (joint inference by votes, 41
            requests an example), "semi" (self-generated demonstrations, 2) and "two-32" (a short bootstrap, 2).
        seeds: how many seeds, from `search.seed` on; each draws its own held-out examples.
        held_out: share of the examples (below 1), or how many (from 2), that are taken out before the searches, by
            whole groups.
        test: a file of examples to hold out instead, read as `[data]` is; then all examples are searched.
        test_gold: the file of the gold labels of `test`; by default the file of the other gold labels.
        threshold: predictions at least this probable become pseudo-labels, or demonstrations of the baseline "semi".
        demonstrations: the most examples in a prompt for a held-out example; by default all.
        curve: whether ICM's labels are also tried with 1, 2, 4, ... demonstrations.
        chat: spec of a chat model to ask zero-shot.
        chat_options: what the provider of the chat model takes besides.
        chat_prices: what the provider of the chat model charges.
    """

    methods: tuple[MethodName, ...] = get_args(MethodName)
    baselines: tuple[BaselineName, ...] = ()
    seeds: int = Field(default=3, ge=1)
    held_out: float = Field(default=0.25, gt=0)
    test: Path | None = None
    test_gold: Path | None = None
    threshold: float = Field(default=0.9, gt=0, le=1)
    demonstrations: int | None = Field(default=None, ge=1)
    curve: bool = True
    chat: str | None = None
    chat_options: Mapping[str, Any] = Field(default_factory=dict)
    chat_prices: Prices | None = None

    @property
    def rows(self) -> tuple[RowName, ...]:
        """The methods, then the baselines."""
        return (*self.methods, *self.baselines)

    @field_validator("held_out")
    @classmethod
    def _share_or_number(cls, amount: float) -> float:
        if amount > 1 and not amount.is_integer():
            raise ValueError("a share is below 1, and a number of examples is whole")
        if amount == 1:
            raise ValueError("write 0.5 for half of the examples, or at least 2 for a number of them")
        return amount

    @model_validator(mode="after")
    def _rows_have_what_they_need(self) -> CompareSettings:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError("methods: name each method once, and at least one")
        if len(set(self.baselines)) < len(self.baselines):
            raise ValueError("baselines: name each once")
        if "bootstrap-equal" in self.methods and "icm" not in self.methods:
            raise ValueError('methods: "bootstrap-equal" is given the requests of "icm": name that too')
        if "icm-calibrated" in self.methods and "icm" not in self.methods:
            raise ValueError('methods: "icm-calibrated" has the labels of "icm": name that too')
        if self.test_gold is not None and self.test is None:
            raise ValueError("test_gold: holds the gold labels of `test`, which is missing")
        return self
