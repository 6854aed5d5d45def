"""Matching tokens with forms, bounds for what is not listed, and numbers that are none."""

from itertools import pairwise
from math import exp, inf, log, nan
from typing import Any

import pytest

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.label_tokens import Place, TokenLogprob, read_forms
from icm_api.model.reading.reading import Below
from icm_api.model.reading.top_k import branches_of, grown


def place(*listed: tuple[Any, ...]) -> Place:
    tokens = tuple(TokenLogprob(text, log(p), *rest) for text, p, *rest in listed)
    return Place(tokens[0], tokens)


def probability(value: float | Below) -> float:
    assert isinstance(value, float)
    return exp(value)


def bound(value: float | Below) -> float:
    assert isinstance(value, Below)
    return exp(value.logprob)


def test_a_listed_form_has_its_own_number() -> None:
    read = read_forms(place((" True", 0.6), (" False", 0.3), (" so", 0.05)), [" True", " False"])
    assert probability(read.forms[" True"]) == pytest.approx(0.6)
    assert probability(read.forms[" False"]) == pytest.approx(0.3)


def test_bytes_decide_not_the_text() -> None:
    read = read_forms(place(("\ufffd", 0.5, " é".encode()), (" é", 0.2, b" e")), [" é", " e"])
    assert [round(probability(value), 6) for value in read.forms.values()] == [0.5, 0.2]


def test_an_unlisted_form_is_bounded_by_the_least_and_by_what_is_left() -> None:
    by_least = read_forms(place((" a", 0.5), (" b", 0.1)), [" a", " z"])
    assert bound(by_least.forms[" z"]) == pytest.approx(0.1)
    by_rest = read_forms(place((" a", 0.5), (" b", 0.45)), [" a", " z"])
    assert bound(by_rest.forms[" z"]) == pytest.approx(0.05)


def test_a_token_outside_the_ranking_bounds_nothing() -> None:
    top = (TokenLogprob(" a", log(0.5)), TokenLogprob(" b", log(0.2)))
    read = read_forms(Place(TokenLogprob(" rare", log(1e-6)), top), [" a", " z"])
    assert bound(read.forms[" z"]) == pytest.approx(0.2)


def test_loose_space_adds_up_both_ways_to_begin() -> None:
    listed = place(("True", 0.6), (" True", 0.1), ("False", 0.2))
    loose = read_forms(listed, [" True", " False"], loose_space=True)
    assert [round(probability(value), 6) for value in loose.forms.values()] == [0.7, 0.2]
    strict = read_forms(listed, [" True", " False"])
    assert probability(strict.forms[" True"]) == pytest.approx(0.1)
    assert isinstance(strict.forms[" False"], Below)


def test_no_token_counts_for_two_forms() -> None:
    read = read_forms(place(("True", 0.6), (" True", 0.1)), [" True", "True"], loose_space=True)
    assert [round(probability(value), 6) for value in read.forms.values()] == [0.1, 0.6]


def test_identical_tokens_count_once_and_different_ones_of_the_same_text_both() -> None:
    same = read_forms(place((" a", 0.3, b" a"), (" a", 0.3, b" a"), (" b", 0.2, b" b")), [" a", " b"])
    assert probability(same.forms[" a"]) == pytest.approx(0.3)
    different = read_forms(place((" a", 0.3), (" a", 0.2), (" b", 0.1)), [" a", " b"])
    assert probability(different.forms[" a"]) == pytest.approx(0.5)
    ids = tuple(TokenLogprob("", log(p), id=token) for p, token in ((0.3, 1), (0.3, 1), (0.3, 2)))
    # Of three with two ids two are left, 0.6 in all: with 0.9 the bound would be 0.1.
    assert bound(read_forms(Place(ids[0], ids), [" a"]).forms[" a"]) == pytest.approx(0.3)


def test_a_beginning_is_no_form() -> None:
    read = read_forms(place((" True", 0.5), (" Fal", 0.3), (" Fa", 0.1), (" x", 0.01)), [" True", " False"])
    assert bound(read.forms[" False"]) == pytest.approx(0.41)
    assert read.begun[" False"].text == " Fal"


def test_a_placeholder_is_a_missing_number() -> None:
    top = (TokenLogprob(" True", log(0.7)), TokenLogprob(" x", log(0.1)), TokenLogprob(" False", -9999.0))
    assert bound(read_forms(Place(top[0], top), [" True", " False"]).forms[" False"]) == pytest.approx(0.1)


@pytest.mark.parametrize("value", [None, nan, 0.5, "NaN", True, inf])
def test_what_is_no_logprob_is_refused(value: object) -> None:
    top = (TokenLogprob(" a", -0.5), TokenLogprob(" b", value))
    with pytest.raises(LogprobsUnavailableError, match="which is none"):
        read_forms(Place(top[0], top), [" a"])


@pytest.mark.parametrize(("values", "says"), [((-9999.0, -1e9, -inf), "placeholders"), ((-3.0,) * 3, "same")])
def test_placeholders_alone_are_refused(values: tuple[float, ...], says: str) -> None:
    top = tuple(TokenLogprob(f" {at}", value) for at, value in enumerate(values))
    with pytest.raises(LogprobsUnavailableError, match=says):
        read_forms(Place(top[0], top), [" 0"])


def test_probabilities_that_sum_to_more_than_one_are_refused() -> None:
    with pytest.raises(LogprobsUnavailableError, match=r"1\.200"):
        read_forms(place((" a", 0.7), (" b", 0.5)), [" a"])


def test_two_labels_may_tie() -> None:
    assert len(read_forms(place((" a", 0.3), (" b", 0.3)), [" a", " b"]).forms) == 2


def test_a_walk_multiplies_along_the_way() -> None:
    read = read_forms(place((" Fal", 0.4), (" True", 0.3), (" x", 0.001)), [" True", " False"])
    (branch,) = branches_of(0, read)
    assert (branch.prefix, branch.rest) == (" Fal", "se")
    ((at, form, value),), further = grown([branch], {(0, " Fal"): place(("se", 0.9), ("l", 0.05))})
    assert (at, form, further) == (0, " False", [])
    assert probability(value) == pytest.approx(0.36)


def test_a_walk_that_is_not_the_likeliest_way_is_only_a_bound() -> None:
    # " False" may be one token below the listed ones, 0.1 at most; " " and "False" is another way to write it.
    read = read_forms(place((" True", 0.5), (" ", 0.2), (" x", 0.1)), [" True", " False"])
    (branch,) = branches_of(0, read)
    ((_, _, value),), _ = grown([branch], {(0, " "): place(("x", 0.5), ("False", 0.1))})
    assert bound(value) == pytest.approx(0.2 * 0.1 + 0.1)


def test_a_walk_that_ends_nowhere_is_a_bound_on_all_ways() -> None:
    read = read_forms(place((" True", 0.5), (" Fal", 0.2), (" x", 0.01)), [" True", " False"])
    (branch,) = branches_of(0, read)
    ((_, _, value),), _ = grown([branch], {(0, " Fal"): place(("x", 0.5), ("y", 0.1))})
    assert bound(value) == pytest.approx(0.01 + 0.2 * 0.1)


def test_a_walk_goes_on_until_the_form_is_whole() -> None:
    word, seen = " False", []
    branches = branches_of(3, read_forms(place((" F", 0.5), (" x", 0.001)), [word]))
    while branches:
        seen.append(branches[0].prefix)
        letter = branches[0].rest[:1]
        found, branches = grown(branches, {(3, branches[0].prefix): place((letter, 0.9), ("?", 0.0001))})
    assert seen == [" F", " Fa", " Fal", " Fals"]
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(seen))
    assert probability(found[0][2]) == pytest.approx(0.5 * 0.9**4)


def test_spaces_that_a_server_strips_from_alternatives_are_noticed() -> None:
    read = read_forms(place(("True", 0.5), ("True", 0.1), ("False", 0.2), ("x", 0.01)), [" True", " False"])
    assert read.stripped
    assert [round(probability(value), 6) for value in read.forms.values()] == [0.6, 0.2]
    # The token that was chosen keeps its space, and is one of the alternatives all the same.
    top = tuple(TokenLogprob(text, log(p)) for text, p in (("True", 0.6), ("False", 0.3)))
    read = read_forms(Place(TokenLogprob(" True", log(0.6)), top), [" True", " False"])
    assert [round(probability(value), 6) for value in read.forms.values()] == [0.6, 0.3]


@pytest.mark.parametrize("listed", [[("True", 0.5), (" True", 0.1)], [("no", 0.5), ("x", 0.1)]])
def test_a_space_is_only_missed_if_no_token_has_one_and_a_form_is_there_without_it(
    listed: list[tuple[str, float]],
) -> None:
    read = read_forms(place(*listed), [" True", " False"])
    assert not read.stripped
    assert isinstance(read.forms[" False"], Below)
