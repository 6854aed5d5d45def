"""Each constraint against its definition: I(D) of every labeling, counted by a plain loop over the examples."""

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_api.consistency import (
    asymmetric,
    compile_relations,
    constraint_name,
    equivalent,
    exactly_one,
    implies,
    mutually_exclusive,
    transitive,
)
from icm_api.errors import ConfigError
from icm_api.types import Constraint, Dataset, Example, Label, Relation

BINARY = ("True", "False")
Count = Callable[[Dataset, Mapping[str, Label]], int]


def candidates(*answers: str | None, group: str | None = "q") -> Dataset:
    return Dataset(Example(f"{at}", {}, group, answer) for at, answer in enumerate(answers))


def versus(*pairs: str) -> Dataset:
    """One example per "ab": a compared with b."""
    return Dataset(Example(f"{at}:{p}", {"left": p[0], "right": p[1]}) for at, p in enumerate(pairs))


def legal(dataset: Dataset, *constraints: Constraint, labels: tuple[Label, ...] = BINARY) -> int:
    found = compile_relations(dataset, labels, constraints).legal_labelings(dataset.ids, {}, 10_000)
    assert found is not None
    return len(found)


def inconsistency(dataset: Dataset, labeling: Mapping[str, Label], *constraints: Constraint) -> float:
    relations = compile_relations(dataset, BINARY, constraints)
    return relations.weight(relations.broken(labeling))


def all_labelings(dataset: Dataset) -> Iterator[dict[str, Label]]:
    for labels in product((*BINARY, None), repeat=len(dataset)):
        yield {key: label for key, label in zip(dataset.ids, labels, strict=True) if label is not None}


groups = st.sampled_from([None, "p", "q"])
answers = st.sampled_from([None, "3", "4"])
# The last row stands alone; it is there because a data set without any answer is an error of its own.
grouped = st.lists(st.tuples(groups, answers), max_size=4).map(
    lambda rows: Dataset(
        Example(f"{at}", {}, group, answer) for at, (group, answer) in enumerate([*rows, ("alone", "3")])
    )
)
compared = st.lists(st.sampled_from(["ab", "ba", "bc", "cb", "ac", "ca", "aa"]), min_size=1, max_size=5).map(
    lambda pairs: versus(*pairs)
)


def true(labels: Mapping[str, Label], *examples: Example) -> bool:
    return all(labels.get(example.id) == "True" for example in examples)


def false(labels: Mapping[str, Label], *examples: Example) -> bool:
    return all(labels.get(example.id) == "False" for example in examples)


def both_claimed(data: Dataset, labels: Mapping[str, Label]) -> int:
    return sum(
        one.group == other.group is not None
        and None not in (one.answer, other.answer)
        and one.answer != other.answer
        and true(labels, one, other)
        for one, other in combinations(data, 2)
    )


def told_apart(data: Dataset, labels: Mapping[str, Label]) -> int:
    return sum(
        one.group == other.group is not None
        and one.answer == other.answer is not None
        and {labels.get(one.id), labels.get(other.id)} == {"True", "False"}
        for one, other in combinations(data, 2)
    )


def not_one(data: Dataset, labels: Mapping[str, Label]) -> int:
    broken = 0
    for name in ("p", "q"):
        members = [item for item in data if item.group == name]
        broken += sum(true(labels, one, other) for one, other in combinations(members, 2))
        broken += len(members) > 1 and false(labels, *members)
    return broken


def two_winners(data: Dataset, labels: Mapping[str, Label]) -> int:
    return sum(true(labels, *pair) for pair in swapped(data))


def not_one_winner(data: Dataset, labels: Mapping[str, Label]) -> int:
    return sum(true(labels, *pair) or false(labels, *pair) for pair in swapped(data))


def swapped(data: Dataset) -> list[tuple[Example, Example]]:
    return [
        (one, other)
        for one, other in combinations(data, 2)
        if one.fields["left"] == other.fields["right"] != other.fields["left"] == one.fields["right"]
    ]


def out_of_order(data: Dataset, labels: Mapping[str, Label]) -> int:
    """Sets of three examples, since a cycle is found from each of its three ends."""
    asked = {item.id[-2:] for item in data}
    broken: set[tuple[str, frozenset[str]]] = set()
    for one, two, three in permutations(data, 3):
        a, b, c, third = one.id[-2], one.id[-1], two.id[-1], three.id[-2:]
        if two.id[-2] != b or len({a, b, c}) < 3 or not true(labels, one, two):
            continue
        if third == a + c and false(labels, three):
            broken.add(("order", frozenset({one.id, two.id, three.id})))
        if third == c + a and a + c not in asked and true(labels, three):
            broken.add(("cycle", frozenset({one.id, two.id, three.id})))
    return len(broken)


def check(data: Dataset, constraint: Constraint, count: Count) -> None:
    relations = compile_relations(data, BINARY, [constraint])
    for labels in all_labelings(data):
        assert relations.weight(relations.broken(labels)) == count(data, labels), labels


@pytest.mark.parametrize(
    ("constraint", "count"),
    [(mutually_exclusive("True"), both_claimed), (equivalent(), told_apart), (exactly_one("True"), not_one)],
    ids=constraint_name,
)
@given(grouped)
@settings(max_examples=40)
def test_inconsistency_within_groups_is_the_plain_count(constraint: Constraint, count: Count, data: Dataset) -> None:
    check(data, constraint, count)


@pytest.mark.parametrize(
    ("constraint", "count"),
    [
        (asymmetric("True"), two_winners),
        (asymmetric("True", total=True), not_one_winner),
        (transitive("True"), out_of_order),
    ],
    ids=constraint_name,
)
@given(compared)
@settings(max_examples=40)
def test_inconsistency_of_comparisons_is_the_plain_count(constraint: Constraint, count: Count, data: Dataset) -> None:
    check(data, constraint, count)


def test_of_four_different_answers_five_of_sixteen_labelings_are_legal() -> None:
    assert legal(candidates("1", "2", "3", "4"), mutually_exclusive("True")) == 5


def test_exactly_one_of_four_leaves_four_of_sixteen() -> None:
    assert legal(candidates(None, None, None, None), exactly_one("True")) == 4


def test_equal_answers_stand_and_fall_together() -> None:
    data = candidates("1", "1", "2", "2")
    assert legal(data, equivalent()) == 4
    assert legal(data, equivalent(), mutually_exclusive("True")) == 3
    assert legal(data, equivalent(), labels=("a", "b", "c")) == 9


def test_exactly_one_of_three_labels_forbids_none_and_two() -> None:
    assert legal(candidates(None, None), exactly_one("a"), labels=("a", "b", "c")) == 4


def test_unordered_pairs_count_once_and_weigh_what_they_are_told() -> None:
    data = candidates("1", "2", "3")
    everything = dict.fromkeys(data.ids, "True")
    assert inconsistency(data, everything, mutually_exclusive("True")) == 3
    assert inconsistency(data, everything, mutually_exclusive("True", weight=2.5)) == 7.5
    assert inconsistency(data, everything, mutually_exclusive("True"), mutually_exclusive("True")) == 3
    both = mutually_exclusive("True"), mutually_exclusive("True", weight=2.0)
    assert inconsistency(data, everything, *both) == 9, "other weights are other constraints"


def test_copies_of_one_comparison_are_each_held_against_every_swapped_copy() -> None:
    relations = compile_relations(versus("ab", "ab", "ba", "ba", "ba"), BINARY, [asymmetric("True")])
    assert len(relations) == 2 * 3


def test_a_strict_order_of_four_things_has_one_labeling_per_permutation() -> None:
    data = versus(*(a + b for a, b in permutations("abcd", 2)))
    assert legal(data, asymmetric("True", total=True), transitive("True")) == 24


def test_a_cycle_of_three_is_found_where_the_third_pair_was_asked_backwards() -> None:
    data = versus("ab", "bc", "ca")
    assert legal(data, transitive("True")) == 7
    assert len(compile_relations(data, BINARY, [transitive("True")])) == 1


def test_pairs_may_have_other_keys_and_numbers_equal_their_texts() -> None:
    data = Dataset(
        [Example("a", {"worse": "1"}, metadata={"better": 2.0}), Example("b", {"better": "1", "worse": "2"})]
    )
    relations = compile_relations(data, BINARY, [asymmetric("True", first="better", second="worse")])
    assert [set(each.ids) for each in relations] == [{"a", "b"}]


@pytest.mark.parametrize("to", ["b", ["b"], ("b",), ["b", "b"]])
def test_implies_forbids_the_label_without_its_consequence(to: object) -> None:
    data = Dataset([Example("a", {}, metadata={"implies": to}), Example("b", {})])
    relations = compile_relations(data, BINARY, [implies("True", "True")])
    broken = [labels for labels in all_labelings(data) if relations.broken(labels)]
    assert broken == [{"a": "True", "b": "False"}]
    assert len(relations) == 1


def test_implies_reads_a_text_field_and_numbered_ids() -> None:
    data = Dataset([Example("1", {"then": "2"}), Example("2", {}, metadata={"then": [3, 1]}), Example("3", {})])
    relations = compile_relations(data, ("a", "b", "c"), [implies("a", "b", to="then")])
    assert [each.ids for each in relations] == [("1", "2"), ("2", "3"), ("2", "1")]
    assert relations.broken({"1": "a", "2": "c"}) == {0}
    assert relations.broken({"1": "a", "2": "b"}) == frozenset()


@pytest.mark.parametrize("by", ["group", "field", "note"])
def test_by_finds_groups_fields_and_metadata(by: str) -> None:
    rows = [Example(str(at), {"field": "f"}, "q", str(at), {"note": 1}) for at in range(3)]
    assert legal(Dataset(rows), equivalent(by=by)) == 2


def test_answer_means_the_answer_even_where_a_field_has_that_name() -> None:
    rows = [Example(str(at), {"answer": str(at)}, "q", "same") for at in range(2)]
    assert legal(Dataset(rows), mutually_exclusive("True")) == 4


FACTORIES: list[Constraint] = [
    mutually_exclusive("true"),
    implies("true", "True"),
    implies("True", "true"),
    asymmetric("true"),
    exactly_one("true"),
    transitive("true"),
]


@pytest.mark.parametrize("constraint", FACTORIES, ids=constraint_name)
def test_a_label_outside_the_set_is_an_error_even_where_nothing_is_related(constraint: Constraint) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_relations(Dataset([Example("a", {})]), BINARY, [constraint])
    assert constraint_name(constraint) in str(caught.value)
    assert "'true' is none of the labels ['True', 'False']" in str(caught.value)


@pytest.mark.parametrize(
    ("constraint", "key"),
    [
        (mutually_exclusive("True"), "answer"),
        (equivalent(by="final"), "final"),
        (implies("True", "True"), "implies"),
        (asymmetric("True"), "left"),
        (transitive("True", first="text", second="loser"), "loser"),
    ],
)
def test_a_key_that_no_example_has_is_an_error(constraint: Constraint, key: str) -> None:
    data = Dataset([Example("a", {"text": "t"}, "q"), Example("b", {"text": "u"}, "q")])
    with pytest.raises(ConfigError, match=f"no example has '{key}'"):
        compile_relations(data, BINARY, [constraint])


def test_a_value_that_cannot_be_compared_is_an_error() -> None:
    data = Dataset([Example("a", {}, "q", metadata={"final": [1]})])
    with pytest.raises(ConfigError, match=r"'final' of example 'a' is \[1\]"):
        compile_relations(data, BINARY, [equivalent(by="final")])


@pytest.mark.parametrize(("to", "what"), [("ghost", "no example has the id 'ghost'"), ("a", "'a' names itself")])
def test_implying_nobody_or_oneself_is_an_error(to: str, what: str) -> None:
    data = Dataset([Example("a", {}, metadata={"implies": [to]}), Example("b", {})])
    with pytest.raises(ConfigError, match=what):
        compile_relations(data, BINARY, [implies("True", "False")])


def test_names_say_how_a_constraint_was_made() -> None:
    assert constraint_name(mutually_exclusive("True")) == "mutually_exclusive('True', by='answer')"
    assert constraint_name(equivalent(by="k", weight=0.5)) == "equivalent(by='k', weight=0.5)"


def test_a_plain_function_is_a_constraint() -> None:
    def first_two_differ(data: Dataset, labels: tuple[Label, ...]) -> Iterator[Relation]:
        yield Relation(data.ids[:2], tuple((frozenset({each}),) * 2 for each in labels))

    assert legal(candidates("1", "2"), first_two_differ) == 2
