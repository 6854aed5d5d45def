"""Everyday files: tables with any delimiter, long cells and marks, and packed files known by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from icm_api.config import load_config
from icm_api.data import DataSource, load_examples, load_jsonl, read_rows
from icm_api.errors import ConfigError, DataError


def written(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def read(source: str, delimiter: str | None = None) -> list[dict[str, object]]:
    return [dict(row.values) for row in read_rows(source, delimiter=delimiter)]


ROWS = [{"id": "c1", "text": "one, two", "label": "True"}, {"id": "c2", "text": "three", "label": "False"}]


@pytest.mark.parametrize(
    "text",
    [
        "id;text;label\nc1;one, two;True\nc2;three;False\n",
        "id\ttext\tlabel\nc1\tone, two\tTrue\nc2\tthree\tFalse\n",
        "id|text|label\nc1|one, two|True\nc2|three|False\n",
        "sep=;\r\nid;text;label\r\nc1;one, two;True\r\nc2;three;False\r\n",
        '"sep=~"\nid~text~label\nc1~one, two~True\nc2~three~False\n',
        'id,text,label\nc1,"one, two",True\nc2,three,False\n',
        # What spreadsheets add: empty columns and rows, spaces in the header.
        "id; text ;label;;\nc1;one, two;True;;\n;;;;\nc2;three;False;;\n",
        "id;text;label\rc1;one, two;True\rc2;three;False\r",
    ],
)
def test_the_delimiter_is_found(text: str, tmp_path: Path) -> None:
    for name in ("a.csv", "a.tsv"):
        assert read(written(tmp_path, name, text)) == ROWS
        assert read(written(tmp_path, name, "\ufeff" + text)) == ROWS


def test_a_row_with_a_cell_too_few_does_not_hide_the_delimiter(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", "id;text\nc1;one\nc2\nc3;three\n")
    with pytest.raises(DataError, match=r":3: 1 values, but the header has 2 columns; quote values that hold a semi"):
        read(source)


def test_a_table_of_one_column_is_not_split(tmp_path: Path) -> None:
    rows = ["red; green", "a|b", "x\ty"]
    assert read(written(tmp_path, "a.csv", "text\n" + "\n".join(rows) + "\n")) == [{"text": text} for text in rows]


def test_of_two_delimiters_that_fit_none_is_guessed(tmp_path: Path) -> None:
    source = written(tmp_path, "a.csv", "id;a|text\n1;2|x\n")
    with pytest.raises(DataError, match=r"the delimiter may be ';' or '\|'; say which under \[data\]"):
        read(source)
    assert read(source, "|") == [{"id;a": "1;2", "text": "x"}]
    # A comma in a .csv file is what its name says.
    assert read(written(tmp_path, "b.csv", "id;a,text\n1;2,x\n")) == [{"id;a": "1;2", "text": "x"}]


def test_a_delimiter_is_given_in_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    for given, usable in (("~", True), (";", True), ("\\t", True), ("ab", False), ("a", False), ("", False)):
        config.write_text(f'[data]\npath = "a.csv"\ndelimiter = "{given}"\n', encoding="utf-8")
        if usable:
            assert load_config(config).data.delimiter == given.replace("\\t", "\t")
        else:
            with pytest.raises(ConfigError, match=r"data\.delimiter"):
                load_config(config)


def test_cells_are_as_long_as_they_are_and_lines_are_counted_after_a_line_that_names_the_delimiter(
    tmp_path: Path,
) -> None:
    long = "x" * 300_000
    assert read(written(tmp_path, "a.csv", f"id,text\n1,{long}\n"))[0]["text"] == long
    with pytest.raises(DataError, match=r"a\.csv:4: 3 values"):
        read(written(tmp_path, "a.csv", "sep=;\nid;text\n1;a\n2;b;c\n"))


LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "id;text;label\nc1;one, two;True\nc2;three;False\n"


def zipped(data: bytes, name: str = "rows.jsonl") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
        archive.writestr(f"__MACOSX/._{name}", b"notes")
    return stream.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zip": zipped,
}


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_are_known_by_their_first_bytes_and_a_damaged_one_is_said_to_be(
    ending: str, tmp_path: Path
) -> None:
    packed = PACKERS[ending](LINES.encode())
    for name in (f"rows.jsonl{ending}", "rows.jsonl"):
        assert read(written(tmp_path, name, packed)) == ROWS
    assert len(load_jsonl(tmp_path / "rows.jsonl")) == 2
    csv = zipped(CSV.encode(), "rows.csv") if ending == ".zip" else PACKERS[ending](CSV.encode())
    assert read(written(tmp_path, f"rows.csv{ending}", csv)) == ROWS
    for cut in range(8, len(packed), 7):
        with pytest.raises(DataError):
            read(written(tmp_path, "cut.jsonl", packed[:cut]))


def test_zstd_is_unpacked_by_pyarrow_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    packed = pyarrow.Codec("zstd").compress(LINES.encode()).to_pybytes()
    source = written(tmp_path, "rows.jsonl.zst", packed)
    assert read(source) == ROWS
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="compressed with zstd: unpack it with zstd -d, or install"):
        read(source)


def test_parquet_is_read_by_pyarrow_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, object]] = [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}]
    source = str(tmp_path / "rows.bin")
    parquet.write_table(pyarrow.Table.from_pylist(rows), source)
    assert read(source) == rows
    assert str(next(read_rows(source)).error("no")) == f"{source}: row 1: no"
    whole = Path(source).read_bytes()
    indexed = pyarrow.Table.from_pylist([{"text": "a", "__index_level_0__": "r1"}])
    parquet.write_table(indexed, tmp_path / "indexed.parquet")
    assert read(str(tmp_path / "indexed.parquet")) == [{"text": "a"}]
    with pytest.raises(DataError, match="a damaged Parquet file"):
        read(written(tmp_path, "cut.parquet", whole[:-6]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"a Parquet file: .* pip install 'icm-api\[export\]'"):
        read(source)


def workbook() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", b"<Types/>")
        archive.writestr("xl/workbook.xml", b"<workbook/>")
    return stream.getvalue()


def test_a_workbook_is_read_by_openpyxl_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(tmp_path, "rows.csv", workbook())
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(ConfigError, match=r"an Excel workbook: .*pip install 'icm-api\[excel\]'$"):
            read(source)
    openpyxl = pytest.importorskip("openpyxl")
    with pytest.raises(DataError, match="an Excel workbook that can't be read"):
        read(source)
    book = openpyxl.Workbook()
    for cells in (["id", "text", "label", None], [1, "a", True, None], [None] * 4, [2, 3.0, None, None]):
        book.active.append(cells)
    book.save(tmp_path / "rows.xlsx")
    assert read(str(tmp_path / "rows.xlsx")) == [
        {"id": "1", "text": "a", "label": "True"},
        {"id": "2", "text": "3", "label": None},
    ]
    titled = openpyxl.Workbook()
    rows: list[list[Any]] = [["Reviews of May"], [], ["id", "text"], [1, "a"]]
    for row in rows:
        titled.active.append(row)
    titled.save(tmp_path / "titled.xlsx")
    with pytest.raises(DataError, match="row 3: a value in column 2, which has no name in row 1; the first row that"):
        read(str(tmp_path / "titled.xlsx"))


def test_what_is_not_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("rows.jsonl"))
    several = io.BytesIO()
    with zipfile.ZipFile(several, "w") as files:
        files.writestr("a.csv", b"text\n")
        files.writestr("b.csv", b"text\n")
    for content, what in (
        (gzip.compress(tar.getvalue()), "a tar archive: unpack it"),
        (gzip.compress(gzip.compress(LINES.encode())), "holds a file of another kind (gzip)"),
        (several.getvalue(), "a zip archive of 2 files"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls): save it as CSV UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
        (b"\x80\x05\x95\x1a", "a Python pickle"),
    ):
        with pytest.raises(DataError) as caught:
            read(written(tmp_path, "rows.jsonl", content))
        assert what in str(caught.value)


def test_a_name_that_says_nothing_leaves_it_to_the_first_character(tmp_path: Path) -> None:
    assert read(written(tmp_path, "rows.jsonl", json.dumps(ROWS).encode())) == ROWS
    assert read(written(tmp_path, "rows", LINES.encode())) == ROWS
    for name, content in (("rows.txt", CSV.encode()), ("rows.gz", gzip.compress(CSV.encode()))):
        with pytest.raises(DataError, match=r"no JSON Lines, .* name it \.csv or \.tsv"):
            read(written(tmp_path, name, content))
    assert read(written(tmp_path, "rows.txt", CSV.encode()), delimiter=";") == ROWS


def test_what_a_spreadsheet_calls_unicode_text_is_a_table(tmp_path: Path) -> None:
    tabs = CSV.replace(";", "\t")
    for encoding in ("utf-16", "utf-8"):
        assert read(written(tmp_path, "rows.txt", tabs.encode(encoding))) == ROWS


@pytest.mark.parametrize(
    ("path", "what"),
    [("https://host/rows.csv", "downloaded first"), ("~/rows.csv", "the home folder"), ("rows.csv", "check the path")],
)
def test_a_file_that_is_not_there_is_looked_for_elsewhere(path: str, what: str) -> None:
    with pytest.raises(DataError, match=f"no such file; .*{what}"):
        read(path)


def test_the_index_of_a_table_is_named_and_a_null_can_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 1 of the header has no name; .*index=False"):
        read(written(tmp_path, "index.csv", b",text\n0,a\n"))
    source = DataSource(written(tmp_path, "null.jsonl", b'{"id": 1, "text": "a"}\n{"id": 2, "text": null}\n'))
    assert [each.id for each in load_examples(replace(source, on_empty="skip"))] == ["1"]
    with pytest.raises(DataError, match="no text field"):
        load_examples(source)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_marks_of_unicode_are_understood_in_tables_lines_and_configurations(encoding: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    assert read(written(tmp_path, "a.csv", (mark + CSV).encode(encoding))) == ROWS
    assert read(written(tmp_path, "a.jsonl", (mark + LINES).encode(encoding))) == ROWS
    if encoding == "utf-8-sig":
        config = written(tmp_path, "c.toml", '[data]\npath = "a.csv"\n'.encode(encoding))
        assert load_config(config).data.path == tmp_path / "a.csv"


def test_a_mark_in_the_middle_of_joined_files_is_left_out(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.jsonl", "".join("\ufeff" + json.dumps(row) + "\n" for row in ROWS))) == ROWS
