"""The tables `[prices]` and `[budget]`: what a provider charges, and what a run may cost at most."""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import Field, model_validator

from icm_api.config.section import Section


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
