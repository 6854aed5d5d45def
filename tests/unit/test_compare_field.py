"""The field's baselines: who is shown to whom, who votes, and what is kept, each counted again by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from math import log
from random import Random

import pytest

from icm_api.compare.field import BASELINES, DRAWS, ROUNDS, SHOTS, Question, Unlabelled, balanced, majority
from icm_api.types import Example, LabelDistribution

NAMES = ("T", "F")
EXAMPLES = [Example(f"e{at:02d}", {"text": f"text {at}"}) for at in range(40)]


def read(true: float) -> LabelDistribution:
    return LabelDistribution(NAMES, (log(true), log(1 - true)), 1.0, "exact")


class Model:
    """Says what a function of the question says, and keeps every round of questions."""

    def __init__(self, true: Callable[[Question], float]) -> None:
        self.true = true
        self.rounds: list[Sequence[Question]] = []

    async def ask(self, questions: Sequence[Question]) -> list[LabelDistribution]:
        self.rounds.append(questions)
        return [read(self.true(each)) for each in questions]

    def given(self, threshold: float = 0.9) -> Unlabelled:
        return Unlabelled(EXAMPLES, NAMES, 7, threshold, self.ask)


def by_place(question: Question) -> float:
    """One in four is True, and some are surer than others: 0.95 or 0.7, 0.05 or 0.3."""
    at = int(question.query.id[1:])
    near, far = (0.95, 0.05) if at % 3 else (0.7, 0.3)
    return near if at % 4 == 0 else far


@pytest.mark.parametrize(("true", "false", "count"), list(product((0, 1, 3, 9), (2, 8, 30), (1, 2, 7, 16))))
def test_balanced_takes_as_many_of_each_as_there_are(true: int, false: int, count: int) -> None:
    labels = {f"t{at}": "T" for at in range(true)} | {f"f{at}": "F" for at in range(false)}
    found = balanced(labels, NAMES, count, Random(count))
    assert len(found) == len(set(found)) == min(count, true + false)
    taken = Counter(labels[key] for key in found)
    for label, other, there in (("T", "F", true), ("F", "T", false)):
        # A label is short of the other by more than one only if all of it is taken.
        assert taken[label] >= taken[other] - 1 or taken[label] == there


def test_every_label_gets_the_odd_place_at_times_and_order_says_nothing() -> None:
    labels = {f"{name}{at}": name for name in "ABC" for at in range(5)}
    drawn = [balanced(labels, "ABC", 4, Random(seed)) for seed in range(200)]
    more = Counter(next(name for name in "ABC" if sum(labels[key] == name for key in one) == 2) for one in drawn)
    first = Counter(labels[one[0]] for one in drawn)
    assert min(more.values()) > 30
    assert min(first.values()) > 30


def test_majority_by_counting() -> None:
    names = ("T", "F", "?")
    for votes in product(names, repeat=5):
        most = max(sum(vote == name for vote in votes) for name in names)
        assert majority(votes, names) == next(name for name in names if votes.count(name) == most)


def test_joint_inference_shows_balanced_labels_of_the_round_before_and_takes_the_vote() -> None:
    # A prompt's order is its whim: votes differ within a round.
    def whim(question: Question) -> float:
        shown = " ".join(f"{example.id}{label}" for example, label in question.shown)
        return Random(f"{question.query.id}/{shown}").choice((0.8, 0.6, 0.1)) if shown else by_place(question)

    model = Model(whim)
    found = asyncio.run(BASELINES["epfl"].labels(model.given()))
    assert len(model.rounds) == 1 + ROUNDS
    assert sum(map(len, model.rounds)) == BASELINES["epfl"].requests(len(EXAMPLES)) == 41 * len(EXAMPLES)
    before = {question.query.id: "T" if whim(question) > 0.5 else "F" for question in model.rounds[0]}
    for questions in model.rounds[1:]:
        after = {}
        for example in EXAMPLES:
            asked = [each for each in questions if each.query.id == example.id]
            assert len(asked) == DRAWS
            for each in asked:
                ids = [shown.id for shown, _ in each.shown]
                assert len(set(ids)) == SHOTS
                assert example.id not in ids
                assert all(before[shown.id] == label for shown, label in each.shown)
                there = sum(label == "T" for key, label in before.items() if key != example.id)
                # Half of them, if there are as many of each.
                least = max(SHOTS // 2, SHOTS - (len(EXAMPLES) - 1 - there))
                assert sum(label == "T" for _, label in each.shown) == min(least, there)
            after[example.id] = "T" if sum(whim(each) > 0.5 for each in asked) > DRAWS / 2 else "F"
        before = after
    assert dict(found.labels) == dict(found.shown) == before
    last = [whim(each) for each in model.rounds[-1] if each.query.id == "e00"]
    assert found.probabilities["e00"]["T"] == pytest.approx(sum(last) / DRAWS)


@pytest.mark.parametrize(("threshold", "kept"), [(0.9, 26), (0.7, 40), (0.96, 0)])
def test_self_generated_demonstrations_are_the_sure_ones_of_the_parts_before(threshold: float, kept: int) -> None:
    model = Model(by_place)
    found = asyncio.run(BASELINES["semi"].labels(model.given(threshold)))
    sure = {}
    for example in EXAMPLES:
        true = by_place(Question(example, ()))
        if max(true, 1 - true) >= threshold:
            sure[example.id] = "T" if true > 0.5 else "F"
    assert dict(found.shown) == sure
    assert len(sure) == kept
    seen: list[str] = []
    for questions in model.rounds[:-1]:
        for each in questions:
            assert [example.id for example, _ in each.shown] == [key for key in seen if key in sure]
        seen += [each.query.id for each in questions]
    assert sorted(seen) == [example.id for example in EXAMPLES]
    for each in model.rounds[-1]:
        assert {example.id for example, _ in each.shown} == sure.keys() - {each.query.id}
    assert sum(map(len, model.rounds)) == BASELINES["semi"].requests(len(EXAMPLES))


def test_short_bootstrap_relabels_the_pool_after_two_and_labels_all_after_balanced_shots() -> None:
    model = Model(by_place)
    found = asyncio.run(BASELINES["two-32"].labels(model.given()))
    few, many = model.rounds
    # What the pool is labelled at random is seen from what is shown of it.
    random = {example.id: label for each in few for example, label in each.shown}
    assert all(sorted(label for _, label in each.shown) == ["F", "T"] for each in few)
    assert sum(label == "T" for label in random.values()) in range(len(random) - 20, 21)
    relabelled = {example.id: "T" if by_place(Question(example, ())) > 0.5 else "F" for example in EXAMPLES}
    for each in many:
        assert all(relabelled[example.id] == label for example, label in each.shown)
        assert each.query.id not in {example.id for example, _ in each.shown}
        true = sum(label == "T" for key, label in relabelled.items() if key != each.query.id)
        # All ten are shown, and the rest of the 32 are False.
        assert sum(label == "T" for _, label in each.shown) == true
        assert len(each.shown) == 32
    assert dict(found.labels) == relabelled
    assert sum(map(len, model.rounds)) == BASELINES["two-32"].requests(len(EXAMPLES)) == 80


def test_the_same_seed_asks_the_same_and_another_does_not() -> None:
    def asked(seed: int) -> list[list[str]]:
        model = Model(by_place)
        asyncio.run(BASELINES["two-32"].labels(Unlabelled(EXAMPLES, NAMES, seed, 0.9, model.ask)))
        return [[example.id for example, _ in each.shown] for each in model.rounds[1]]

    assert asked(1) == asked(1) != asked(2)
