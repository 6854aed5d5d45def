"""The judge's verdicts on planted data sets of the embedded model's world.

What is right was laid down beforehand, per case of `tests.planted.CASES`:

1. Labels all True of a concept that the model holds are "collapsed". Where comparisons without constraints are
   searched, the labels are "coherent" if the search found the concept, and else "collapsed".
2. `lucky`, of which no document of the corpus says anything, is "not coherent", also as pairs under a constraint so
   heavy that labels all alike don't pay.
3. The opposite of the truth, fixed on a third of the examples, makes "unsure", and the given labels are the reason.
4. Of 5% True among False (sums), the search finds the minority: "coherent", with a note on the imbalance. Of 5% False
   among True with nothing to contrast them (comparisons, one order of each pair), it does not. Labels all True, handed
   in, cannot be told from a collapse without gold there, so "collapsed" and "unsure" are right: "coherent" would
   sell labels that say nothing, and "not coherent" would deny a concept that the model does hold. The default search
   divides such claims by something else, about half and half, and half of its labels are wrong: "not coherent"
   and "unsure" are right of these.
5. Questions without a right answer, one of whose answers must be True, are "not coherent" or "unsure". Mixed with
   twice as many that have one, they make "unsure", and stand at the head of the queue for a person.
6. Concepts that the model holds are "coherent" where the search found them; else "unsure" or "collapsed" is right.
"""

from __future__ import annotations

import pytest

from icm_api.model import open_model
from tests.benchmarks.verdicts import SEEDS, outcomes, queue_head
from tests.planted import CASES, Outcome, outcome

QUICK = (
    "1 all True, comparisons",
    "4 95:5, few true",
    "6 facts",
)


async def of(case: str, seed: int = 0) -> Outcome:
    async with open_model("pocket") as model:
        return await outcome(CASES[case](seed), model, seed)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case.startswith("4") else ()) for case in QUICK]
)
async def test_the_verdict_on_a_planted_case_is_right(case: str) -> None:
    found = await of(case)
    assert found.right, found.diagnosis.lines()
    reasons = found.diagnosis.verdict.reasons
    if case == "4 95:5, few true":
        assert any("% of the labels are one and the same" in reason for reason in reasons)


async def test_a_coherent_concept_is_recognised_for_fewer_requests_than_its_search() -> None:
    found = await of("6 sums", seed=1)
    assert found.right
    assert found.diagnosis.measures.requests < found.search_requests


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
async def test_the_verdict_is_right_on_nine_of_ten_fresh_seeds(case: str) -> None:
    found = await outcomes(case, SEEDS)
    assert sum(one.right for one in found) >= 9
    named = [one.diagnosis.verdict.reasons[0] for one in found]
    if case.startswith("3"):
        assert sum(reason.startswith("the given labels contradict") for reason in named) >= 9
    if case == "5 mixed sums":
        heads = [head for one in found if (head := queue_head(one)) is not None]
        assert sum(heads) >= 0.9 * len(heads)
