"""Conversations: lists of messages, or one text of turns ("Human: ...", "Assistant: ..."), and how they are written.

A text is taken for turns only where it begins with one: a reply may quote a dialogue.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeAlias

from icm_api.data.rows import Row, kind

_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_TURNS = (
    _TURN,
    re.compile(r"(?:\A\s*|\n\s*)\#*[ ]?(Human|User|Assistant|System)[ ]?:", re.IGNORECASE),
    re.compile(r"(?:\A\s*|<\|im_end\|>\s*)<\|im_start\|>(user|assistant|system)\n"),
)
"""How turns begin, in the styles of several data sets."""
_LAST_MARK = re.compile(r"<\|im_end\|>\s*\Z")
_PRINTED = re.compile(r"\s*\[\s*\{\s*['\"](?:role|content|from|value)['\"]\s*:")
"""How a list of messages begins that was written as a text."""
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
    if isinstance(value, str) and _PRINTED.match(value):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise row.error(
                f"{key!r} holds messages as Python prints them, which are not read; write them with json.dumps"
            ) from None
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
    styles = (_split(text, style) for style in _TURNS)
    # The first style in which there is more than one turn, else the first in which there is one.
    return max(styles, key=lambda found: min(len(found), 2))


def _split(text: str, style: re.Pattern[str]) -> Messages:
    before, *parts = style.split(text)
    if before or not parts:
        return ()
    said = (_LAST_MARK.sub("", part).strip() for part in parts[1::2])
    return tuple(Message(role, text) for role, text in zip(parts[::2], said, strict=True))


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


def _plain(content: object) -> str | None:
    """What a message says, which may be in several parts; None if not all of it is text."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) and content else [None]
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in parts]
    return "\n\n".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _message(row: Row, where: str, value: object) -> Message:
    if isinstance(value, Mapping):
        for role, content in _MESSAGE_KEYS:
            said = _plain(value.get(content))
            if isinstance(value.get(role), str) and said is not None:
                return Message(value[role], said.strip())
            if isinstance(value.get(role), str) and content in value:
                raise row.error(f"{where!r} has as its {content!r} {kind(value[content])}; it must be a text")
    raise row.error(f"{where!r} is {kind(value)}; a message is an object with the texts 'role' and 'content'")
