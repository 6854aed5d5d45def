"""The benchmark of estimators measures what it says, on a small set of the embedded model's world."""

from __future__ import annotations

import pytest

from icm_api.model import open_model
from icm_api.pocket.world import make_claims
from icm_api.types import PromptTemplate, Task, Verbalizer
from tests.benchmarks.estimators import LABELINGS, WAYS, compared, labelings_of, rank_correlation, reordered, table
from tests.benchmarks.recovery import dataset_of

LABELS = ("True", "False")


def test_labelings_go_from_gold_to_random() -> None:
    gold = {claim.id: str(claim.truth) for claim in make_claims("sums", 32, 0)}
    found = labelings_of(gold, LABELS)
    right = [sum(each[key] == label for key, label in gold.items()) for each in found]
    assert len(found) == LABELINGS
    assert right[0] == 32
    assert 8 <= right[-1] <= 24
    assert rank_correlation(right, range(LABELINGS, 0, -1)) > 0.9


def test_ranks_are_spearmans() -> None:
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 100.0, 1000.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]) == pytest.approx(0.8)


async def test_a_chain_of_labels_takes_two_requests_and_ranks_as_leave_one_out_does() -> None:
    dataset = dataset_of("sums", 8, 0)
    gold = {claim.id: str(claim.truth) for claim in make_claims("sums", 8, 0)}
    assert set(reordered(dataset, 1).ids) == set(dataset.ids)
    assert reordered(dataset, 1).ids != dataset.ids
    async with open_model("pocket") as model:
        task = Task(PromptTemplate(separator="\n"), Verbalizer.plain(LABELS))
        found = await compared(model, task, dataset, gold, WAYS[:2], count=6)
    exact, chain = found["leave_one_out"], found["joint"]
    assert (exact.requests, chain.requests) == (1, 2 / 8)
    assert chain.tokens < exact.tokens / 3
    assert exact.p > 0.8
    assert chain.p > 0.7
    assert len(list(table({"sums": found}))) == 2 + len(found)
