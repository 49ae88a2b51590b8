"""An EHR of another make with our door to it, for a test: deliver there, ask it for changes.

Here: the pieces that tests of delivering and of listening share. Not here: the EHR itself (`other_ehr`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from glp1_pipeline.adapters.ehr import Ehr
from glp1_pipeline_tests.deliveries import Patient, World
from glp1_pipeline_tests.ehr_changes import poll
from glp1_pipeline_tests.other_ehr import Make, OtherEhr, Resource, outcome

INTERNAL = "http://internal:8080/fhir"


def warned(answer: Resource) -> Resource:
    for entry in answer["entry"]:
        entry["response"]["outcome"] = outcome("warning")
        found = entry.get("resource") or {}
        if found.get("type") == "searchset":
            found.setdefault("entry", []).append({"resource": outcome("warning"), "search": {"mode": "outcome"}})
    return answer


@dataclass
class Site:
    """An EHR of a make, our door to it, and one patient whose chart is there."""

    ehr: OtherEhr
    client: Ehr
    world: World
    patient: Patient

    def deliver(self, bundle: Resource) -> None:
        self.world.plan(self.patient, bundle)
        self.world.drain(self.client)

    @property
    def me(self) -> str:
        """The Patient, as it is called there."""
        return "Patient/" + self.world.remote(self.patient)[f"Patient/{self.patient.rid('me')}"][0]

    def poll(self) -> Any:
        time.sleep(1.1 * self.ehr.make.stale_for)
        return poll(self.world, self.client)


class at:  # noqa: N801 - used as a context manager
    def __init__(self, world: World, make: Make, url: str = "") -> None:
        self.world, self.ehr, self.url = world, OtherEhr(make), url

    def __enter__(self) -> Site:
        self.ehr.__enter__()
        known = {"client_id": "us", "client_secret": "hush"} if self.ehr.make.token_seconds is not None else {}
        client = self.world.ehr(self.ehr.root + self.url if self.url else self.ehr.url + "/", **known)
        return Site(self.ehr, client, self.world, self.world.patients(1)[0])

    def __exit__(self, *_: object) -> None:
        self.ehr.__exit__()
