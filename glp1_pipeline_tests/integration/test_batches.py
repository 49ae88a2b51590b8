"""What is true does not depend on how events fall into drops, batches and orders (law 3)."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest

from glp1_pipeline.adapters import ledger
from glp1_pipeline.adapters.charts import claim
from glp1_pipeline_tests.refill_road import of
from glp1_pipeline_tests.refills import checkin, intake, requested
from glp1_pipeline_tests.small_road import SmallRoad, amendment, empty_tables, submission, weight
from glp1_pipeline_tests.treatments import dispensed, ordered

TOLD = ("copies", "state")
"""What the EHR was told on the way, and the hash of all: what was shown is taken back, and stays there as that."""
TWIN = {"demo.legal_first": "Zacharias", "demo.preferred_name": "Zach"}


def later(event: dict[str, Any], minutes: int) -> dict[str, Any]:
    times = {
        name: (datetime.fromisoformat(event["data"][name]) + timedelta(minutes=minutes)).isoformat()
        for name in ("authored_at", "received_at")
    }
    return {**event, "time": times["received_at"], "data": {**event["data"], **times}}


def said() -> list[dict[str, Any]]:
    """People who come once, twice and with a twin, who correct themselves, and who are treated."""
    events: list[dict[str, Any]] = []
    for n in range(6):
        first = submission(n)
        events += [first, *(amendment(first, k, weight(90 + k), 60 * k) for k in (1, 2))]
        events.append(later(submission(n, subject=f"canary-again-{n}"), 30 + n))
        events += [later(submission(n, subject=f"canary-{who}-{n}", **TWIN), 90) for who in ("twin", "twin-again")]
    for n in (11, 12):
        account = f"canary-{n:07d}"
        treated = [ordered(0, 0.25, account=account), dispensed(3, 0.25, account=account)]
        asked = [requested(24, account=account), requested(27, account=account)]
        answer = checkin(22, account=account, **({"neck_mass": "yes"} if n == 12 else {}))
        events += [intake(account), answer, *(of(event, account) for event in (*treated, *asked))]
    return events


def decided(road: SmallRoad) -> list[dict[str, Any]]:
    """Stewards join the first two people, part them again, and part the third from their second account."""
    (one, two, three, again) = (
        str(road.one("select record_id from phi.identifiers where value = %s", account))
        for account in ("canary-0000000", "canary-0000001", "canary-0000002", "canary-again-2")
    )
    pairs = [("merged", "retired_id", one, two), ("unmerged", "restored_id", one, two)]
    pairs.append(("unmerged", "restored_id", three, again))
    return [
        {
            "specversion": "1.0", "type": f"patient.{kind}", "source": "/pipeline/steward", "id": f"said-{n}",
            "subject": first, "time": f"2026-11-21T0{n}:00:00+00:00",
            "data": {"survivor_id": first, key: second, "actor": "steward-7", "reason": "on the phone"},
        }
        for n, (kind, key, first, second) in enumerate(pairs)
    ]  # fmt: skip


def take(road: SmallRoad, events: list[dict[str, Any]], drop: int) -> None:
    for start in range(0, len(events), drop):
        chunk = [orjson.dumps(event) for event in events[start : start + drop]]
        ledger.append(road.connection, road.contract, road.cipher, chunk)
        road.chart()


def state(road: SmallRoad) -> dict[str, str]:
    return {name: told for name, told in road.fingerprint().items() if name not in TOLD}


def test_the_same_events_in_other_drops_batches_and_orders_are_one_state_that_a_replay_keeps(
    road: SmallRoad, monkeypatch: pytest.MonkeyPatch
):
    found = []
    for drop, batch, again, seed in ((1000, 1000, 7, None), (1000, 7, 1000, None), (5, 1000, 3, 1), (11, 4, 20, 2)):
        empty_tables(road.connection)
        monkeypatch.setattr(claim, "BATCH", batch)
        events = said()
        if seed is not None:
            random.Random(seed).shuffle(events)
        take(road, events, drop)
        take(road, decided(road), drop)
        assert road.balance().faults == []
        whole = road.fingerprint()
        found.append(state(road))
        monkeypatch.setattr(claim, "BATCH", again)
        assert (road.replay().all_writes, road.fingerprint()) == (0, whole)
    assert [one for one in found if one != found[0]] == []
