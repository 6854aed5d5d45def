"""Which of two replies a row prefers: by a name, a letter or a number. What could mean either is an error, no guess.

A number is that of the columns: with response_0 and response_1 it is 0 or 1, with output_1 and output_2 it is 1 or 2.
Where the columns have no numbers, 1 and 2 are understood if a 2 occurs; 0 and 1 are not, as 1 may be the second, or
mean "yes, the first".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Self

from icm_api.data.labels import gold_key
from icm_api.data.rows import Row

PREFERRED_FIELDS = ("preference", "gold", "label", "winner", "better_response_id")
"""The columns that may hold the label of a comparison, if no column is named."""

_NAMED = re.compile(
    r"\[*(?:(?:model|response|assistant|answer|output|reply|completion|conversation|candidate|option|text)[ _-]?)?"
    r"([ab])\]*",
    re.IGNORECASE,
)
_PLACES = {"first": 0, "second": 1, "left": 0, "right": 1}
_TIE = re.compile(r"tie\b.*|both[ _-]?(?:bad|good)|draw|equal|neither|\[*c\]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Winners:
    """How the labels of comparisons are read.

    Attributes:
        keys: the columns that may hold the label, the first that a row has.
        from_one: whether a 2 occurs, so that numbers count from 1.
    """

    keys: Sequence[str]
    from_one: bool

    @classmethod
    def of(cls, rows: Iterable[Row], label_field: str | None) -> Self:
        """Looks at all rows, as one alone may not show how they count.

        Args:
            rows: all that there are.
            label_field: the column of the label; by default the first of `PREFERRED_FIELDS` that a row has.
        """
        keys = PREFERRED_FIELDS if label_field is None else (label_field,)
        found = {_text(row.values[key]) for row in rows if (key := next((k for k in keys if k in row.values), None))}
        return cls(keys, "2" in found and "0" not in found)

    def better(self, row: Row, replies: tuple[str, str]) -> int | None:
        """The position of the better reply in the row; None for a tie.

        Args:
            row: of a comparison.
            replies: the columns of its replies.

        Raises:
            DataError: the row does not say it, or what it says could mean either.
        """
        key = gold_key(row, self.keys)
        value = row.values[key]
        said = _text(value)
        names = [name.lower() for name in replies]
        if said.lower() in names:
            return names.index(said.lower())
        if letter := _NAMED.fullmatch(said):
            return "ab".index(letter[1].lower())
        if said.lower() in _PLACES:
            return _PLACES[said.lower()]
        if _TIE.fullmatch(said):
            return None
        if said in ("0", "1", "2"):
            return self._counted(row, key, said, replies)
        raise row.error(
            f"gold label {key!r} is {value!r}; it must be 1 or 2, A or B, a column's name, or tie; else say what it "
            f"means, e.g. --map={quote(said)}=A"
        )

    def _counted(self, row: Row, key: str, said: str, replies: tuple[str, str]) -> int:
        """The position that a number means."""
        numbers = [found[-1] if (found := re.findall(r"\d+", name)) else "" for name in replies]
        if all(numbers) and numbers[0] != numbers[1]:
            if said in numbers:
                return numbers.index(said)
        elif self.from_one and said in "12":
            return int(said) - 1
        one, other = replies
        raise row.error(
            f"gold label {key!r} is {said}, which may be {one!r} or {other!r}: say what the numbers mean, e.g. "
            "--map 0=A,1=B if they count from 0, or --map 1=A,2=B"
        )


def _text(value: object) -> str:
    """A label as a text: true and false are no numbers, and 1.0 is 1."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
