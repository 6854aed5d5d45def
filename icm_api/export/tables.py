"""One row an example, in columns: CSV and Parquet.

Columns are `id`, `group`, the example's texts by their names, `label`, `probability` (of the label), `coverage`,
`fixed`, `abstained`, and with soft labels `p_LABEL` for each. A text whose name one of these has is `field_NAME`.

CSV (RFC 4180, UTF-8) carries every text as it is, so that programs read back what was labelled. A spreadsheet program
runs a cell that begins with = + - @, a tab or a line break as a formula (OWASP, "CSV Injection"). So cells of
that kind are counted and said, and where the file is for a spreadsheet, they get an apostrophe in front.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from icm_api.errors import ConfigError
from icm_api.export.folder import synced
from icm_api.export.options import Options
from icm_api.export.rows import ExportRow, LabelledData

Kind: TypeAlias = Literal["text", "number", "flag"]
Cell: TypeAlias = str | float | bool | None
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a cell begins that a spreadsheet program may run; the last four are the full-width = + - @."""
BATCH = 1000
"""Rows of a Parquet file that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, what it holds, and how it comes from a row; a text may be missing (None)."""

    name: str
    kind: Kind
    read: Callable[[ExportRow], Cell]


def columns_of(data: LabelledData, options: Options) -> tuple[Column, ...]:
    """The columns of a data set, all or those asked for.

    Raises:
        ConfigError: a column is asked for that is not there.
    """
    soft = [_soft(label) for label in data.verbalizer.labels] if options.soft else []
    last = [
        Column("label", "text", lambda row: row.label),
        Column("probability", "number", lambda row: row.probabilities[row.label]),
        *soft,
        Column("coverage", "number", lambda row: row.coverage),
        Column("fixed", "flag", lambda row: row.fixed),
        Column("abstained", "flag", lambda row: row.abstained),
    ]
    first = [Column("id", "text", lambda row: row.id), Column("group", "text", lambda row: row.group)]
    taken = {column.name for column in (*first, *last)}
    texts = []
    for name in dict.fromkeys(name for example in data.dataset for name in example.fields):
        free = name
        while free in taken:
            free = f"field_{free}"
        taken.add(free)
        texts.append(_text(free, name))
    columns = {column.name: column for column in (*first, *texts, *last)}
    missing = [name for name in options.fields or () if name not in columns]
    if missing:
        raise ConfigError(f"--fields: there is no column {missing[0]!r}; there are {', '.join(columns)}")
    return tuple(columns[name] for name in options.fields or columns)


def write_csv(path: Path, columns: Sequence[Column], rows: Iterable[ExportRow], *, spreadsheet: bool) -> int:
    """Write a CSV file; returns how many of its cells a spreadsheet program may run as formulas."""
    found = 0
    with synced(path) as stream:
        if spreadsheet:
            stream.write(codecs.BOM_UTF8)
        for cells in _csv_cells(columns, rows):
            risky = [isinstance(cell, str) and cell.startswith(FORMULA) for cell in cells]
            if spreadsheet:
                cells = [f"'{cell}" if risk else cell for cell, risk in zip(cells, risky, strict=True)]
            else:
                found += sum(risky)
            stream.write(_csv_line(cells))
    return found


def write_parquet(path: Path, columns: Sequence[Column], rows: Iterable[ExportRow]) -> None:
    """Write a Parquet file, a batch of rows at a time.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow()
    kinds = {"text": pyarrow.string(), "number": pyarrow.float64(), "flag": pyarrow.bool_()}
    schema = pyarrow.schema([(column.name, kinds[column.kind]) for column in columns])
    left = iter(rows)
    with synced(path) as stream, parquet.ParquetWriter(stream, schema) as writer:
        while batch := list(islice(left, BATCH)):
            writer.write_table(pyarrow.table([[c.read(row) for row in batch] for c in columns], schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs the package pyarrow: install it with: pip install 'icm-api[export]', or use --to csv"
        ) from error
    return pyarrow, pyarrow.parquet


def _csv_cells(columns: Sequence[Column], rows: Iterable[ExportRow]) -> Iterator[list[Cell]]:
    yield [column.name for column in columns]
    for row in rows:
        yield [column.read(row) for column in columns]


def _csv_line(cells: Sequence[Cell]) -> bytes:
    line = io.StringIO(newline="")
    # Texts are quoted, numbers are not; flags as JSON has them.
    written = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
    csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n").writerow(written)
    return line.getvalue().encode()


def _text(name: str, key: str) -> Column:
    return Column(name, "text", lambda row: row.fields.get(key))


def _soft(label: str) -> Column:
    return Column(f"p_{label}", "number", lambda row: row.probabilities[label])
