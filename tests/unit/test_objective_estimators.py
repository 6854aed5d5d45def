"""Estimators cheaper than leave-one-out, against closed forms and against asking one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import fsum
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.config import SearchSettings
from icm_api.errors import CapabilityError, PromptError
from icm_api.objective import Joint, LeaveOneOut, Shared, leave_one_out_context
from icm_api.prompts import PromptBuilder
from icm_api.search import estimator_of
from icm_api.types import Capabilities, Dataset, Example, Labeling, PromptTemplate, Verbalizer
from tests.bayes import BayesModel, InsideBayesModel, candidates, pairs

DATASET, TRUTH = candidates(3, 2)
IDS = DATASET.ids


def prompts(window: int = 10_000) -> PromptBuilder:
    return PromptBuilder(PromptTemplate(separator="\n"), Verbalizer.plain(["True", "False"]), len, window)


def labeled(answers: tuple[bool, ...]) -> Labeling:
    return Labeling({key: str(answer) for key, answer in zip(IDS, answers, strict=True)})


async def test_joint_sums_to_log_p_of_all_labels_together_for_every_labeling() -> None:
    model = InsideBayesModel(TRUTH)
    for answers in product((True, False), repeat=len(IDS)):
        found = await Joint().estimate(labeled(answers), DATASET, prompts(), model)
        texts = [DATASET.get(key).fields["text"] for key in IDS]
        assert fsum(found.logprobs.values()) == pytest.approx(model.log_joint(dict(zip(texts, answers, strict=True))))
        # This model does not care in which order it is told things.
        assert found.standard_error == pytest.approx(0, abs=1e-12)


async def test_joint_asks_two_requests_and_every_label_is_given_those_before_it() -> None:
    model, one_by_one = InsideBayesModel(TRUTH), BayesModel(TRUTH)
    labeling = labeled((True, False, False, True, True, False)).without(IDS[2:3])
    found = await Joint().estimate(labeling, DATASET, prompts(), model)
    assert len(model.asked) == 2
    assert sum(cost.requests for cost in found.costs.values()) == 2
    ordered = [example for example in DATASET if example.id in labeling]
    assert [*found.logprobs] == [example.id for example in ordered]
    for at, example in enumerate(ordered):
        ways = (ordered[:at], ordered[:at:-1])
        asked = [prompts().prompt(example, [(each, labeling[each.id]) for each in before]) for before in ways]
        reads = await one_by_one.label_distributions(asked)
        both = [read.logprob(labeling[example.id]) for read in reads]
        assert found.logprobs[example.id] == pytest.approx(sum(both) / 2)
        assert found.distributions[example.id] == reads[0 if 2 * at >= len(ordered) else 1]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=25), st.integers(30, 120))
def test_transcripts_hold_everything_once_in_order_within_the_window_and_as_few_as_can_be(
    lengths: list[int], room: int
) -> None:
    shown = [(Example(str(at), {"text": "x" * length}), "True") for at, length in enumerate(lengths)]
    # A label and the separator come after each text, and the longest label is allowed for once more.
    built = prompts(room + 2 * len(" False"))
    found = built.transcripts(shown)
    assert [turn.text for prompt in found for turn in prompt.turns] == ["x" * length for length in lengths]
    tokens = [sum(len(turn.text + turn.answer) + 1 for turn in prompt.turns) for prompt in found]
    assert max(tokens) <= room + len(" False")
    fewest, left = 0, 0
    for length in lengths:
        taken = length + len(" True") + 1
        if taken > left:
            fewest, left = fewest + 1, room + len(" False")
        left -= taken
    assert len(found) == fewest


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(20, 120), st.randoms(use_true_random=False))
def test_no_order_and_no_labels_need_more_stretches_than_are_foreseen(
    lengths: list[int], room: int, chance: Random
) -> None:
    built = prompts(room + 2 * len(" False"))
    fitting = [Example(str(at), {"text": "x" * length}) for at, length in enumerate(lengths) if length <= room]
    most = built.stretches([*fitting, Example("long", {"text": "x" * 1000})])
    some = [
        (each, chance.choice(["True", "False"])) for each in chance.sample(fitting, chance.randint(0, len(fitting)))
    ]
    assert len(built.transcripts(some)) <= most
    if sum(length + len(" False") + 1 for length in lengths) <= room:
        assert most == 1


async def test_joint_in_a_short_window_asks_in_stretches() -> None:
    model, labeling = InsideBayesModel(TRUTH), labeled((True,) * 6)
    found = await Joint().estimate(labeling, DATASET, prompts(40), model)
    assert len(model.asked) > 2
    assert {*found.logprobs} == {*IDS}
    # Each label is read in the direction in which others stand before it in its own stretch.
    for example in DATASET:
        alone = await model.label_distributions([prompts(40).prompt(example, ())])
        assert found.distributions[example.id] != alone[0]
    with pytest.raises(PromptError, match=r"'\w+=\d' alone needs \d+ tokens"):
        await Joint().estimate(labeling, DATASET, prompts(9), model)


async def test_joint_of_nothing_is_nothing_and_a_model_without_echo_is_named() -> None:
    assert not (await Joint().estimate(Labeling(), DATASET, prompts(), InsideBayesModel(TRUTH))).logprobs
    with pytest.raises(CapabilityError, match='estimator = "joint" needs a model that gives logprobs of its prompts'):
        await Joint().estimate(labeled((True,) * 6), DATASET, prompts(), BayesModel(TRUTH))


class SaysSo(BayesModel):
    """It says that it gives logprobs of prompts, and has no way to ask for them."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, prompt_logprobs=True)


class AndDoesSo(SaysSo, InsideBayesModel):
    """It says so, and does."""


def test_auto_takes_joint_of_a_model_that_reads_inside_and_not_of_one_that_only_says_so() -> None:
    auto = SearchSettings()
    assert estimator_of(auto, AndDoesSo(TRUTH), 100, 2).name == "joint"
    assert estimator_of(auto, SaysSo(TRUTH), 100, 2).name == "shared"


@pytest.mark.parametrize(("size", "labels", "shown"), [(64, 2, 16), (1_000, 2, 16), (200, 10, 40), (100, 10, 25)])
def test_shared_shows_few_whatever_the_size_but_every_label_several_times(size: int, labels: int, shown: int) -> None:
    estimator = estimator_of(SearchSettings(estimator="shared"), BayesModel(TRUTH), size, labels)
    assert isinstance(estimator, Shared)
    assert estimator.demonstrations == shown


async def test_shared_with_a_fold_per_example_is_leave_one_out() -> None:
    apart = Dataset(replace(example, group=None) for example in DATASET)
    labeling = labeled((True, False, False, True, True, False))
    model = BayesModel(TRUTH)
    ours = await Shared(folds=len(IDS)).estimate(labeling, apart, prompts(), model)
    exact = await LeaveOneOut().estimate(labeling, apart, prompts(), model)
    assert {*leave_one_out_context(0, 6, range(6))} == {1, 2, 3, 4, 5}
    assert dict(ours.logprobs) == pytest.approx(dict(exact.logprobs))


@pytest.mark.parametrize(("folds", "most"), [(2, None), (3, 4), (4, 1), (50, None)])
async def test_shared_shows_nobody_a_label_of_its_own_fold_or_group(folds: int, most: int | None) -> None:
    dataset, truth = pairs(9)
    labeling = Labeling({key: str(truth[key]) for key in dataset.ids})
    model = BayesModel(truth)
    found = await Shared(folds, most).estimate(labeling, dataset, prompts(), model)
    assert {*found.logprobs} == {*dataset.ids}
    contexts = Shared(folds, most).contexts(list(dataset))
    assert sorted(example.id for fold, _ in contexts for example in fold) == sorted(dataset.ids)
    assert len(contexts) <= folds
    for fold, shown in contexts:
        assert not {example.group for example in fold} & {example.group for example in shown}
        assert len(shown) == min(len(dataset) - len(fold), len(dataset) if most is None else most)
        for example in fold:
            asked = prompts().prompt(example, [(each, labeling[each.id]) for each in shown])
            [read] = await model.label_distributions([asked])
            assert found.distributions[example.id] == read
    assert len({text.rpartition("\n")[0] for text in model.asked}) == len(contexts)
