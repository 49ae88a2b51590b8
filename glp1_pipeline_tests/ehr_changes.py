"""A provider at work in the EHR, and what our ledger then holds: for the tests of changes. No expectation of a test."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
import psycopg
import requests
from psycopg.types.json import Jsonb

from glp1_pipeline.adapters.ehr import Ehr
from glp1_pipeline.adapters.ehr.polling import KINDS, Polled, poll_changes
from glp1_pipeline.domain.fhir.elements import PATIENT_SYSTEM, RESOURCE_SYSTEM
from glp1_pipeline.sandbox.drills.proxy import FaultProxy
from glp1_pipeline_tests.deliveries import Patient, World
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()


def begin_now(world: World) -> None:
    """Let the changes of this world's target begin here: the server is shared with the tests before."""
    for kind in KINDS:
        newest = requests.get(f"{world.ehr_url}/{kind}?_sort=-_lastUpdated&_count=1", timeout=10).json()
        stamps = [e["resource"]["meta"]["lastUpdated"] for e in newest.get("entry", ())]
        world.connection.execute(
            "insert into ops.poll_cursors (system, kind, since) values (%s, %s, coalesce(%s::timestamptz + interval '1 ms', now()))",
            (world.target, kind, (stamps or [None])[0]),
        )


def begin_at(world: World, stamp: datetime) -> None:
    for kind in KINDS:
        world.connection.execute(
            "insert into ops.poll_cursors (system, kind, since) values (%s, %s, %s)"
            " on conflict (system, kind) do update set since = excluded.since, seen = '{}'",
            (world.target, kind, stamp),
        )


def age_cursor(world: World) -> None:
    """As if all that we know of how far we are were an hour old."""
    rows = world.connection.execute(
        "select kind, seen from ops.poll_cursors where system = %s and kind <> 'sweep'", (world.target,)
    ).fetchall()
    for kind, seen in rows:
        for name in ("began", "ceiling_since", "newest_since"):
            if name in seen:
                seen[name] = (datetime.fromisoformat(seen[name]) - timedelta(hours=1)).isoformat()
        world.connection.execute(
            "update ops.poll_cursors set seen = %s where system = %s and kind = %s", (Jsonb(seen), world.target, kind)
        )


def age_sweep(world: World) -> None:
    """As if the sweep had begun a day ago."""
    world.connection.execute(
        "update ops.poll_cursors set since = since - interval '1 day' where system = %s and kind = 'sweep'",
        (world.target,),
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


Answer = tuple[int, bytes, dict[str, str]]


class PlainServer(FaultProxy):
    """The same EHR as another make of server: what it offers, what its clock says, what it shows and when."""

    def __init__(
        self,
        upstream: str,
        *,
        history: bool = True,
        gone: int = 410,
        links: bool = True,
        one_instant: bool = False,
        ignores_since: bool = False,
        next_host: str = "",
        most: int = 1000,
    ) -> None:
        super().__init__(upstream)
        self.history, self.gone, self.links = history, gone, links
        self.one_instant, self.ignores_since, self.next_host = one_instant, ignores_since, next_host
        self.most = most
        self.ahead = timedelta(0)
        self.hidden: set[str] = set()
        """Ids that no search shows yet."""
        self.before_read: Callable[[str], None] = lambda path: None

    def __enter__(self) -> PlainServer:
        super().__enter__()
        return self

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        if method == "GET":
            self.before_read(path)
        if "/_history" in path and not self.history:
            return 404, b'{"resourceType":"OperationOutcome","issue":[]}', {}
        is_search = method == "GET" and "?" in path and "/_history" not in path
        asked = self._without_since(path) if is_search and self.ignores_since else path
        code, raw, kept = super().answer(method, self._by_our_clock(asked) if is_search else asked, body, headers)
        content = json.loads(raw) if raw else {}
        if path.endswith("/metadata") and not self.history:
            for resource in content["rest"][0]["resource"]:
                resource["interaction"] = [i for i in resource["interaction"] if "history" not in i["code"]]
        elif content.get("type") == "batch-response":
            for entry in content["entry"]:
                if entry["response"]["status"].startswith("410"):
                    entry["response"]["status"] = str(self.gone)
        elif is_search and content.get("type") == "searchset":
            self._shown(content, path)
        return code, json.dumps(content).encode() if raw else raw, kept

    def _shown(self, bundle: dict[str, Any], path: str) -> None:
        bundle["entry"] = [e for e in bundle.get("entry", ()) if e["resource"].get("id") not in self.hidden]
        for entry in bundle["entry"]:
            meta = entry["resource"].get("meta", {})
            if "lastUpdated" in meta:
                stamp = datetime.fromisoformat(meta["lastUpdated"])
                if self.one_instant:
                    stamp = stamp.replace(second=stamp.second // 10 * 10, microsecond=0)
                meta["lastUpdated"] = (stamp + self.ahead).isoformat()
        kept = [one for one in bundle["link"] if one["relation"] == "next" and self.links]
        for one in kept:
            there = self.next_host or self.url.removesuffix(self.path)
            one["url"] = there + self.path + one["url"].partition(self.path)[2]
        bundle["link"] = kept

    def _by_our_clock(self, path: str) -> str:
        """The search as the server behind must be asked, whose clock is right and finer than an instant of ours."""
        head, _, query = path.partition("?")
        asked = []
        for name, value in parse_qsl(query):
            if name == "_lastUpdated":
                stamp = datetime.fromisoformat(value.removeprefix("ge")) - self.ahead
                if self.one_instant:
                    rest = timedelta(seconds=stamp.second % 10, microseconds=stamp.microsecond)
                    stamp = stamp - rest + timedelta(seconds=10) if rest else stamp
                value = "ge" + stamp.isoformat(timespec="milliseconds")
            elif name == "_count":
                value = str(min(int(value), self.most))
            asked.append((name, value))
        return f"{head}?{urlencode(asked)}"

    def _without_since(self, path: str) -> str:
        head, _, query = path.partition("?")
        return f"{head}?{urlencode([one for one in parse_qsl(query) if one[0] not in ('_lastUpdated', '_sort')])}"


if __name__ == "__main__":
    # A poller to be killed: of the database and the EHR that it is told.
    from glp1_pipeline.adapters.cipher import Cipher
    from glp1_pipeline.adapters.ehr import EhrSettings
    from glp1_pipeline.domain.contract import EHR
    from glp1_pipeline_tests.small_road import RING

    own, door = Cipher(RING), Ehr(EhrSettings(sys.argv[2], read_timeout=5.0))
    assert door.capability
    with psycopg.connect(sys.argv[1], autocommit=True) as mine:
        print("ready", flush=True)
        while True:
            poll_changes(mine, door, CONTRACT, own, EHR)
