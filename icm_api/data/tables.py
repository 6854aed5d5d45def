"""Rows of tables: of delimited text, whose delimiter is given or found, of Parquet files and of Excel workbooks."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, time
from itertools import chain, islice

from icm_api.data.opening import opened, package
from icm_api.data.rows import Row, error_at
from icm_api.errors import DataError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""What may stand between the cells of a row, with its name."""
_SAMPLE = 200
"""Lines by which a delimiter is found."""
_LONGEST_CELL = 2**31 - 1
_BATCH = 1000
_INDEX = re.compile(r"__index_level_\d+__")
"""Of the index of a pandas table, which is none of its columns."""


def csv_rows(path: str, ending: str, delimiter: str | None, bad: Callable[[DataError], None] | None) -> Iterator[Row]:
    """The rows below the header of a file in UTF-8; blank lines are skipped, and quoted line breaks are text.

    Args:
        path: the file.
        ending: of its name; a file that says nothing else is taken for what its name says.
        delimiter: what stands between cells; by default it is found in a line "sep=;" or in the header.
        bad: what is done with a bad row instead of raising its error; the row is left out.

    Raises:
        DataError: the file can't be read, several delimiters fit, the header is unusable, or a row is bad.
    """
    with opened(path, "CSV") as file:
        lines = _old_line_ends(decoded(path, line, raw) for line, raw in enumerate(file, start=1))
        skipped, lines, between = _delimiter(path, lines, "\t" if ending == ".tsv" else ",", delimiter)
        rows = _cells(path, lines, between, skipped)
        at, written = next(rows, (0, []))
        if not written:
            raise DataError(f"{path}: the file is empty; it needs a header and a row for each example")
        header = _checked_header(path, at, written)
        number = 0
        for number, (line, cells) in enumerate(rows, start=1):
            if any(cells[len(header) : len(written)]):
                raise error_at(path, at, f"column {len(header) + 1} of the header has no name; give it one")
            if any(cells[len(header) :]) or len(cells) < len(header):
                what = f"{len(cells)} values, but the header has {len(header)} columns; quote values that hold a "
                error = error_at(path, line, f"{what}{DELIMITERS.get(between, repr(between))} or a line break")
                if bad is None:
                    raise error
                bad(error)
            else:
                # An empty cell says nothing, like a null in JSON.
                values = dict(zip(header, (cell or None for cell in cells), strict=False))
                yield Row(path, line, str(number), values)
    if not number:
        raise DataError(f"{path}: no rows below the header; it needs a row for each example")


def parquet_rows(path: str) -> Iterator[Row]:
    """The rows of a Parquet file, with the types that it has.

    Args:
        path: the file.

    Raises:
        DataError: the file is damaged or has no rows.
        ConfigError: pyarrow is not installed.
    """
    what = "a Parquet file: read it as hub:PATH, or convert it to CSV or JSON Lines"
    arrow = package("pyarrow", "'icm-api[export]'", path, what)
    parquet = package("pyarrow.parquet", "'icm-api[export]'", path, what)
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                for values in batch.drop_columns(
                    [each for each in batch.schema.names if _INDEX.fullmatch(each)]
                ).to_pylist():
                    number += 1
                    yield Row(path, number, str(number), values, "row")
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{path}: a damaged Parquet file ({' '.join(str(error).split())}); fetch it anew") from error
    if not number:
        raise DataError(f"{path}: the Parquet file has no rows")


def workbook_rows(path: str) -> Iterator[Row]:
    """The rows below the header of the first sheet of an Excel workbook, each value as a text, as in CSV.

    Args:
        path: the file.

    Raises:
        DataError: the file is damaged, or has no rows or an unusable header.
        ConfigError: openpyxl is not installed.
    """
    openpyxl = package("openpyxl", "'icm-api[excel]'", path, "an Excel workbook: save it as CSV UTF-8")
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        cells = [[_as_text(value) for value in row] for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    # The package raises errors of zip archives, of XML and of its own.
    except Exception as error:
        raise DataError(f"{path}: an Excel workbook that can't be read ({error}); save it as CSV UTF-8") from error
    filled = ((at, row) for at, row in enumerate(cells, start=1) if any(cell.strip() for cell in row))
    at, header = next(filled, (0, []))
    if not header:
        raise DataError(f"{path}: the first sheet is empty; it needs a header and a row for each example")
    header = _checked_header(path, at, header)
    number = 0
    for number, (line, row) in enumerate(filled, start=1):
        if any(cell.strip() for cell in row[len(header) :]):
            what = f"a value in column {len(header) + 1}, which has no name in row {at}"
            raise error_at(path, line, f"{what}; the first row that is not empty must name the columns", "row")
        padded = chain(row, [""] * len(header))
        yield Row(
            path, line, str(number), {name: cell or None for name, cell in zip(header, padded, strict=False)}, "row"
        )
    if not number:
        raise DataError(f"{path}: no rows below the header of the first sheet; it needs a row for each example")


def decoded(path: str, line: int, raw: bytes) -> str:
    """A line of a file as text, without a byte order mark at its beginning.

    Args:
        path: the file.
        line: its number, from 1.
        raw: its bytes.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} of the line is 0x{raw[error.start]:02x}"
        raise error_at(path, line, f"not UTF-8: {byte}; save the file as UTF-8 (in Excel: CSV UTF-8)") from None
    # Files that were joined have one at the beginning of each.
    return text.removeprefix("\ufeff")


def _old_line_ends(lines: Iterator[str]) -> Iterator[str]:
    """The lines; of a file that ends them with carriage returns alone, as a "CSV (Macintosh)" does, its lines too."""
    first, second = next(lines, ""), next(lines, None)
    if second is None and "\n" not in first:
        return iter(first.replace("\r", "\n").splitlines(keepends=True))
    return chain([first], [] if second is None else [second], lines)


def _delimiter(path: str, lines: Iterator[str], usual: str, given: str | None) -> tuple[int, Iterator[str], str]:
    """How many lines say what the delimiter is (none or one), the lines after it, and the delimiter."""
    sample = [*islice(lines, _SAMPLE)]
    said = re.fullmatch(r'"?sep=(.)"?[,;\t]*', sample[0].rstrip("\r\n"), re.IGNORECASE) if sample else None
    left = chain(sample[1:] if said else sample, lines)
    if given is not None or said:
        return (1 if said else 0), left, given or (said[1] if said else "")
    return 0, left, _found(path, sample, usual)


def _found(path: str, sample: Sequence[str], usual: str) -> str:
    """The delimiter that makes columns of the header and most rows; the usual one if none does."""
    whole = {}
    for delimiter in DELIMITERS:
        rows = _loosely(sample, delimiter)
        columns = len(rows[0]) if rows else 0
        fitting = sum(len(row) == columns for row in rows)
        if columns > 1 and 2 * fitting >= len(rows):
            whole[delimiter] = fitting == len(rows)
    fits = [delimiter for delimiter, all_fit in whole.items() if all_fit] or [*whole]
    if len(fits) > 1 and usual not in fits:
        names = " or ".join(map(repr, fits))
        raise DataError(f"{path}: the delimiter may be {names}; say which under [data]: delimiter = {fits[0]!r}")
    return usual if usual in fits or not fits else fits[0]


def _loosely(sample: Sequence[str], delimiter: str) -> list[list[str]]:
    """The rows of the sample that are not blank, but for a last one that may go on after it."""
    with _long_cells():
        try:
            rows = [row for row in csv.reader(sample, delimiter=delimiter) if any(cell.strip() for cell in row)]
        except csv.Error:
            return []
    return rows[:-1] if len(sample) == _SAMPLE else rows


def _cells(path: str, lines: Iterator[str], delimiter: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line that it begins on."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = skipped + reader.line_num + 1
        with _long_cells():
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise error_at(path, line, f"not valid CSV: {error}; quote values, and double a quote inside") from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


@contextmanager
def _long_cells() -> Iterator[None]:
    """Cells may be long in here: the limit of Python's reader is one for the whole process."""
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _checked_header(path: str, line: int, header: Sequence[str]) -> list[str]:
    """The names of the columns, without space around them and without the empty columns that a spreadsheet adds."""
    names = [name.strip() for name in header]
    while not names[-1]:
        del names[-1]
    for at, name in enumerate(names):
        if not name:
            hint = "" if at else ", or leave out the index, as pandas does with index=False"
            raise error_at(path, line, f"column {at + 1} of the header has no name; give it one{hint}")
        if name in names[:at]:
            raise error_at(path, line, f"the header has the column {name!r} twice; rename one")
    return names


def _as_text(value: object) -> str:
    """A cell of a workbook as CSV would have it; dates as in ISO 8601.

    Example:
        >>> [_as_text(value) for value in (None, True, 3.0, 0.5, date(2026, 1, 2), "a")]
        ['', 'True', '3', '0.5', '2026-01-02', 'a']
    """
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
