"""What a call may leave behind: nothing of its address in a log, whatever the other end answers. And that it ends."""

import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glp1_pipeline.adapters import trust
from glp1_pipeline.adapters.calls import Caller, CallFailure, Limits
from glp1_pipeline.sandbox.drills.tls import TlsFront

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


@pytest.fixture
def plain_server() -> Iterator[str]:
    """Answers every request, without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    line, _ = listening.accept()
                except OSError:
                    return
                with line:
                    line.recv(65536)
                    line.sendall(ANSWER)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


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


def test_a_company_s_own_authority_is_believed_where_its_machine_believes_it(
    plain_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust.trusted.cache_clear()
    with TlsFront(plain_server, tmp_path) as front:
        stranger = Caller("EHR", front.url, Limits())
        with pytest.raises(CallFailure) as failed:
            stranger.call("GET", "/metadata", None, {})
        assert failed.value.trouble == "unreachable", "nothing was sent to who may be anybody"
        stranger.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(front.ca_file))  # as an owner of a machine adds it to the others
        trust.trusted.cache_clear()
        known = Caller("EHR", front.url, Limits())
        assert known.call("GET", "/metadata", None, {}).status == 200
        known.close()
    trust.trusted.cache_clear()
