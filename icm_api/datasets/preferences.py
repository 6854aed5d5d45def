"""Preference data: two replies to a prompt, and which is better; each comparison becomes two examples, one per order.

Three layouts, told apart by the keys of each row:

- `chosen` and `rejected`, texts or lists of messages, with or without a prompt of their own: HH, UltraFeedback,
  RewardBench. Where both begin with the same turns, those are the prompt.
- `output_1` and `output_2` (AlpacaFarm: `instruction`, `input`), `response_a` and `response_b`, `response_1` and
  `response_2`, or `a` and `b`, with the label in a column of its own.
- any other columns, named by `fields`: the last two are the replies, and those before them are shown beside.

The two orders, the labels "A" and "B" and the constraint that belongs to them are in `icm_api.datasets.pairs`. A
comparison of equal replies, or with an empty one, asks nothing: it is left out of both examples and gold labels, and
the examples log how many were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from logging import getLogger
from types import MappingProxyType

from icm_api.datasets.messages import Message, parted, read_messages, written
from icm_api.datasets.pairs import Pair, both_labels, both_orders, ordered
from icm_api.datasets.rows import Row
from icm_api.errors import ConfigError
from icm_api.types import Example, Label

PREFERRED_FIELDS = ("preference", "gold", "label", "winner")
"""The columns in which the label of a comparison may stand, where none is named."""

_REPLIES = (("output_1", "output_2"), ("response_a", "response_b"), ("response_1", "response_2"), ("a", "b"))
_PROMPTS = ("prompt", "instruction", "question", "query")
_LOG = getLogger(__name__)


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
    """Two examples of each comparison: the texts that are shown ("prompt"), "first" and "second".

    Args:
        rows: of any of the layouts.
        fields: the columns of the texts, where they have other names; the last two are the replies.

    Raises:
        DataError: a row is of no known layout, or has something else than texts.
        ConfigError: `fields` names fewer than two columns, or one called like what the examples have.
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
    """ "A" where the first reply of an example of `preference_examples` is the better one, else "B".

    Args:
        rows: of any of the layouts.
        fields: as for the examples.
        label_field: the column that says which reply is better, by 1 or 2, A or B, or the name of its column; by
            default the first of `PREFERRED_FIELDS` that a row has. "tie" gives no gold label.

    Raises:
        DataError: as for the examples, or a row says nothing of which reply is better.
    """
    for comparison in (_comparison(row, fields) for row in rows):
        better = _better(comparison, label_field)
        if better is not None and comparison.usable:
            yield from both_labels(comparison.pair, comparison.replies[better])


def _comparison(row: Row, fields: Sequence[str] | None) -> _Comparison:
    if fields is not None:
        return _named(row, fields)
    if "chosen" in row.values or "rejected" in row.values:
        shared, *replies = parted(read_messages(row, "chosen"), read_messages(row, "rejected"))
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
    return written(read_messages(row, key))


def _prompt(row: Row, shared: tuple[Message, ...]) -> Mapping[str, str]:
    """What is shown above the replies: what the conversations share, after a prompt that they don't repeat."""
    key = next((key for key in _PROMPTS if key in row.values), None)
    if key is None or (shared and shared[0].role.lower() not in ("assistant", "gpt")):
        return MappingProxyType({"prompt": written(shared)} if shared else {})
    value = row.values[key]
    prompt = written(read_messages(row, key)) if isinstance(value, list | tuple) else row.text(key)
    parts = [prompt, *([row.text("input")] if _filled(row, key) else []), *([written(shared)] if shared else [])]
    return MappingProxyType({"prompt": "\n\n".join(parts)})


def _filled(row: Row, key: str) -> bool:
    """Whether an instruction has an input, as Alpaca's have; "" and null say that it has none."""
    return key == "instruction" and row.values.get("input") not in (None, "")


def _better(comparison: _Comparison, label_field: str | None) -> int | None:
    """The position of the better reply in the row; None for a tie."""
    row = comparison.row
    if comparison.keys == ("chosen", "rejected") and label_field is None:
        return 0
    names = PREFERRED_FIELDS if label_field is None else (label_field,)
    key = next((name for name in names if name in row.values), None)
    if key is None:
        wanted = " or ".join(map(repr, names))
        raise row.error(f"no gold label under {wanted}; the {row.unit} has the keys {list(row.values)}")
    value = row.values[key]
    said = str(value).strip()
    if said.lower() == "tie":
        return None
    for at, (number, letter, name) in enumerate(zip("12", "ab", comparison.keys, strict=True)):
        if not isinstance(value, bool) and (said in (number, name) or said.lower() == letter):
            return at
    raise row.error(f"gold label {key!r} is {value!r}; it must be 1 or 2, A or B, a column's name, or tie")
