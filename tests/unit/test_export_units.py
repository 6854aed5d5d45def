"""Which examples are exported, in which order, and on which side of a split."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.errors import ConfigError, DataError, RunError
from icm_api.export import LabelledData, Options
from icm_api.export.units import DISAGREE, LONELY, Unit, chosen_examples, chosen_pairs, parted
from icm_api.result import Result
from icm_api.types import Dataset
from tests.labelled import claims, reply_pairs, with_line


def ids(units: tuple[Unit, ...]) -> list[str]:
    return [unit.id for unit in units]


def test_rows_are_in_data_set_order() -> None:
    data = claims(["z", "y", "x", "a"])
    assert ids(chosen_examples(data, Options(), training=True).units) == list(data.dataset.ids)


def test_labels_less_sure_than_asked_for_are_left_out_and_counted() -> None:
    data = claims("abcd", certainties={0: 0.8, 1: 0.7999})
    choice = chosen_examples(data, Options(abstain_below=0.8), training=False)
    assert ids(choice.units) == ["c0", "c2", "c3"]
    assert choice.left_out == {"examples less sure than 0.8": 1}


def test_what_counts_is_the_calibrated_probability_where_there_is_one() -> None:
    data = with_line(claims("ab"), 0, calibrated={"True": 0.6, "False": 0.4})
    assert ids(chosen_examples(data, Options(abstain_below=0.7), training=True).units) == ["c1"]
    assert data.row("c0").probabilities == {"True": 0.6, "False": 0.4}
    assert data.row("c1").probabilities == {"True": 0.1, "False": 0.9}


def test_the_runs_own_threshold_leaves_out_of_training_files_only_and_is_overruled() -> None:
    data = with_line(claims("ab"), 0, abstained=True)
    choice = chosen_examples(data, Options(), training=True)
    assert (ids(choice.units), choice.left_out) == (["c1"], {"examples on which the run abstained": 1})
    assert ids(chosen_examples(data, Options(), training=False).units) == ["c0", "c1"]
    assert ids(chosen_examples(data, Options(abstain_below=0), training=True).units) == ["c0", "c1"]


def test_a_label_that_a_person_gave_is_never_left_out() -> None:
    data = with_line(claims("ab", certainties={0: 0.1}), 0, fixed=True, abstained=True)
    for options in (Options(), Options(abstain_below=0.99)):
        assert "c0" in ids(chosen_examples(data, options, training=True).units)


def test_a_pair_is_one_unit_and_both_orders_must_agree() -> None:
    choice = chosen_pairs(reply_pairs(["AB", "BA", "AA", "BB", "AB"]), Options())
    assert [(unit.id, unit.members) for unit in choice.units] == [
        ("p0", ("p0-1", "p0-2")),
        # The other reply is the better one: it comes first in the second order.
        ("p1", ("p1-2", "p1-1")),
        ("p4", ("p4-1", "p4-2")),
    ]
    assert choice.left_out == {DISAGREE: 2}


def test_a_pair_of_which_one_order_is_unsure_or_missing_is_left_out() -> None:
    data = with_line(reply_pairs(["AB", "AB", "AB"]), 2, probability=0.5)
    alone = replace(
        data,
        dataset=Dataset(each for each in data.dataset if each.id != "p2-2"),
        result=replace(data.result, examples=data.result.examples[:-1]),
    )
    choice = chosen_pairs(alone, Options(abstain_below=0.8))
    assert ids(choice.units) == ["p0"]
    assert choice.left_out == {"pairs less sure than 0.8": 1, LONELY: 1}


def test_pairs_need_their_labels_and_their_texts() -> None:
    with pytest.raises(DataError, match=r"'c0' is no pair of texts: it has the fields \['text'\]"):
        chosen_pairs(
            replace(claims("ab"), verbalizer=reply_pairs([]).verbalizer, result=_named(claims("ab"))), Options()
        )
    with pytest.raises(ConfigError, match=r"this run has the labels \['True', 'False'\]"):
        chosen_pairs(replace(claims("ab"), replies=True), Options())


def _named(data: LabelledData) -> Result:
    """The result under the labels of pairs."""
    names = {"True": "A", "False": "B"}
    lines = [replace(each, label=names[each.label]) for each in data.result.examples]
    return replace(data.result, examples=tuple(lines))


def test_labels_and_data_that_do_not_belong_together_are_refused() -> None:
    data = claims("abc")
    with pytest.raises(RunError, match=r"other examples than the data set's \(3 and 2; 'c2' is in only one"):
        replace(data, dataset=Dataset(data.dataset[:2]))
    with pytest.raises(RunError, match="their order differs"):
        replace(data, dataset=Dataset(reversed(data.dataset)))
    with pytest.raises(RunError, match="'c1' has label 'Maybe'"):
        with_line(data, 1, label="Maybe")


@given(
    groups=st.lists(st.sampled_from([None, "p", "q", "r", "s"]), min_size=2, max_size=40),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 5),
    shuffle=st.booleans(),
)
def test_a_split_keeps_every_row_once_and_every_group_whole(
    groups: list[str | None], share: float, seed: int, shuffle: bool
) -> None:
    units = [Unit(f"u{at}", group, (f"u{at}",)) for at, group in enumerate(groups)]
    try:
        parts = parted(units, Options(split=share, seed=seed, shuffle=shuffle))
    except ConfigError as error:
        assert "one side empty" in str(error)  # noqa: PT017
        return
    train, validation = parts["train"], parts["validation"]
    assert train
    assert validation
    assert Counter(ids(train) + ids(validation)) == Counter(ids(tuple(units)))
    assert len(train) <= round(share * len(units))
    named = [{unit.group for unit in part} - {None} for part in (train, validation)]
    assert not named[0] & named[1]
    if not shuffle:
        assert [ids(part) for part in (train, validation)] == [
            sorted(ids(part), key=lambda name: int(name[1:])) for part in (train, validation)
        ]


def test_a_split_of_single_rows_has_exactly_the_share_and_depends_on_the_seed_alone() -> None:
    units = tuple(Unit(f"u{at}", None, (f"u{at}",)) for at in range(100))
    parts = [parted(units, Options(split=0.9, seed=seed)) for seed in (0, 0, 1)]
    assert [len(each["train"]) for each in parts] == [90, 90, 90]
    assert parts[0] == parts[1] != parts[2]
    # Rows elsewhere in the data don't decide which side a row is on, only how much room there is.
    assert set(ids(parted(units[::-1], Options(split=0.9))["train"])) == set(ids(parts[0]["train"]))


def test_shuffling_keeps_the_rows_and_changes_their_order() -> None:
    units = tuple(Unit(f"u{at}", None, (f"u{at}",)) for at in range(50))
    first, second = (ids(parted(units, Options(shuffle=True, seed=seed))["train"]) for seed in (0, 1))
    assert sorted(first) == sorted(second) == sorted(ids(units))
    assert first != second
    assert first != ids(units)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"abstain_below": 1.5}, "--abstain-below 1.5"),
        ({"abstain_below": float("nan")}, "--abstain-below nan"),
        ({"split": 1.0}, "--split 1"),
        ({"split": 0.0}, "--split 0"),
        ({"seed": -1}, "--seed -1"),
        ({"fields": ()}, "--fields"),
        ({"fields": ("id", "id")}, "--fields id,id"),
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Options(**wrong)  # type: ignore[arg-type]
