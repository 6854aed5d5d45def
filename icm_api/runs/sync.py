"""From code without `await` into the library: a script, or a notebook whose event loop runs already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_sync(work: Coroutine[Any, Any, _T]) -> _T:
    """Do the work of a coroutine and wait for it, also if an event loop is running already, as in a notebook.

    A model may be used in one call after another: its connections are opened anew in each.

    Args:
        work: what an async function gave, e.g. `icm.search_labels(data, model, task=task)`.

    Returns:
        What the coroutine returns. If it is interrupted, the work is cancelled before KeyboardInterrupt is raised.

    Raises:
        IcmError: whatever the coroutine raises.

    Example:
        >>> async def work() -> int:
        ...     return run_sync(asyncio.sleep(0, 41)) + 1
        >>> run_sync(work())
        42
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    cancels: list[Callable[[], object]] = []

    async def cancellable() -> _T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        cancels.append(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(copy_context().run, asyncio.run, cancellable())
        try:
            return done.result()
        except KeyboardInterrupt:
            for cancel in cancels:
                cancel()
            raise
