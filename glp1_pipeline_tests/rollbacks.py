"""A small road before a real EHR, for tests of rollback: charts go there, are taken back, and what it says is read.

Run as a program it applies a plan and dies by SIGKILL in the middle. Not here: any expectation of a test.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

import requests

from glp1_pipeline.adapters import rollback, store
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings, read_back
from glp1_pipeline.adapters.ehr_compare import Compared, compare
from glp1_pipeline.adapters.outbox import DeliveryReport, deliver_pending
from glp1_pipeline.domain.fhir.elements import RESOURCE_SYSTEM
from glp1_pipeline_tests.small_road import SmallRoad, connect

BY = ("steward-7", "wrong spelling")


class Told:
    """One road and one EHR."""

    def __init__(self, road: SmallRoad, ehr_url: str) -> None:
        self.road = road
        self.ehr = Ehr(EhrSettings(ehr_url, connect_timeout=5.0, read_timeout=20.0))

    def deliver(self, **more: Any) -> DeliveryReport:
        road = self.road
        return deliver_pending(
            lambda: store.connect(road.url, "glp1 delivery"),
            self.ehr,
            road.contract.writes["ehr_chart"],
            road.cipher.open,
            deadline=30.0,
            **more,
        )

    def choose(self, **selection: Any) -> uuid.UUID:
        return rollback.choose(self.road.connection, rollback.Selection(**selection))

    def look(self, plan_id: uuid.UUID) -> rollback.Told:
        return rollback.dry_run(self.road.connection, self.road.contract, self.road.cipher, self.ehr, plan_id)

    def apply(self, plan_id: uuid.UUID, **more: Any) -> rollback.Told:
        return rollback.apply(self.road.connection, self.road.contract, self.road.cipher, self.ehr, plan_id, **more)

    def do(self, plan_id: uuid.UUID, **more: Any) -> rollback.Told:
        rollback.approve(self.road.connection, plan_id, *BY)
        return self.apply(plan_id, **more)

    def undo(self, **selection: Any) -> dict[str, Any]:
        """All the way to the EHR; the receipt."""
        plan_id = self.choose(**selection)
        self.look(plan_id)
        self.do(plan_id)
        self.deliver()
        return rollback.receipt(self.road.connection, plan_id)

    def compare(self) -> Compared:
        return compare(self.road.connection, self.ehr, self.road.cipher)

    def places(self) -> dict[str, list[str]]:
        """Of each resource of ours its id and version there, but for Provenances."""
        rows = self.road.rows("select e.key, e.value from ops.copies c, jsonb_each(c.remote) e order by 1")
        return {key: place for key, place in rows if not key.startswith("Provenance/")}

    def says(self) -> dict[str, Any]:
        """What the EHR says now of each of our resources, but for what is its own."""
        return {
            found.key: {k: v for k, v in (found.content or {}).items() if k not in ("meta", "text")}
            for found in read_back(self.ehr, self.places())
        }

    def statuses(self) -> dict[str, str]:
        """Of each resource that has one its status, or of its verification."""
        found = {}
        for key, content in self.says().items():
            verified = content.get("verificationStatus", {}).get("coding", [{}])[0].get("code")
            if status := verified or content.get("status"):
                found[key] = status
        return found

    def edit(self, key: str, **change: Any) -> None:
        """Somebody there changes a resource of ours."""
        remote_id = self.places()[key][0]
        kind = key.partition("/")[0]
        now = self.ehr.wire.call("GET", f"/{kind}/{remote_id}").content
        requests.put(f"{self.ehr.settings.url}/{kind}/{remote_id}", json={**now, **change}, timeout=10)

    def delete(self, key: str) -> None:
        requests.delete(f"{self.ehr.settings.url}/{key.partition('/')[0]}/{self.places()[key][0]}", timeout=10)

    def versions(self, key: str) -> list[dict[str, Any]]:
        """All that a resource ever said, the oldest first."""
        kind = key.partition("/")[0]
        told = self.ehr.wire.call("GET", f"/{kind}/{self.places()[key][0]}/_history?_count=100").content
        return [entry["resource"] for entry in reversed(told["entry"])]

    def count(self, kind: str, ours: str) -> int:
        """How many resources there carry our id."""
        told = self.ehr.wire.call("GET", f"/{kind}?identifier={RESOURCE_SYSTEM}|{ours}&_summary=count").content
        return told["total"]


if __name__ == "__main__":
    # Applies a plan and dies by SIGKILL: just before the commit of the chunk, or right after it.
    with connect(sys.argv[1]) as own:
        mine = Told(SmallRoad(sys.argv[1], Path("/nowhere"), own), sys.argv[2])
        doing = import_module("glp1_pipeline.adapters.rollback.apply")
        save, chunks = doing.save, []

        def mortal(*given: Any) -> None:
            save(*given)
            chunks.append(1)
            if sys.argv[4] == "before" and len(chunks) == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        def last_words(_: rollback.Told) -> None:
            if sys.argv[4] == "after" and len(chunks) == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        vars(doing)["save"] = mortal
        mine.apply(uuid.UUID(sys.argv[3]), progress=last_words)
