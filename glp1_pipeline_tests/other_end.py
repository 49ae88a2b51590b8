"""The other end of a connection, played by a test byte by byte: what no well-bred server would answer.

Here: listening, and answers that several tests need. Not here: what is expected of us then.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[[socket.socket, threading.Event], None]


@contextmanager
def other_end(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """A server on a port that hears a request and then does as `answer` says; and what it heard."""
    ended, heard = threading.Event(), []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=hear, args=(line,), daemon=True).start()

    def hear(line: socket.socket) -> None:
        with line:
            try:
                heard.append(line.recv(65536))
                answer(line, ended)
            except OSError:
                pass  # hung up on, as it should be

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1], heard
    finally:
        ended.set()
        server.close()


def drips_a_header(line: socket.socket, ended: threading.Event) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not ended.wait(0.3):
        line.sendall(b"x")


def drips_a_body(line: socket.socket, ended: threading.Event) -> None:
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not ended.wait(0.3):
        line.sendall(b"x")
