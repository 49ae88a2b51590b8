"""What a call may leave behind: nothing of its address in a log, whatever the other end answers. And that it ends."""

import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from glp1_pipeline.adapters.calls import Caller, CallFailure, Limits

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno header at all\r\nConnection: close\r\n\r\n{}"


@pytest.fixture
def odd_server() -> Iterator[str]:
    """Answers one request, with a line that is no header."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            line, _ = listening.accept()
            with line:
                line.recv(65536)
                line.sendall(ANSWER)

        answering = threading.Thread(target=answer)
        answering.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        answering.join()


class Listener(logging.Handler):
    """A log such as a program sets up for all of its parts."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_an_odd_answer_puts_no_address_into_a_log(odd_server: str, capfd: pytest.CaptureFixture) -> None:
    caller, log, listener = Caller("CRM", odd_server, Limits()), logging.getLogger(), Listener()
    before = log.level
    log.addHandler(listener)
    log.setLevel(logging.DEBUG)
    try:
        assert caller.call("GET", "/contacts/jane.canary%40example.org", None, {}).status == 200
    finally:
        log.setLevel(before)
        log.removeHandler(listener)
        caller.close()
    assert listener.said == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_an_answer_that_comes_a_letter_now_and_then_is_not_waited_for(begun: bytes) -> None:
    """Each letter comes long before a read is given up; all of them would take an hour."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            line, _ = listening.accept()
            with line:
                line.recv(65536)
                line.sendall(begun)
                while not ended.wait(0.1):
                    try:
                        line.sendall(b"x")
                    except OSError:
                        ended.set()  # hung up on, as it should be

        threading.Thread(target=drip, daemon=True).start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        caller = Caller("EHR", address, Limits(connect_timeout=0.5, read_timeout=1.0))
        try:
            with pytest.raises(CallFailure) as failed:
                caller.call("GET", "/Patient", None, {})
            assert failed.value.trouble == "no_answer"
            assert ended.wait(10), "the line is not kept for another call"
        finally:
            ended.set()
            caller.close()
