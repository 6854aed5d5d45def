"""What the benchmarks of real models draw and count, with no model: pairs of reviews, and the order of scores."""

from __future__ import annotations

import pytest

from icm_api.compare.crossed import Block, block
from icm_api.compare.measuring import Answer
from icm_api.data import Gold
from tests.benchmarks.assistant import won
from tests.real import reviews
from tests.real.assistants import HELD_OUT, TRAINED
from tests.real.reviews import BAD, FOUND, GOLDEN, GOOD, HUMAN, Reviews


def test_pairs_have_a_good_and_a_bad_review_of_which_none_is_held_out() -> None:
    drawn, other = Reviews.of(0), Reviews.of(1)
    texts = {each.fields[side] for each in drawn.pairs for side in ("first", "second")}
    assert len(drawn.pairs) == 2 * reviews.PAIRS == len(texts)
    assert not texts & {each.fields["text"] for each in drawn.held_out}
    assert sorted(drawn.truth.values()) == sorted([GOOD, BAD] * (len(drawn.held_out) // 2))
    assert drawn.held_out.ids != other.held_out.ids
    # Which text is the first says nothing of the label.
    assert 6 <= sum(drawn.gold[f"p{at}-1"] == "A" for at in range(reviews.PAIRS)) <= 18
    assert all(drawn.gold[f"p{at}-1"] != drawn.gold[f"p{at}-2"] for at in range(reviews.PAIRS))


def test_people_are_wrong_about_whole_pairs() -> None:
    drawn = Reviews.of(0)
    wrong = drawn.wrong(reviews.WRONG)
    missed = [key for key in drawn.gold if wrong[key] != drawn.gold[key]]
    assert len(missed) == 2 * round(reviews.WRONG * reviews.PAIRS)
    assert len({key[:-2] for key in missed}) == len(missed) / 2


def test_the_table_counts_pairs_in_the_right_order() -> None:
    gold = {"g1": GOOD, "g2": GOOD, "b1": BAD, "b2": BAD}

    def scored(places: dict[str, float]) -> Block:
        rows = [Answer(key, None, GOOD, {GOOD: place, BAD: 1 - place}) for key, place in places.items()]
        return block(rows, Gold(gold), (GOOD, BAD))

    best = scored({"g1": 0.8, "g2": 0.6, "b1": 0.4, "b2": 0.2})
    some = scored({"g1": 0.8, "g2": 0.4, "b1": 0.6, "b2": 0.2})
    right = {GOLDEN: [0.9], FOUND: [0.6], HUMAN: [0.5]}
    head, *rows = reviews.table(right, {GOLDEN: [best], FOUND: [some], HUMAN: [some]})
    assert "less ICM" in head
    assert "100%" in rows[0]
    assert "75%" in rows[1]
    assert "+25%" in rows[0]


def test_prompts_to_learn_from_are_not_held_out() -> None:
    assert not set(TRAINED) & set(HELD_OUT)
    assert len(TRAINED) == len(HELD_OUT) == len(set(HELD_OUT))


def test_wins_count_equals_half_and_prompts_once() -> None:
    one = [[[0.9, 0.1], [0.5, 0.5]]]
    assert won(one, [[[0.2, 0.2], [0.5, 0.1]]]).value == pytest.approx((0.5 + 0.75) / 2)
