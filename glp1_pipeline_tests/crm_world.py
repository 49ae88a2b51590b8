"""A small world for tests of the CRM: a database, a target of its own in it, and what is planned and noticed.

Not here: any expectation of a test, and the CRM itself (`crm_process`).
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from glp1_pipeline.adapters import ledger
from glp1_pipeline.adapters.crm import Crm
from glp1_pipeline.adapters.crm.changes import Noticed, has_news, notice
from glp1_pipeline.adapters.outbox import Contacts, DeliveryReport, conflicts, deliver_pending, settle_conflict
from glp1_pipeline.domain.crm import COPY
from glp1_pipeline_tests.deliveries import write_kind
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, connect


class CrmWorld:
    """One road whose CRM writes go to one CRM."""

    target = "crm"

    def __init__(self, road: SmallRoad) -> None:
        self.road, self.connection = road.under(contract()), road.connection

    def plan(self, key: str, n: int, when_new: dict[str, str] | None = None, **properties: str) -> None:
        """Insert the next write of a patient's contact, as the planner does: the lane first."""
        body = orjson.dumps({COPY: {"key": key, "properties": properties, "when_new": when_new or {}}})
        with self.connection.transaction():
            self.connection.execute(
                "insert into ops.breakers (target, state, changed_at) values (%s, 'closed', now()) on conflict do nothing",
                (self.target,),
            )
            self.connection.execute(
                "insert into ops.lanes (target, patient_id, has_work, next_at) values ('crm', %s, true, now())"
                " on conflict (target, patient_id) do update set has_work = true",
                (key,),
            )
            row = self.connection.execute(
                "insert into ops.writes (target, patient_id, n, kind, resources, status, events, created_at)"
                " values ('crm', %s, %s, 'crm_contact', 1, 'ready', '{}', now()) returning write_id",
                (key, n),
            ).fetchone()
            assert row is not None
            self.connection.execute(
                "insert into phi.write_bodies (write_id, kid, body) values (%s, %s, %s)",
                (row[0], *self.road.cipher.seal(body, f"writes|{row[0]}")),
            )
            self.connection.execute(
                "insert into ops.copies (target, patient_id, n) values ('crm', %s, %s)"
                " on conflict (target, patient_id) do update set n = excluded.n",
                (key, n),
            )

    def deliver(self, crm: Crm, **options: Any) -> DeliveryReport:
        """Deliver what is due now."""

        def append(documents: list[bytes]) -> None:
            with connect(self.road.url) as connection:
                ledger.append(connection, self.road.contract, self.road.cipher, documents)

        return deliver_pending(
            lambda: connect(self.road.url),
            Contacts(crm, self.road.contract, append),
            write_kind("crm", kind="crm_contact"),
            self.road.cipher.open,
            **{"deadline": 20.0, "workers": 2, **options},
        )

    def drain(self, crm: Crm, rounds: int = 60) -> None:
        """Deliver until nothing is open, waiting out retries, leases and the breaker."""
        from glp1_pipeline.adapters.outbox import wait_for_due

        for _ in range(rounds):
            if not {"ready", "in_doubt"} & self.statuses().keys():
                return
            if wait_for_due(self.connection, "crm", 1.0):
                self.deliver(crm)
        raise AssertionError(f"still open: {self.statuses()}")

    def notice(self, crm: Crm) -> Noticed:
        """Look once for changes."""
        contract, cipher = self.road.contract, self.road.cipher
        return notice(self.connection, crm, contract, lambda d: ledger.append(self.connection, contract, cipher, d))

    def has_news(self, crm: Crm) -> bool:
        return has_news(self.connection, crm, self.road.contract)

    def events(self) -> list[dict[str, Any]]:
        """The contact events in the ledger, in the order in which they came."""
        rows = self.road.rows(
            "select event_id, kid, body from phi.events where type = 'contact.updated' and status <> 'rejected'"
            " order by seq"
        )
        return [orjson.loads(self.road.cipher.open(kid, bytes(body), f"events|{i}")) for i, kid, body in rows]

    def statuses(self) -> dict[str, int]:
        return dict(self.road.rows("select status, count(*) from ops.writes where target = 'crm' group by 1"))

    def outcomes(self) -> list[str]:
        return [outcome for (outcome,) in self.road.rows("select outcome from ops.deliveries order by delivery_id")]

    def place(self, key: str) -> list[str] | None:
        return self.road.one("select remote -> 'contact' from ops.copies where patient_id = %s", key)

    def conflict(self, key: str) -> str | None:
        found = conflicts(self.connection, "crm", key)
        return found[0].reason if found else None

    def decide(self, key: str, decision: Any) -> None:
        assert settle_conflict(self.connection, "crm", key, COPY, decision)

    def breaker(self) -> tuple[str, str | None]:
        rows = self.road.rows("select state, reason from ops.breakers where target = 'crm'")
        return rows[0] if rows else ("closed", None)


def new_key() -> str:
    return str(uuid.uuid4())
