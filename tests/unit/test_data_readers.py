"""read_rows: the same rows from any format, and which message a bad row gets."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icm_api.data import read_rows
from icm_api.errors import ConfigError, DataError


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def message(source: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        list(read_rows(source, **options))
    return str(caught.value)


def values(source: str) -> list[dict[str, object]]:
    return [dict(row.values) for row in read_rows(source)]


ROWS = [{"id": "a", "text": 'one, "two"\nthree'}, {"id": "b", "text": "four\tfive; ü"}]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    def table(delimiter: str, name: str) -> str:
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["id", "text"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(ROWS)
        return str(tmp_path / name)

    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    sources = [
        table(",", "rows.csv"),
        table("\t", "rows.tsv"),
        write(tmp_path, "rows.json", json.dumps(ROWS, indent=2)),
        write(tmp_path, "lines.json", lines),
        write(tmp_path, "rows.jsonl", lines),
        write(tmp_path, "rows.anything", lines),
    ]
    for source in sources:
        assert [(row.id, dict(row.values)) for row in read_rows(source)] == [(row["id"], row) for row in ROWS], source


def test_where_a_row_stands_and_what_stands_for_its_id(tmp_path: Path) -> None:
    text = 'text,n\n"a\nb",1\n\nc,\n'
    rows = list(read_rows(write(tmp_path, "a.csv", text)))
    assert [(row.line, row.id, dict(row.values)) for row in rows] == [
        (2, "1", {"text": "a\nb", "n": "1"}),
        (5, "2", {"text": "c", "n": None}),
    ]
    assert str(rows[1].error("no")).endswith("a.csv:5: no")
    listed = list(read_rows(write(tmp_path, "a.json", '[{"text": "a"}, {"text": "b"}]')))
    assert [row.id for row in listed] == ["1", "2"]
    assert str(listed[1].error("no")).endswith("a.json: row 2: no")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_of_other_systems(tmp_path: Path, mark: str, end: str) -> None:
    assert values(write(tmp_path, "a.csv", f"{mark}id,text{end}1,a{end}")) == [{"id": "1", "text": "a"}]
    assert values(write(tmp_path, "a.json", f'{mark}[{{"id": 1}}]{end}')) == [{"id": 1}]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.csv", "", ": the file is empty; it needs a header and a row for each example"),
        ("a.csv", "\n\n", ": the file is empty; it needs a header and a row for each example"),
        ("a.csv", "text\n", ": no rows below the header; it needs a row for each example"),
        ("a.csv", "text,n,text\na,1,b\n", ":1: the header has the column 'text' twice; rename one"),
        ("a.csv", "text,\na,1\n", ":1: column 2 of the header has no name; give it one"),
        (
            "a.csv",
            "text,n\na,1\nb,c,2\n",
            ":3: 3 values, but the header has 2 columns; quote values that hold a comma or a line break",
        ),
        (
            "a.tsv",
            "text\tn\na\n",
            ":2: 1 values, but the header has 2 columns; quote values that hold a tab or a line break",
        ),
        (
            "a.csv",
            'text\na\n"b',
            ":3: not valid CSV: unexpected end of data; quote values, and double a quote inside",
        ),
        (
            "a.csv",
            'text\n"a"b\n',
            ":2: not valid CSV: ',' expected after '\"'; quote values, and double a quote inside",
        ),
        (
            "a.csv",
            b"text\na\n\xff\n",
            ":3: not UTF-8: byte 1 of the line is 0xff; save the file as UTF-8 (in Excel: CSV UTF-8)",
        ),
        ("a.csv", "id,text\nx,a\nx,b\n", ":3: id 'x' occurs twice, first on line 2; ids must be unique"),
        ("a.csv", "id,text\nx,a\n,b\n", ":3: has no 'id', but line 2 has one; give every line an id, or none"),
        ("a.json", "", ": the file is empty; it needs one JSON object on each line"),
        ("a.json", "[]", ": the list is empty; it needs one JSON object for each row"),
        ("a.json", '[{"a": 1}, 3]', ": row 2: a number, not a JSON object; write {...} for each row"),
        (
            "a.json",
            '[{"a": 1} {"a": 2}]',
            ": row 1: not valid JSON: neither ',' nor ']' after it, near '[{\"a\": 1} {\"a\": 2}]'",
        ),
        ("a.json", '[{"a": 1}', ": row 1: not valid JSON: neither ',' nor ']' after it, near '[{\"a\": 1}'"),
        (
            "a.json",
            '[{"a": 1}, {"a"]',
            ": row 2: not valid JSON: Expecting ':' delimiter at character 16, near '[{\"a\": 1}, {\"a\"]'",
        ),
        ("a.json", '[{"a": 1}] x', ": not valid JSON: 'x' after the end of the list"),
        ("a.json", '[{"a": 1}, {"a": 1, "a": 2}]', ": row 2: key 'a' occurs twice in one object; keep one"),
        ("a.json", '[{"a": NaN}]', ": row 1: NaN is no JSON number; leave the key out, or write null"),
        (
            "a.json",
            '[{"a": "\\ud83d"}]',
            ": row 1: a \\u escape is half of a surrogate pair; write the character itself",
        ),
        (
            "a.json",
            '[{"id": "x"}, {"id": "x"}]',
            ": row 2: id 'x' occurs twice, first on row 1; ids must be unique",
        ),
    ],
)
def test_a_bad_row_is_named_with_its_place_and_reason(
    tmp_path: Path, name: str, content: str | bytes, what: str
) -> None:
    source = write(tmp_path, name, content)
    assert message(source) == source + what


def test_a_trailing_comma_in_a_list_is_no_row(tmp_path: Path) -> None:
    # Python's own reader refuses it too.
    source = write(tmp_path, "a.json", '[{"a": 1}, ]')
    assert ": row 2: not valid JSON: a comma too many before the ']' at character 12" in message(source)


@pytest.mark.parametrize("name", ["rows.csv", "rows.txt", "rows.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_named(tmp_path: Path, name: str, encoding: str) -> None:
    source = write(tmp_path, name, "id\ttext\r\n1\tone\r\n".encode(encoding))
    assert message(source) == f"{source}: UTF-16 without its byte-order mark; save the file as UTF-8"


def test_a_nul_inside_a_cell_is_not_utf_16(tmp_path: Path) -> None:
    assert values(write(tmp_path, "rows.csv", "id,text\n1,o\0ne\n")) == [{"id": "1", "text": "o\0ne"}]


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for name in ("none.csv", "none.json"):
        assert message(str(tmp_path / name)) == f"{tmp_path / name}: no such file; check the path"
    (tmp_path / "folder.csv").mkdir()
    assert "this is a directory; name a CSV file" in message(str(tmp_path / "folder.csv"))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.tuples(CELL.filter(str.strip), CELL), min_size=1, max_size=4))
def test_what_pythons_writer_wrote_is_what_is_read(tmp_path: Path, cells: list[tuple[str, str]]) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("text", "other"), *cells])
    assert values(str(path)) == [{"text": text, "other": other or None} for text, other in cells]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CELL,
    lambda inner: st.lists(inner) | st.dictionaries(CELL, inner),
    max_leaves=4,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.dictionaries(CELL.filter(lambda key: key != "id"), JSON), min_size=1, max_size=3),
    indent=st.none() | st.just(2),
)
def test_what_pythons_json_wrote_is_what_is_read(
    tmp_path: Path, rows: list[dict[str, object]], indent: int | None
) -> None:
    assert values(write(tmp_path, "a.json", json.dumps(rows, indent=indent))) == rows


class TestHub:
    """Through the package `datasets`, on local files: no network."""

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
        datasets.disable_progress_bars()

    def test_a_parquet_file_gives_the_rows_that_were_written(self, tmp_path: Path) -> None:
        import datasets

        rows = [{"question": "q", "answers": ["a", "b"], "n": 1}, {"question": "r", "answers": [], "n": None}]
        path = tmp_path / "train.parquet"
        datasets.Dataset.from_list(rows).to_parquet(path)
        assert values(f"hub:{path}") == rows
        assert [(row.id, row.line, row.unit) for row in read_rows(f"hub:{path}")] == [("1", 1, "row"), ("2", 2, "row")]
        assert str(next(read_rows(f"hub:{path}")).error("no")) == f"hub:{path}: row 1: no"

    def test_a_file_of_json_lines_and_a_folder_of_splits(self, tmp_path: Path) -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        write(folder, "train.jsonl", '{"id": "x", "text": "a"}\n')
        write(folder, "test.jsonl", '{"id": "y", "text": "b"}\n')
        assert [row.id for row in read_rows(f"hub:{folder / 'test.jsonl'}")] == ["y"]
        assert [row.id for row in read_rows(f"hub:{folder}", split="test")] == ["y"]
        assert "Unknown split" in message(f"hub:{folder}", split="dev")

    def test_what_cannot_be_loaded_is_named(self, tmp_path: Path) -> None:
        source = f"hub:{tmp_path / 'none.parquet'}"
        assert message(source).startswith(f"{source}: cannot be loaded (name None, split 'train'): ")


def test_a_source_with_no_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no data set; write hub:OWNER/NAME"):
        list(read_rows("hub:"))


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError) as caught:
        list(read_rows("hub:owner/name"))
    expected = "hub:owner/name: needs the package datasets; install it with: pip install 'icm-api[hub]'"
    assert str(caught.value) == expected


def test_the_package_is_loaded_only_for_the_hub(tmp_path: Path) -> None:
    source = write(tmp_path, "a.csv", "text\na\n")
    code = f"import sys; from icm_api.data import *; list(read_rows({source!r})); sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_json_that_is_nearly_json_is_read_or_told_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "a", "text": "x"},\n{"id": "b", "text": "y"}\n')
    assert [row.values["id"] for row in read_rows(file)] == ["a", "b"]
    for text, what in (
        ('{"id": "a",}', "a comma too many before the '}' at character 12"),
        ('{"id": ["a", ]}', "a comma too many before the ']'"),
        ("{'id': 'a'}", "single quotes, as Python prints, where json.dumps writes double ones"),
        ('{"id": "a"} x', "Extra data"),
    ):
        file.write_text(text + "\n")
        with pytest.raises(DataError) as caught:
            list(read_rows(file))
        assert what in str(caught.value)
