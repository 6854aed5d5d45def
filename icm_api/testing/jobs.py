"""Batch jobs on the testing server: what becomes of one, state by state, as often as it is looked at.

Does not know a wire format (`job_routes` does), or answer a question (`app` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from time import time
from types import MappingProxyType
from typing import Any, TypeAlias

from icm_api.errors import ConfigError

_TO_THE_END = ("validating", "in_progress", "finalizing")
_WAYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "completed": (*_TO_THE_END, "completed"),
        "failed": ("validating", "failed"),
        "queue-full": ("validating", "failed"),
        "expired": (*_TO_THE_END, "expired"),
        "cancelled": ("validating", "in_progress", "cancelling", "cancelled"),
    }
)

Ask: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[tuple[int, Mapping[str, Any]]]]
"""Answers a question that is sent to a path: the HTTP status, and the body of the answer or of the error."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """How batch jobs go.

    Attributes:
        ends: how the first job ends, the second and so on; the last stands for all that follow. One of "completed",
            "failed" (its file is refused), "queue-full" (refused as too much is queued), "expired" and "cancelled".
        looks: how often a job is looked at in each state before it goes on to the next.
        left: share of the questions that a job which expires or is cancelled leaves unanswered, from 0 to 1.
        wait: seconds between taking a job and saying so.
        unsaid: so many jobs, the first, are taken and answered with an error 500.
        unlisted: so many lists, the first, do not show the newest job yet.

    Raises:
        ConfigError: an end is unknown, or a number is out of range.
    """

    ends: tuple[str, ...] = ("completed",)
    looks: int = 1
    left: float = 0.5
    wait: float = 0.0
    unsaid: int = 0
    unlisted: int = 0

    def __post_init__(self) -> None:
        unknown = [end for end in self.ends if end not in _WAYS]
        if unknown or not self.ends:
            raise ConfigError(f"jobs: no end {unknown or self.ends}; choose from {', '.join(_WAYS)}")
        if not 0 <= self.left <= 1 or min(self.looks, self.wait, self.unsaid, self.unlisted) < 0:
            raise ConfigError(f"jobs: left={self.left} must be from 0 to 1, and no number negative")


@dataclass(slots=True)
class Job:
    """One job.

    Attributes:
        id: on this server.
        path: where its questions go.
        lines: item id and body of each question.
        end: how it goes, a key of the plan's ends.
        upload: id of the file that the questions came in; empty if they came with the job.
        about: what its maker attached to it.
        created: seconds since 1970.
        results: of each item that has one, in the order in which they are handed out.
    """

    id: str
    path: str
    lines: Sequence[tuple[str, Mapping[str, Any]]]
    end: str
    upload: str = ""
    about: Mapping[str, str] | None = None
    created: float = field(default_factory=time)
    results: dict[str, tuple[int, Mapping[str, Any]]] | None = None
    _looks: int = 0
    _at: int = 0

    @property
    def status(self) -> str:
        """OpenAI's word for the state that it is in."""
        return _WAYS[self.end][self._at]

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self._at == len(_WAYS[self.end]) - 1

    def cancel(self) -> None:
        """Have it go to its cancellation, unless it has ended."""
        if not self.ended:
            self.end, self._at, self._looks = "cancelled", _WAYS["cancelled"].index("cancelling"), 0

    def is_due(self, looks: int) -> bool:
        """Count a look, after so many of which it goes on to its next state; whether it does."""
        self._looks += 1
        return self._looks > looks and not self.ended

    def go_on(self) -> None:
        """Be in the next state."""
        self._at, self._looks = self._at + 1, 0

    @property
    def is_to_be_answered(self) -> bool:
        """Whether its next state is its last, and one that has results."""
        return _WAYS[self.end][self._at + 1 :] in (("completed",), ("expired",), ("cancelled",))


class JobDesk:
    """All jobs and files of a server.

    Args:
        plan: how they go.
        ask: answers a question.
        took: called when a job is taken.
    """

    def __init__(self, plan: JobPlan, ask: Ask, took: Callable[[], None] = lambda: None) -> None:
        self.plan = plan
        self.files: dict[str, tuple[str, bytes]] = {}
        self.jobs: dict[str, Job] = {}
        self._ask, self._took = ask, took
        self._lists = 0
        self._answering = asyncio.Lock()

    def keep(self, name: str, content: bytes) -> str:
        """Keep a file; its id."""
        key = f"file-{len(self.files) + 1:06d}"
        self.files[key] = (name, content)
        return key

    def take(
        self,
        path: str,
        lines: Sequence[tuple[str, Mapping[str, Any]]],
        upload: str = "",
        about: Mapping[str, str] | None = None,
    ) -> Job:
        """Take a job."""
        number = len(self.jobs)
        end = self.plan.ends[min(number, len(self.plan.ends) - 1)]
        job = Job(f"batch_{number + 1:06d}", path, lines, end, upload, about)
        self.jobs[job.id] = job
        self._took()
        return job

    def listed(self) -> list[Job]:
        """The jobs, the newest first."""
        self._lists += 1
        newest = list(reversed(self.jobs.values()))
        return newest[1:] if self._lists <= self.plan.unlisted else newest

    async def look(self, job: Job) -> Job:
        """The job after one look more; its questions are answered when it ends."""
        # Its results are there before it is seen to be over.
        async with self._answering:
            if job.is_due(self.plan.looks):
                if job.is_to_be_answered:
                    # In another order than that of the questions, as services hand them out.
                    lines = sorted(job.lines, key=lambda line: sha256(line[0].encode()).digest())
                    asked = [(item, body) for item, body in lines if not self._left(job, item)]
                    job.results = {item: await self._ask(job.path, body) for item, body in asked}
                job.go_on()
        return job

    def _left(self, job: Job, item: str) -> bool:
        drawn = int.from_bytes(sha256(f"left {item}".encode()).digest()[:6], "big") / 2**48
        return job.end in ("expired", "cancelled") and drawn < self.plan.left
