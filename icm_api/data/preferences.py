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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from icm_api.data.dialogues import Message, Messages, as_chat, listed, parted, preamble, turns, written
from icm_api.data.left_out import Note, unsaid
from icm_api.data.pairs import Pair, both_labels, both_orders, ordered
from icm_api.data.rows import EmptyTextError, Row, kind
from icm_api.data.winners import Winners
from icm_api.errors import ConfigError
from icm_api.types import Example, Label

_REPLIES = (
    ("output_1", "output_2"),
    ("response_a", "response_b"),
    ("response_1", "response_2"),
    ("response_0", "response_1"),
    ("conversation_a", "conversation_b"),
    ("a", "b"),
)
_PROMPTS = ("prompt", "instruction", "question", "query")


@dataclass(frozen=True, slots=True)
class _Comparison:
    """One row: what is shown, what that is in messages, and the two replies under their keys, in the row's order."""

    row: Row
    shown: Mapping[str, str]
    asked: Messages
    keys: tuple[str, str]
    replies: tuple[Messages, Messages]

    @property
    def texts(self) -> tuple[str, str]:
        return written(self.replies[0]), written(self.replies[1])

    @property
    def usable(self) -> bool:
        return all(self.texts) and self.texts[0] != self.texts[1]

    @property
    def pair(self) -> Pair:
        texts = ordered(*self.texts, *self.shown.values())
        replies = self.replies if texts == self.texts else self.replies[::-1]
        return Pair(self.row.id, self.row.id, self.shown, texts, self._chats(replies))

    def _chats(self, replies: Sequence[Messages]) -> tuple[list[dict[str, str]], ...]:
        """Prompt and replies in messages, where they are more than a question and an answer each."""
        chats = as_chat(self.asked), as_chat(replies[0]), as_chat(replies[1])
        roles = [tuple(message["role"] for message in chat) for chat in chats]
        return (
            ()
            if roles in ([("user",), ("assistant",), ("assistant",)], [(), ("assistant",), ("assistant",)])
            else chats
        )


def preference_examples(
    rows: Iterable[Row], fields: Sequence[str] | None = None, note: Note = unsaid
) -> Iterator[Example]:
    """Two examples for each comparison, one per order of the replies.

    Args:
        rows: of any of the layouts.
        fields: the columns of the texts, if they have other names; the last two are the replies.
        note: gets the rows that are left out.

    Yields:
        Examples with the fields "first" and "second" beside the texts that are shown with them ("prompt").

    Raises:
        DataError: a row has no known layout, or has something other than texts.
        ConfigError: `fields` names fewer than two columns, or calls a column "first" or "second".
    """
    for comparison in (_comparison(row, fields) for row in rows):
        if comparison.usable:
            yield from both_orders(comparison.pair)
        else:
            note(comparison.row, 1, "comparisons, whose replies are equal or of which one is empty")


@dataclass(frozen=True, slots=True)
class TwoReplies:
    """A comparison in the order of its row.

    Attributes:
        id: of the row.
        shown: what both answer, by name.
        keys: the columns of the replies.
        texts: the replies; they may be equal or empty.
    """

    id: str
    shown: Mapping[str, str]
    keys: tuple[str, str]
    texts: tuple[str, str]


def two_replies(rows: Iterable[Row], fields: Sequence[str] | None = None) -> Iterator[TwoReplies]:
    """The comparisons of rows of any of the layouts, to be judged by a reward model.

    Args:
        rows: of any of the layouts.
        fields: as for `preference_examples`.

    Yields:
        One for each row.

    Raises:
        DataError, ConfigError: as for `preference_examples`.
    """
    for each in (_comparison(row, fields) for row in rows):
        yield TwoReplies(each.row.id, each.shown, each.keys, each.texts)


def grouped_by_prompt(examples: Sequence[Example]) -> list[Example]:
    """The examples of `preference_examples`, with all that show one prompt in one group, so that no split parts them.

    A prompt that all of them show is no prompt, but how they are asked.

    Args:
        examples: all of a data set.
    """
    shown = [
        tuple((name, text) for name, text in example.fields.items() if name not in ("first", "second"))
        for example in examples
    ]
    groups: dict[tuple[tuple[str, str], ...], str | None] = {}
    for prompt, example in zip(shown, examples, strict=True):
        groups.setdefault(prompt, example.group)
    if len(groups) < 2:
        return list(examples)
    return [replace(example, group=groups[prompt]) for prompt, example in zip(shown, examples, strict=True)]


def preference_gold(
    rows: Iterable[Row],
    fields: Sequence[str] | None = None,
    label_field: str | None = None,
    *,
    skip_empty: bool = False,
) -> Iterator[tuple[str, Label]]:
    """The gold labels of the examples that `preference_examples` makes of the same rows.

    Args:
        rows: of any of the layouts.
        fields: as for the examples.
        label_field: the column that says which reply is better (see `winners`); by default the first of
            `PREFERRED_FIELDS` that a row has. A tie gives no gold label.
        skip_empty: leave out rows without a text instead of raising their error.

    Yields:
        The id of an example, and "A" if its first reply is the better one, else "B".

    Raises:
        DataError: as for the examples, or a row does not say which reply is better.
        ConfigError: as for the examples.
    """
    comparisons = []
    for row in rows:
        try:
            comparisons.append(_comparison(row, fields))
        except EmptyTextError:
            if not skip_empty:
                raise
    winners = Winners.of([each.row for each in comparisons], label_field)
    for each in comparisons:
        # What is chosen needs no other column to say so.
        chosen = each.keys == ("chosen", "rejected") and label_field is None
        better = 0 if chosen else winners.better(each.row, each.keys)
        if better is not None and each.usable:
            yield from both_labels(each.pair, each.texts[better])


def _comparison(row: Row, fields: Sequence[str] | None) -> _Comparison:
    if fields is not None:
        return _named(row, fields)
    for one, other in (("chosen", "rejected"), *_REPLIES):
        if (one in row.values and other in row.values) or (one == "chosen" and {one, other} & row.values.keys()):
            prompt = next((key for key in _PROMPTS if key in row.values), None)
            shared, *replies = _replies(row, (one, other), prompt)
            return _Comparison(row, *_asked(row, prompt, shared), (one, other), (replies[0], replies[1]))
    raise row.error(
        "no two replies: neither 'chosen' and 'rejected', nor "
        + ", ".join(f"{one!r} and {other!r}" for one, other in _REPLIES)
        + f"; the {row.unit} has the keys {list(row.values)}. Name the columns with fields = "
        "[prompt, one, other] under [data], or give them such names"
    )


def _named(row: Row, fields: Sequence[str]) -> _Comparison:
    if isinstance(fields, str) or len(fields) < 2 or {"first", "second"} & set(fields[:-2]):
        raise ConfigError(
            f"fields = {fields!r}: name the columns of the two replies, after any that are shown beside them, of which "
            'none is called "first" or "second"'
        )
    *beside, one, other = fields
    parts = {key: listed(row, key) or _said(row.text(key)) for key in beside}
    shown = {key: written(part) if listed(row, key) else row.text(key) for key, part in parts.items()}
    if len(parts) > 1 and all(len(part) == 1 for part in parts.values()):
        asked: Messages = (Message("user", "\n\n".join(shown.values())),)
    else:
        asked = tuple(message for part in parts.values() for message in part)
    replies = listed(row, one) or (_reply(row, one),), listed(row, other) or (_reply(row, other),)
    return _Comparison(row, MappingProxyType(shown), asked, (one, other), replies)


def _said(prompt: str) -> Messages:
    """A prompt in messages: its turns, or one question."""
    return turns(prompt) or (Message("user", prompt),)


def _reply(row: Row, key: str) -> Message:
    """The text under a key as a reply. It may be empty, but not absent."""
    value = row.values.get(key)
    if isinstance(value, str):
        return Message("assistant", value.strip())
    if key not in row.values:
        raise row.error(f"{key!r} is missing; the {row.unit} has the keys {list(row.values)}")
    raise row.error(f"{key!r} is {kind(value)}; it must be a text or a list of messages")


def _replies(row: Row, keys: tuple[str, str], prompt: str | None) -> tuple[Messages, Messages, Messages]:
    """The turns that two conversations share, and how each goes on; of two replies that are none, the replies."""
    lists = [listed(row, key) for key in keys]
    if all(lists):
        return parted(lists[0] or (), lists[1] or ())
    one, other = (found or (_reply(row, key),) for found, key in zip(lists, keys, strict=True))
    if not any(lists):
        talks = _talks(one[0].text, other[0].text, row.values.get(prompt) if prompt else None)
        if talks is not None:
            return parted(*talks)
    return (), one, other


def _talks(one: str, other: str, prompt: object) -> tuple[Messages, Messages] | None:
    """Two texts in turns, if they are conversations; under a prompt only such as begin with it, or with a reply to it.

    What both have before their first turns is what a system message says.
    """
    before, rest = preamble(one)
    if before and prompt is None and rest and preamble(other)[0] == before and preamble(other)[1]:
        system = Message("system", before.strip())
        return (system, *turns(rest)), (system, *turns(preamble(other)[1]))
    talks = turns(one), turns(other)
    if not all(talks):
        return None
    shared = parted(*talks)[0]
    replies = all(talk[0].chat_role == "assistant" for talk in talks)
    asks = isinstance(prompt, str) and any(
        prompt.strip() in text for text in (written(shared), *(m.text for m in shared))
    )
    repeats = isinstance(prompt, str) and parted(turns(prompt), shared)[0]
    return talks if replies or (shared and (prompt is None or asks or repeats)) else None


def _asked(row: Row, key: str | None, shared: Messages) -> tuple[Mapping[str, str], Messages]:
    """What is shown above the replies: the turns that they share, after a prompt that these do not repeat."""
    if key is None or (shared and shared[0].chat_role != "assistant"):
        return MappingProxyType({"prompt": written(shared)} if shared else {}), shared
    conversation = listed(row, key)
    prompt = row.text(key) if conversation is None else written(conversation)
    if _filled(row, key):
        prompt += "\n\n" + row.text("input")
    text = "\n\n".join([prompt, *([written(shared)] if shared else [])])
    return MappingProxyType({"prompt": text}), ((conversation or _said(prompt)) + shared)


def _filled(row: Row, key: str) -> bool:
    """Whether an instruction has an input, as Alpaca's have; "" and null mean that it has none."""
    return key == "instruction" and row.values.get("input") not in (None, "")
