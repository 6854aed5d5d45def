"""Starting and stopping the server: a thread with an event loop of its own, a socket on 127.0.0.1.

Leaves nothing running behind. Knows no routes or formats (`app` does).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING

from icm_api.errors import ConfigError
from icm_api.pocket.model import PocketModel
from icm_api.testing.backend import Backend, InstantBackend
from icm_api.testing.faults import Faults
from icm_api.testing.jobs import JobPlan
from icm_api.testing.wire import Dialect, RecordedRequest, ServerLog, get_dialect

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Route

    from icm_api.testing.app import Journal
    from icm_api.testing.training_jobs import TrainingJobs

_HOST = "127.0.0.1"
# Seconds: between looks whether the server has started, and for running requests to end when it stops.
_POLL = 0.005
_PATIENCE = 1
_KEEP_ALIVE = 300


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        root: its address without a path, as Anthropic's and Gemini's clients take it.
        model: the name of the model that it serves. It answers to any other name too.
    """

    root: str
    model: str
    _journal: Journal

    @property
    def url(self) -> str:
        """Its address with /v1, as OpenAI's clients take it."""
        return f"{self.root}/v1"

    @property
    def log(self) -> ServerLog:
        """What it has been asked so far."""
        return self._journal.snapshot()

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The last bodies, oldest first, as many as `serve(record=...)` keeps."""
        return self._journal.kept()


@contextmanager
def serve(
    *,
    dialect: str | Dialect = "vllm",
    faults: Faults | None = None,
    port: int = 0,
    seed: int = 0,
    record: int = 0,
    instant: bool = False,
    backend: Backend | None = None,
    jobs: JobPlan | None = None,
    training: TrainingJobs | None = None,
) -> Iterator[Server]:
    """Serve the embedded model, or another, on 127.0.0.1 until the block ends.

    Args:
        dialect: how OpenAI's routes behave: a name in `DIALECTS`, or a `Dialect`. The routes of Anthropic, Gemini and
            SGLang are always there.
        faults: what to inject; None for nothing.
        port: to listen on; 0 for any that is free.
        seed: of all sampling. The same requests in the same order get the same answers.
        record: how many request bodies to keep.
        instant: answer with made-up logprobs at once, without the model: for measuring how fast a client is.
        backend: answers in place of the embedded model; `instant` then says nothing.
        jobs: how batch jobs go; None for the way of `JobPlan()`. Questions in them meet `faults` too.
        training: fine-tuning jobs that it takes, with their files; None for a server that has no such routes.

    Yields:
        The running server.

    Raises:
        ConfigError: the dialect is unknown, the port is taken, or the extra `icm-api[testing]` is not installed.
    """
    chosen = get_dialect(dialect)
    try:
        import uvicorn

        from icm_api.testing.app import Journal, Service
    except ImportError as error:
        raise ConfigError(f"the testing server needs {error.name}: pip install 'icm-api[testing]'") from error
    if backend is None:
        model = PocketModel.load()
        backend = InstantBackend(model) if instant else Backend(model)
    journal = Journal(record)
    with (
        _listen(port) as listening,
        closing(Service(backend, chosen, faults, seed, journal, jobs or JobPlan())) as service,
    ):
        root = f"http://{_HOST}:{listening.getsockname()[1]}"
        with _running(uvicorn.Server(_configured(service.app(_more_routes(training)))), listening):
            yield Server(root, backend.name, journal)


def _configured(app: Starlette) -> uvicorn.Config:
    import uvicorn

    # "critical": a fault that cuts a connection is no error to report.
    config = uvicorn.Config(app, log_config=None, log_level="critical", access_log=False, lifespan="off", ws="none")
    config.timeout_graceful_shutdown = _PATIENCE
    # By default a connection closes after 5 s without a request, which may be just as one is sent.
    config.timeout_keep_alive = _KEEP_ALIVE
    return config


def _more_routes(training: TrainingJobs | None) -> list[Route]:
    if training is None:
        return []
    from icm_api.testing.training_routes import training_routes

    return training_routes(training)


@contextmanager
def _running(server: uvicorn.Server, listening: socket.socket) -> Iterator[None]:
    """The server in a thread of its own, from when it answers until the thread has ended."""
    thread = Thread(target=server.run, args=([listening],), name="icm-testing-server", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            sleep(_POLL)
        if not server.started:
            raise ConfigError("testing server: it ended before it could answer; its thread's traceback says why")
        yield
    finally:
        server.should_exit = True
        thread.join()


def _listen(port: int) -> socket.socket:
    # With the protocol named, asyncio sends small packets at once (TCP_NODELAY); else each answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_HOST, port))
    except OSError as error:
        listening.close()
        raise ConfigError(f"testing server: cannot listen on {_HOST}:{port} ({error}); choose another port") from error
    return listening
