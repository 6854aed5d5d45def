"""What travels between the client and a host of batch jobs: questions that go as one job, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from icm_api.errors import ProviderError, RequestError
from icm_api.model.request import Request, Response

# What hosts name jobs and files; it ends up in paths, files and lines on a screen.
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,199}")

Status: TypeAlias = Literal["under_way", "completed", "failed", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as its host tells of it.

    Attributes:
        id: that the host gave it.
        status: what it amounts to; "failed" if none of it was done.
        said: the host's own word for that.
        progress: how far it is, in words; empty if the host does not say.
        files: where its results are, as the host names them; some hosts need no name.
        reason: why it failed.
        crowded: it failed since too much is under way; a smaller one, or the same one later, may not.
    """

    id: str
    status: Status
    said: str
    progress: str = ""
    files: tuple[str, ...] = ()
    reason: str = ""
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """Questions that go as one job.

    Attributes:
        name: that this library gave it; the ids of its questions begin with it.
        endpoint: where its questions go, as in `Request.endpoint`.
        size: how many there are.
        began: when it was noted that it would be sent, in seconds since 1970.
        upload: the host's name for the file of questions; empty if there is none, or none that is known.
    """

    name: str
    endpoint: str
    size: int
    began: float
    upload: str = ""

    def item(self, at: int) -> str:
        """The id of a question.

        Args:
            at: its place, from 0.
        """
        return f"{self.name}-{at}"

    def place(self, item: str) -> int | None:
        """The place of a question by its id; None if it is none of these.

        Args:
            item: as a host names it.

        Example:
            >>> bundle = Bundle("a1", "chat/completions", 2, 0.0)
            >>> bundle.place("a1-1"), bundle.place("a1-2"), bundle.place("b2-1")
            (1, None, None)
        """
        name, _, number = item.rpartition("-")
        if name != self.name or not number.isascii() or not number.isdecimal() or len(number) > len(str(self.size)):
            return None
        return int(number) if int(number) < self.size else None


@dataclass(frozen=True, slots=True)
class Found:
    """What looking for a job brought that may or may not have arrived.

    Attributes:
        state: of the job; None if it is not there.
        unsure: there is one that may be it, and the host cannot say so yet.
    """

    state: JobState | None = None
    unsure: bool = False


def checked_id(key: object, where: str) -> str:
    """A host's name of a job or a file.

    Args:
        key: as the host gave it.
        where: provider and model, for the message.

    Raises:
        RequestError: it is no such name.

    Example:
        >>> checked_id("batch_68a1", "x/y")
        'batch_68a1'
    """
    if not isinstance(key, str) or not _ID.fullmatch(key):
        raise RequestError(f"{where}: the answer names no id that can be one: {key!r:.80}", kind="broken_answer")
    return key


class JobHost(Protocol):
    """Takes batch jobs for one model: questions in, answers out, within a day. Sends, and names what went wrong."""

    @property
    def identity(self) -> str:
        """That of the model's endpoint."""
        ...

    @property
    def most_requests(self) -> int:
        """The most questions of a job."""
        ...

    @property
    def most_bytes(self) -> int:
        """The most bytes that they have together."""
        ...

    def line(self, item: str, request: Request) -> bytes:
        """A question as the host wants it in a job.

        Args:
            item: its id.
            request: the question.
        """
        ...

    async def upload(self, job: Bundle, lines: Sequence[bytes]) -> str:
        """Hand over the questions ahead of the job; nothing is computed yet. What the host calls them, or "".

        Raises:
            RequestError: it failed; classified.
        """
        ...

    async def submit(self, job: Bundle, lines: Sequence[bytes]) -> JobState:
        """Have the job done.

        Raises:
            RequestError: it failed, or nobody knows whether it did.
        """
        ...

    async def find(self, job: Bundle) -> Found:
        """Look for a job of which nobody knows whether it arrived.

        Raises:
            RequestError: it failed; classified.
        """
        ...

    async def look(self, key: str) -> JobState:
        """How far a job is.

        Args:
            key: its id at the host.

        Raises:
            RequestError: it failed; classified.
        """
        ...

    async def results(self, state: JobState, asked: Mapping[str, Request]) -> Mapping[str, Response | ProviderError]:
        """What came of each question, those left out that were not attempted.

        Args:
            state: of a job that is over.
            asked: the questions by their ids, those that are known.

        Raises:
            RequestError: it failed; classified.
        """
        ...


@runtime_checkable
class TakesJobs(Protocol):
    """An endpoint whose host takes batch jobs for some of its models."""

    def job_host(self) -> JobHost:
        """What takes them for this model; it is closed with the endpoint."""
        ...
