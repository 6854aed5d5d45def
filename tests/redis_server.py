"""A real Redis server of the tests' own: on a free port, in a folder of the test, ended by its process."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import pytest

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None or find_spec("redis") is None,
    reason="needs redis-server (apt-get install redis-server) and pip install 'icm-api[redis]'",
)


@dataclass
class RedisServer:
    """A server that writes every answer to disk, and can be ended and started again.

    Attributes:
        folder: of its files.
        port: it listens on, at 127.0.0.1.
        password: that it wants; empty for none.
    """

    folder: Path
    port: int
    password: str = ""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self, *more: str) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", *more]
        if self.password:
            command += ["--requirepass", self.password]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = monotonic() + 30
        while monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64).startswith((b"+PONG", b"-NOAUTH")):
                        return
            sleep(0.02)
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        """End it without a warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_server(folder: Path, *more: str, password: str = "") -> Iterator[RedisServer]:
    """A server for as long as the block lasts.

    Args:
        folder: for its files; made if it is missing.
        more: options of the server.
        password: that it wants.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = RedisServer(folder, port, password)
    server.start(*more)
    try:
        yield server
    finally:
        server.kill()
