"""People at work elsewhere meanwhile: a provider in the EHR, somebody in sales in the CRM, a steward who merges.

Whoever meets a server that is down tries again, as people do. Not here: what must come of it (`proof`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import requests

from glp1_pipeline.adapters import matches
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline.domain.crm import COPY
from glp1_pipeline.sandbox.crm.server import page_key
from glp1_pipeline.sandbox.drills.site import Site

from .stream import EDITED_IN_CRM, EDITED_IN_EHR, MERGED, REMEMBERED, ROLES, Stream

LANGUAGES = ("vi", "es", "ko", "fr", "ar", "tl", "ru")
PATIENCE = 90.0
TRIES = 10
"""People who are looked at, until there is one whom it can be done to."""
TROUBLES = (psycopg.Error, ConnectionError, requests.RequestException, KeyError)


@dataclass
class Done:
    """What others did."""

    kinds: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """Decisions whose answer was lost: they may be in the ledger, or not."""
    languages: dict[str, str] = field(default_factory=dict)
    """Subject -> what a provider said last."""
    mobiles: dict[str, str] = field(default_factory=dict)
    """Subject -> what sales said last."""


class Others:
    """All of them; one after another."""

    def __init__(self, site: Site, road: Road, stream: Stream) -> None:
        self.site, self.road, self.stream = site, road, stream
        self.random = random.Random(f"others {stream.seed}")
        self.done = Done()
        self.merged: dict[int, tuple[str, str]] = {}
        self.browser = requests.Session()
        self.crm_url, token = site.settings.crm_access()
        self.key = page_key(token)

    def do(self, kind: str) -> bool:
        """To somebody whom it can be done to; False where there is none by now."""
        work = {
            "edit in the EHR": self._edit_in_ehr,
            "edit in the CRM": self._edit_in_crm,
            "merge": self._merge,
            "unmerge": self._unmerge,
        }[kind]
        did = any(work() for _ in range(TRIES))
        self.done.kinds[kind] += did
        return did

    def _someone(self, *roles: int) -> int:
        return self.random.randrange(max(1, self.stream.people // ROLES)) * ROLES + self.random.choice(roles)

    def _edit_in_ehr(self) -> bool:
        subject = self.stream.subject(self._someone(*EDITED_IN_EHR))
        language = self.random.choice(LANGUAGES)
        spoken = [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": language}]}, "preferred": True}]
        if len(self.done.languages) >= REMEMBERED and subject not in self.done.languages:
            return False
        remote = self._known(subject, EHR)
        place = next((f"Patient/{ids[0]}" for key, ids in remote.items() if key.startswith("Patient/")), None)
        if place is None:
            return False

        def edit() -> bool:
            there = requests.get(f"{self.site.ehr_url}/{place}", timeout=10)
            there.raise_for_status()
            version = {"If-Match": f'W/"{there.json()["meta"]["versionId"]}"'}
            resource = there.json() | {"communication": spoken}
            return requests.put(f"{self.site.ehr_url}/{place}", json=resource, headers=version, timeout=10).ok

        self._until(edit)
        self.done.languages[subject] = language
        return True

    def _edit_in_crm(self) -> bool:
        subject = self.stream.subject(self._someone(*EDITED_IN_CRM))
        mobile = f"+1206555{self.random.randrange(100, 200):04d}"
        if len(self.done.mobiles) >= REMEMBERED and subject not in self.done.mobiles:
            return False
        known = self._known(subject, "crm").get(COPY)
        if not known:
            return False

        def edit() -> bool:
            self.browser.get(f"{self.crm_url}/?key={self.key}", timeout=10).raise_for_status()
            answer = self.browser.post(f"{self.crm_url}/contacts/{known[0]}", data={"mobilephone": mobile}, timeout=10)
            return answer.ok and "Not saved" not in answer.text

        self._until(edit)
        self.done.mobiles[subject] = mobile
        return True

    def _merge(self) -> bool:
        first = self._someone(MERGED[0])
        if first in self.merged:
            return False
        records = [self._record(self.stream.subject(person)) for person in (first, first + 1)]
        if None in records:
            return False
        self.merged[first] = (str(records[0]), str(records[1]))
        return self._decide("merge", self.merged[first])

    def _unmerge(self) -> bool:
        if not self.merged:
            return False
        first = self.random.choice([*self.merged])
        return self._decide("unmerge", self.merged.pop(first))

    def _decide(self, action: matches.Action, records: tuple[str, str]) -> bool:
        """Once: a steward who does not know whether it was taken looks again tomorrow."""
        try:
            with self.road.connect("soak steward") as connection:
                matches.decide(
                    connection, self.road.contract, self.road.cipher, action, records, "steward-7", "a long run"
                )
        except TROUBLES:
            self.done.unknown[action] += 1
            return False
        return True

    def _record(self, subject: str) -> Any:
        rows = self._ask("select record_id::text from phi.identifiers where value = %s limit 1", subject)
        return rows[0][0] if rows else None

    def _known(self, subject: str, target: str) -> dict[str, Any]:
        rows = self._ask(
            "select c.remote from ops.copies c join phi.identifiers i on i.record_id = c.patient_id"
            " where i.value = %s and c.target = %s",
            subject,
            target,
        )
        return rows[0][0] if rows else {}

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        found: list[Any] = []

        def ask() -> bool:
            with self.road.connect("soak others") as connection:
                found[:] = connection.execute(statement.encode(), values).fetchall()
            return True

        self._until(ask)
        return found

    def _until(self, did: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                if did():
                    return
            except TROUBLES:
                pass  # down just now: somebody tries again
            if time.monotonic() > ends:
                raise SystemExit(f"{getattr(did, '__name__', 'it')}: not possible within {PATIENCE:.0f} s")
            time.sleep(0.3)
