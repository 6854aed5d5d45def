"""Every error the library raises on purpose, as one tree.

A message says what happened, where (file, row, key, model) and what to do. An error carries the exit code
that the command line ends with; nothing here prints or exits.

Exit codes: 2 for what the user has to mend, 3 for a run that stopped short and can be resumed, 4 for a run that nobody
confirmed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

RequestErrorKind: TypeAlias = Literal[
    "connection",
    "disconnected",
    "timeout",
    "rate_limit",
    "overloaded",
    "server",
    "broken_answer",
    "bad_request",
    "authentication",
    "permission",
    "not_found",
    "quota",
    "refused",
]
RETRYABLE_KINDS = frozenset(
    {"connection", "disconnected", "timeout", "rate_limit", "overloaded", "server", "broken_answer"}
)
# All but tab and line break.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# The user's name stays; a password with an unescaped sign ends only at the last @.
_PASSWORD = re.compile(r"((?:rediss?|unix)://[^\s:/@?'\"]*):[^\s'\"]*@")
_PASSWORD_ASKED = re.compile(r"((?:rediss?|unix)://[^\s'\"]*[?&]password=)[^\s&'\"]*")
# What may be wrong with one question, while the same server answers others.
_KINDS_OF_ONE = frozenset({"refused", "bad_request"})
_KINDS_OF_ONE_IN_THE_END = frozenset({"server", "broken_answer", "disconnected"})


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that got no answer which can be used.

    Attributes:
        query: the text that was asked about; empty if the request asks about no example.
        shown: the texts of the demonstrations before it.
        reason: why.
        refused: the question itself was refused, e.g. by a filter; else what is wrong may be its length or its form.
        request: as it was asked.
    """

    query: str
    shown: tuple[str, ...]
    reason: str
    refused: bool = True
    request: object = field(default=None, compare=False, repr=False)


def without_password(text: str) -> str:
    """A text in which addresses of Redis servers have no password.

    Args:
        text: an address, or a message that holds some.

    Example:
        >>> without_password("redis://me:secret@cache.example:6379/0, redis://:se/c@ret@[::1]/2")
        'redis://me@cache.example:6379/0, redis://[::1]/2'
    """
    return _PASSWORD_ASKED.sub(r"\1", _PASSWORD.sub(r"\1@", text)).replace("://@", "://")


class IcmError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the command line ends with.

    They can be copied, and pass from one process to another.
    """

    exit_code: ClassVar[int] = 2

    def __reduce__(self) -> tuple[Any, ...]:
        # By default the arguments alone would be given to a constructor that may want more.
        return _again, (type(self), self.args), self.__dict__

    def __str__(self) -> str:
        """The message, with what a terminal would obey shown as an escape: texts of files and servers get into it.

        No password of an address in it is shown.
        """
        return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], without_password(super().__str__()))


def _again(kind: type[IcmError], args: tuple[Any, ...]) -> IcmError:
    return kind.__new__(kind, *args)


class ConfigError(IcmError):
    """A configuration, an argument or a flag is unusable: which one, and what would do.

    Attributes:
        option: of a model that is to blame; "" for its name or its provider, None for anything else.
    """

    def __init__(self, message: str = "", *, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class DataError(IcmError):
    """A data or gold file has a row that cannot be used: the file, the line, and the reason."""


class PromptError(IcmError):
    """A prompt cannot be built: a field is missing, or a query alone is longer than the context window."""


class ProviderError(IcmError):
    """A model endpoint cannot give what was asked for, or cannot be opened.

    Attributes:
        unanswered: the questions that it concerns, if it concerns these and not all others.
    """

    unanswered: tuple[Unanswered, ...] = ()

    @property
    def of_one(self) -> bool:
        """Whether it may concern one question alone, so that others are worth asking."""
        return False


class LogprobsUnavailableError(ProviderError):
    """A model returned no logprob, or one that cannot be one (NaN, positive, a placeholder)."""

    @property
    def of_one(self) -> bool:
        """Always: the next answer may be readable."""
        return True


class CapabilityError(ProviderError):
    """A provider was asked for what it cannot do: what that is, and which providers can."""


class RequestError(ProviderError):
    """A request to a model failed. The provider classifies it; the client alone decides what follows.

    Attributes:
        kind: worth another try are "connection" (none came about), "disconnected" (it broke while a request was under
            way), "timeout", "rate_limit", "overloaded", "server" and "broken_answer"; the others are "bad_request",
            "authentication", "permission", "not_found", "quota" and "refused".
        status: HTTP status, None if there was no answer.
        retry_after: seconds that the server asks to wait, None if it says nothing.
    """

    def __init__(
        self, message: str, *, kind: RequestErrorKind, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after

    @property
    def of_one(self) -> bool:
        """Whether the server refused the question or could make nothing of it."""
        return self.kind in _KINDS_OF_ONE

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in RETRYABLE_KINDS


class GaveUpError(RequestError):
    """A request failed as often as it was tried, for reasons that pass. Everything answered is kept: go on later."""

    exit_code: ClassVar[int] = 3

    @property
    def of_one(self) -> bool:
        """Whether a server that answers others may fail because of the question."""
        return self.kind in _KINDS_OF_ONE_IN_THE_END


class BudgetError(IcmError):
    """The next request would exceed the budget. Everything paid for is kept: raise the budget, then resume."""

    exit_code: ClassVar[int] = 3


class NotConfirmedError(IcmError):
    """A run is likely to cost more than what is asked about first, and nobody said yes: nothing was sent."""

    exit_code: ClassVar[int] = 4


class DeadlineError(BudgetError):
    """The time that a run may take is over. Everything paid for is kept: set another deadline, then resume."""


class ClusterError(IcmError):
    """The machines that a run is spread over do not answer, or their workers end again and again: go on later."""

    exit_code: ClassVar[int] = 3


class RunError(IcmError):
    """A run folder is missing, damaged, or belongs to another configuration: which file, and where in it."""


class StorageError(IcmError):
    """Writing to disk failed (full, read-only). What was written before is whole: the run can be resumed."""

    exit_code: ClassVar[int] = 3
