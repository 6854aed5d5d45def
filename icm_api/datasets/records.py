"""What the readers of files share: a record and where it stands, opening a file, and the words for what is wrong.

Nothing here knows a format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from icm_api.errors import DataError

Unit: TypeAlias = Literal["line", "row"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a source.

    Attributes:
        path: the file, or the source as it was named.
        at: the line it begins on; where `unit` is "row", its number among the rows, from 1.
        values: by key or column.
        number: what stands for an id where there is none.
        unit: what `at` counts.
    """

    path: str
    at: int
    values: Mapping[str, object]
    number: int
    unit: Unit = "line"

    def error(self, what: str) -> DataError:
        """An error that begins with the source and the record's place."""
        return error_at(self.path, self.at, what, self.unit)


def error_at(path: str, at: int, what: str, unit: Unit = "line") -> DataError:
    """An error that begins with a place: "claims.jsonl:3: ..." or "claims.json: row 3: ..."."""
    return DataError(f"{path}:{at}: {what}" if unit == "line" else f"{path}: row {at}: {what}")


def kind(value: object) -> str:
    """What a JSON value is, in words for a message."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list | tuple) else "an object"


@contextmanager
def opened(path: str, what: str) -> Iterator[BinaryIO]:
    """The file, open for reading; every way in which that can fail is a DataError. `what` is the kind of file."""
    try:
        with Path(path).open("rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: this is a directory; name a {what} file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def decoded(path: str, line: int, raw: bytes) -> str:
    """A line of a file as text; a byte order mark at the beginning of the file is dropped.

    Raises:
        DataError: the line is no UTF-8.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} of the line is 0x{raw[error.start]:02x}"
        raise error_at(path, line, f"not UTF-8: {byte}; save the file as UTF-8") from None
    return text.removeprefix("\ufeff") if line == 1 else text
