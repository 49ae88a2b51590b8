"""What a call may leave behind: nothing of its address in a log, whatever the other end answers. And that it ends."""

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
