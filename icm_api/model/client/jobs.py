"""Sends questions as batch jobs in place of requests of their own, and hands over their answers.

It does: put together what is asked for at about the same time, set its cost aside before it is sent, settle it when it
is over, ask again in another job for what failed, and take up the jobs of a process that was killed.
It does not: know the cache or a wire format, or send a question that an unfinished job holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeAlias

from icm_api.config import ClientSettings
from icm_api.errors import GaveUpError, IcmError, ProviderError, RequestError
from icm_api.model.client.bundling import bundled
from icm_api.model.client.job_book import Filed, JobBook
from icm_api.model.client.job_way import JobWay
from icm_api.model.client.meter import Meter
from icm_api.model.job import Bundle, JobHost, JobState
from icm_api.model.request import Request, Response
from icm_api.types import Usage

logger = logging.getLogger(__name__)

# Seconds without another question after which those that were asked go as a job, which itself takes minutes at least.
_LINGER = 0.05
# Jobs in which a question may fail, before it is given up.
_TRIES = 3
# Times that a host may say that too much is under way, and the longest wait in between, in seconds.
_CROWDED, _LONGEST = 20, 1800.0

Outcome: TypeAlias = Response | IcmError
Land: TypeAlias = Callable[[str, Response], None]


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


class Jobs:
    """All questions to one model, as batch jobs.

    Args:
        host: takes the jobs.
        folder: where they are noted.
        settings: how often it is asked how far a job is, and how long one request is tried.
        meter: holds them to the budget.
        cached: whether answers outlive the process; if not, jobs stay noted, so that they can be asked for them again.
        clock: seconds, from any beginning.
        sleep: waits so many seconds by that clock.
    """

    def __init__(
        self,
        host: JobHost,
        folder: Path,
        settings: ClientSettings,
        meter: Meter,
        *,
        cached: bool = True,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = _sleep,
    ) -> None:
        self._host, self._settings, self._meter, self._cached, self._sleep = host, settings, meter, cached, sleep
        self._book = JobBook(folder, host.identity)
        self._way = JobWay(host, self._book, settings, clock, sleep)
        self._most = host.most_requests
        self._held: set[str] = set()
        self.enter_loop()

    @property
    def most_requests(self) -> int:
        """The most questions that go as one job."""
        return self._host.most_requests

    def enter_loop(self) -> None:
        """Leave behind what belongs to the event loop of an earlier call; jobs under way are taken up again."""
        self._way.enter_loop()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._requests: dict[str, Request] = {}
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._gathered: list[str] = []
        self._departure: asyncio.Task[None] | None = None

    async def run(self, requests: Mapping[str, Request], land: Land, flush: Callable[[], None]) -> None:
        """Have all requests answered; returns when every answer has landed.

        Args:
            requests: by their keys, none of which anybody waits for already.
            land: takes an answer; raises if it can't be used.
            flush: returns once what has landed is on disk.

        Raises:
            RequestError: one failed for good; all others that were answered have landed.
            GaveUpError: some failed as often as they were tried, or a job was cancelled.
            BudgetError: a job could exceed the budget; it was not sent.
            ProviderError, StorageError, RunError: a job failed as a whole, or `land` or the disk did.
        """
        self._take_up()
        left, troubles = dict(requests), dict[str, ProviderError]()
        tries = crowded = 0
        while left:
            outcomes = await self._asked(left, anew=tries + crowded > 0)
            landed, again, failure = self._landed(outcomes, land, troubles)
            flush()
            self._book.kept([*(landed if self._cached else ()), *troubles])
            if failure is not None:
                raise failure
            left = {key: left[key] for key in again}
            full = any(error.kind == "rate_limit" for error in again.values())
            tries, crowded = tries + (bool(again) and not full), crowded + full
            if again and (tries == _TRIES or crowded == _CROWDED):
                raise self._gave_up(again)
            if full:
                await self._sleep(min(self._settings.poll * 2.0**crowded, _LONGEST))
        if troubles:
            first = next(troubles[key] for key in requests if key in troubles)
            first.unanswered = tuple(requests[key].unanswered(error) for key, error in troubles.items())
            raise first

    async def close(self) -> None:
        """Leave the jobs to their hosts, to be taken up again."""
        tasks = [*self._tasks.values(), *([] if self._departure is None else [self._departure])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._book.close()

    def _landed(
        self, outcomes: Mapping[str, Outcome], land: Land, troubles: dict[str, ProviderError]
    ) -> tuple[list[str], dict[str, RequestError], IcmError | None]:
        """Land the answers, and add to the troubles; what landed, what to ask for again, and what ends it all."""
        landed: list[str] = []
        again: dict[str, RequestError] = {}
        failure: IcmError | None = None
        for key, outcome in outcomes.items():
            error = outcome
            if isinstance(outcome, Response):
                try:
                    land(key, outcome)
                    landed.append(key)
                    continue
                except ProviderError as refusal:
                    error = refusal
            if isinstance(error, RequestError) and error.retryable and not isinstance(error, GaveUpError):
                again[key] = error
            elif isinstance(error, ProviderError) and error.of_one:
                troubles[key] = error
            elif isinstance(error, IcmError):
                failure = failure or error
        return landed, again, failure

    def _gave_up(self, failed: Mapping[str, RequestError]) -> GaveUpError:
        error = next(iter(failed.values()))
        return GaveUpError(
            f"{error}; gave up: {len(failed):,} questions failed in {_TRIES} batch jobs; what was answered is kept: "
            "resume or run again later to go on",
            kind=error.kind,
            status=error.status,
        )

    # What is under way

    def _take_up(self) -> None:
        """Go on with all jobs that are not paid for, so that what was set aside for them is settled."""
        for filed in self._book.pending():
            if not filed.settled:
                if filed.bundle.name not in self._held:
                    self._held.add(filed.bundle.name)
                    self._meter.adopt(filed.reserved)
                self._watch(filed)

    async def _asked(self, requests: Mapping[str, Request], *, anew: bool) -> Mapping[str, Outcome]:
        """What comes of requests, by jobs that hold them already or by new ones; `anew`: by new ones alone."""
        loop = asyncio.get_running_loop()
        futures = {key: loop.create_future() for key in requests}
        self._waiting |= futures
        self._requests |= requests
        try:
            for key in requests:
                filed = None if anew else self._book.holder(key)
                if filed is None:
                    self._gather([key])
                else:
                    self._watch(filed)
            await asyncio.wait(futures.values())
            return {key: future.result() for key, future in futures.items()}
        finally:
            for key in futures:
                self._waiting.pop(key, None)
                self._requests.pop(key, None)

    def _watch(self, filed: Filed) -> None:
        if filed.bundle.name not in self._tasks:
            self._begin(filed.bundle.name, filed.keys, self._work(filed))

    def _begin(self, name: str, keys: Sequence[str], work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[name] = task
        task.add_done_callback(partial(self._ended, name, keys))

    def _ended(self, name: str, keys: Sequence[str], task: asyncio.Future[None]) -> None:
        """Nobody may be left waiting for a job that nobody works at."""
        if self._tasks.get(name) is task:
            del self._tasks[name]
        if task.cancelled() or (error := task.exception()) is None:
            return
        for key in keys:
            waiting = self._waiting.get(key)
            if waiting is not None and not waiting.done():
                waiting.set_result(error) if isinstance(error, IcmError) else waiting.set_exception(error)

    # Jobs that are made

    def _gather(self, keys: Sequence[str]) -> None:
        self._gathered += keys
        if self._departure is None:
            self._departure = asyncio.create_task(self._depart())

    async def _depart(self) -> None:
        """Once nobody asks for more, make jobs of what was gathered."""
        before = 0
        while before != len(self._gathered):
            before = len(self._gathered)
            await self._sleep(_LINGER)
        keys, self._gathered, self._departure = self._gathered, [], None
        asked = {key: self._requests[key] for key in keys if key in self._requests}
        for bundle, chosen in bundled(asked, self._host, self._most):
            self._begin(bundle.name, chosen, self._new(bundle, chosen))

    async def _new(self, bundle: Bundle, keys: Sequence[str]) -> None:
        requests = [self._requests[key] for key in keys]
        reserved = await self._meter.reserve(_each(requests))
        noted = False
        try:
            filed = self._book.note(bundle, keys, reserved)
            noted = True
        finally:
            if not noted:
                self._meter.unanswered(reserved, billed=False)
        self._held.add(bundle.name)
        await self._work(filed, lambda: [self._host.line(bundle.item(at), each) for at, each in enumerate(requests)])

    async def _work(self, filed: Filed, lines: Callable[[], Sequence[bytes]] | None = None) -> None:
        """Bring a job to its end, pay for it, and hand over what came of it."""
        try:
            state = await self._way.to_its_end(filed, lines)
            if state is None:
                self._never_arrived(filed)
                return
            places = [(at, key) for at, key in enumerate(filed.keys) if key in self._requests]
            asked = {filed.bundle.item(at): self._requests[key] for at, key in places}
            results = await self._way.results(state, asked)
        except IcmError as error:
            raise self._lost(filed, error) from error
        self._settle(filed, results, asked)
        self._hand_over(filed, state, results)

    def _never_arrived(self, filed: Filed) -> None:
        """Forget a job that its host does not know, and send in another what is still wanted of it."""
        self._close(filed, billed=False)
        self._tasks.pop(filed.bundle.name, None)
        wanted = [key for key in filed.keys if key in self._waiting]
        self._book.kept(filed.keys)
        if wanted:
            self._gather(wanted)

    def _lost(self, filed: Filed, error: IcmError) -> IcmError:
        """What an error of a job's way means, with its money in order."""
        gone = bool(filed.id) and isinstance(error, RequestError) and error.kind == "not_found"
        if gone or (not filed.id and isinstance(error, RequestError) and not error.retryable):
            self._close(filed, billed=gone)
            self._book.kept(filed.keys)
        elif not filed.settled:
            # It may be done all the same, and stays noted.
            self._held.discard(filed.bundle.name)
            self._meter.unanswered(filed.reserved, billed=True)
        if not gone:
            return error
        return ProviderError(f"{error}; batch job {filed.id} or its answers are no longer there: resume to ask again")

    def _close(self, filed: Filed, *, billed: bool) -> None:
        if not filed.settled:
            self._book.settled(filed)
            self._meter.unanswered(filed.reserved, billed=billed)

    def _settle(
        self, filed: Filed, results: Mapping[str, Response | ProviderError], asked: Mapping[str, Request]
    ) -> None:
        """Put what the answers cost in place of what was set aside."""
        if filed.settled:
            return
        # Noted first: what a kill in between leaves counted is too much, and not too little.
        answers = {item: each for item, each in results.items() if isinstance(each, Response)}
        if not answers:
            self._close(filed, billed=False)
            return
        self._book.settled(filed)
        # Only if all are known, the estimates can be compared with what was counted.
        known = [asked[item] for item in answers if item in asked]
        usage = sum((each.usage for each in answers.values()), Usage())
        self._meter.answered(filed.reserved, usage, _each(known) if len(known) == len(answers) else ())
        if doubt := next((each.doubt for each in answers.values() if each.doubt), ""):
            logger.warning("%s: the count of tokens can't be used (%s): an estimate is charged", filed.id, doubt)

    def _hand_over(self, filed: Filed, state: JobState, results: Mapping[str, Response | ProviderError]) -> None:
        missing = self._missing(filed, state)
        for at, key in enumerate(filed.keys):
            waiting = self._waiting.get(key)
            if waiting is not None and not waiting.done():
                waiting.set_result(results.get(filed.bundle.item(at), missing))
        # Whoever asks from now on has it looked at anew.
        self._tasks.pop(filed.bundle.name, None)
        if isinstance(missing, GaveUpError) or not isinstance(missing, RequestError):
            self._book.kept(key for at, key in enumerate(filed.keys) if filed.bundle.item(at) not in results)
        if state.crowded:
            self._most = max(1, filed.bundle.size // 2)

    def _missing(self, filed: Filed, state: JobState) -> ProviderError:
        """Why a question has no result."""
        job = f"{self._host.identity}: batch job {state.id}"
        if state.crowded:
            return RequestError(f"{job} was not taken: {state.reason}", kind="rate_limit")
        if state.status == "failed":
            return ProviderError(f"{job} failed, and nothing of it was done: {state.reason}")
        if state.status == "cancelled":
            told = f"{job} was cancelled; what it answered is kept: resume or run again to have the rest answered"
            return GaveUpError(told, kind="server")
        if state.status == "expired":
            return RequestError(f"{job} expired before all was answered", kind="timeout")
        return RequestError(f"{job} has no answer to a question", kind="broken_answer")


def _each(requests: Sequence[Request]) -> list[Request]:
    """The same, each of which is a line of a job and counts by itself, whatever it could have travelled with."""
    return [replace(request, group="") for request in requests]
