"""One row an example, in columns: CSV and Parquet; and the arrays that cleanlab asks for.

Columns are `id`, `group`, the example's texts by their names, `label`, `probability` (of the label), `coverage`,
`fixed`, `abstained`, and with soft labels `p_LABEL` for each. A text that is named like one of these is `field_NAME`.

CSV (RFC 4180, UTF-8) carries every text as it is, so that programs read back what was labelled. A spreadsheet program
runs a cell that begins with = + - @, a tab or a line break as a formula (OWASP, "CSV Injection"). So cells of
that kind are counted and said, and if the file is for a spreadsheet, they get an apostrophe in front.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np

from icm_api.data.spreadsheets import FORMULA, escaped
from icm_api.errors import ConfigError
from icm_api.export.rows import ExportRow, LabelledData, Options
from icm_api.export.units import Unit

_Kind: TypeAlias = Literal["text", "number", "flag"]
_Cell: TypeAlias = str | float | bool | None
_BATCH = 1000
"""Rows of a Parquet file that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, what it holds, and how it comes from a row; a text may be missing (None)."""

    name: str
    kind: _Kind
    read: Callable[[ExportRow], _Cell]


def columns_of(data: LabelledData, options: Options) -> tuple[Column, ...]:
    """The columns of a data set, all or those asked for.

    Args:
        data: the labelled examples.
        options: which columns, and whether there is one for the probability of each label.

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


def write_csv(stream: BinaryIO, columns: Sequence[Column], rows: Iterable[ExportRow], *, spreadsheet: bool) -> int:
    """Write a CSV table, its first line the columns' names.

    Args:
        stream: to write to.
        columns: in order.
        rows: in order.
        spreadsheet: put an apostrophe before what a spreadsheet program may run as a formula, and begin with a
            byte-order mark.

    Returns:
        How many cells a spreadsheet program may run as formulas.

    Raises:
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    found = 0
    if spreadsheet:
        stream.write(codecs.BOM_UTF8)
    for cells in _csv_cells(columns, rows):
        risky = [isinstance(cell, str) and cell.startswith(FORMULA) for cell in cells]
        if spreadsheet:
            cells = [escaped(cell) if isinstance(cell, str) else cell for cell in cells]
        else:
            found += sum(risky)
        stream.write(_csv_line(cells))
    return found


def write_parquet(stream: BinaryIO, columns: Sequence[Column], rows: Iterable[ExportRow]) -> None:
    """Write a Parquet table, a batch of rows at a time.

    Args:
        stream: to write to.
        columns: in order.
        rows: in order.

    Raises:
        ConfigError: pyarrow is not installed.
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    pyarrow, parquet = _pyarrow()
    kinds = {"text": pyarrow.string(), "number": pyarrow.float64(), "flag": pyarrow.bool_()}
    schema = pyarrow.schema([(column.name, kinds[column.kind]) for column in columns])
    left = iter(rows)
    with parquet.ParquetWriter(stream, schema) as writer:
        while batch := list(islice(left, _BATCH)):
            writer.write_table(pyarrow.table([[c.read(row) for row in batch] for c in columns], schema=schema))


def write_cleanlab(stream: BinaryIO, data: LabelledData, units: Sequence[Unit]) -> tuple[str, ...]:
    """Write what cleanlab asks for, as arrays in one .npz file; n rows, K labels.

    `labels` (n, int64) are positions in `classes` (K); `pred_probs` (n by K, float64) are p(label | x_i, all other
    labels), out of sample as cleanlab needs them: no label was in the context of its own prediction. `ids` (n) name
    the rows. Source: https://docs.cleanlab.ai/stable/tutorials/faq.html, "How do I format classification labels for
    cleanlab?".

    Args:
        stream: to write to.
        data: the labels.
        units: the rows, each an example.

    Returns:
        The labels that no row has.

    Raises:
        ConfigError: a row has no probability for one of the labels.
    """
    classes = data.verbalizer.labels
    labels = np.empty(len(units), dtype=np.int64)
    probabilities = np.empty((len(units), len(classes)), dtype=np.float64)
    for at, unit in enumerate(units):
        row = data.row(unit.id)
        labels[at] = classes.index(row.label)
        if set(row.probabilities) != set(classes):
            raise ConfigError(f"example {row.id!r} has probabilities of {list(row.probabilities)}, not of every label")
        probabilities[at] = [row.probabilities[label] for label in classes]
    np.savez(
        stream,
        labels=labels,
        pred_probs=probabilities,
        classes=np.array(classes, dtype=np.str_),
        ids=np.array([unit.id for unit in units], dtype=np.str_),
    )
    return tuple(label for at, label in enumerate(classes) if at not in labels)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs the package pyarrow: install it with: pip install 'icm-api[export]', or use --to csv"
        ) from error
    return pyarrow, pyarrow.parquet


def _csv_cells(columns: Sequence[Column], rows: Iterable[ExportRow]) -> Iterator[list[_Cell]]:
    yield [column.name for column in columns]
    for row in rows:
        yield [column.read(row) for column in columns]


def _csv_line(cells: Sequence[_Cell]) -> bytes:
    line = io.StringIO(newline="")
    # Texts are quoted, numbers are not; flags as JSON has them.
    written = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
    csv.writer(line, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n").writerow(written)
    return line.getvalue().encode()


def _text(name: str, key: str) -> Column:
    return Column(name, "text", lambda row: row.fields.get(key))


def _soft(label: str) -> Column:
    return Column(f"p_{label}", "number", lambda row: row.probabilities[label])
