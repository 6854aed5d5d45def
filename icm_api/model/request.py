"""What travels between a reader, the client and an endpoint: requests and responses, and what an endpoint is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from icm_api.errors import ProviderError, RequestError, Unanswered
from icm_api.types import Answers, Capabilities, Prompt, Usage

Body: TypeAlias = Mapping[str, Any]
"""The JSON-able content of a request or of an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model, with all that the client must know of it.

    Attributes:
        body: all that shapes the answer, apart from provider and model.
        more: sent beside the body, for what else an answer shall hold; no part of the cache key, so that an answer from
            a cache may lack it.
        endpoint: the path that the request goes to, part of the cache key; empty for local models.
        prompt: what the request asks about, for local models, which compute from it.
        sample: which of several answers to the same body this is, part of the cache key.
        prefix: requests with an equal prefix share the beginning of their prompts; empty if none is shared.
        group: requests with an equal group may travel together in one `send`; empty if this one goes alone.
        tokens: estimated prompt tokens, for limits and budget; 0 if nobody estimated them.
        shared: those of them that requests which travel together have only once.
        completion_tokens: the most tokens that the model may reply with; 0 if it generates nothing.
        check: raises ProviderError if an answer can't be used, so that it is not kept; None accepts every answer.
    """

    body: Body
    endpoint: str = ""
    more: Body = field(default_factory=dict, kw_only=True)
    prompt: Prompt | None = None
    sample: int = 0
    prefix: str = ""
    group: str = ""
    tokens: int = 0
    shared: int = 0
    completion_tokens: int = 0
    check: Callable[[Body], object] | None = field(default=None, compare=False, repr=False)

    def accept(self, body: Body) -> None:
        """Let an answer's body through, if it can be used.

        Raises:
            ProviderError: the answer can't be used: why.
        """
        if self.check is not None:
            self.check(body)

    def unanswered(self, error: ProviderError) -> Unanswered:
        """The question, as what an error concerns.

        Args:
            error: why it got no answer.
        """
        refused = not (isinstance(error, RequestError) and error.kind == "bad_request")
        query = "" if self.prompt is None else self.prompt.query
        shown = () if self.prompt is None else tuple(turn.text for turn in self.prompt.turns)
        return Unanswered(query, shown, str(error), refused, self)


def tokens_together(requests: Sequence[Request]) -> int:
    """Estimated prompt tokens of requests that travel together.

    Example:
        >>> tokens_together([Request({}, tokens=110, shared=100)] * 3)
        130
    """
    return sum(request.tokens for request in requests) - sum(request.shared for request in requests[1:])


def sent_as(requests: Sequence[Request]) -> int:
    """HTTP requests that these are sent in together: one if they are of one group, whatever they ask.

    Example:
        >>> sent_as([Request({}, group="completions")] * 64), sent_as([Request({})] * 2)
        (1, 2)
    """
    groups = {request.group for request in requests}
    return 1 if len(groups) == 1 and groups != {""} else len(requests)


@dataclass(frozen=True, slots=True)
class Response:
    """What a model answered.

    Attributes:
        body: the answer as it came, JSON-able.
        usage: what the answer cost.
        limits: what the server's headers allow: "requests_per_minute", "tokens_per_minute". Never kept.
        doubt: what of the server's count of tokens can't be used, so that an estimate stands in `usage`. Never kept.
    """

    body: Body
    usage: Usage
    limits: Mapping[str, float] | None = None
    doubt: str = ""


class Endpoint(Protocol):
    """One URL and wire format, or a model on this machine: sends requests, and names what went wrong.

    `identity` names provider, host and model (dated or fingerprinted), and so is part of every cache key.
    """

    @property
    def identity(self) -> str:
        """Provider, host and model."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What can be read of the model."""
        ...

    def count_tokens(self, text: str) -> int:
        """How many tokens the model sees in this text."""
        ...

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask the model.

        Args:
            requests: one, or up to `capabilities.together` of one group; any number of them if it `batches`.

        Returns:
            The answers, in the order of the requests.

        Raises:
            RequestError: a request failed: which kind of failure, and how long the server asks to wait.
            ProviderError: the model on this machine can't compute an answer.
        """
        ...

    async def close(self) -> None:
        """Release what was opened."""
        ...


@runtime_checkable
class StatesWindow(Protocol):
    """An endpoint whose server says how long its context window is."""

    async def stated_window(self) -> int | None:
        """Tokens of the context window, by the server's own word; None if it says nothing."""
        ...


@runtime_checkable
class CountsBatches(Protocol):
    """A model on this machine that says how far it has come with what it was asked."""

    @property
    def under_way(self) -> tuple[int, int] | None:
        """Which batch is being computed, from 1, and of how many; None if none is."""
        ...


class Asks(Protocol):
    """What a reader needs of the client."""

    async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
        """The bodies of the answers, in the order of the requests, and what they cost."""
        ...


class Drafts:
    """Takes requests in place of a client, and sends nothing; implements `Asks`."""

    def __init__(self) -> None:
        self.requests: tuple[Request, ...] = ()

    async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
        """Keep the requests.

        Raises:
            NotSentError: always.
        """
        self.requests = tuple(requests)
        raise NotSentError("the requests were only drafted")


class NotSentError(ProviderError):
    """Requests were drafted, and not sent."""


# English has about 4 bytes a token with current tokenizers; numbers and other languages have less. Windows and budgets
# must hold what is estimated, so estimates are rather too many.
_BYTES_A_TOKEN = 3
_TOKENS_A_MESSAGE = 4


def bytes_in_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many.

    Example:
        >>> bytes_in_tokens("The claim is true.")
        6
    """
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def estimated_tokens(text: str) -> int:
    """The same with the frame of a message around the text.

    Example:
        >>> estimated_tokens("The claim is true.")
        10
    """
    return _TOKENS_A_MESSAGE + bytes_in_tokens(text)
