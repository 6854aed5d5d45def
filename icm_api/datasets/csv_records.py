"""Reads CSV and TSV files with a header, by Python's own reader, and says exactly which line is bad and why.

Every value is a string; an empty cell is an absent value. Types are not guessed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from icm_api.datasets.records import Record, decoded, error_at, opened
from icm_api.errors import DataError


def csv_records(path: str, delimiter: str) -> Iterator[Record]:
    """The rows below the header of a file in UTF-8; blank lines are skipped, and quoted line breaks are text.

    Raises:
        DataError: the file cannot be read, has no header or no row, or a row has other columns than the header.
    """
    with opened(path, "CSV") as file:
        lines = (decoded(path, line, raw) for line, raw in enumerate(file, start=1))
        rows = _rows(path, lines, delimiter)
        _, header = next(rows, (0, []))
        if not header:
            raise DataError(f"{path}: the file is empty; it needs a header and a row for each example")
        _check_header(path, header)
        number = 0
        for number, (line, cells) in enumerate(rows, start=1):
            if len(cells) != len(header):
                what = f"{len(cells)} values, but the header has {len(header)} columns; quote values that hold a "
                raise error_at(path, line, f"{what}{'tab' if delimiter == chr(9) else 'comma'} or a line break")
            # An empty cell says nothing, like a null in JSON.
            yield Record(path, line, {name: cell or None for name, cell in zip(header, cells, strict=True)}, number)
    if not number:
        raise DataError(f"{path}: no rows below the header; it needs one for each example")


def _rows(path: str, lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line that it begins on."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise error_at(path, line, f"not valid CSV: {error}; quote values, and double a quote inside") from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def _check_header(path: str, header: list[str]) -> None:
    for at, name in enumerate(header):
        if not name.strip():
            raise error_at(path, 1, f"column {at + 1} of the header has no name; give it one")
        if name in header[:at]:
            raise error_at(path, 1, f"the header has the column {name!r} twice; rename one")
