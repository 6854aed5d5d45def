"""Rows: one way to read records from JSON Lines, JSON, CSV and the Hugging Face Hub, each with an id and a place.

A task's loader takes rows and needs not know where they come from. Nothing here decides what a row means, and it
stops at the first bad row and mends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import PurePath

from icm_api.datasets.csv_records import csv_records
from icm_api.datasets.hub import HUB, hub_records
from icm_api.datasets.json_records import json_lines_records, json_records
from icm_api.datasets.records import Record, Unit, error_at, kind
from icm_api.errors import DataError

__all__ = ["HUB", "Row", "identified", "kind", "read_rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a source: where it stands, the id it has or gets, and its values.

    Attributes:
        path: the file, or the source as it was named.
        line: the line the row begins on; where `unit` is "row", its number among the rows, from 1.
        id: unique in the source.
        values: by key or column.
        unit: what `line` counts.
    """

    path: str
    line: int
    id: str
    values: Mapping[str, object]
    unit: Unit = "line"

    def error(self, what: str) -> DataError:
        """An error that begins with the source and the row's place."""
        return error_at(self.path, self.line, what, self.unit)

    def text(self, key: str) -> str:
        """The text under a key, without white space around it.

        Raises:
            DataError: there is none, it is empty, or it is no text.
        """
        if key not in self.values:
            raise self.error(f"{key!r} is missing; the {self.unit} has the keys {list(self.values)}")
        return self.as_text(key, self.values[key])

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts in the list under a key, as `text` reads one.

        Raises:
            DataError: there is no list, or it holds something else.
        """
        if key not in self.values:
            raise self.error(f"{key!r} is missing; the {self.unit} has the keys {list(self.values)}")
        value = self.values[key]
        if not isinstance(value, list | tuple):
            raise self.error(f"{key!r} is {kind(value)}; it must be a list of texts")
        return tuple(self.as_text(f"{key}[{at}]", each) for at, each in enumerate(value))

    def as_text(self, where: str, value: object) -> str:
        """A value that must be a text; `where` is what the message calls it."""
        if value is not None and not isinstance(value, str):
            raise self.error(f"{where!r} is {kind(value)}; it must be a text")
        if value is None or not value.strip():
            raise self.error(f"{where!r} is empty; it must be a text")
        return value.strip()


def read_rows(
    source: str | PathLike[str], id_field: str = "id", *, name: str | None = None, split: str = "train"
) -> Iterator[Row]:
    """The rows of a source, one at a time, by how its name ends or begins.

    Args:
        source: a file that ends in .json (a list of objects), .csv or .tsv (with a header; a value is a string,
            an empty cell a null); "hub:OWNER/NAME" for `datasets.load_dataset`, also with a local file or folder
            in place of OWNER/NAME; any other file is read as JSON Lines.
        id_field: the key of the ids, on every row or on none. Where there are none, an id is the line number of
            JSON Lines, and else the row's number, from 1 and without the header.
        name: the hub's configuration name.
        split: the hub's split.

    Raises:
        DataError: the source cannot be read or has no rows, or a row is bad (which one, and why).
        ConfigError: the hub is asked for, and the package `datasets` is not installed.
    """
    text = fspath(source)
    if text.startswith(HUB):
        return identified(hub_records(text, name=name, split=split), id_field)
    ending = PurePath(text).suffix.lower()
    if ending in (".csv", ".tsv"):
        return identified(csv_records(text, "," if ending == ".csv" else "\t"), id_field)
    if ending == ".json":
        return identified(json_records(text), id_field)
    return identified(json_lines_records(text), id_field)


def identified(records: Iterable[Record], id_field: str) -> Iterator[Row]:
    """Rows of records: with their own ids, or, where they have none, with numbers for ids.

    Args:
        records: in order.
        id_field: the key of the ids.

    Raises:
        DataError: an id is missing, of a wrong type, or not unique.
    """
    seen: dict[str, int] = {}
    first: tuple[int, bool] | None = None
    for record in records:
        own = record.values.get(id_field)
        first = first or (record.at, own is not None)
        if first[1] != (own is not None):
            here, there = ("has an", "has none") if own is not None else ("has no", "has one")
            where = f"{record.unit} {first[0]}"
            raise record.error(f"{here} {id_field!r}, but {where} {there}; give every {record.unit} an id, or none")
        if own is not None and (isinstance(own, bool) or not isinstance(own, str | int)):
            raise record.error(f"{id_field!r} is {kind(own)}; an id is a string or an integer")
        row = Row(record.path, record.at, str(record.number if own is None else own), record.values, record.unit)
        if not row.id.strip():
            raise row.error(f"{id_field!r} is empty; give the {row.unit} an id of its own")
        if row.id in seen:
            raise row.error(f"duplicate id {row.id!r} (first on {row.unit} {seen[row.id]}); ids must be unique")
        seen[row.id] = row.line
        yield row
