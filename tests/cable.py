"""A network between a client and the loopback server, which a test may cut: at once, or without a word.

It passes bytes on and knows nothing of HTTP.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)
"""Linger for no time: a socket that is closed is reset."""


class Cable:
    """Passes connections on to a server while it is whole.

    Args:
        root: address of the server.

    Attributes:
        root: address of this end.
    """

    def __init__(self, root: str) -> None:
        there = urlsplit(root)
        self._there = (there.hostname or "", there.port or 0)
        self._ends: list[socket.socket] = []
        self._passing = Event()
        self._passing.set()
        self._listening: socket.socket | None = socket.create_server(("127.0.0.1", 0))
        self._port = self._listening.getsockname()[1]
        self.root = f"http://127.0.0.1:{self._port}"
        self._accept(self._listening)

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        if self._listening is not None:
            # A close alone leaves whoever waits for a connection waiting.
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def hush(self) -> None:
        """Pass nothing on any more: whoever asks waits, and nobody is told."""
        self._passing.clear()

    def mend(self) -> None:
        """Take connections again, and pass on what has waited."""
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self._port))
            self._accept(self._listening)
        self._passing.set()

    def close(self) -> None:
        """End for good."""
        self.cut()
        self._passing.set()

    def _accept(self, listening: socket.socket) -> None:
        Thread(target=self._serve, args=(listening,), daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                here, _ = listening.accept()
                there = socket.create_connection(self._there)
            except OSError:
                return
            self._ends += [here, there]
            for ends in ((here, there), (there, here)):
                Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while content := one.recv(1 << 16):
                self._passing.wait()
                other.sendall(content)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@contextmanager
def cable(root: str) -> Iterator[Cable]:
    """A network to a server until the block ends.

    Args:
        root: address of the server.
    """
    made = Cable(root)
    try:
        yield made
    finally:
        made.close()
