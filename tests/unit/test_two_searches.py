"""Two searches at once on one model find, to the byte, what each finds alone, and count what each asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import icm_api as icm
from icm_api.pocket.world import make_claims
from icm_api.testing import serve

DATA = icm.Dataset(
    icm.Example(claim.id, {"text": claim.text, "left": claim.left or "-", "right": claim.right or "-"})
    for claim in make_claims("comparisons", 8, seed=5)
)
TASK = icm.Task(icm.PromptTemplate("{text}", separator="\n"), constraints=[icm.asymmetric("True", total=True)])
SEEDS = (0, 1)


@pytest.fixture(params=["pocket", "hosted"])
def spec(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "pocket":
        yield "pocket"
        return
    with serve(dialect="vllm") as server:
        yield f"vllm:{server.model}@{server.url}"


async def found(model: icm.LanguageModel, seed: int, engine: str) -> tuple[bytes, icm.Usage]:
    """All that a search says of itself, each step included, and what it asked for."""
    steps: list[str] = []
    result = await icm.search_labels(
        DATA,
        model,
        task=TASK,
        settings=icm.SearchSettings(engine=engine, steps=12, seed=seed),
        on_step=lambda progress: steps.append(repr((progress.info, progress.usage))),
    )
    labels = [repr(each) for each in result.examples]
    return json.dumps([labels, result.utility, steps]).encode(), result.usage


async def alone(spec: str, seed: int, engine: str, cache: Path | None) -> tuple[bytes, icm.Usage]:
    async with icm.open_model(spec, cache=cache) as model:
        return await found(model, seed, engine)


@pytest.mark.parametrize("engine", ["anneal", "bootstrap"])
async def test_two_searches_at_once_are_as_each_alone(spec: str, engine: str, tmp_path: Path) -> None:
    apart = [await alone(spec, seed, engine, tmp_path / str(seed)) for seed in SEEDS]
    async with icm.open_model(spec) as model:
        together = await asyncio.gather(*(found(model, seed, engine) for seed in SEEDS))
        asked = [usage.prompt_tokens for _, usage in together]
        # What both asked for was sent once, and counts for both.
        assert max(asked) <= model.sent.prompt_tokens <= sum(asked)
    assert together == apart
    assert min(asked) > 0
