"""U(D), its statistics and the leave-one-out estimator, against sums written out by hand."""

from __future__ import annotations

from math import fsum, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.consistency import compile_relations
from icm_api.consistency.constraints import asymmetric
from icm_api.errors import ConfigError
from icm_api.objective import Objective, leave_one_out_context
from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, Labeling, PromptTemplate, Verbalizer
from tests.bayes import BayesModel, pairs

PLAIN = Verbalizer.plain(["True", "False"])


def objective(model: BayesModel, dataset: Dataset, **settings: object) -> Objective:
    prompts = PromptBuilder(
        PromptTemplate(separator="\n"), PLAIN, model.count_tokens, model.capabilities.context_window
    )
    relations = compile_relations(dataset, PLAIN.labels, [asymmetric("True", total=True)])
    return Objective(dataset, prompts, model, relations, **settings)  # type: ignore[arg-type]


def by_hand(model: BayesModel, labels: dict[str, bool]) -> dict[str, float]:
    """log p of each label given all others, from the model's definition and not from any prompt."""
    from tests.bayes import PRIORS

    found = {}
    for left_out, label in labels.items():
        joint = {True: 0.0, False: 0.0}
        for name, prior in PRIORS.items():
            rest = fsum(model._log_p(name, t, y) for t, y in labels.items() if t != left_out)
            for answer in joint:
                joint[answer] += prior * 2.718281828459045 ** (rest + model._log_p(name, left_out, answer))
        found[left_out] = log(joint[label] / (joint[True] + joint[False]))
    return found


@given(st.data())
def test_a_context_holds_all_others_once_and_never_itself(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    labelled = sorted(data.draw(st.sets(st.integers(0, size - 1))))
    position = data.draw(st.integers(0, size - 1))
    context = leave_one_out_context(position, size, labelled)
    assert sorted(context) == [other for other in labelled if other != position]


@given(st.integers(1, 64), st.data())
def test_the_context_is_the_same_before_and_after_the_example_is_labelled(size: int, data: st.DataObject) -> None:
    labelled = data.draw(st.sets(st.integers(0, size - 1)))
    position = data.draw(st.integers(0, size - 1))
    without, with_it = sorted(labelled - {position}), sorted(labelled | {position})
    assert leave_one_out_context(position, size, without) == leave_one_out_context(position, size, with_it)


def test_256_contexts_share_beginnings_as_counted_on_a_trie() -> None:
    trie: set[tuple[int, ...]] = set()
    for position in range(256):
        context = leave_one_out_context(position, 256, range(256))
        path = (*context, -1 - position)
        trie.update(path[:depth] for depth in range(1, len(path) + 1))
    assert len(trie) == 2304  # 256 * log2(256) + 256, the figure of DESIGN section 2


@pytest.mark.parametrize("statistic", ["mean_logprob", "sum_logprob", "mean_logodds"])
async def test_utility_is_alpha_p_minus_i_for_every_statistic(statistic: str) -> None:
    dataset, truth = pairs(3)
    model = BayesModel(truth)
    labels = dict(truth) | {"0>1": True}  # Both orders of one pair labelled True: one broken relation.
    expected = by_hand(model, labels)
    values = list(expected.values())
    if statistic == "mean_logodds":
        flipped = [log(1 - 2.718281828459045**value) for value in values]
        p = fsum(a - b for a, b in zip(values, flipped, strict=True)) / len(values)
    else:
        p = fsum(values) / (len(values) if statistic == "mean_logprob" else 1)
    score = await objective(model, dataset, alpha=50.0, statistic=statistic)(
        Labeling({text: str(label) for text, label in labels.items()})
    )
    assert score.mutual_predictability == pytest.approx(p, abs=1e-9)
    assert score.inconsistency == 1.0
    assert score.utility == pytest.approx(50 * p - 1, abs=1e-7)


async def test_the_score_near_another_is_the_score_itself() -> None:
    dataset, truth = pairs(4)
    utility = objective(BayesModel(truth), dataset)
    one = await utility(Labeling({"0>1": "True", "1>0": "True", "2>3": "False"}))
    changed = Labeling({"0>1": "False", "1>0": "True", "3>2": "True"})
    assert await utility(changed, near=one) == await utility(changed)


async def test_the_empty_labeling_has_utility_zero() -> None:
    dataset, truth = pairs(1)
    model = BayesModel(truth)
    score = await objective(model, dataset)(Labeling())
    assert (score.utility, score.mutual_predictability, score.inconsistency) == (0.0, 0.0, 0.0)
    assert model.asked == []


async def test_a_score_asked_for_twice_asks_the_model_once() -> None:
    dataset, truth = pairs(3)
    model = BayesModel(truth)
    utility = objective(model, dataset)
    labeling = Labeling({text: str(label) for text, label in truth.items()})
    await utility(labeling)
    asked = len(model.asked)
    await utility(Labeling(dict(reversed(list(labeling.items())))))
    assert asked == len(dataset) == len(model.asked)


async def test_only_what_a_proposal_changes_is_asked_again() -> None:
    """Flipping one label leaves one context as it was, its own: n - 1 new requests, not n."""
    dataset, truth = pairs(4)
    model = BayesModel(truth)
    utility = objective(model, dataset)
    labeling = Labeling({text: str(label) for text, label in truth.items()})
    await utility(labeling)
    before = len(model.asked)
    await utility(labeling.assign({"0>1": "True"}))
    assert len(model.asked) - before == len(dataset) - 1


async def test_defect_7_utility_depends_on_the_labels_and_rewards_no_class() -> None:
    """An objective that ignored the label would give a labeling and its inverse the same U."""
    dataset, truth = pairs(4)
    utility = objective(BayesModel(truth), dataset)
    right = await utility(Labeling({text: str(label) for text, label in truth.items()}))
    wrong = await utility(Labeling({text: str(not label) for text, label in truth.items()}))
    assert right.utility > wrong.utility + 1
    all_true = await utility(Labeling(dict.fromkeys(truth, "True")))
    all_false = await utility(Labeling(dict.fromkeys(truth, "False")))
    assert right.utility > max(all_true.utility, all_false.utility)


async def test_defect_12_a_right_label_more_does_not_lower_the_default_utility() -> None:
    """Under the paper's sum every added label lowers U; under the mean a well predicted one raises it."""
    dataset, truth = pairs(8)
    some = Labeling({text: str(label) for text, label in list(truth.items())[:10]})
    more = Labeling({text: str(label) for text, label in list(truth.items())[:12]})
    mean, total = (
        objective(BayesModel(truth), dataset),
        objective(BayesModel(truth), dataset, statistic="sum_logprob"),
    )
    assert (await mean(more)).utility > (await mean(some)).utility
    assert (await total(more)).utility < (await total(some)).utility


def test_logodds_of_three_labels_is_refused() -> None:
    dataset, truth = pairs(1)
    model = BayesModel(truth)
    three = Verbalizer.plain(["a", "b", "c"])
    prompts = PromptBuilder(PromptTemplate(), three, model.count_tokens, 100)
    with pytest.raises(ConfigError, match="mean_logprob"):
        Objective(dataset, prompts, model, compile_relations(dataset, three.labels, []), statistic="mean_logodds")
