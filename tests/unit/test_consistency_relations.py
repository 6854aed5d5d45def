"""Relations against brute force: what is broken, I(D), legal labelings, and the price of one changed label."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise, product
from math import inf, nan
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_api.consistency import Relations, compile_relations, constraint_name, mutually_exclusive
from icm_api.errors import ConfigError
from icm_api.types import Dataset, Example, Label, Labeling, Relation

IDS = ("a", "b", "c", "d", "e")
LABELS = ("x", "y", "z")
BINARY = ("True", "False")
BOTH_TRUE = ((frozenset({"True"}), frozenset({"True"})),)

label_sets = st.frozensets(st.sampled_from(LABELS), min_size=1)
labelings = st.dictionaries(st.sampled_from(IDS), st.sampled_from(LABELS)).map(Labeling)


@st.composite
def any_relation(draw: st.DrawFn) -> Relation:
    ids = draw(st.lists(st.sampled_from(IDS), min_size=2, max_size=4, unique=True))
    patterns = draw(st.lists(st.tuples(*[label_sets] * len(ids)), min_size=1, max_size=3))
    weight = draw(st.floats(min_value=0.01, max_value=1e6))
    return Relation(tuple(ids), tuple(patterns), weight)


def index(relations: Iterable[Relation], ids: tuple[str, ...] = IDS) -> Relations:
    return Relations(relations, ids, LABELS)


indexes = st.lists(any_relation(), max_size=6).map(index)


def combination_is_forbidden(relation: Relation, labeling: Mapping[str, Label]) -> bool:
    """The definition, spelled out: expand every pattern into single combinations and look for this one."""
    combinations_forbidden = {labels for pattern in relation.forbidden for labels in product(*pattern)}
    return set(relation.ids) <= labeling.keys() and (
        tuple(labeling[key] for key in relation.ids) in combinations_forbidden
    )


def compiled(*made: Relation, name: str = "mine") -> Relations:
    def mine(_data: Dataset, _labels: tuple[Label, ...]) -> Iterable[Relation]:
        return made

    mine.__name__ = name
    return compile_relations(Dataset(Example(key, {}) for key in IDS), BINARY, [mine])


@given(any_relation(), labelings)
def test_a_relation_is_broken_by_its_forbidden_combinations_only(rel: Relation, labeling: Labeling) -> None:
    assert rel.is_broken(labeling) == combination_is_forbidden(rel, labeling)


@given(indexes, labelings)
def test_inconsistency_is_the_weight_of_what_brute_force_finds_broken(relations: Relations, labeling: Labeling) -> None:
    expected = [at for at, rel in enumerate(relations) if combination_is_forbidden(rel, labeling)]
    assert relations.broken(labeling) == frozenset(expected)
    assert relations.weight(expected) == pytest.approx(sum(relations[at].weight for at in expected))


@given(st.lists(st.floats(min_value=1e-3, max_value=1e9), min_size=2), st.randoms())
def test_weight_does_not_depend_on_order(weights: list[float], rng: Random) -> None:
    relations = index(Relation(("a", "b"), BOTH_TRUE, weight) for weight in weights)
    order = list(range(len(weights)))
    rng.shuffle(order)
    assert relations.weight(order) == relations.weight(range(len(weights)))


@given(indexes, labelings, labelings)
@settings(max_examples=60)
def test_looking_at_changes_only_equals_looking_at_all(relations: Relations, before: Labeling, after: Labeling) -> None:
    changed = [key for key in IDS if before.get(key) != after.get(key)]
    assert relations.broken_after(relations.broken(before), after, changed) == relations.broken(after)


def test_a_change_looks_at_the_relations_it_touches_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = tuple(str(number) for number in range(30))
    relations = index((Relation(pair, BOTH_TRUE) for pair in combinations(ids, 2)), ids)
    labeling = Labeling(dict.fromkeys(ids, "True"))
    broken = relations.broken(labeling)
    looked: list[tuple[str, ...]] = []
    original = Relation.is_broken

    def counting(self: Relation, labels: Mapping[str, Label]) -> bool:
        looked.append(self.ids)
        return original(self, labels)

    monkeypatch.setattr(Relation, "is_broken", counting)
    relations.broken_after(broken, labeling.assign({"7": "False", "8": "False"}), ["7", "8"])
    expected = [pair for pair in combinations(ids, 2) if {"7", "8"} & set(pair)]
    assert sorted(looked) == sorted(expected), "each touched relation once"


@given(indexes, st.lists(st.sampled_from(IDS), unique=True), labelings, st.integers(0, 30))
@settings(max_examples=60)
def test_legal_labelings_are_those_that_brute_force_finds(
    relations: Relations, ids: list[str], fixed: Labeling, limit: int
) -> None:
    expected = []
    for labels in product(LABELS, repeat=len(ids)):
        chosen = dict(zip(ids, labels, strict=True))
        around = {**fixed, **chosen}
        touching = [rel for rel in relations if set(rel.ids) & set(ids)]
        if not any(combination_is_forbidden(rel, around) for rel in touching):
            expected.append(Labeling(chosen))
    # The order is that of the product, and there is none beyond the limit.
    found = relations.legal_labelings(ids, fixed, limit)
    assert found == (tuple(expected) if len(expected) <= limit else None)
    assert found is None or all(tuple(way) == tuple(ids) for way in found)


def test_an_example_without_relations_has_every_label_and_only_itself() -> None:
    relations = index([Relation(("a", "b"), ((frozenset("x"), frozenset("x")),))])
    assert relations.touching("c") == ()
    assert relations.neighbours("c") == frozenset()
    assert relations.component("c") == ("c",)
    expected = tuple(Labeling({"c": label}) for label in LABELS)
    assert relations.legal_labelings(["c"], {}, 3) == expected
    assert relations.legal_labelings(["c"], {}, 2) is None


def test_a_conflict_elsewhere_does_not_make_an_example_illegal() -> None:
    clash = ((frozenset("x"), frozenset("x")),)
    relations = index([Relation(("a", "b"), clash), Relation(("b", "c"), clash)])
    everywhere = {"a": "x", "b": "x", "c": "x"}
    assert relations.legal_labelings(["c"], everywhere, 9) == (Labeling({"c": "y"}), Labeling({"c": "z"}))


def test_an_impossible_part_decides_even_beside_parts_with_more_ways_than_the_limit() -> None:
    ids = (*(f"free{number}" for number in range(40)), "p", "q")
    nothing_goes = Relation(("p", "q"), ((frozenset(LABELS), frozenset(LABELS)),))
    assert index([nothing_goes], ids).legal_labelings(ids, {}, 100) == ()
    assert index([], ids).legal_labelings(ids, {}, 100) is None


def test_a_component_may_be_longer_than_the_stack_is_deep() -> None:
    ids = tuple(str(number) for number in range(3000))
    unequal = tuple((frozenset({label}), frozenset(LABELS) - {label}) for label in LABELS)
    relations = index((Relation(pair, unequal) for pair in pairwise(ids)), ids)
    assert relations.component("1500") == ids
    assert relations.legal_labelings(ids, {}, 3) == tuple(Labeling(dict.fromkeys(ids, label)) for label in LABELS)


@given(indexes)
@settings(max_examples=60)
def test_components_are_what_walking_from_neighbour_to_neighbour_reaches(relations: Relations) -> None:
    for start in IDS:
        reached, before = {start}, set[str]()
        while reached != before:
            before = set(reached)
            reached |= {key for rel in relations if before & set(rel.ids) for key in rel.ids}
        assert relations.component(start) == tuple(key for key in IDS if key in reached)
        near = {key for rel in relations if start in rel.ids for key in rel.ids} - {start}
        assert relations.neighbours(start) == near
        assert relations.touching(start) == tuple(at for at, r in enumerate(relations) if start in r.ids)
    assert Counter(key for group in relations.components for key in group) == Counter(IDS)
    assert {relations.component(key) for key in IDS} == set(relations.components)


def test_one_pair_found_from_both_ends_counts_once() -> None:
    skewed = ((frozenset({"True"}), frozenset({"False"})), (frozenset({"False"}), frozenset({"False"})))
    turned = tuple((second, first) for first, second in reversed(skewed))
    assert len(compiled(Relation(("a", "b"), skewed), Relation(("b", "a"), turned))) == 1
    # The same words at the other id forbid something else.
    assert len(compiled(Relation(("a", "b"), skewed), Relation(("b", "a"), skewed))) == 2


def test_a_constraint_given_twice_counts_once_and_two_that_agree_count_twice() -> None:
    def mine(_data: Dataset, _labels: tuple[Label, ...]) -> Iterable[Relation]:
        yield Relation(("a", "b"), BOTH_TRUE)

    def other(_data: Dataset, _labels: tuple[Label, ...]) -> Iterable[Relation]:
        yield Relation(("a", "b"), BOTH_TRUE, weight=2.0)

    relations = compile_relations(Dataset([Example("a", {}), Example("b", {})]), BINARY, [mine, mine, other])
    assert [(each.constraint, each.weight) for each in relations] == [("mine", 1.0), ("other", 2.0)]
    assert relations.weight(relations.broken({"a": "True", "b": "True"})) == 3.0


def test_a_relation_keeps_the_name_that_it_was_made_with() -> None:
    assert compiled(Relation(("a", "b"), BOTH_TRUE, constraint="mine: part two"))[0].constraint == "mine: part two"


def test_a_callable_object_is_called_by_its_type() -> None:
    class Nothing:
        def __call__(self, _data: Dataset, _labels: tuple[Label, ...]) -> Iterable[Relation]:
            return ()

    assert constraint_name(Nothing()) == "Nothing"


@pytest.mark.parametrize(
    ("relation", "named"),
    [
        (Relation(("a", "ghost"), BOTH_TRUE), "mine: no example has the id 'ghost'"),
        (Relation(("a", "b"), ((frozenset({"true"}), frozenset({"True"})),)), "mine: 'true' is none of the labels"),
    ],
)
def test_an_unknown_id_or_label_is_named_with_its_constraint(relation: Relation, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        compiled(relation)


def test_two_weights_for_one_relation_are_an_error_and_none_is_dropped() -> None:
    with pytest.raises(ConfigError, match=r"mine.*weight 1\.0 and with weight 2\.0"):
        compiled(Relation(("a", "b"), BOTH_TRUE), Relation(("b", "a"), BOTH_TRUE, 2.0))


@pytest.mark.parametrize(
    ("ids", "forbidden", "weight"),
    [
        (("a",), ((frozenset({"True"}),),), 1.0),
        (("a", "a"), BOTH_TRUE, 1.0),
        (("a", "b"), (), 1.0),
        (("a", "b", "c"), BOTH_TRUE, 1.0),
        (("a", "b"), ((frozenset({"True"}), frozenset[str]()),), 1.0),
        (("a", "b"), BOTH_TRUE, 0.0),
        (("a", "b"), BOTH_TRUE, -1.0),
        (("a", "b"), BOTH_TRUE, inf),
        (("a", "b"), BOTH_TRUE, nan),
    ],
)
def test_a_relation_that_means_nothing_cannot_be_made(
    ids: tuple[str, ...], forbidden: tuple[tuple[frozenset[str], ...], ...], weight: float
) -> None:
    with pytest.raises(ConfigError):
        Relation(ids, forbidden, weight)


def test_a_group_that_is_all_there_is_makes_too_many_relations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_api.consistency.relations.MOST_RELATIONS", 40)
    few, many = (Dataset(Example(str(at), {}, "all", str(at)) for at in range(size)) for size in (9, 12))
    assert len(compile_relations(few, BINARY, [mutually_exclusive("True")])) == 36
    with pytest.raises(ConfigError, match="more than 40 relations among 12 examples; the largest group, 'all', has 12"):
        compile_relations(many, BINARY, [mutually_exclusive("True")])
