"""`audit` lists every bad row, texts that occur twice, odd lengths, and ids that a spreadsheet would write anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.data import DataSource, check_data
from icm_api.errors import DataError

Printed = pytest.CaptureFixture[str]


def test_every_bad_row_is_listed_with_its_place(tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "text": "x"}',
        "{",
        '{"id": "a", "text": "y"}',
        '{"id": "b", "text": " "}',
        '{"text": "z"}',
        "3",
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join([*lines, '{"id": "c", "text": "x"}']) + "\n", encoding="utf-8")
    found = check_data(DataSource(str(path), fields=("text",), limit=1))
    assert found.examples == 2
    assert [message.removeprefix(f"{path}:")[:1] for message in found.bad] == ["2", "3", "4", "5", "6"]
    assert found.duplicates == (("a", "c"),)
    assert found.lines()[0] == "5 bad rows, 2 examples without them:"


def test_rows_of_a_table_and_of_a_format_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("id;chosen;rejected\n1;x;y\n2;x\n3;x;y;z\n4;;y\n5;v;w\n", encoding="utf-8")
    found = check_data(DataSource(str(path), "preferences"))
    assert (found.examples, [message.split(":")[1] for message in found.bad]) == (4, ["3", "4", "5"])


def test_lengths_and_ids_that_are_odd(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    texts = {"1-2": "short", "c": "short too", "d": "x" * 5000, "007": "another"}
    path.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts.items()), "utf-8")
    found = check_data(DataSource(str(path)))
    assert (found.longest, found.rewritten, found.bad, found.duplicates) == ((("d", 5000),), ("1-2", "007"), (), ())
    assert any("d (5,000)" in line for line in found.lines())


def test_what_cannot_be_read_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("text\n", encoding="utf-8")
    with pytest.raises(DataError, match="no rows below the header"):
        check_data(DataSource(str(tmp_path / "d.csv")))


def test_the_verb_lists_bad_rows_and_ends_with_the_first(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "d.csv").write_text("id,text\na,x\nb,\nc\nd,x\n", encoding="utf-8")
    config = tmp_path / "c.toml"
    config.write_text('[data]\npath = "d.csv"\n', encoding="utf-8")
    assert main(["audit", str(config)]) == 2
    told = capsys.readouterr()
    assert "2 bad rows, 2 examples without them:" in told.out
    assert "d.csv:3: text field 'text' is empty" in told.out
    assert "d.csv:4: 1 values, but the header has 2 columns" in told.out
    assert told.err.count("\n") == 1
    assert main(["audit", str(config), "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["data"]["bad"]) == 2
    (tmp_path / "d.csv").write_text("id,text\na,x\nb,y\nd,x\n", encoding="utf-8")
    assert main(["audit", str(config)]) == 0
    assert "2 examples show texts that others show too: a = d" in capsys.readouterr().out
