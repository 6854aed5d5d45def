"""Preference data: two replies to a prompt, and which is better; each comparison becomes two examples, one per order.

The keys of each row say which of three layouts it has:

- `chosen` and `rejected`, texts or lists of messages, with or without a prompt of their own: HH, UltraFeedback,
  RewardBench. The turns that both begin with are the prompt.
- `output_1` and `output_2` (AlpacaFarm: `instruction`, `input`), `response_a` and `response_b`, `response_1` and
  `response_2`, or `a` and `b`, with the label in another column.
- any other columns, named by `fields`: the last two are the replies, and those before them are shown with them.

The two orders, the labels "A" and "B" and the constraint that belongs to them are in `pairs`. A comparison whose
replies are equal or of which one is empty asks nothing: the examples and the gold labels leave it out, and a warning
says how many were left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from logging import getLogger
from types import MappingProxyType

from icm_api.data.labels import gold_key
from icm_api.data.pairs import Pair, both_labels, both_orders, ordered
from icm_api.data.rows import Row, kind
from icm_api.errors import ConfigError
from icm_api.types import Example, Label

PREFERRED_FIELDS = ("preference", "gold", "label", "winner")
"""The columns that may hold the label of a comparison, if no column is named."""

_REPLIES = (("output_1", "output_2"), ("response_a", "response_b"), ("response_1", "response_2"), ("a", "b"))
_PROMPTS = ("prompt", "instruction", "question", "query")
_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_MESSAGE_KEYS = (("role", "content"), ("from", "value"))
_LOG = getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Message:
    """What one side of a conversation says; `text` can be empty."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One row: what is shown, and the two replies under their keys, in the order of the row."""

    row: Row
    shown: Mapping[str, str]
    keys: tuple[str, str]
    replies: tuple[str, str]

    @property
    def usable(self) -> bool:
        return all(self.replies) and self.replies[0] != self.replies[1]

    @property
    def pair(self) -> Pair:
        texts = ordered(*self.replies, *self.shown.values())
        return Pair(self.row.id, self.row.id, self.shown, texts)


def preference_examples(rows: Iterable[Row], fields: Sequence[str] | None = None) -> Iterator[Example]:
    """Two examples for each comparison, one per order of the replies.

    Args:
        rows: of any of the layouts.
        fields: the columns of the texts, if they have other names; the last two are the replies.

    Yields:
        Examples with the fields "first" and "second" beside the texts that are shown with them ("prompt").

    Raises:
        DataError: a row has no known layout, or has something other than texts.
        ConfigError: `fields` names fewer than two columns, or calls a column "first" or "second".
    """
    total, left_out, first = 0, 0, ""
    for comparison in (_comparison(row, fields) for row in rows):
        total += 1
        if comparison.usable:
            yield from both_orders(comparison.pair)
        else:
            first = first or f"{comparison.row.unit} {comparison.row.line} of {comparison.row.path}"
            left_out += 1
    if left_out:
        message = "left out %d of %d comparisons, whose replies are equal or of which one is empty; the first: %s"
        _LOG.warning(message, left_out, total, first)


def preference_gold(
    rows: Iterable[Row], fields: Sequence[str] | None = None, label_field: str | None = None
) -> Iterator[tuple[str, Label]]:
    """The gold labels of the examples that `preference_examples` makes of the same rows.

    Args:
        rows: of any of the layouts.
        fields: as for the examples.
        label_field: the column that says which reply is better, by 1 or 2, A or B, or the name of its column; by
            default the first of `PREFERRED_FIELDS` that a row has. "tie" gives no gold label.

    Yields:
        The id of an example, and "A" if its first reply is the better one, else "B".

    Raises:
        DataError: as for the examples, or a row does not say which reply is better.
        ConfigError: as for the examples.
    """
    for comparison in (_comparison(row, fields) for row in rows):
        better = _better(comparison, label_field)
        if better is not None and comparison.usable:
            yield from both_labels(comparison.pair, comparison.replies[better])


def _comparison(row: Row, fields: Sequence[str] | None) -> _Comparison:
    if fields is not None:
        return _named(row, fields)
    if "chosen" in row.values or "rejected" in row.values:
        shared, *replies = _parted(_messages(row, "chosen"), _messages(row, "rejected"))
        prompt = _prompt(row, shared)
        return _Comparison(row, prompt, ("chosen", "rejected"), (replies[0], replies[1]))
    for one, other in _REPLIES:
        if one in row.values and other in row.values:
            return _Comparison(row, _prompt(row, ()), (one, other), (_reply(row, one), _reply(row, other)))
    raise row.error(
        "no two replies: neither 'chosen' and 'rejected', nor "
        + ", ".join(f"{one!r} and {other!r}" for one, other in _REPLIES)
        + f"; the {row.unit} has the keys {list(row.values)}. Name the columns with fields = [prompt, one, other]"
    )


def _named(row: Row, fields: Sequence[str]) -> _Comparison:
    if isinstance(fields, str) or len(fields) < 2 or {"first", "second"} & set(fields[:-2]):
        raise ConfigError(
            f"fields = {fields!r}: name the columns of the two replies, after any that are shown beside them, of which "
            'none is called "first" or "second"'
        )
    *beside, one, other = fields
    shown = MappingProxyType({key: row.text(key) for key in beside})
    return _Comparison(row, shown, (one, other), (_reply(row, one), _reply(row, other)))


def _reply(row: Row, key: str) -> str:
    return _written(_messages(row, key))


def _prompt(row: Row, shared: tuple[_Message, ...]) -> Mapping[str, str]:
    """What is shown above the replies: the turns that they share, after a prompt that these do not repeat."""
    key = next((key for key in _PROMPTS if key in row.values), None)
    if key is None or (shared and shared[0].role.lower() not in ("assistant", "gpt")):
        return MappingProxyType({"prompt": _written(shared)} if shared else {})
    value = row.values[key]
    prompt = _written(_messages(row, key)) if isinstance(value, list | tuple) else row.text(key)
    parts = [prompt, *([row.text("input")] if _filled(row, key) else []), *([_written(shared)] if shared else [])]
    return MappingProxyType({"prompt": "\n\n".join(parts)})


def _filled(row: Row, key: str) -> bool:
    """Whether an instruction has an input, as Alpaca's have; "" and null mean that it has none."""
    return key == "instruction" and row.values.get("input") not in (None, "")


def _better(comparison: _Comparison, label_field: str | None) -> int | None:
    """The position of the better reply in the row; None for a tie."""
    row = comparison.row
    if comparison.keys == ("chosen", "rejected") and label_field is None:
        return 0
    names = PREFERRED_FIELDS if label_field is None else (label_field,)
    key = gold_key(row, names)
    value = row.values[key]
    said = str(value).strip()
    if said.lower() == "tie":
        return None
    for at, (number, letter, name) in enumerate(zip("12", "ab", comparison.keys, strict=True)):
        if not isinstance(value, bool) and (said in (number, name) or said.lower() == letter):
            return at
    raise row.error(f"gold label {key!r} is {value!r}; it must be 1 or 2, A or B, a column's name, or tie")


def _messages(row: Row, key: str) -> tuple[_Message, ...]:
    """The conversation under a key: a list of messages, a text with "Human:" and "Assistant:" turns, or one reply."""
    value = row.values.get(key)
    if isinstance(value, list | tuple):
        if not value:
            raise row.error(f"{key!r} is empty; it must have a message")
        return tuple(_message(row, f"{key}[{at}]", each) for at, each in enumerate(value))
    # A reply may be empty, an absent one may not.
    if not isinstance(value, str):
        missing = key not in row.values
        found = f"is missing; the {row.unit} has the keys {list(row.values)}" if missing else f"is {kind(value)}"
        raise row.error(f"{key!r} {found}" + ("" if missing else "; it must be a text or a list of messages"))
    parts = _TURN.split(value.lstrip() if _TURN.match(value.lstrip()) else value)
    if len(parts) == 1:
        return (_Message("assistant", value.strip()),)
    return tuple(_Message(role, text.strip()) for role, text in zip(parts[1::2], parts[2::2], strict=True))


def _message(row: Row, where: str, value: object) -> _Message:
    if isinstance(value, Mapping):
        for role, content in _MESSAGE_KEYS:
            if isinstance(value.get(role), str) and isinstance(value.get(content), str):
                return _Message(value[role], value[content].strip())
    raise row.error(f"{where!r} is {kind(value)}; a message is an object with the texts 'role' and 'content'")


def _parted(one: Sequence[_Message], other: Sequence[_Message]) -> tuple[tuple[_Message, ...], str, str]:
    """What both conversations begin with, and how each goes on, as texts.

    Example:
        >>> asked = _Message("user", "1+1?")
        >>> _parted([asked, _Message("assistant", "2")], [asked, _Message("assistant", "3")])[1:]
        ('2', '3')
    """
    shared = len([*takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False))])
    return tuple(one[:shared]), _written(one[shared:]), _written(other[shared:])


def _written(messages: Sequence[_Message]) -> str:
    """Messages as one text; a single one without its role.

    Example:
        >>> _written([_Message("user", "Hi"), _Message("assistant", "Hello"), _Message("user", "1+1?")])
        'User: Hi\\n\\nAssistant: Hello\\n\\nUser: 1+1?'
    """
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role.capitalize()}: {message.text}" for message in messages)
