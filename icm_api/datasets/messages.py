"""Conversations as preference data sets hold them: a prompt apart, a list of messages, or one long text.

It finds what two conversations share, which is the prompt, and where they part, which are the replies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from icm_api.datasets.rows import Row, kind

_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
_KEYS = (("role", "content"), ("from", "value"))


@dataclass(frozen=True, slots=True)
class Message:
    """What one side of a conversation says; `text` can be empty."""

    role: str
    text: str


def read_messages(row: Row, key: str) -> tuple[Message, ...]:
    """The conversation under a key: a list of messages, a text with "Human:" and "Assistant:" turns, or one reply.

    Raises:
        DataError: it is missing, empty, or something else.
    """
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
        return (Message("assistant", value.strip()),)
    return tuple(Message(role, text.strip()) for role, text in zip(parts[1::2], parts[2::2], strict=True))


def _message(row: Row, where: str, value: object) -> Message:
    if isinstance(value, Mapping):
        for role, content in _KEYS:
            if isinstance(value.get(role), str) and isinstance(value.get(content), str):
                return Message(value[role], value[content].strip())
    raise row.error(f"{where!r} is {kind(value)}; a message is an object with the texts 'role' and 'content'")


def parted(one: Sequence[Message], other: Sequence[Message]) -> tuple[tuple[Message, ...], str, str]:
    """What both conversations begin with, and how each goes on, as texts.

    Example:
        >>> asked = Message("user", "1+1?")
        >>> parted([asked, Message("assistant", "2")], [asked, Message("assistant", "3")])[1:]
        ('2', '3')
    """
    shared = len([*takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False))])
    return tuple(one[:shared]), written(one[shared:]), written(other[shared:])


def written(messages: Sequence[Message]) -> str:
    """Messages as one text; a single one without its role.

    Example:
        >>> written([Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "1+1?")])
        'User: Hi\\n\\nAssistant: Hello\\n\\nUser: 1+1?'
    """
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role.capitalize()}: {message.text}" for message in messages)
