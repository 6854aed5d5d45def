"""The price benchmark's parts: the published search asks what its code asks, and both rulers count alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import exp, log1p
from random import Random

import pytest

from icm_api.testing.backend import PrefixCache
from tests.benchmarks.price.learner import MINDS, LearnerBackend
from tests.benchmarks.price.published import SEEDS, Batch, Labels, Published, Question, Scored
from tests.benchmarks.price.rows import rows_of
from tests.benchmarks.price.ruler import Ruler, Wire, exact_utility
from tests.benchmarks.price.ways import PUBLISHED, WAYS, check

GROUPS = tuple(f"q{at // 4}" for at in range(16))
ANSWERS = tuple(str(at % 3) for at in range(16))


class Told:
    """Says of each place what it is told, whatever is shown, and keeps what was asked."""

    def __init__(self, odds: Sequence[float]) -> None:
        self.odds = odds
        self.asked: list[Sequence[Question]] = []

    async def __call__(self, questions: Sequence[Question]) -> list[float]:
        self.asked.append(questions)
        return [self.odds[each.query] for each in questions]


def free(size: int) -> Batch:
    return Batch(GROUPS[:size], (None,) * size)


def test_a_step_asks_once_and_scores_all_labels_only_if_the_label_changes() -> None:
    told = Told([3.0 if at % 2 else -3.0 for at in range(16)])
    labels = asyncio.run(Published(free(16), told, Random(1), steps=400).search())
    assert labels == {at: bool(at % 2) for at in range(16)}
    known: dict[int, bool] = {}
    (first, *steps), changes = told.asked, 0
    assert [each.query for each in first] == list(range(SEEDS))
    known = {**dict(first[0].shown), **dict(first[1].shown)}
    assert sum(known.values()) == SEEDS // 2
    while steps:
        (drawn,), said = steps[0], bool(steps[0][0].query % 2)
        assert dict(drawn.shown) == {at: label for at, label in known.items() if at != drawn.query}
        assert [at for at, _ in drawn.shown] == sorted(at for at, _ in drawn.shown)
        steps = steps[1:]
        if known.get(drawn.query) != said:
            # What the model says raises U here, so that every proposal is taken.
            known, changes = known | {drawn.query: said}, changes + 1
            assert sorted(each.query for each in steps[0]) == sorted(known)
            assert all(dict(each.shown).items() <= known.items() for each in steps[0])
            steps = steps[1:]
    assert len(told.asked) == 1 + 400 + changes


def test_examples_related_to_labelled_ones_are_drawn_a_hundred_times_as_often() -> None:
    search = Published(free(12), Told(()), Random(0))
    assert search.weights({0: True, 5: False}) == [1, 100, 100, 100, 100, 1, 100, 100, 1, 1, 1, 1]


@pytest.mark.parametrize("labels", [{0: True, 1: True}, {0: True, 3: False}, {0: True, 1: True, 2: True, 3: True}])
def test_broken_pairs_by_trying_all(labels: Labels) -> None:
    batch = Batch(GROUPS, ANSWERS)
    found = {(one, other) for one, other, _ in batch.broken(labels)}
    by_hand = {
        (one, other)
        for one in labels
        for other in labels
        if one < other and GROUPS[one] == GROUPS[other]
        if (labels[one] != labels[other] if ANSWERS[one] == ANSWERS[other] else labels[one] and labels[other])
    }
    assert found == by_hand


def test_a_fix_scores_both_ways_and_keeps_the_better_one() -> None:
    batch, told = Batch(GROUPS, ANSWERS), Told([1.0, 5.0, -1.0] + [0.0] * 13)
    search = Published(batch, told, Random(0))
    put = {0: True, 1: True, 2: False}
    fixed = asyncio.run(search.fixed(Scored(put, -1e6, 1)))
    assert fixed.labels == {0: False, 1: True, 2: False}
    assert fixed.utility == pytest.approx(50 * (-1 + 5 + 1) / 3)
    assert [len(each) for each in told.asked] == [3, 3]
    # One whose every way lowers U stays, and is tried once if nothing changed before.
    kept = asyncio.run(search.fixed(Scored(put, 1e6, 1)))
    assert kept.labels == put
    assert len(told.asked) == 4


@pytest.mark.parametrize("mind", MINDS)
@pytest.mark.parametrize("name", ["truthfulqa", "gsm8k"])
def test_without_a_wire_answers_and_tokens_are_those_of_the_servers_backend(name: str, mind: str) -> None:
    rows = rows_of(name, None, 16, 3)
    ruler, backend = Ruler(rows, rows.learner(MINDS[mind])), LearnerBackend(rows.learner(MINDS[mind]))
    wire, cache = Wire(rows, None), PrefixCache()  # type: ignore[arg-type]
    rng, cached = Random(5), 0
    for turn in range(30):
        query, *others = rng.sample(range(16), rng.randint(1, 16))
        question = Question(tuple((at, rng.random() < 0.5) for at in sorted(others)), query)
        text = wire._prompt(question).text
        ids, before = backend.encode(text), ruler.sent[0]
        (odds,) = asyncio.run(ruler.ask([question]))
        row = backend.last(ids)
        assert row[0] - row[1] == pytest.approx(odds)
        assert ruler.sent[0].prompt_tokens - before.prompt_tokens == len(ids)
        held = cache.longest(ids)
        cache.add(ids)
        cached += held
        # Beginnings are shared by questions, claims and labels here, and by tokens there.
        assert held >= ruler.sent[0].cached_tokens - before.cached_tokens
        assert ruler.sent[0].requests == turn + 1
    assert cached <= 1.2 * ruler.sent[0].cached_tokens
    again = Question(((1, True),), 2)
    asyncio.run(ruler.ask([again, again]))
    assert ruler.sent[0].requests == ruler.once[0].requests + 1


@pytest.mark.parametrize("mind", MINDS)
def test_labels_inside_a_prompt_are_answered_as_if_each_was_asked_alone(mind: str) -> None:
    rows = rows_of("gsm8k", None, 8, 0)
    backend = LearnerBackend(rows.learner(MINDS[mind]))
    texts = [rows.task.template.render(example) for example in rows.dataset]
    whole = "\n\n".join(f"{text} {bool(at % 3)}" for at, text in enumerate(texts))
    ids = backend.encode(whole)
    places = [at for at, one in enumerate(ids) if backend.token(one, None).text in (" True", " False")]
    rows_inside = backend.every(ids)
    assert len(places) == len(texts)
    for place in places:
        assert rows_inside[place][:2] == pytest.approx(backend.last(ids[:place])[:2])
    assert rows_inside[0] is rows_inside[1]


def test_exact_utility_is_the_mean_over_orders_of_leave_one_out() -> None:
    rows = rows_of("truthfulqa", None, 6, 0)
    plain = rows.learner(MINDS["plain"])
    right = {key: rows.gold[key] for key in rows.dataset.ids}
    wrong = {key: "False" if label == "True" else "True" for key, label in right.items()}
    assert exact_utility(rows, plain, right) > exact_utility(rows, plain, wrong)
    assert rows.agreement(right) == 1
    assert rows.agreement(wrong) == 0
    # Without noise of order the orders agree, and one is enough.
    (one, *_) = rows.dataset.ids
    assert exact_utility(rows, plain, {one: "True"}) == pytest.approx(
        -50 * _softplus(-plain.odds([], plain.number(rows.task.template.render(rows.dataset.get(one)))))
    )


def _softplus(value: float) -> float:
    return log1p(exp(value))


def test_the_present_default_is_the_first_way() -> None:
    assert not WAYS["default, with echo"].search
    assert PUBLISHED not in WAYS


@pytest.mark.slow
def test_the_published_search_costs_the_same_by_both_rulers() -> None:
    found = asyncio.run(check(None))
    ruler, wire = found.ruler, found.wire
    assert ruler.labels == wire.labels
    assert ruler.usage.requests == wire.usage.requests
    assert ruler.usage.prompt_tokens == wire.usage.prompt_tokens
    assert ruler.new_tokens == pytest.approx(wire.new_tokens, rel=0.05)
    assert found.each >= 0
    assert found.wire.wall >= ruler.wall
