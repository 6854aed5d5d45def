"""A row: one record of a source, with an id and a place, and the words for what is wrong with it.

A format's loader takes rows and need not know where they come from. Nothing here decides what a row means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from icm_api.errors import DataError

Unit: TypeAlias = Literal["line", "row"]


class EmptyTextError(DataError):
    """A row has no text where it must have one."""


class Row(NamedTuple):
    """One record of a source: its place, the id it has or gets, and its values. A tuple, as there may be millions.

    Attributes:
        path: the file, or the source as it was named.
        line: the line on which the row begins; if `unit` is "row", its number among the rows, from 1.
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

    def empty(self, what: str) -> EmptyTextError:
        """The same of a text that is not there, so that whoever wants to can leave the row out."""
        return EmptyTextError(str(self.error(what)))

    def text(self, key: str) -> str:
        """The text under a key, without white space around it.

        Args:
            key: of the text.

        Raises:
            DataError: the key is missing, or its value is empty or no text.
        """
        return self.as_text(key, self._value(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts in the list under a key, each read as `text` reads a single text.

        Args:
            key: of the list.

        Raises:
            DataError: the key is missing, its value is no list, or the list holds something other than texts.
        """
        value = self._value(key)
        if not isinstance(value, list | tuple):
            raise self.error(f"{key!r} is {kind(value)}; it must be a list of texts")
        return tuple(self.as_text(f"{key}[{at}]", each) for at, each in enumerate(value))

    def as_text(self, where: str, value: object) -> str:
        """A value that must be a text, without white space around it.

        Args:
            where: what the message calls the value.
            value: of any type.

        Raises:
            DataError: the value is empty or no text.
        """
        if value is not None and not isinstance(value, str):
            raise self.error(f"{where!r} is {kind(value)}; it must be a text")
        if value is None or not value.strip():
            raise self.empty(f"{where!r} is empty; it must be a text")
        return value.strip()

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise self.error(f"{key!r} is missing; the {self.unit} has the keys {list(self.values)}")
        return self.values[key]


def error_at(path: str, at: int, what: str, unit: Unit = "line") -> DataError:
    """An error that begins with a place, for example "claims.jsonl:3: ..." or "claims.json: row 3: ...".

    Args:
        path: the file, or the source as it was named.
        at: the number of the line or row, from 1.
        what: what is wrong, and what to do.
        unit: what `at` counts.
    """
    return DataError(f"{path}:{at}: {what}" if unit == "line" else f"{path}: row {at}: {what}")


def kind(value: object) -> str:
    """What a JSON value is, in words for a message.

    Example:
        >>> kind(None), kind(0.5), kind(["a"])
        ('null', 'a number', 'a list')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list | tuple) else "an object"
