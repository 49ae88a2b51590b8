"""A provider at work in the EHR, and what our ledger then holds: for the tests of changes. No expectation of a test."""

from __future__ import annotations

from typing import Any

import orjson
import psycopg
import requests

from glp1_pipeline import contracts
from glp1_pipeline.adapters.ehr import Ehr
from glp1_pipeline.adapters.ehr.polling import KINDS, Polled, poll_changes
from glp1_pipeline.domain.fhir.elements import PATIENT_SYSTEM, RESOURCE_SYSTEM
from glp1_pipeline_tests.deliveries import Patient, World

CONTRACT = contracts.load()


def begin_now(world: World) -> None:
    """Let the changes of this world's target begin here: the server is shared with the tests before."""
    for kind in KINDS:
        newest = requests.get(f"{world.ehr_url}/{kind}?_sort=-_lastUpdated&_count=1", timeout=10).json()
        stamps = [e["resource"]["meta"]["lastUpdated"] for e in newest.get("entry", ())]
        world.connection.execute(
            "insert into ops.poll_cursors (system, kind, since) values (%s, %s, coalesce(%s::timestamptz, now()))",
            (world.target, kind, (stamps or [None])[0]),
        )


def poll(world: World, ehr: Ehr | None = None, **options: Any) -> Polled:
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        return poll_changes(connection, ehr or world.ehr(), CONTRACT, world.cipher, world.target, **options)


def events(world: World) -> list[dict[str, Any]]:
    """What the ledger holds of this world's EHR, in the order that it came in."""
    rows = world.connection.execute(
        "select event_id, kid, body, status from phi.events where source = %s order by seq", (f"/ehr/{world.target}",)
    ).fetchall()
    assert all(status == "waiting" for *_, status in rows)
    return [orjson.loads(world.cipher.open(kid, bytes(body), f"events|{event_id}")) for event_id, kid, body, _ in rows]


def told(world: World) -> list[tuple[str, str, bool]]:
    """Of each event the resource, its version and whether it is gone."""
    return [
        (f"{d['resource_type']}/{d['resource_id']}", d["version"], d["deleted"])
        for d in (e["data"] for e in events(world) if e["type"] == "chart.updated")
    ]


def chart(patient: Patient, said: str = "Canary", **more: Any) -> dict[str, Any]:
    """A whole chart as ours are: its Patient says whose record it is."""
    bundle = patient.chart(1, said, **more)
    identify(patient, bundle)
    return bundle


def identify(patient: Patient, bundle: dict[str, Any]) -> dict[str, Any]:
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "Patient":
            entry["resource"]["identifier"] = [
                {"system": RESOURCE_SYSTEM, "value": entry["resource"]["id"]},
                {"system": PATIENT_SYSTEM, "value": str(patient.patient_id)},
            ]
    return bundle


class Provider:
    """Works in the EHR itself, past every proxy."""

    def __init__(self, world: World) -> None:
        self.world = world

    def place(self, patient: Patient, kind: str, role: str) -> str:
        return f"{kind}/{self.world.remote(patient)[f'{kind}/{patient.rid(role)}'][0]}"

    def read(self, place: str) -> dict[str, Any]:
        answer = requests.get(f"{self.world.ehr_url}/{place}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def edit(self, place: str, **content: Any) -> dict[str, Any]:
        """Returns the resource as it then stands."""
        resource = self.read(place) | content
        requests.put(f"{self.world.ehr_url}/{place}", json=resource, timeout=10).raise_for_status()
        return self.read(place)

    def create(self, kind: str, **content: Any) -> dict[str, Any]:
        body = {"resourceType": kind, **content}
        answer = requests.post(
            f"{self.world.ehr_url}/{kind}", json=body, headers={"Prefer": "return=representation"}, timeout=10
        )
        answer.raise_for_status()
        return answer.json()

    def batch(self, kind: str, contents: list[dict[str, Any]]) -> None:
        entries = [
            {"resource": {"resourceType": kind, **c}, "request": {"method": "POST", "url": kind}} for c in contents
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        requests.post(self.world.ehr_url, json=bundle, timeout=60).raise_for_status()

    def delete(self, place: str) -> None:
        requests.delete(f"{self.world.ehr_url}/{place}", timeout=10).raise_for_status()
