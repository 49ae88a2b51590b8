"""One message to one address, in a process of its own, for so long and with so much memory.

What is at the other end may send a byte now and then, a gigabyte, or what a library of ours fails on: whoever looks
must neither wait for it, nor hold it, nor die of it. Not here: whose address it is (`alerts.channels`).
Beside that room and not in it, so that the process begins soon: it loads what it needs alone.
"""

from __future__ import annotations

import hashlib
import hmac
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, get_args

import orjson
import requests

from glp1_pipeline.domain.outbox import Trouble, trouble_of

from .calls import never_sent
from .punctual import PunctualAdapter, by

SENT = "sent"
WEBHOOK = "webhook+"
TIMEOUT_SECONDS = (4.0, 12.0)
"""To connect, and between two pieces of an answer."""
MOST_SECONDS = 20.0
"""For all that is said and heard; then the process ends itself."""
START_SECONDS = 20.0
"""To begin with, on a machine that has much to do: a lease is longer than both together."""
MOST_BYTES = 1024 * 1024 * 1024
OUTCOMES = {SENT, "bad_address", "not_taken", *get_args(Trouble)}


def tell(address: str, secret: str, message: Mapping[str, Any]) -> str:
    """`sent`, or the class of the trouble; the channel's own words are not kept, since they may name people."""
    order = {"address": address, "secret": secret, "message": message, "seconds": MOST_SECONDS}
    argv, ends = [sys.executable, "-P", "-m", __name__], START_SECONDS + MOST_SECONDS
    try:
        done = subprocess.run(argv, input=orjson.dumps(order), capture_output=True, timeout=ends, check=False)
    except subprocess.TimeoutExpired:
        return "no_answer"
    if done.returncode == -signal.SIGALRM:
        return "no_answer"
    outcome = done.stdout.decode("ascii", "replace")
    return outcome if outcome in OUTCOMES else "failed_here"


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 (hex) of the timestamp followed by the body."""
    return hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).hexdigest()


def _post(url: str, secret: str, message: Mapping[str, Any]) -> str:
    body = orjson.dumps(message)
    stamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Signature-Timestamp": stamp,
        "X-Signature": sign(secret, stamp, body),
    }
    try:
        with by(time.monotonic() + MOST_SECONDS), requests.Session() as session:
            session.trust_env = False
            for scheme in ("https://", "http://"):
                session.mount(scheme, PunctualAdapter())
            answer = session.post(
                url, data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
            )
            answer.close()
    except requests.exceptions.RequestException as error:
        return "unreachable" if never_sent(error) else "no_answer"
    except ValueError:  # of a name that is no name of a host
        return "bad_address"
    return trouble_of(answer.status_code) or SENT


def _notify(address: str, message: Mapping[str, Any]) -> str:
    import apprise

    kind = apprise.NotifyType.SUCCESS if message["news"] == "resolved" else apprise.NotifyType.WARNING
    if message["severity"] == "critical" and message["news"] in ("opened", "escalated"):
        kind = apprise.NotifyType.FAILURE
    # Who follows a redirect asks for the new page, without the message, and takes that for an answer.
    asset = apprise.AppriseAsset(app_id="glp1_pipeline", async_mode=False, secure_logging=True, http_redirects=False)
    way = apprise.Apprise(asset=asset)
    if not way.add(address):
        return "bad_address"
    for one in way:
        one.socket_connect_timeout, one.socket_read_timeout = TIMEOUT_SECONDS
    is_sent = way.notify(
        title=message["title"], body=message["text"], notify_type=kind, body_format=apprise.NotifyFormat.TEXT
    )
    return SENT if is_sent else "not_taken"


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    order = orjson.loads(sys.stdin.buffer.read())
    if not order["address"].startswith(WEBHOOK):
        import apprise  # noqa: F401 - half a second, and much more on a machine that has much to do
    signal.setitimer(signal.ITIMER_REAL, order["seconds"])  # ends this process, whatever it does then
    address, message = order["address"], order["message"]
    try:
        if address.startswith(WEBHOOK):
            outcome = _post(address.removeprefix(WEBHOOK), order["secret"], message)
        else:
            outcome = _notify(address, message)
    except MemoryError:
        outcome = "rubbish"
    sys.stdout.write(outcome)


if __name__ == "__main__":
    main()
