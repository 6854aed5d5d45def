"""What all wire formats share: a call, an answer, and the chat template.

It does: hold the values that the format modules pass around, and read common fields of a body.
It does not: know any one format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from icm_api.testing.backend import Backend
from icm_api.testing.dialects import Dialect
from icm_api.testing.positions import Positions, WireError


@dataclass(frozen=True, slots=True)
class Answer:
    """A payload, and the tokens that it took."""

    payload: object
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request and all that shapes its answer.

    Attributes:
        body: the request's JSON object.
        headers: with names in lower case.
        name: what the path named, or "".
        request_id: unique on this server.
        random: a function of the server's seed, the body, and how often it was answered before.
        fault: the fault of the content that this answer shall have.
        distort: applies that fault to logprobs; None where they shall be null.
    """

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    name: str
    request_id: str
    backend: Backend
    dialect: Dialect
    random: Random
    fault: str | None
    distort: Callable[[Positions], Positions | None]

    @property
    def model(self) -> str:
        """The model's name as the request gave it."""
        return str(self.body.get("model") or self.backend.name)


Handler = Callable[[Call], Answer]


def integer(body: Mapping[str, Any], name: str, default: int | None = None, low: int = 0) -> int | None:
    """A field that holds a whole number, or the default where it is missing or null.

    Raises:
        WireError: it holds something else, or less than `low`.
    """
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not int or value < low:
        raise WireError(f"{name} must be an integer of at least {low}, got {value!r}.")
    return value


def temperature(body: Mapping[str, Any], default: float = 1.0) -> float:
    """The temperature, from 0 to 2.

    Raises:
        WireError: it is something else.
    """
    value = body.get("temperature")
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise WireError(f"temperature must be a number from 0 to 2, got {value!r}.")
    return float(value)


def stops(value: object) -> tuple[str, ...]:
    """Stop strings: none, one or several.

    Raises:
        WireError: it is something else.
    """
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(stop, str) and stop for stop in found):
        raise WireError(f"stop must be a string or a list of strings, got {value!r}.")
    return tuple(found)


def token_ids(value: object, name: str) -> tuple[int, ...]:
    """A list of token ids.

    Raises:
        WireError: it is something else.
    """
    if not isinstance(value, list) or not all(type(token) is int for token in value):
        raise WireError(f"{name} must be a list of token ids.")
    return tuple(value)


def content_text(content: object) -> str:
    """The text of a message: a string, or parts of type "text", joined.

    Raises:
        WireError: a part is no text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise WireError(f"content must be a string or a list of text parts, got {content!r:.80}.")
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise WireError("only text parts are served here.")
    return "".join(map(str, texts))


def answer_text(text: str) -> str:
    """An answer as the chat template writes it: after a space, unless it begins with white space or is empty."""
    return text if not text or text[0].isspace() else f" {text}"


def chat_text(messages: Sequence[tuple[str, str]], separator: str, *, prefill: bool) -> str:
    r"""What the model reads of a conversation: the text that a completions prompt of the same examples would be.

    The rule: a system (or developer) message and its separator; a user's message as it is; an answer after one space,
    and its separator. With `prefill`, the last answer is left open. So the last user's message is followed by the
    answer to come.

    Args:
        messages: pairs of role and content; the role is "system", "user" or "assistant".
        separator: what stands after a system message and after an answer.
        prefill: the last message is an answer to be continued.

    Example:
        >>> chat_text([("user", "27>82"), ("assistant", "False"), ("user", "82>27")], "\n", prefill=False)
        '27>82 False\n82>27'
    """
    pieces = []
    for at, (role, content) in enumerate(messages):
        if role == "user":
            pieces.append(content)
        elif role == "assistant":
            still_open = prefill and at == len(messages) - 1
            pieces.append(answer_text(content) + ("" if still_open else separator))
        else:
            pieces.append(content + separator)
    return "".join(pieces)
