"""The way of one batch job: note it, hand it over, find it if nobody said that it arrived, wait for its end.

It does: try again what passes, look for a job before it is sent again, and say how far it is.
It does not: choose what goes in a job, count what it costs, or use an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from icm_api.config import ClientSettings
from icm_api.errors import GaveUpError, ProviderError, RequestError
from icm_api.model.client.job_book import Filed, JobBook
from icm_api.model.client.retry import with_retries
from icm_api.model.job import Bundle, JobHost, JobState
from icm_api.model.request import Request, Response

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

# After these the host may have taken the job all the same.
_MAYBE_TAKEN = frozenset({"disconnected", "timeout", "broken_answer", "server", "overloaded"})
# Seconds: the first wait for a job, how much longer the next ones are, and how often a line says that nothing changed.
_FIRST, _LONGER, _SAID_AGAIN = 5.0, 1.5, 900.0
# Seconds after which a job that arrived is surely on the host's list.
_LISTED = 20.0


class JobWay:
    """Brings jobs to their ends.

    Args:
        host: takes them.
        book: notes them.
        settings: how often it is asked how far a job is, and how long one request is tried.
        clock: seconds, from any beginning.
        sleep: waits so many seconds by that clock.
    """

    def __init__(
        self,
        host: JobHost,
        book: JobBook,
        settings: ClientSettings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._host, self._book, self._settings, self._clock, self._sleep = host, book, settings, clock, sleep
        self._handing_over = asyncio.Lock()

    def enter_loop(self) -> None:
        """Whoever waits from now on does so in another event loop."""
        self._handing_over = asyncio.Lock()

    async def to_its_end(self, filed: Filed, lines: Callable[[], Sequence[bytes]] | None = None) -> JobState | None:
        """Wait until a job is over.

        Args:
            filed: the job, as it was noted.
            lines: gives its questions, for a job that was not sent before; None for one of which it is not known.

        Returns:
            How it ended; None if it never arrived.

        Raises:
            RequestError: the host refuses it, or cannot be reached.
            StorageError: the book cannot be written.
        """
        if filed.id:
            state = await self._patiently(partial(self._host.look, filed.id))
        elif lines is None:
            logger.warning("looking for a batch job of %s questions that may have been sent", f"{filed.bundle.size:,}")
            found = await self._found(filed.bundle)
            if found is None:
                return None
            state = found
        else:
            # One after the other: the questions of a job can take some memory.
            async with self._handing_over:
                state = await self._handed_over(filed, lines())
        if not filed.id:
            self._book.submitted(filed, state.id)
        return await self._over(filed, state)

    async def results(self, state: JobState, asked: Mapping[str, Request]) -> Mapping[str, Response | ProviderError]:
        """What came of the questions of a job that is over, as `JobHost.results` says it.

        Raises:
            RequestError: the host refuses it, or cannot be reached.
        """
        return await self._patiently(partial(self._host.results, state, asked))

    async def _handed_over(self, filed: Filed, lines: Sequence[bytes]) -> JobState:
        upload = await self._patiently(partial(self._host.upload, filed.bundle, lines))
        self._book.uploaded(filed, upload)
        state = await self._submitted(filed.bundle, lines)
        logger.warning(
            "batch job %s at %s: %s questions, answered within a day; it goes on by itself if this is stopped, and "
            "its answers are taken when it is resumed",
            state.id,
            self._host.identity,
            f"{filed.bundle.size:,}",
        )
        return state

    async def _submitted(self, bundle: Bundle, lines: Sequence[bytes]) -> JobState:
        """Submit until it is certain that it arrived; once it may have, look for it first."""
        began, failures = self._clock(), 0
        while True:
            try:
                return await self._once(partial(self._host.submit, bundle, lines))
            except RequestError as error:
                failures += 1
                late = self._clock() - began > self._settings.retry_seconds or failures >= self._settings.attempts
                if not error.retryable:
                    raise
                if error.kind in _MAYBE_TAKEN and (found := await self._found(bundle)) is not None:
                    return found
                if late:
                    raise GaveUpError(
                        f"{error}; the batch job could not be sent in {failures} attempts: resume or run again later",
                        kind=error.kind,
                        status=error.status,
                    ) from error
                await self._sleep(error.retry_after or min(2.0**failures, self._settings.poll))

    async def _found(self, bundle: Bundle) -> JobState | None:
        """The job if it arrived. A list may lack what came last, so an empty one is asked for again."""
        for last in (False, True):
            while True:
                found = await self._patiently(partial(self._host.find, bundle))
                if not found.unsure:
                    break
                logger.warning(
                    "a batch job at %s may be one that was sent and not acknowledged, which shows when it is over; "
                    "looked at again in %.0f s",
                    self._host.identity,
                    self._settings.poll,
                )
                await self._sleep(self._settings.poll)
            if found.state is not None or last:
                return found.state
            await self._sleep(min(self._settings.poll, _LISTED))
        return None

    async def _over(self, filed: Filed, state: JobState) -> JobState:
        """Look at a job until it is over; say when something changed, and now and then that it did not."""
        wait, said, silent = _FIRST, "", 0.0
        while state.status == "under_way":
            seconds = min(wait, self._settings.poll)
            told = f"{state.said}{state.progress and ', '}{state.progress}"
            if told != said or silent >= _SAID_AGAIN:
                logger.warning("batch job %s: %s; looked at again in %.0f s", state.id, told, seconds)
                said, silent = told, 0.0
            await self._sleep(seconds)
            wait, silent = wait * _LONGER, silent + seconds
            state = await self._patiently(partial(self._host.look, state.id))
        logger.warning("batch job %s: %s%s", state.id, state.said, f", {state.progress}" if state.progress else "")
        return state

    async def _once(self, call: Callable[[], Awaitable[_T]]) -> _T:
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await call()
        except TimeoutError as error:
            late = f"{self._host.identity}: no answer in {self._settings.timeout:g} s (client.timeout)"
            raise RequestError(late, kind="timeout") from error

    async def _patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        return await with_retries(
            partial(self._once, call), self._settings, clock=self._clock, sleep=self._sleep, tell=_tell
        )


def _tell(reason: str, seconds: float) -> None:
    if seconds > _FIRST:
        logger.warning("waiting %.0f s: %s", seconds, reason)
