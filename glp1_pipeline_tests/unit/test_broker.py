"""A message of the embedded broker is there whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path
from queue import Empty

import pytest
from kombu.connection import Connection

from glp1_pipeline.adapters.settings import Settings

QUEUE = "dagster"
PUTS_WHERE_NO_FILE_MAY_GROW = """
import resource, sys
from kombu.exceptions import ChannelError
from glp1_pipeline_tests.unit.test_broker import QUEUE, channel

sender = channel()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    sender._put(QUEUE, {"body": "a run"})
except ChannelError as error:
    sys.exit(str(error))
"""


def channel():
    broker = Settings.from_env().broker()
    options = broker.celery["broker_transport_options"]
    return Connection(broker.url, transport=broker.celery["broker_transport"], transport_options=options).channel()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLP1_HOME", str(tmp_path / "home"))
    Settings.from_env().make_home()
    return tmp_path / "home" / "broker" / "queue"


def test_messages_arrive_once_in_the_order_they_were_sent(folder):
    sender, worker = channel(), channel()
    for n in range(20):
        sender._put(QUEUE, {"n": n})
        sender._put("another", {"n": -n})
    assert [worker._get(QUEUE)["n"] for _ in range(20)] == list(range(20))
    with pytest.raises(Empty):
        worker._get(QUEUE)


def test_what_a_full_disk_left_of_a_message_is_no_message(folder):
    argv = [sys.executable, "-c", PUTS_WHERE_NO_FILE_MAY_GROW]
    sent = subprocess.run(argv, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert "takes no message: File too large" in sent.stderr
    assert list(folder.iterdir()) == []
    with pytest.raises(Empty):
        channel()._get(QUEUE)


def test_a_message_that_lost_its_end_is_put_aside_and_the_next_ones_are_read(folder, caplog):
    sender, worker = channel(), channel()
    (folder / f"{0:020}_cut.{QUEUE}.msg").write_bytes(b'{"body": "a r')
    sender._put(QUEUE, {"n": 1})
    with pytest.raises(Empty):
        worker._get(QUEUE)
    assert "cannot be read" in caplog.text
    assert worker._get(QUEUE) == {"n": 1}
