"""The default on a real language model, with no constraint: no collapse, and no worse than zero-shot.

The model is fetched and converted once. `python -m tests.benchmarks real` prints more of the same.
"""

from __future__ import annotations

import asyncio
from statistics import fmean

import pytest

from icm_api.model import open_model
from tests.benchmarks.real import Row, measure
from tests.real.models import folder_of
from tests.real.sets import KNOWN, UNKNOWN

pytestmark = pytest.mark.real
SIZE, SEEDS = 32, 2


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    for package in ("torch", "transformers", "gguf"):
        pytest.importorskip(package)

    async def measured() -> list[Row]:
        cache = tmp_path_factory.mktemp("cache")
        async with open_model(f"huggingface:{folder_of('smollm2-135m-instruct')}", cache=cache) as model:
            return [
                await measure(model, name, SIZE, seed, largest, old=False)
                for name in (*KNOWN, *UNKNOWN)
                for largest in (None, 0.75)
                for seed in range(SEEDS)
            ]

    return asyncio.run(measured())


def test_no_run_collapses(rows: list[Row]) -> None:
    for row in rows:
        assert row.majority < 0.95, row.line()


@pytest.mark.parametrize("name", KNOWN)
def test_on_average_it_is_at_least_as_right_as_zero_shot(rows: list[Row], name: str) -> None:
    of = [row for row in rows if row.name == name]
    assert fmean(row.found for row in of) >= fmean(row.zero_shot for row in of) - 0.03, [row.line() for row in of]


def test_over_all_it_is_within_three_points_of_calibrated_golden_labels(rows: list[Row]) -> None:
    known = [row for row in rows if row.name in KNOWN]
    assert fmean(row.found for row in known) >= fmean(row.golden_batch for row in known) - 0.03


def test_what_the_model_knows_nothing_of_is_worth_little(rows: list[Row]) -> None:
    for row in rows:
        assert row.diagnosis["coherent"] == ("coherent" if row.name in KNOWN else "not coherent"), row.line()


def test_hardly_a_verdict_comforts_wrongly_and_nearly_every_good_run_is_comforted(rows: list[Row]) -> None:
    """Reviews of which three in four are alike are divided half wrongly, and coherently: only a check tells."""
    false, lost = [row for row in rows if row.comfort.false], [row for row in rows if row.comfort.lost]
    assert len(false) <= 0.05 * len(rows), [row.line() for row in false]
    assert len(lost) <= 0.15 * sum(row.comfort.good for row in rows), [row.line() for row in lost]
