"""Webhooks of the sandbox CRM: what changed is told to one address, signed, until it was heard.

At least once and in no certain order, as every CRM does it; which contact changed is told, never what. Not here: what
the receiver does with it (`adapters.hooks`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time

import requests

from .database import Database

WAIT_SECONDS = 0.2
TIMEOUT_SECONDS = 5.0


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the header X-Signature holds: HMAC-SHA256 of the timestamp's text and the body, in hex."""
    return hmac.new(secret.encode(), timestamp.encode() + body, hashlib.sha256).hexdigest()


class Hooks:
    """Tells notices in a thread of its own."""

    def __init__(self, database: Database, url: str, secret: str) -> None:
        self._database, self._url, self._secret = database, url, secret
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(TIMEOUT_SECONDS + 1)

    def _work(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._is_over.wait(WAIT_SECONDS):
                if notices := self._database.due_notices():
                    heard = self._tell(session, notices)
                    self._database.told([notice["seq"] for notice in notices], heard)

    def _tell(self, session: requests.Session, notices: list[dict]) -> bool:
        body = json.dumps(
            [
                {
                    "eventId": one["seq"],
                    "subscriptionType": one["kind"],
                    "objectId": one["contact_id"],
                    "occurredAt": one["at_ms"],
                    "attemptNumber": one["tries"],
                }
                for one in notices
            ]
        ).encode()
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Signature-Timestamp": timestamp,
            "X-Signature": signature(self._secret, timestamp, body),
        }
        try:
            answer = session.post(self._url, body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException:
            return False  # nobody listens now: it is told again
        return answer.ok
