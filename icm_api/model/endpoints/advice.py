"""What a user can do about a request that a server did not understand: the option that mends it."""

from __future__ import annotations

import re
from collections.abc import Collection

OPTIONS = frozenset({"context_window", "chat_style", "api", "echo", "top_logprobs", "extra_body", "leave_out"})
"""What may mend a request to a host of OpenAI's kind."""
_OPTIONS = "under [model.options]"
_LOOSELY = re.IGNORECASE | re.DOTALL
TOO_LONG = (
    f"set context_window {_OPTIONS} to what the model takes, and lower than that where texts have fewer than three "
    "bytes a token: whole demonstrations are then left out"
)
"""What mends a prompt that is longer than the model takes."""
# What servers say, the option that mends it, and how; the first that matches is told.
_MENDS: tuple[tuple[str, str, str], ...] = (
    (r"context.*length|prompt is too long|exceeds?.*context", "context_window", TOO_LONG),
    (
        r"system.*(role|message|instruction)|(role|message|instruction).*system|roles must alternate"
        r"|only user and assistant",
        "chat_style",
        f'the model takes no system message, or no turns: set chat_style = "one_message" {_OPTIONS}',
    ),
    (r"chat.?template", "api", f'a base model takes no messages: set api = "completions" {_OPTIONS}'),
    (r"\becho\b", "echo", f"set echo = false {_OPTIONS}"),
    (
        r"logprobs",
        "top_logprobs",
        f"set top_logprobs {_OPTIONS} to what this host allows, or use a model that gives logprobs",
    ),
    (
        r"(temperature|max_(completion_)?tokens).*(unsupported|not |n't |deprecated|extra)"
        r"|(unsupported|unrecognized|unknown|unexpected|extra).*(temperature|max_(completion_)?tokens)",
        "leave_out",
        f'leave it out: leave_out = ["temperature"] {_OPTIONS}, or leave_out = ["max_tokens"] with extra_body = '
        "{ max_completion_tokens = 1 }",
    ),
    (r"thinking|reasoning", "extra_body", f"turn thinking off, or on, by extra_body {_OPTIONS}"),
    (r"thinking|reasoning", "thinking", f"set thinking {_OPTIONS}: true for a model that always thinks, else false"),
)
_ROUTES = {"/chat/completions": "completions", "/completions": "chat"}


def mending(said: str, options: Collection[str] = OPTIONS) -> str | None:
    """The option that mends a bad request; None if what the server said points to none.

    Args:
        said: by the server.
        options: that the provider takes; no others are named.

    Example:
        >>> mending("top_logprobs must be at most 5")
        'set top_logprobs under [model.options] to what this host allows, or use a model that gives logprobs'
        >>> mending("System role not supported").partition(": ")[2]
        'set chat_style = "one_message" under [model.options]'
    """
    told = (how for pattern, option, how in _MENDS if option in options and re.search(pattern, said, _LOOSELY))
    return next(told, None)


def not_found(path: str) -> str:
    """What to do about a path that a server does not have, or a model that it does not know there.

    Args:
        path: of the URL that was asked.

    Example:
        >>> not_found("/v1/chat/completions")
        '(asked: /v1/chat/completions); if the model is there, take the other route: api = "completions" under \
[model.options]'
    """
    other = next((route for end, route in _ROUTES.items() if path.endswith(end)), None)
    told = f"(asked: {path})"
    return told if other is None else f'{told}; if the model is there, take the other route: api = "{other}" {_OPTIONS}'
