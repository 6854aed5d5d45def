"""Tables and arrays: columns, texts that come back as they were, and what a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.data.spreadsheets import FORMULA
from icm_api.errors import ConfigError
from icm_api.export import LabelledData, Options, export_labels
from icm_api.export.tables import Column, write_csv
from icm_api.types import Dataset, Example, Verbalizer
from tests.labelled import NASTY, claims, line, result_of, with_line


def table(data: LabelledData, folder: Path, options: Options | None = None) -> list[dict[str, str]]:
    """The rows of a CSV export, read by the standard library."""
    export_labels(data, "csv", folder / "out", options, force=True)
    text = (folder / "out" / "train.csv").read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_table_has_the_texts_the_label_and_how_sure_it_is(tmp_path: Path) -> None:
    data = with_line(claims(["one", "two"], certainties={0: 0.75}), 1, fixed=True, abstained=True)
    assert table(data, tmp_path) == [
        {
            "id": f"c{at}",
            "group": "g0",
            "text": text,
            "label": label,
            "probability": p,
            "coverage": "0.99",
            "fixed": flag,
            "abstained": flag,
        }
        for at, text, label, p, flag in ((0, "one", "True", "0.75", "false"), (1, "two", "False", "0.9", "true"))
    ]


def test_soft_labels_have_a_column_each(tmp_path: Path) -> None:
    [row] = table(claims("a", certainties={0: 0.75}), tmp_path, Options(soft=True))
    assert (row["p_True"], row["p_False"], row["probability"]) == ("0.75", "0.25", "0.75")


def test_columns_can_be_chosen_and_ordered(tmp_path: Path) -> None:
    rows = table(claims("ab"), tmp_path, Options(fields=("label", "text")))
    assert [list(row.items()) for row in rows] == [
        [("label", "True"), ("text", "a")],
        [("label", "False"), ("text", "b")],
    ]
    with pytest.raises(ConfigError, match="no column 'p_True'; there are id, group, text, label, probability"):
        table(claims("ab"), tmp_path, Options(fields=("id", "p_True")))


def test_a_text_called_like_another_column_keeps_its_text(tmp_path: Path) -> None:
    names = ("id", "label", "field_label", "p_True")
    example = Example("x", {name: f"text of {name}" for name in names})
    data = LabelledData(
        Dataset([example]),
        result_of([line(example, "True")]),
        claims("a").template,
        Verbalizer.plain(("True", "False")),
    )
    data = replace(data, template=replace(data.template, template="{label}"))
    [row] = table(data, tmp_path, Options(soft=True))
    assert (row["id"], row["label"], row["p_True"]) == ("x", "True", "0.9")
    assert row["field_id"] == "text of id"
    assert row["field_label"] == "text of field_label" or row["field_field_label"] == "text of field_label"
    assert {f"text of {name}" for name in names} <= set(row.values())


def test_a_text_that_only_some_examples_have_is_empty_elsewhere(tmp_path: Path) -> None:
    examples = [Example("a", {"text": "one"}), Example("b", {"text": "two", "more": "three"}, group="g")]
    data = replace(claims("ab"), dataset=Dataset(examples), result=result_of(line(each, "True") for each in examples))
    rows = table(data, tmp_path)
    assert [(row["group"], row["more"]) for row in rows] == [("", ""), ("g", "three")]


def test_nasty_texts_come_back_as_they_were(tmp_path: Path) -> None:
    assert [row["text"] for row in table(claims(NASTY), tmp_path)] == list(NASTY)


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    data = claims(texts)
    rows = (data.row(key) for key in data.dataset.ids)
    with path.open("wb") as stream:
        write_csv(stream, [Column("text", "text", lambda row: row.fields["text"])], rows, spreadsheet=False)
    found = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert found == [["text"], *([text] for text in texts)]


def test_cells_that_a_spreadsheet_would_run_are_counted_and_said(tmp_path: Path) -> None:
    data = claims(["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "\nx", "\uff1d1", "1-1", "a=b", " =1"])
    notes = export_labels(data, "csv", tmp_path / "a").notes
    assert notes == (
        "8 cells of train.csv begin with = + - @ or the like, which a spreadsheet program runs as formulas; to open "
        "the file in one, add --spreadsheet",
    )


def test_for_a_spreadsheet_no_cell_begins_like_a_formula(tmp_path: Path) -> None:
    texts = [*(f"{mark}cmd|' /C calc'!A0" for mark in FORMULA), "plain"]
    data = claims(texts)
    data = replace(
        data,
        dataset=Dataset([replace(data.dataset[0], id="=id"), *data.dataset[1:]]),
        result=result_of([replace(data.result.examples[0], id="=id"), *data.result.examples[1:]]),
    )
    rows = table(data, tmp_path, Options(spreadsheet=True))
    assert (tmp_path / "out" / "train.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(FORMULA)]
    assert [row["text"].removeprefix("'") for row in rows] == texts
    assert rows[-1]["text"] == "plain"
    assert export_labels(data, "csv", tmp_path / "out", Options(spreadsheet=True), force=True).notes == ()


def test_arrays_hold_labels_as_positions_and_a_probability_for_each(tmp_path: Path) -> None:
    labels = ("bad", "so-so", "good")
    three = claims("abc")
    said = ("good", "bad", "good")
    found = [line(each, label, 0.8, labels) for each, label in zip(three.dataset, said, strict=True)]
    data = replace(three, result=result_of(found), verbalizer=Verbalizer.plain(labels))
    exported = export_labels(data, "cleanlab", tmp_path / "out")
    with np.load(tmp_path / "out" / "train.npz", allow_pickle=False) as arrays:
        assert arrays["labels"].tolist() == [2, 0, 2]
        assert arrays["labels"].dtype == np.int64
        assert arrays["pred_probs"].tolist() == [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
        assert arrays["classes"].tolist() == list(labels)
        assert arrays["ids"].tolist() == ["c0", "c1", "c2"]
    assert exported.notes == ("no row of train.npz has the label 'so-so'",)


def test_arrays_need_a_probability_of_every_label(tmp_path: Path) -> None:
    data = with_line(claims("ab"), 1, probabilities={"False": 0.9})
    with pytest.raises(ConfigError, match=r"'c1' has probabilities of \['False'\], not of every label"):
        export_labels(data, "cleanlab", tmp_path / "out")
    assert not list(tmp_path.iterdir())
