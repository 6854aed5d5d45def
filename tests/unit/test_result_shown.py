"""What a result shows of itself: in a line, in a notebook, as a table."""

from __future__ import annotations

import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from icm_api.errors import ConfigError
from icm_api.types import Dataset, Example
from tests.labelled import claims, line, result_of

JUDGED = {"diagnosis": {"verdict": "coherent, unchecked"}}


def test_its_repr_is_one_line_however_many_examples_there_are() -> None:
    few = repr(result_of([line(Example("a", {}), "True"), line(Example("b", {}), "False")], JUDGED))
    assert few == (
        "<Result of 2 examples; verdict: coherent, unchecked; labels: False 1, True 1; U, P, I: -1.500, -0.0300, 0; "
        "cost: 10 requests, 2,000 prompt tokens>"
    )
    names = [f"label {n}" for n in range(300)]
    many = repr(result_of(line(Example(name, {}), name, labels=names) for name in names))
    assert "verdict: not judged" in many
    assert "and 290 more" in many
    assert len(many) < 400


class _Cells(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.cells = list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_in_a_notebook_it_shows_facts_and_a_sample_and_no_foreign_markup() -> None:
    result = result_of((line(Example(f"<b>{n}", {}), "True") for n in range(12)), JUDGED)
    shown = _Cells(result._repr_html_())
    assert shown.open == []
    assert {
        "verdict",
        "coherent, unchecked",
        "True 12",
        "10 requests, 2,000 prompt tokens",
        "<b>0",
        "<b>9",
        "0.900",
    } <= {*shown.cells}
    assert "<b>10" not in shown.cells
    assert any("2 more" in cell for cell in shown.cells)


def test_as_a_table_with_the_texts() -> None:
    data = claims(["one", "two"])
    rows = (replace(data.result.examples[0], review=1, calibrated={"True": 0.7, "False": 0.3}), data.result.examples[1])
    result = replace(data.result, examples=rows)
    frame = result.to_pandas(data.dataset)
    assert list(frame.index) == ["c0", "c1"]
    assert list(frame["text"]) == ["one", "two"]
    assert list(frame["label"]) == ["True", "False"]
    assert list(frame["probability"]) == [0.7, 0.9]
    assert list(frame["p(True)"]) == [0.7, 0.1]
    assert frame.loc["c0", "review"] == 1
    assert frame["review"].isna().tolist() == [False, True]
    assert "text" not in result.to_pandas()


def test_a_table_needs_pandas_and_the_right_data(monkeypatch: pytest.MonkeyPatch) -> None:
    result = claims(["one"]).result
    with pytest.raises(ConfigError, match="no example 'c0'"):
        result.to_pandas(Dataset([Example("other", {"text": "t"})]))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        result.to_pandas()
