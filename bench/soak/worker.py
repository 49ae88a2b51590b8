"""The pipeline at work without Dagster, to be killed: what the assets do, one after another, as a process of its own.

`python -m bench.soak.worker NAME` runs one of LOOPS until it is ended. A turn that fails is told by the name of its error
and the next one begins, as it is with runs. `--file-limit` stands for a full disk: no file may grow beyond so many bytes.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

from glp1_pipeline.adapters import charts, ledger, outbox
from glp1_pipeline.adapters.crm.changes import notice
from glp1_pipeline.adapters.ehr import polling
from glp1_pipeline.defs.delivery import CRM_KIND, KIND
from glp1_pipeline.defs.resources import Road
from glp1_pipeline.domain.contract import EHR

TURN_SECONDS = 10.0
LISTENS_EVERY_SECONDS = 2.0


def intake(road: Road) -> bool:
    with road.connect("soak intake") as connection:
        received = ledger.take(connection, road.landing, road.contract, road.cipher)
        charted = charts.chart_events(connection, road.contract, road.cipher, charts.Scope())
    return bool(received.lines or charted.events)


def delivery(road: Road) -> bool:
    def hear(*change: Any) -> None:
        with road.connect("soak ehr edits") as connection:
            polling.hear(connection, road.ehr, road.contract, road.cipher, EHR, *change)

    peer = outbox.Heard(road.ehr, hear)
    kind = road.contract.writes[KIND]
    done = outbox.deliver_pending(road.connect, peer, kind, road.cipher.open, deadline=TURN_SECONDS)
    with road.connect("soak disputes") as connection:
        charts.attend_disputes(connection, road.contract, road.cipher)
    return bool(done.outcomes)


def contacts(road: Road) -> bool:
    def append(documents: list[bytes]) -> None:
        with road.connect("soak crm edits") as connection:
            road.append(connection, documents)

    peer = outbox.Contacts(road.crm, road.contract, append)
    kind = road.contract.writes[CRM_KIND]
    return bool(outbox.deliver_pending(road.connect, peer, kind, road.cipher.open, deadline=TURN_SECONDS).outcomes)


def listening(road: Road) -> bool:
    with road.connect("soak listening") as connection:
        polling.poll_changes(connection, road.ehr, road.contract, road.cipher, EHR, seconds=TURN_SECONDS)
        notice(connection, road.crm, road.contract, lambda documents: road.append(connection, documents))
    time.sleep(LISTENS_EVERY_SECONDS)
    return True


LOOPS: dict[str, Callable[[Road], bool]] = {
    "intake": intake, "intake-2": intake, "delivery": delivery, "contacts": contacts, "listening": listening,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*LOOPS])
    parser.add_argument("--file-limit", type=int)
    told = parser.parse_args()
    if told.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (told.file_limit, told.file_limit))
    turn, road = LOOPS[told.name], Road()
    while True:
        try:
            did = turn(road)
        except Exception as error:  # noqa: BLE001 - as a run that failed: the next one does what is left
            if told.file_limit is None:
                print(f"a turn failed: {type(error).__name__}", flush=True)
            did = False
        if not did:
            time.sleep(0.3)


if __name__ == "__main__":
    main()
