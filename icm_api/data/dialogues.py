"""Conversations: lists of messages, or one text of turns ("Human: ...", "Assistant: ..."), and how they are written.

A text is taken for turns only where it begins with one: a reply may quote a dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeAlias

from icm_api.data.rows import Row, kind

_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_MESSAGE_KEYS = (("role", "content"), ("from", "value"))
_ROLES = {"human": "user", "prompter": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
"""Other names of the roles that chat formats know."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one side of a conversation says; `text` can be empty."""

    role: str
    text: str

    @property
    def chat_role(self) -> str:
        """The role as chat formats call it: "user", "assistant", "system" or another name of its own."""
        name = self.role.lower()
        return _ROLES.get(name, name)


Messages: TypeAlias = tuple[Message, ...]


def listed(row: Row, key: str) -> Messages | None:
    """The messages in the list under a key; None if there is no list.

    Args:
        row: of any source.
        key: of the list.

    Raises:
        DataError: the list is empty, or holds something other than messages.
    """
    value = row.values.get(key)
    if not isinstance(value, list | tuple):
        return None
    if not value:
        raise row.error(f"{key!r} is empty; it must have a message")
    return tuple(_message(row, f"{key}[{at}]", each) for at, each in enumerate(value))


def turns(text: str) -> Messages:
    """The turns of a text that begins with one; none of any other text.

    Args:
        text: of a conversation, or of a reply.

    Example:
        >>> [message.role for message in turns("\\n\\nHuman: Hi\\n\\nAssistant: Hello")]
        ['Human', 'Assistant']
        >>> turns("Here is one:\\n\\nHuman: Hi\\n\\nAssistant: Hello")
        ()
    """
    before, *parts = _TURN.split(text)
    if before or not parts:
        return ()
    return tuple(Message(role, said.strip()) for role, said in zip(parts[::2], parts[1::2], strict=True))


def preamble(text: str) -> tuple[str, str]:
    """What stands before the first turn of a text, and the rest; of a text without turns everything stands before.

    Args:
        text: of a conversation.

    Example:
        >>> preamble("You are a pirate.\\n\\nHuman: hi")
        ('You are a pirate.', '\\n\\nHuman: hi')
    """
    first = _TURN.search(text)
    return (text, "") if first is None else (text[: first.start()], text[first.start() :])


def parted(one: Messages, other: Messages) -> tuple[Messages, Messages, Messages]:
    """What both conversations begin with, and how each goes on.

    Args:
        one: a conversation.
        other: another one.
    """
    shared = len([*takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False))])
    return one[:shared], one[shared:], other[shared:]


def written(messages: Messages) -> str:
    """Messages as one text; a single one without its role.

    Args:
        messages: of a conversation, or a part of it.

    Example:
        >>> written((Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "1+1?")))
        'User: Hi\\n\\nAssistant: Hello\\n\\nUser: 1+1?'
    """
    if len(messages) == 1:
        return messages[0].text
    return "\n\n".join(f"{message.role.capitalize()}: {message.text}" for message in messages)


def as_chat(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as chat formats have them; empty ones, such as a turn that is yet to be filled, are left out.

    Args:
        messages: of a conversation, or a part of it.

    Example:
        >>> as_chat([Message("Human", "Hi"), Message("Assistant", "")])
        [{'role': 'user', 'content': 'Hi'}]
    """
    return [{"role": message.chat_role, "content": message.text} for message in messages if message.text]


def _message(row: Row, where: str, value: object) -> Message:
    if isinstance(value, Mapping):
        for role, content in _MESSAGE_KEYS:
            if isinstance(value.get(role), str) and isinstance(value.get(content), str):
                return Message(value[role], value[content].strip())
    raise row.error(f"{where!r} is {kind(value)}; a message is an object with the texts 'role' and 'content'")
