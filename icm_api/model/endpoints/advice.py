"""What a user can do about a request that a server did not understand: the option that mends it."""

from __future__ import annotations

import re

_OPTIONS = "under [model.options]"
TOO_LONG = (
    f"set context_window {_OPTIONS} to what the model takes, and lower than that where texts have fewer than three "
    "bytes a token: whole demonstrations are then left out"
)
"""What mends a prompt that is longer than the model takes."""
# What servers say, and the option that mends it; the first that matches is told.
_MENDS: tuple[tuple[str, str], ...] = (
    (r"context.*length|prompt is too long|exceeds?.*context", TOO_LONG),
    (
        r"system.*(role|message|instruction)|(role|message|instruction).*system|roles must alternate",
        f'the model takes no system message, or no turns: set chat_style = "one_message" {_OPTIONS}',
    ),
    (r"chat.?template", f'a base model takes no messages: set api = "completions" {_OPTIONS}'),
    (r"\becho\b", f"set echo = false {_OPTIONS}"),
    (
        r"logprobs",
        f"set top_logprobs {_OPTIONS} to what this host allows, or use a model that gives logprobs",
    ),
    (r"thinking|reasoning", f"turn thinking off, or on, by extra_body {_OPTIONS}"),
)
_ROUTES = {"/chat/completions": "completions", "/completions": "chat"}


def mending(said: str) -> str | None:
    """The option that mends a bad request; None if what the server said points to none.

    Args:
        said: by the server.

    Example:
        >>> mending("top_logprobs must be at most 5")
        'set top_logprobs under [model.options] to what this host allows, or use a model that gives logprobs'
        >>> mending("System role not supported").partition(": ")[2]
        'set chat_style = "one_message" under [model.options]'
    """
    return next((advice for pattern, advice in _MENDS if re.search(pattern, said, re.IGNORECASE | re.DOTALL)), None)


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
