"""A small world for tests of delivery: invented charts, a planner as the pipeline's own, and what the EHR holds after.

Run as a program it is a deliverer to be killed. Not here: any expectation but that each resource is there once.
"""

from __future__ import annotations

import base64
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import requests
from psycopg.types.json import Jsonb

from glp1_pipeline.adapters import store
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings, count_by_identifier, read_back
from glp1_pipeline.adapters.outbox import DeliveryReport, Heard, conflicts, deliver_pending
from glp1_pipeline.domain.contract import WriteKind
from glp1_pipeline.domain.fhir.elements import RESOURCE_SYSTEM

RING = KeyRing("k1", {"k1": base64.b64decode("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")}, b"p" * 32)
WRITE_SYSTEM = "urn:glp1-pipeline:write"


def write_kind(target: str, **changes: Any) -> WriteKind:
    settings: dict[str, Any] = {
        "kind": "ehr_chart",
        "target": target,
        "description": "a chart's change",
        "max_tries": 30,
        "first_retry_seconds": 0.05,
        "max_retry_seconds": 0.4,
        "give_up_after_hours": 1.0,
        "rollback": "restore",
        "max_in_flight": 4,
    }
    return WriteKind(**{**settings, **changes})


@dataclass
class Patient:
    """One invented patient; `chart(n, said)` is all that is written of them."""

    patient_id: uuid.UUID

    def rid(self, role: str) -> str:
        return str(uuid.uuid5(self.patient_id, role))

    def ref(self, kind: str, role: str) -> dict[str, str]:
        return {"reference": f"{kind}/{self.rid(role)}"}

    def made(self, kind: str, role: str, **content: Any) -> dict[str, Any]:
        rid = self.rid(role)
        return {"resourceType": kind, "id": rid, "identifier": [{"system": RESOURCE_SYSTEM, "value": rid}], **content}

    def change(self, n: int, *resources: dict[str, Any]) -> dict[str, Any]:
        """A change of some resources, with its provenance."""
        return self._bundle(n, list(resources))

    def flag(self, status: str) -> dict[str, Any]:
        because = [{"url": "urn:test:because", "valueReference": self.ref("Observation", "weight")}]
        me = self.ref("Patient", "me")
        return self.made("Flag", "red", status=status, code={"text": "red"}, subject=me, extension=because)

    def condition(self, role: str) -> dict[str, Any]:
        """Refers to the flag, too."""
        because = [{"url": "urn:test:because", "valueReference": self.ref("Flag", "red")}]
        me = self.ref("Patient", "me")
        return self.made("Condition", role, code={"text": role}, subject=me, extension=because)

    def chart(self, n: int, said: str, extra: int = 0) -> dict[str, Any]:
        """The n-th change: first the whole chart, later the patient and the weight alone."""
        me = self.ref("Patient", "me")
        answers = self.ref("QuestionnaireResponse", "answers")
        resources = [
            self.made("Patient", "me", name=[{"family": said, "given": ["Invented"]}]),
            self.made(
                "Observation", "weight", status="preliminary", code={"text": "Body weight"}, subject=me,
                valueQuantity={"value": 80.0 + n, "unit": "kg"}, derivedFrom=[answers],
            ),
        ]  # fmt: skip
        if n == 1:
            answers_resource = self.made(
                "QuestionnaireResponse", "answers", status="completed", subject=me, author=me,
                item=[{"linkId": "anthro.weight", "answer": [{"valueDecimal": 82.5}]}],
            )  # fmt: skip
            answers_resource["identifier"] = {"system": "urn:test:submission", "value": self.rid("submission")}
            resources += [
                answers_resource,
                self.made("Condition", "hypertension", code={"text": "Hypertension"}, subject=me),
                self.made(
                    "FamilyMemberHistory", "mother", status="partial", patient=me, relationship={"text": "mother"}
                ),
                self.flag("active"),
            ]
            resources += [
                self.made("Observation", f"more{i}", status="preliminary", code={"text": f"fact {i}"}, subject=me)
                for i in range(extra)
            ]
        return self._bundle(n, resources)

    def _bundle(self, n: int, resources: list[dict[str, Any]]) -> dict[str, Any]:
        proof = {
            "resourceType": "Provenance",
            "id": self.rid(f"Provenance/{n}"),
            "meta": {"tag": [{"system": WRITE_SYSTEM, "code": f"{self.patient_id}.{n}"}]},
            "target": [{"reference": f"{r['resourceType']}/{r['id']}"} for r in resources],
            "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"display": "glp1_pipeline"}}],
        }
        return {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": f"urn:uuid:{r['id']}",
                    "resource": r,
                    "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"},
                }
                for r in [*resources, proof]
            ],
        }


class World:
    """A target of its own in the shared database, before one server."""

    def __init__(self, database_url: str, ehr_url: str, target: str | None = None) -> None:
        self.database_url = database_url
        self.ehr_url = ehr_url
        self.target = target or f"ehr-{uuid.uuid4().hex[:8]}"
        self.cipher = Cipher(RING)
        self.connection = psycopg.connect(database_url, autocommit=True)
        self._ehrs: list[Ehr] = []

    def close(self) -> None:
        self.connection.close()
        for ehr in self._ehrs:
            ehr.close()

    def ehr(self, url: str | None = None, **settings: Any) -> Ehr:
        chosen = {"connect_timeout": 1.0, "read_timeout": 2.0, **settings}
        ehr = Ehr(EhrSettings(url or self.ehr_url, **chosen))
        self._ehrs.append(ehr)
        return ehr

    def patients(self, count: int) -> list[Patient]:
        return [Patient(uuid.uuid4()) for _ in range(count)]

    def plan(self, patient: Patient, bundle: dict[str, Any]) -> int:
        """Insert the next write, as the pipeline's planner does: the lane first."""
        with self.connection.transaction():
            self.connection.execute(
                "insert into ops.breakers (target, state, changed_at) values (%s, 'closed', now()) on conflict do nothing",
                (self.target,),
            )
            self.connection.execute(
                "insert into ops.lanes (target, patient_id, has_work, next_at) values (%s, %s, true, now())"
                " on conflict (target, patient_id) do update set has_work = true",
                (self.target, patient.patient_id),
            )
            body = json.dumps(bundle).encode()
            row = self.connection.execute(
                "insert into ops.writes (target, patient_id, n, kind, resources, status, events, created_at)"
                " select %s, %s, coalesce(max(n), 0) + 1, 'ehr_chart', %s, 'ready', '{}', now() from ops.writes"
                " where target = %s and patient_id = %s returning write_id, n",
                (self.target, patient.patient_id, len(bundle["entry"]), self.target, patient.patient_id),
            ).fetchone()
            assert row is not None
            self.connection.execute(
                "insert into phi.write_bodies (write_id, kid, body) values (%s, %s, %s)",
                (row[0], *self.cipher.seal(body, f"writes|{row[0]}")),
            )
            self.connection.execute(
                "insert into ops.copies (target, patient_id, n) values (%s, %s, %s)"
                " on conflict (target, patient_id) do update set n = excluded.n",
                (self.target, patient.patient_id, row[1]),
            )
        return row[0]

    def deliver(self, ehr: Ehr | Heard | None = None, kind: WriteKind | None = None, **options: Any) -> DeliveryReport:
        chosen = {"deadline": 20.0, "workers": 4, **options}
        return deliver_pending(
            lambda: store.connect(self.database_url, "glp1 delivery"),
            ehr or self.ehr(),
            kind or write_kind(self.target),
            self.cipher.open,
            **chosen,
        )

    def writes(self, status: str | None = None) -> list[tuple[int, str, int, str | None]]:
        rows = self.connection.execute(
            "select write_id, status, tries, last_class from ops.writes where target = %s order by write_id",
            (self.target,),
        ).fetchall()
        return [row for row in rows if status is None or row[1] == status]

    def statuses(self) -> dict[str, int]:
        rows = self.connection.execute(
            "select status, count(*) from ops.writes where target = %s group by 1", (self.target,)
        )
        return dict(rows.fetchall())

    def outcomes(self) -> list[str]:
        rows = self.connection.execute(
            "select outcome from ops.deliveries d join ops.writes w using (write_id) where target = %s order by 1",
            (self.target,),
        )
        return [outcome for (outcome,) in rows.fetchall()]

    def lane(self, patient: Patient) -> tuple[bool, str | None, Any]:
        row = self.connection.execute(
            "select has_work, blocked, token from ops.lanes where target = %s and patient_id = %s",
            (self.target, patient.patient_id),
        ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    def remote(self, patient: Patient) -> dict[str, list[str]]:
        row = self.connection.execute(
            "select remote from ops.copies where target = %s and patient_id = %s", (self.target, patient.patient_id)
        ).fetchone()
        assert row is not None
        return row[0]

    def conflicts(self, patient: Patient) -> dict[str, tuple[str, str | None]]:
        """By resource the reason and the decision."""
        found = conflicts(self.connection, self.target, str(patient.patient_id))
        return {one.key: (one.reason, one.decision) for one in found}

    def set_remote(self, patient: Patient, remote: dict[str, list[str]]) -> None:
        self.connection.execute(
            "update ops.copies set remote = %s where target = %s and patient_id = %s",
            (Jsonb(remote), self.target, patient.patient_id),
        )

    def breaker(self) -> tuple[str, int, str | None]:
        row = self.connection.execute(
            "select state, failures, reason from ops.breakers where target = %s", (self.target,)
        ).fetchone()
        return row or ("closed", 0, None)

    def drain(self, ehr: Ehr | Heard | None = None, rounds: int = 100, **options: Any) -> None:
        """Deliver until nothing is open, waiting out retries, leases and the breaker."""
        from glp1_pipeline.adapters.outbox import wait_for_due

        mine = ehr or self.ehr()
        for _ in range(rounds):
            if not {"ready", "in_doubt"} & set(self.statuses()):
                return
            if wait_for_due(self.connection, self.target, 1.0):
                self.deliver(mine, **options)
        raise AssertionError(f"still open: {self.statuses()}")


def get(url: str) -> Any:
    answer = requests.get(url, timeout=10)
    answer.raise_for_status()
    return answer.json()


def contents_over_time(ehr_url: str, kind: str, remote_id: str, pick: Callable[[dict[str, Any]], Any]) -> list[Any]:
    """What each version of a resource said, oldest first, repeats of one after another taken together."""
    history = get(f"{ehr_url}/{kind}/{remote_id}/_history?_count=500")
    said: list[Any] = []
    for entry in reversed(history["entry"]):
        value = pick(entry["resource"])
        if not said or said[-1] != value:
            said.append(value)
    return said


def family_name(patient: dict[str, Any]) -> str:
    return patient["name"][0]["family"]


def in_ehr(world: World, patient: Patient, kind: str, role: str) -> dict[str, Any]:
    remote_id = world.remote(patient)[f"{kind}/{patient.rid(role)}"][0]
    return get(f"{world.ehr_url}/{kind}/{remote_id}")


def assert_each_once(world: World, patients: list[Patient], ehr_url: str | None = None) -> None:
    """Every resource of every patient is in the EHR once, and at the version that we believe."""
    client = world.ehr(ehr_url)
    for patient in patients:
        remote = world.remote(patient)
        for found in read_back(client, remote):
            assert found.exists
            assert found.version == remote[found.key][1]
        identified = [key for key in remote if key.split("/")[0] in ("Patient", "Observation", "Condition", "Flag")]
        assert dict(count_by_identifier(client, identified)) == dict.fromkeys(identified, 1)
        delivered = world.connection.execute(
            "select n from ops.writes where target = %s and patient_id = %s and status = 'delivered'",
            (world.target, patient.patient_id),
        ).fetchall()
        assert len([key for key in remote if key.startswith("Provenance/")]) == len(delivered)
        for (n,) in delivered:
            tag = f"{WRITE_SYSTEM}|{patient.patient_id}.{n}"
            assert get(f"{world.ehr_url}/Provenance?_summary=count&_tag={tag}")["total"] == 1


def change_flag(world: World, patient: Patient, how: str) -> None:
    """As a provider does it in the EHR."""
    flag = in_ehr(world, patient, "Flag", "red")
    url = f"{world.ehr_url}/Flag/{flag['id']}"
    if how == "deleted_in_ehr":
        requests.delete(url, timeout=10).raise_for_status()
    else:
        requests.put(url, json={**flag, "code": {"text": "seen"}}, timeout=10).raise_for_status()


if __name__ == "__main__":
    world = World(sys.argv[1], sys.argv[2], sys.argv[3])
    client = world.ehr(read_timeout=1.0)
    print("ready", flush=True)
    while True:
        world.deliver(client, deadline=1.0)
