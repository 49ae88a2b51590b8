"""What drills stand on: a pager that believes no forger, a certificate that has expired, rights that hold for root too."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from glp1_pipeline.adapters.outlet import sign
from glp1_pipeline.sandbox.drills import all_drills
from glp1_pipeline.sandbox.drills.powers import given_up
from glp1_pipeline.sandbox.drills.receiver import receiver
from glp1_pipeline.sandbox.drills.tls import TlsFront

MESSAGE = b'{"news": "opened", "alert": "breaker_open", "notification_id": "n1"}'


@pytest.mark.parametrize(("secret", "age", "taken"), [("right", 0, 1), ("wrong", 0, 0), ("right", 900, 0)])
def test_a_message_counts_when_its_signature_holds_and_is_fresh(secret, age, taken, monkeypatch):
    stamp = str(int(time.time()) - age)
    with receiver("right") as heard:
        headers = {"X-Signature-Timestamp": stamp, "X-Signature": sign(secret, stamp, MESSAGE)}
        url = heard.address("integration").partition("webhook+")[2]
        requests.post(url, data=MESSAGE, headers=headers, timeout=5)
        assert (len(heard.got), heard.n_forged) == (taken, 1 - taken)
        assert heard.has("opened", "breaker_open") is bool(taken)


def test_a_certificate_of_the_drill_is_valid_until_it_is_made_to_expire(tmp_path):
    with TlsFront("http://127.0.0.1:9/fhir", tmp_path) as front:
        assert front.verdict() == "valid"
        front.use(is_expired=True)
        assert front.verdict() == "certificate has expired"
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(front.url, verify=str(front.ca_file), timeout=5)
        front.use()
        assert front.verdict() == "valid"


LOOK_FROM_A_THREAD = """
import os, sys, threading
from glp1_pipeline.sandbox.drills.powers import give_up

def look():
    try:
        os.listdir(sys.argv[1])
    except PermissionError:
        print("shut out")

give_up()
thread = threading.Thread(target=look)
thread.start()
thread.join()
"""


@pytest.fixture
def shut(tmp_path: Path) -> Path:
    """A folder that nobody may read."""
    folder = tmp_path / "shut"
    folder.mkdir(mode=0)
    return folder


def test_whoever_gave_up_the_power_over_files_is_shut_out_and_has_it_again_afterwards(shut: Path):
    may_read = os.access(shut, os.R_OK)
    with given_up(), pytest.raises(PermissionError):
        os.listdir(shut)
    assert os.access(shut, os.R_OK) is may_read
    assert may_read is (os.geteuid() == 0)


def test_a_program_that_gave_it_up_is_shut_out_in_all_threads_that_it_starts(shut: Path):
    told = subprocess.run([sys.executable, "-c", LOOK_FROM_A_THREAD, shut], capture_output=True, text=True, check=True)
    assert told.stdout == "shut out\n"


def test_the_scorecard_of_the_docs_has_every_drill_and_the_readme_shows_the_whole_of_it():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "scorecard.md").read_text("utf-8")
    assert set(re.findall(r"\(`([a-z0-9-]+)`\) \| passed ", page)) == {drill.name for drill in all_drills()}
    table = page[page.index("| what breaks |") : page.index("\n\n## ")]
    readme = (docs.parent / "README.md").read_text("utf-8")
    assert table in readme
    assert f"{len(all_drills())} of {len(all_drills())} passed" in readme
