"""The pipeline at work without Dagster: the functions that the assets call, one after another, as a process of its own.

`python -m glp1_pipeline.sandbox.drills.looping NAME` runs one of LOOPS until it is ended. A turn that fails is told by
the name of its error and the next one begins, as it is with runs. Not here: what is broken meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import psycopg

from glp1_pipeline.adapters import charts, ledger, outbox
from glp1_pipeline.adapters.cipher import Cipher, KeyRing
from glp1_pipeline.adapters.crm import Crm, CrmSettings
from glp1_pipeline.adapters.crm.changes import notice
from glp1_pipeline.adapters.ehr import Ehr, EhrSettings
from glp1_pipeline.adapters.ehr.polling import poll_changes
from glp1_pipeline.adapters.landing import Folder, landing_zone
from glp1_pipeline.adapters.settings import Settings
from glp1_pipeline.contracts import load
from glp1_pipeline.domain.contract import EHR, Contract

from .powers import give_up

AS_ANYBODY = "--as-anybody"
"""Without root's power to read what it may not."""
PATIENCE = 2.5
"""Seconds that a call may take: in service it is 10 on the same machine and 30 else. A dead process's patients wait for
three of these."""
PAUSE_SECONDS = 0.2
AFTER_FAILURE_SECONDS = 0.5
LISTENS_EVERY_SECONDS = 2.0
TURN_SECONDS = 10.0


@dataclass
class Tools:
    """What a turn works with; read anew by each process, as a worker does."""

    settings: Settings
    listened_at: float = 0.0

    @cached_property
    def contract(self) -> Contract:
        return load()

    @cached_property
    def cipher(self) -> Cipher:
        return Cipher(KeyRing.load(self.settings.home / "secrets" / "keys.json"))

    @cached_property
    def landing(self) -> Folder:
        return landing_zone(self.settings.landing_url, self.settings.home / "archive", self.cipher)

    @cached_property
    def ehr(self) -> Ehr:
        url, known = self.settings.ehr_base_url(), self.settings.ehr_credentials()
        return Ehr(EhrSettings(url, **known, connect_timeout=1.0, read_timeout=PATIENCE))

    @cached_property
    def crm(self) -> Crm:
        return Crm(CrmSettings(*self.settings.crm_access(), connect_timeout=1.0, read_timeout=PATIENCE))

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            self.settings.store_url(), autocommit=True, application_name="glp1 drill loop", connect_timeout=5
        )

    def append(self, documents: list[bytes]) -> None:
        with self.connect() as connection:
            ledger.append(connection, self.contract, self.cipher, documents)


def intake(tools: Tools) -> None:
    """Drops become events, events become charts and writes."""
    with tools.connect() as connection:
        ledger.take(connection, tools.landing, tools.contract, tools.cipher)
        charts.chart_events(connection, tools.contract, tools.cipher, charts.Scope())


def delivery(tools: Tools) -> None:
    """What is due goes out to the EHR."""
    kind = tools.contract.writes["ehr_chart"]
    outbox.deliver_pending(tools.connect, tools.ehr, kind, tools.cipher.open, deadline=TURN_SECONDS)


def contacts(tools: Tools) -> None:
    """What is due goes out to the CRM, and what people changed in the EHR and the CRM comes in."""
    kind = tools.contract.writes["crm_contact"]
    peer = outbox.Contacts(tools.crm, tools.contract, tools.append)
    outbox.deliver_pending(tools.connect, peer, kind, tools.cipher.open, deadline=TURN_SECONDS)
    now = time.monotonic()
    if now - tools.listened_at >= LISTENS_EVERY_SECONDS:
        tools.listened_at = now
        with tools.connect() as connection:
            poll_changes(connection, tools.ehr, tools.contract, tools.cipher, EHR, seconds=TURN_SECONDS)

            def append(documents: list[bytes]) -> None:
                ledger.append(connection, tools.contract, tools.cipher, documents)

            notice(connection, tools.crm, tools.contract, append)


LOOPS: dict[str, Callable[[Tools], None]] = {"intake": intake, "delivery": delivery, "contacts": contacts}


def main() -> None:
    if AS_ANYBODY in sys.argv:
        give_up()
    turn, tools = LOOPS[sys.argv[1]], Tools(Settings.from_env())
    print("ready", flush=True)
    while True:
        try:
            turn(tools)
        except Exception as error:  # noqa: BLE001 - as a run that failed: the next one does what is left
            print(f"a turn failed: {type(error).__name__}", flush=True)
            time.sleep(AFTER_FAILURE_SECONDS)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
