"""load_gold: gold labels come by id, in a class that is no labeling. load_fixed: a person's answers, in a labeling."""

import json
from pathlib import Path

import pytest

from icm_api.data import Gold, load_fixed, load_gold, load_jsonl
from icm_api.data.labels import matched_label
from icm_api.errors import DataError
from icm_api.types import Dataset, Example, Labeling
from tests.bayes import pairs

LABELS = ("True", "False")


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "claims.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_gold_is_a_mapping_but_no_labeling() -> None:
    gold = Gold({"a": "True", "b": "False"})
    assert dict(gold) == {"a": "True", "b": "False"}
    assert gold == Gold({"b": "False", "a": "True"})
    assert hash(gold) == hash(Gold({"b": "False", "a": "True"}))
    assert gold != Labeling(gold)
    # mypy reports this line, were Gold ever to pass for a Labeling: the ignore would then be unused.
    refused: Labeling = gold  # type: ignore[assignment]
    assert not isinstance(refused, Labeling)


def test_gold_never_changes_and_does_not_show_itself() -> None:
    source = {"a": "True"}
    gold = Gold(source)
    source["a"] = "False"
    assert gold["a"] == "True"
    with pytest.raises(TypeError):
        gold["a"] = "False"  # type: ignore[index]
    assert "True" not in repr(gold)


@pytest.mark.parametrize(
    ("json_label", "label"),
    [('"True"', "True"), ("true", "True"), ("false", "False"), ("3", "3"), ("0", "0"), ('" A"', " A")],
)
def test_labels_become_text(tmp_path: Path, json_label: str, label: str) -> None:
    assert load_gold(write(tmp_path, f'{{"id": "x", "label": {json_label}}}')) == Gold({"x": label})


def test_gold_goes_before_label_and_a_named_key_before_both(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '{"id": 1, "gold": "G", "label": "L", "right": "R"}',
        '{"id": 2, "label": "L", "right": "R"}',
    )
    assert load_gold(path) == Gold({"1": "G", "2": "L"})
    assert load_gold(path, label_field="right") == Gold({"1": "R", "2": "R"})
    assert load_gold(path, label_field="label") == Gold({"1": "L", "2": "L"})


def test_ids_agree_with_the_examples_of_the_same_file(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": "a", "label": true}', "", '{"text": "b", "label": false}')
    assert load_gold(path) == Gold({"1": "True", "3": "False"})
    assert set(load_gold(path)) == set(load_jsonl(path).ids)
    named = write(tmp_path, '{"key": 5, "text": "a", "gold": "x"}')
    assert tuple(load_gold(named, id_field="key")) == load_jsonl(named, id_field="key").ids == ("5",)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"id": 2}', r"no gold label under 'gold' or 'label'; the line has the keys \['id'\]"),
        ('{"id": 2, "label": 0.5}', "gold label 'label' is a number; use a string"),
        ('{"id": 2, "gold": ["A"]}', "gold label 'gold' is a list"),
        ('{"id": 2, "gold": " "}', "gold label 'gold' is empty"),
        ('{"id": 2, "gold": "c"}', r"gold label 'c' is not in the label set \['A', 'B'\]"),
        ('{"id": 1, "gold": "A"}', r"id '1' occurs twice, first on line 1"),
        ('{"gold": "A"}', "has no 'id', but line 1 has one"),
        ('{"id": 2, "gold": "A", "gold": "B"}', "key 'gold' occurs twice"),
        ("{", "not valid JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_reason(tmp_path: Path, line: str, what: str) -> None:
    path = write(tmp_path, '{"id": 1, "gold": "A"}', line)
    with pytest.raises(DataError, match=f"claims.jsonl:2: {what}"):
        load_gold(path, labels=["A", "B"])


def test_a_line_whose_label_is_null_has_none(tmp_path: Path) -> None:
    path = write(tmp_path, '{"id": 1, "gold": "A"}', '{"id": 2, "gold": null, "label": "A"}')
    assert load_gold(path) == Gold({"1": "A"})


def test_a_named_key_is_required(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"claims\.jsonl:1: no gold label under 'right'; the line has the keys"):
        load_gold(write(tmp_path, '{"gold": "A"}'), label_field="right")


@pytest.mark.parametrize(
    ("written", "labels", "meant"),
    [
        ("TRUE", ("True", "False"), "True"),
        (" false ", ("True", "False"), "False"),
        ("POSITIVE", ("negative", "positive"), "positive"),
        ("3.0", ("1", "2", "3"), "3"),
        ("3,0", ("1", "2", "3"), "3"),
        ("'-1", ("-1", "+1"), "-1"),
        # Several could be meant.
        ("a", ("A", "A "), None),
        ("Yess", ("Yes", "No"), None),
        # What is there is meant itself.
        ("a", ("A", "a"), "a"),
    ],
)
def test_case_and_outer_space_make_no_difference_where_one_label_is_meant(
    written: str, labels: tuple[str, ...], meant: str | None
) -> None:
    assert matched_label(written, labels) == meant
    assert Gold({"x": written}).spelled(labels)["x"] == (meant or written)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_gold(tmp_path / "none.jsonl")


def written(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_answers_are_read_and_open_questions_skipped(tmp_path: Path) -> None:
    dataset, _ = pairs(2)
    rows: list[dict[str, object]] = [
        {"id": "0>1", "label": "True", "text": "whatever"},
        {"id": "1>0", "label": None},
        {"id": "2>3", "label": ""},
        {"id": "3>2", "label": False},
    ]
    found = load_fixed(written(tmp_path / "answers.jsonl", *rows), dataset, LABELS)
    assert found == Labeling({"0>1": "True", "3>2": "False"})
    assert load_fixed(written(tmp_path / "open.jsonl", *rows[1:3]), dataset, LABELS) == Labeling()


def test_answers_that_a_spreadsheet_saved_come_back(tmp_path: Path) -> None:
    dataset = Dataset([Example("a", {"text": "x"}), Example("=b", {"text": "y"}), Example("1-2", {"text": "z"})])
    path = tmp_path / "answers.csv"
    # Semicolons, a mark, capitals, and an id that `queue` kept from being run.
    path.write_text("id;label;text\na;TRUE;x\n'=b;FALSE;y\n1-2;;z\n", encoding="utf-8-sig")
    assert load_fixed(path, dataset, LABELS) == Labeling({"a": "True", "=b": "False"})
    path.write_text("id;label\n01. Feb;TRUE\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not in the data set; a spreadsheet may have written it anew"):
        load_fixed(path, dataset, LABELS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "9>8", "label": "True"}, "id '9>8' is not in the data set"),
        ({"id": "1>0", "label": "Maybe"}, r"label 'Maybe' is not in the label set \['True', 'False'\]: write one of"),
        ({"id": "1>0", "gold": "True"}, "no 'label'"),
        ({"id": "1>0", "label": ["True"]}, "'label' is a list"),
        ({"id": "0>1", "label": "True"}, "occurs twice"),
    ],
)
def test_a_bad_answer_is_refused_with_its_line(tmp_path: Path, row: dict[str, object], message: str) -> None:
    dataset, _ = pairs(2)
    path = written(tmp_path / "answers.jsonl", {"id": "0>1", "label": "True"}, row)
    with pytest.raises(DataError, match=rf"answers\.jsonl:2: .*{message}"):
        load_fixed(path, dataset, LABELS)
    path.write_text('{"label": "True"}\n')
    with pytest.raises(DataError, match=r"answers\.jsonl:1: "):
        load_fixed(path, dataset, LABELS)
