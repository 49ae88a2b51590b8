"""Drills of the EHR: it fails in each of the ways that servers and networks fail.

Not here: its credential and its certificate (`access`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from .drill import Drill
from .ending import DrillFailed
from .programs import wait_until
from .proxy import COMMIT_THEN_HALF, COMMIT_THEN_WRONG_JSON, RESET, Fault, slow, status
from .scene import Scene

ONCE = "the next try succeeds within seconds, so nobody has to be called"
LATE = 3.5
"""Seconds: more than the loops' patience with a call."""
DOWN = "breaker_open"


def _down(fault: Fault, healed: str = "the EHR answers again") -> Callable[[Scene], None]:
    """Everything gets this until it is mended."""

    def run(scene: Scene) -> None:
        scene.break_("every call to the EHR ends so from now on", lambda: scene.proxy.always(fault))
        scene.feed(6)
        scene.until_detected()
        scene.heal(healed, scene.proxy.heal)
        scene.until_settled()

    return run


def _some(*faults: Fault) -> Callable[[Scene], None]:
    """The next calls that write end so, one after another; then all is well."""

    def run(scene: Scene) -> None:
        scene.break_(f"the next {len(faults)} writes to the EHR end so", lambda: scene.proxy.plan(*faults))
        scene.feed(6)
        scene.until_detected()
        scene.until_settled()

    return run


def _half_refused(scene: Scene) -> None:
    """As a server that takes batches alone: what came before the refusal is there, the rest is not."""

    def refuse(content: dict[str, Any]) -> Fault | None:
        entries = content.get("entry", [])
        if content.get("type") != "transaction" or len(entries) < 2:
            return None
        half = {**content, "entry": entries[: len(entries) // 2]}
        requests.post(scene.site.ehr_url, json=half, headers=FHIR, timeout=20).raise_for_status()
        return status(500)

    def once(content: dict[str, Any]) -> Fault | None:
        fault = refuse(content)
        if fault:
            scene.proxy.rule = None
        return fault

    scene.break_("of the next transaction half is taken and then it fails", lambda: setattr(scene.proxy, "rule", once))
    scene.feed(6)
    scene.until_detected()
    scene.until_settled()


FHIR = {"Content-Type": "application/fhir+json"}
SPOKEN = [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "vi"}]}, "preferred": True}]


def _edited(scene: Scene) -> None:
    """A provider saves the Patient between our last write and the next one."""
    first, *_ = people = scene.feed(3)
    scene.broken_at = 0.0
    wait_until(lambda: not scene.left() and _place(scene, first), 30, "the first submissions did not reach the EHR")
    scene.site.stop("contacts")  # it listens to the EHR, and might hear of it before the next write does
    url = f"{scene.site.ehr_url}/{_place(scene, first)}"
    there = requests.get(url, timeout=10).json()

    def edit() -> None:
        requests.put(url, json=there | {"communication": SPOKEN}, headers=FHIR, timeout=10).raise_for_status()
        scene.drop(*[scene.amended(p, 2, {"demo.mobile": "+12065550199"}) for p in people])

    scene.break_("a provider changes a Patient while a change of ours to it is on its way", edit)
    scene.until_detected()
    scene.heal("we listen to the EHR again", scene.site.start_loops)
    scene.until_settled()
    there = requests.get(url, timeout=10).json()
    if there.get("communication") != SPOKEN:
        raise DrillFailed("what the provider said was written over")


def _place(scene: Scene, person: dict[str, Any]) -> str | None:
    rows = scene.rows(
        "select c.remote from ops.copies c join phi.identifiers i on i.record_id = c.patient_id"
        " where c.target = 'ehr' and i.value = %s",
        person["subject"],
    )
    found = [f"Patient/{ids[0]}" for (remote,) in rows for key, ids in remote.items() if key.startswith("Patient/")]
    return found[0] if found else None


DRILLS = [
    Drill("ehr-commits-then-times-out", "ehr",
          "The EHR does what we ask, and its answer comes after we stopped waiting.",
          None, _some(slow(LATE), slow(LATE)), ONCE),
    Drill("ehr-commits-then-resets", "ehr", "The EHR does what we ask, and the line is torn before it can say so.",
          None, _some(RESET, RESET, RESET), ONCE),
    Drill("ehr-half-a-body", "ehr", "The EHR does what we ask, and half of its answer arrives.",
          None, _some(COMMIT_THEN_HALF, COMMIT_THEN_HALF), ONCE),
    Drill("ehr-wrong-json", "ehr", "The EHR does what we ask, and answers with JSON that tells of something else.",
          None, _some(COMMIT_THEN_WRONG_JSON, COMMIT_THEN_WRONG_JSON), ONCE),
    Drill("ehr-slow-by-byte", "ehr", "The EHR does what we ask, and answers a byte at a time without end.",
          None, _some(Fault(forward=True, trickle=0.05)), ONCE),
    Drill("ehr-429-retry-after", "ehr", "The EHR says that it has too much to do, and after how long to come back.",
          None, _some(status(429, Retry_After="2")), ONCE),
    Drill("ehr-429", "ehr", "The EHR says again and again that it has too much to do, and not when to come back.",
          DOWN, _down(status(429), "the EHR has time again")),
    Drill("ehr-500", "ehr", "The EHR fails within at everything.", DOWN, _down(status(500))),
    Drill("ehr-502", "ehr", "The gateway before the EHR does not reach it.", DOWN, _down(status(502))),
    Drill("ehr-503", "ehr", "The EHR is down for maintenance.", DOWN, _down(status(503))),
    Drill("ehr-gone", "ehr", "The EHR's process is killed, and started again later.", DOWN, lambda scene: _gone(scene)),
    Drill("ehr-half-refused", "ehr", "The EHR keeps half of a transaction, which it never should, and says it failed.",
          None, _half_refused, ONCE),
    Drill("ehr-edited-meanwhile", "ehr",
          "A provider saves a Patient while we are about to change it: our If-Match no longer holds.",
          None, _edited, "their word is kept and ours is told beside it; `glp1 conflicts` lists what disagrees"),
]  # fmt: skip


def _gone(scene: Scene) -> None:
    scene.break_("the EHR's process is killed", lambda: scene.kill("ehr"))
    scene.feed(6)
    scene.until_detected()

    def start() -> None:
        scene.site.start_ehr()
        scene.site.wait_for(f"{scene.site.ehr_url}/metadata", "ehr")

    scene.heal("the EHR is started and answers", start)
    scene.until_settled()
