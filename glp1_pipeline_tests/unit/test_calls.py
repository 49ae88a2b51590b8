"""What a call may leave behind: nothing of its address in a log, whatever the other end answers. And that it ends."""

import gzip
import logging
import socket
import threading
from pathlib import Path

import pytest

from glp1_pipeline.adapters import trust
from glp1_pipeline.adapters.calls import Caller, CallFailure, Limits
from glp1_pipeline.sandbox.drills.tls import TlsFront
from glp1_pipeline_tests.other_end import Answer, drips_a_body, drips_a_header, other_end

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno header at all\r\nConnection: close\r\n\r\n{}"


def answers_oddly(line: socket.socket, ended: threading.Event) -> None:
    """With a line that is no header."""
    line.sendall(ANSWER)


class Listener(logging.Handler):
    """A log such as a program sets up for all of its parts."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def test_an_odd_answer_puts_no_address_into_a_log(capfd: pytest.CaptureFixture) -> None:
    log, listener = logging.getLogger(), Listener()
    before = log.level
    log.addHandler(listener)
    log.setLevel(logging.DEBUG)
    try:
        with other_end(answers_oddly) as (port, _):
            caller = Caller("CRM", f"http://127.0.0.1:{port}", Limits())
            assert caller.call("GET", "/contacts/jane.canary%40example.org", None, {}).status == 200
            caller.close()
    finally:
        log.setLevel(before)
        log.removeHandler(listener)
    assert listener.said == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("place", ["https://elsewhere.example/", "/Patient", "http://[", ""])
def test_of_a_redirect_no_more_is_read_than_of_any_answer(place: str) -> None:
    """It is not followed; what it holds, packed or not, would else be in memory as a whole."""
    packed = gzip.compress(b" " * 4_000_000)
    head = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"

    def redirects(line: socket.socket, ended: threading.Event) -> None:
        line.sendall(head.encode() + packed)

    with other_end(redirects) as (port, _):
        caller = Caller("EHR", f"http://127.0.0.1:{port}", Limits(max_response_bytes=1_000_000))
        with pytest.raises(CallFailure) as failed:
            caller.call("GET", "/Patient", None, {})
        assert (failed.value.trouble, failed.value.status) == ("rubbish", 302)
        assert failed.value.__cause__ is None
        caller.close()


ODD_ZONE = b"Fri, 31 Dec 2027 23:59:59 +99999999999999999999"


@pytest.mark.parametrize("header", [b"Date: " + ODD_ZONE + b"\r\nRetry-After: 3", b"Retry-After: " + ODD_ZONE])
def test_a_date_that_is_none_ends_no_more_than_its_call(header: bytes) -> None:
    def refuses(line: socket.socket, ended: threading.Event) -> None:
        line.sendall(b"HTTP/1.1 503 Busy\r\n" + header + b"\r\nContent-Length: 0\r\n\r\n")

    with other_end(refuses) as (port, _):
        caller = Caller("EHR", f"http://127.0.0.1:{port}", Limits())
        with pytest.raises(CallFailure) as failed:
            caller.call("GET", "/Patient", None, {})
        assert failed.value.trouble == "unavailable"
        caller.close()


@pytest.mark.parametrize("drips", [drips_a_header, drips_a_body])
def test_an_answer_that_comes_a_letter_now_and_then_is_not_waited_for(drips: Answer) -> None:
    """Each letter comes long before a read is given up; all of them would take hours."""
    hung_up = threading.Event()

    def answer(line: socket.socket, ended: threading.Event) -> None:
        try:
            drips(line, ended)
        except OSError:
            hung_up.set()

    with other_end(answer) as (port, _):
        caller = Caller("EHR", f"http://127.0.0.1:{port}", Limits(connect_timeout=0.5, read_timeout=1.0))
        with pytest.raises(CallFailure) as failed:
            caller.call("GET", "/Patient", None, {})
        assert failed.value.trouble == "no_answer"
        assert hung_up.wait(10), "the line is not kept for another call"
        caller.close()


@pytest.mark.parametrize("words", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Whatever"])
def test_a_word_before_the_answer_is_no_answer_and_each_call_gets_its_own(words: bytes) -> None:
    """Taken for the answer, it would leave the true one to the next call on that line."""

    def answer(line: socket.socket, ended: threading.Event) -> None:
        for n in (1, 2, 3):
            line.sendall(b"HTTP/1.1 " + words + b"\r\nLink: </style.css>\r\n\r\n")
            ended.wait(0.2)  # the server is at work
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
            line.recv(65536)

    with other_end(answer) as (port, heard):
        caller = Caller("EHR", f"http://127.0.0.1:{port}", Limits(read_timeout=5.0))
        assert [caller.call("GET", "/Patient", None, {}).content for _ in range(3)] == [1, 2, 3]
        assert len(heard) == 1, "all on one line"
        caller.close()


def test_words_before_an_answer_that_never_comes_are_not_waited_for() -> None:
    def answer(line: socket.socket, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            line.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")

    with other_end(answer) as (port, _):
        caller = Caller("EHR", f"http://127.0.0.1:{port}", Limits(connect_timeout=0.5, read_timeout=1.0))
        with pytest.raises(CallFailure) as failed:
            caller.call("GET", "/Patient", None, {})
        assert failed.value.trouble == "no_answer"
        caller.close()


def test_a_company_s_own_authority_is_believed_where_its_machine_believes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust.trusted.cache_clear()
    with other_end(answers_oddly) as (port, _), TlsFront(f"http://127.0.0.1:{port}", tmp_path) as front:
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
