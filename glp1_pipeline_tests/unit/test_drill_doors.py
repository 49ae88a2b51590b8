"""What drills of access stand on: a pager that believes no forger, and a certificate that has expired."""

import time

import pytest
import requests

from glp1_pipeline.adapters.alerts.channels import sign
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
