"""A network between a client and a server on this machine, which tests take away."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import final


@final
class Network:
    """Passes on what goes to a port of its own, and the answers.

    While it is stalled, as a network that is cut somewhere, bytes wait and connections stay open.
    Answers to every ``lose_every``-th commit are lost together with the connection: the server has
    written, and the client cannot know.

    Args:
        port: The server's port on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._passes = threading.Event()
        self._passes.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self.lose_every = 0
        self.n_commits = self.n_lost = 0

    def __enter__(self) -> Network:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all connections, and refuse others."""
        self._passes.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or the thread would accept one more
        self._listener.close()
        self.cut()

    def url(self, url: str) -> str:
        """A database's address as it is behind this network."""
        return url.replace(f":{self._server_port}/", f":{self.port}/")

    def stall(self) -> None:
        """Let nothing pass, without a word to anybody."""
        self._passes.clear()

    def resume(self) -> None:
        """Let everything pass again, what has waited first."""
        self._passes.set()

    def cut(self) -> None:
        """End all connections."""
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except ConnectionRefusedError:
                client.close()
                continue
            except OSError:
                return
            self._sockets += [client, server]
            loses = threading.Event()
            for source, target in ((client, server), (server, client)):
                arguments = (source, target, loses, source is client)
                threading.Thread(target=self._pass_on, args=arguments, daemon=True).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, loses: threading.Event, is_asked: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._passes.wait()
                if is_asked and b"COMMIT\0" in data.upper():
                    self.n_commits += 1
                    if self.lose_every and self.n_commits % self.lose_every == 0:
                        self.n_lost += 1
                        loses.set()
                elif not is_asked and loses.is_set():
                    break
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
