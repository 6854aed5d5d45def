"""A data set of rows that are already in Python: dicts, DataFrames, data sets of the hub; what a template finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

import icm_api as icm
from icm_api import ConfigError, DataError, Dataset, Example, PromptError, PromptTemplate
from icm_api.prompts import PromptBuilder
from icm_api.types import Verbalizer

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "1+1=2", "note": "easy", "group": "q", "answer": 2, "label": "True", "stars": 4},
    {"id": "b", "text": "1+1=3", "note": None, "group": "q", "answer": 3.0, "label": "False", "stars": 5},
]


@pytest.mark.parametrize(
    "records",
    [ROWS, iter(ROWS), pd.DataFrame(ROWS), datasets.Dataset.from_list(ROWS), datasets.Dataset.from_list(ROWS)[:2]],
    ids=["dicts", "iterator", "DataFrame", "datasets", "columns"],
)
def test_rows_of_every_kind_are_the_same_examples(records: Any) -> None:
    if isinstance(records, dict):
        with pytest.raises(DataError, match="give a list of dicts"):
            Dataset.from_records(records)
        return
    one, two = Dataset.from_records(records)
    assert one == Example("a", {"text": "1+1=2", "note": "easy"}, "q", "2", {"stars": 4})
    assert two == Example("b", {"text": "1+1=3"}, "q", "3", {"stars": 5})


def test_they_are_those_of_the_same_rows_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{key: value for key, value in row.items() if value is not None} for row in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(Dataset.from_records(ROWS)) == list(icm.load_jsonl(path))


def test_what_pandas_and_numpy_call_missing_is_absent_and_their_numbers_are_numbers() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "n": pd.array([1, None], dtype="Int64"), "when": [pd.NaT, pd.NaT]})
    one, two = Dataset.from_records(frame.assign(group=np.array([7, 8])))
    assert (one.metadata, two.metadata, one.group) == ({"n": 1}, {}, "7")


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "no records"),
        ("text", "give a list of dicts"),
        (["text"], "row 1 .* str, and no mapping"),
        ([{"text": "a"}, {"stars": 1}], "row 2 .* holds a text"),
        ([{"text": "a", "id": "x"}, {"text": "b"}], "row 2 .* no 'id'"),
        ([{"text": "a", "id": "x"}, {"text": "b", "id": "x"}], "'x' occurs twice"),
        ([{"text": "a", "id": ["x"]}], "row 1 .* 'id' is list"),
        ([{"text": "a", "group": True}], "row 1 .* 'group' is bool"),
        ([{"text": "a"}, {"text": "\ud83d b"}], "row 2 .* 'text' holds half of a surrogate pair"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), "has the column 'text' twice"),
    ],
)
def test_unusable_rows_are_named(records: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Dataset.from_records(records)


def test_fields_may_be_named_and_are_then_needed() -> None:
    [one] = Dataset.from_records([{"body": "a", "stars": 3, "lang": "en"}], fields=["body", "stars"])
    assert (one.fields, one.metadata) == ({"body": "a", "stars": "3"}, {"lang": "en"})
    with pytest.raises(DataError, match=r"row 1 .* 'body' is missing"):
        Dataset.from_records(ROWS, fields=["body"])
    for fields in ("text", [], ["label"]):
        with pytest.raises(ConfigError):
            Dataset.from_records(ROWS, fields=fields)


def test_a_template_finds_what_it_shows_without_naming_fields(tmp_path: Path) -> None:
    rows = [{"question": "1+1?", "answer": 2, "stars": 3, "label": "True"}]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(rows[0]) + "\n")
    template = PromptTemplate("{question} {answer} {stars}")
    for given in ({}, {"group_field": "question"}):
        for data in (Dataset.from_records(rows, **given), icm.load_jsonl(path, **given)):
            assert template.render(data[0]) == "1+1? 2 3"
            with pytest.raises(PromptError, match="no field 'label'"):
                PromptTemplate("{question} {label}").render(data[0])


def test_a_builder_sees_that_the_metadata_it_shows_are_others() -> None:
    builder = PromptBuilder(PromptTemplate("{text} {stars}"), Verbalizer.plain(["a", "b"]), len, 100)
    shown = [builder.prompt(Example("x", {"text": "t"}, metadata={"stars": n}), ()).query for n in (1, 2)]
    assert shown == ["t 1", "t 2"]
