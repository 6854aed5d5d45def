"""What the audit says: reach, silence, legal labelings per group, contradictions. No gold label takes part."""

import json
from collections.abc import Iterator

import pytest

from icm_api.consistency import asymmetric, audit, equivalent, exactly_one, mutually_exclusive
from icm_api.errors import ConfigError
from icm_api.types import Dataset, Example, Label, Relation

BINARY = ("True", "False")


def sums(*groups: str) -> Dataset:
    """One group per text, with one candidate per letter of it; the letter is its answer."""
    return Dataset(
        Example(f"{name}{at}", {}, str(name), answer)
        for name, text in enumerate(groups)
        for at, answer in enumerate(text)
    )


def test_defect_9_a_constraint_that_never_fires_is_reported() -> None:
    found = audit(sums("abc", "xyz"), BINARY, [mutually_exclusive("True"), equivalent()])
    assert found.silent == ("equivalent(by='answer')",)
    assert any(line.startswith("equivalent(by='answer'): no relation at all") for line in found.lines())
    assert found.as_json()["silent"] == ["equivalent(by='answer')"]


def test_defect_9_swapped_copies_that_are_written_differently_do_not_pass_in_silence() -> None:
    rows = [{"left": "A ", "right": "B"}, {"left": "B", "right": "A"}]
    data = Dataset(Example(str(at), row) for at, row in enumerate(rows))
    assert len(audit(data, BINARY, [asymmetric("True")]).silent) == 1


def test_groups_are_counted_by_size_and_legal_labelings() -> None:
    found = audit(sums("abcd", "abcd", "aabc", "xy", "z"), BINARY, [mutually_exclusive("True"), equivalent()])
    assert found.histogram == ((2, 3, 1), (4, 4, 1), (4, 5, 2))
    assert found.lines() == [
        "15 examples, labels True | False, 19 relations",
        "mutually_exclusive('True', by='answer'): 18 relations over 14 examples",
        "equivalent(by='answer'): 1 relation over 2 examples",
        "1 group of 2: 3 of 4 labelings legal",
        "1 group of 4: 4 of 16 labelings legal",
        "2 groups of 4: 5 of 16 labelings legal",
        "no constraint reaches 1 example: 40",
    ]


def test_too_many_to_count_is_said_and_not_guessed() -> None:
    found = audit(sums("a" * 24 + "b"), BINARY, [mutually_exclusive("True")], limit=1000)
    assert found.components[0].legal is None
    assert "1 group of 25: more than 1,000 of 2^25 labelings legal" in found.lines()
    assert json.loads(json.dumps(found.as_json()))["groups"] == [
        {"size": 25, "legal": None, "possible": "2^25", "groups": 1}
    ]


def test_a_contradiction_names_its_constraints_and_examples() -> None:
    found = audit(sums("aaa", "ab"), BINARY, [equivalent(), exactly_one("True")])
    (clash,) = found.contradictions
    assert clash.ids == ("00", "01", "02")
    assert clash.constraints == ("equivalent(by='answer')", "exactly_one('True')")
    assert (
        found.lines()[-1] == "contradiction: no labeling of 00, 01, 02 is legal under equivalent(by='answer') "
        "and exactly_one('True'); drop or mend one of them"
    )
    assert found.as_json()["contradictions"] == [{"ids": ["00", "01", "02"], "constraints": list(clash.constraints)}]


def test_a_constraint_is_not_silent_because_its_relations_have_names_of_their_own() -> None:
    def mine(data: Dataset, _labels: tuple[Label, ...]) -> Iterator[Relation]:
        yield Relation(data.ids[:2], ((frozenset({"True"}),) * 2,), constraint="mine: first rule")

    found = audit(sums("abc"), BINARY, [mine])
    assert [(each.name, each.relations, each.examples) for each in found.constraints] == [("mine", 1, 2)]
    assert found.components[0].constraints == ("mine: first rule",)


def test_without_constraints_nothing_is_reached() -> None:
    found = audit(sums("abcdefghijk"), BINARY, [])
    assert found.components == ()
    assert found.lines() == [
        "11 examples, labels True | False, 0 relations",
        "no constraint reaches 11 examples: 00, 01, 02, 03, 04, 05, 06, 07 and 3 more",
    ]


def test_the_audit_stops_at_what_cannot_be_compiled() -> None:
    with pytest.raises(ConfigError, match="no example has 'final'"):
        audit(sums("ab"), BINARY, [equivalent(by="final")])
