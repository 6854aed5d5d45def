"""A token with its alternatives as a server reports them, and the error of a server that refuses.

Values only; the lowest room of the test server.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Token:
    """A token as a server reports it; `logprob` is None where it has none."""

    id: int
    raw: bytes
    logprob: float | None

    @property
    def text(self) -> str:
        """Its text, with a replacement character for bytes that are none by themselves."""
        return self.raw.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Position:
    """A token and its alternatives, most likely first, of which it may be one."""

    chosen: Token
    top: tuple[Token, ...]


Positions = tuple[Position, ...]


class WireError(Exception):
    """A request that a server refuses. `kind` and `code` are OpenAI's words for it."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "invalid_request_error", code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.kind, self.code = message, status, kind, code
