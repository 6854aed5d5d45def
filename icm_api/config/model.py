"""The tables `[model]`, `[client]` and `[cache]`: which model is asked, how, and where its answers are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from icm_api.config.section import Section
from icm_api.errors import without_password


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
