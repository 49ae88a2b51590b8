"""`glp1 up` and `glp1 demo`: everything started, the samples dropped, their way shown, the outcome checked.

Here: what a newcomer sees. Not here: how processes are kept alive (`supervisor`, `stack`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg import sql

from ..adapters.alerts import Channels
from ..adapters.balance import balance, on_the_way
from ..adapters.cipher import Cipher, KeyMissing, KeyRing, Tampered
from ..adapters.foreign_server import require_fit
from ..adapters.schema import migrate
from ..adapters.server_log import may_quote
from ..adapters.settings import Settings
from ..adapters.status import status
from ..defs.health import addresses
from ..defs.resources import KEYS, Road, connect
from .samples import Sample, differences, samples
from .stack import Stack

SETTLE_SECONDS = 900.0


def prepare(settings: Settings) -> None:
    """Bring the schema up to date; make the key ring where both it and the data are new. Says so where the log of a
    server that is not ours may quote patients."""
    if settings.database_url:
        require_fit(lambda: connect(settings, "glp1 set-up"), settings.workers)
    migrate(settings.store_url(), lambda words: print(words, flush=True))
    if settings.database_url:
        with connect(settings, "glp1 set-up") as connection:
            to_say = "; ".join(may_quote(connection))
        if to_say:
            print(f"The log of this Postgres may quote patients. A superuser mends it: {to_say}", flush=True)
    for fault in Channels.from_settings(settings).faults:
        print(fault, flush=True)
    with connect(settings, "glp1 set-up") as connection, connection.transaction():
        _bind_ring(connection, settings.home / "secrets" / KEYS)


def _bind_ring(connection: psycopg.Connection, path: Path) -> None:
    """One database, one ring. What is sealed tells whose it is; before anything is, a mark on a table does: two
    installations that meet in a new database would each take it for their own, and every person become two patients."""
    connection.execute("select pg_advisory_xact_lock(hashtextextended('whose key ring', 7))")
    sealed = connection.execute("select event_id, kid, body from phi.events where kid is not null limit 20").fetchall()
    (mark,) = connection.execute("select obj_description('ops.schema_version'::regclass, 'pg_class')").fetchone() or (
        None,
    )
    if not path.exists():
        if sealed or mark:
            holds = "holds sealed events" if sealed else "was begun with a key ring"
            raise KeyMissing(f"the database {holds} and there is no key ring at {path}: put the file back")
        KeyRing.create(path)
    ring = KeyRing.load(path)
    if mark not in (None, ring.mark) or (sealed and not _opens_any(Cipher(ring), sealed)):
        raise KeyMissing(
            f"the database was {'filled' if sealed else 'begun'} with another key ring than that at {path}: everybody"
            " would become a new patient. Put the right file back, or name another database"
        )
    if mark is None:
        # On a table of ours: a schema may be another role's, and have words of theirs.
        connection.execute(sql.SQL("comment on table ops.schema_version is {}").format(sql.Literal(ring.mark)))


def _opens_any(cipher: Cipher, sealed: Iterable[tuple[uuid.UUID, str, bytes]]) -> bool:
    for event_id, kid, body in sealed:
        with suppress(KeyMissing, Tampered):
            cipher.open(kid, bytes(body), f"events|{event_id}")
            return True
    return False


def up() -> None:
    """Start everything and stay until Ctrl-C."""
    settings = Settings.from_env()
    begun = time.monotonic()
    with Stack(settings, prepare) as stack:
        stack.start()
        print(f"Up after {time.monotonic() - begun:.1f} s.\n")
        _invite(stack, settings)
        _stay(stack)


def run(once: bool) -> int:
    """The demo; with `once` it ends when the samples have settled. The exit code: 1 if anything is not as expected."""
    settings = Settings.from_env()
    begun = time.monotonic()
    with Stack(settings, prepare) as stack:
        print("Starting Postgres, the sandbox EHR and CRM, and Dagster …", flush=True)
        stack.start()
        print(f"Up after {time.monotonic() - begun:.1f} s. The Dagster UI: {stack.ui_url}\n", flush=True)
        stories = samples()
        landing = Road().landing
        for sample in stories:
            sample.drop(landing)
        print(f"Dropped {sum(len(s.files) for s in stories)} files of {len(stories)} stories into the landing zone.\n")
        with connect(settings, "glp1 demo") as connection:
            settled = _watch(connection, lambda: bool(landing.ready(limit=1)))
            code = _summary(connection, stories, settled)
        if once:
            return code
        _invite(stack, settings)
        _stay(stack)
        return code


def _watch(connection: psycopg.Connection, is_landing: Callable[[], bool]) -> bool:
    """Print the way of the samples as it changes; True when nothing moves any more."""
    begun, shown, shown_at, quiet_since = time.monotonic(), "", 0.0, None
    while time.monotonic() - begun < SETTLE_SECONDS:
        now = status(connection)
        events, writes = now["events"], now["writes"]
        line = (
            f"received {sum(events.values()):5}   charted {events.get('charted', 0):5}   rejected"
            f" {events.get('rejected', 0):3}   held {now['gate'].get('held', 0):4}   queued {now['queue']:5}"
            f"   delivered {writes.get('delivered', 0):5} of {sum(writes.values()):5}"
        )
        if line != shown and time.monotonic() - shown_at >= 2.0:
            print(f"{time.monotonic() - begun:6.1f} s  {line}", flush=True)
            shown, shown_at = line, time.monotonic()
        if is_landing() or on_the_way(connection) or not events:
            quiet_since = None
        else:
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since > 1.5:
                print(f"{time.monotonic() - begun:6.1f} s  {line}", flush=True)
                return True
        time.sleep(0.5)
    return False


def _summary(connection: psycopg.Connection, stories: list[Sample], settled: bool) -> int:
    found, now = balance(connection), status(connection)
    print("\nWhy patients are held:  " + ("  ".join(f"{k} {v}" for k, v in now["missing"].items()) or "nobody is"))
    print("Why lines are rejected: " + ("  ".join(f"{k} {v}" for k, v in now["rejected"].items()) or "none is"))
    for name, title in (("seconds_receipt_to_queue", "Receipt to queue"), ("seconds_change_to_ehr", "Change to EHR")):
        print(f"{title}: median {now[name]['median']} s, p95 {now[name]['p95']} s")
    wrong = 0
    print()
    for story in stories:
        lines = differences(connection, story)
        wrong += bool(lines)
        print(f"{'as expected' if not lines else 'DIFFERENT  '}  {story.name}: {story.expected['story']}")
        for line in lines:
            print(f"             {line}")
    print(
        f"\nLedger: received {found.received} = charted {found.charted} + waiting {found.waiting} + rejected"
        f" {found.rejected} + dead {found.dead}: {'in balance' if found.holds else 'OUT OF BALANCE'}"
    )
    for fault in found.faults:
        print(f"FAULT: {fault}")
    if not settled:
        print(f"FAULT: not settled after {SETTLE_SECONDS:.0f} s; the logs are in the folder logs of GLP1_HOME")
    print(f"{len(stories) - wrong} of {len(stories)} stories are as expected.\n", flush=True)
    return 0 if settled and found.holds and not wrong else 1


def _invite(stack: Stack, settings: Settings) -> None:
    print(f"The Dagster UI:    {stack.ui_url}")
    health = addresses(settings)
    print(f"The health page:   {health.get('address', health['file'])}")
    if not settings.ehr_url:
        print(f"The EHR's pages:   {settings.ehr_base_url().removesuffix('/fhir')}/ui")
    if stack.crm_page:
        print(f"The CRM, to edit:  {stack.crm_page}")
    print(
        "\nThree things to try, in another terminal:\n"
        "  1. .venv/bin/glp1 drop data_samples/for_you_to_drop/new_patient.json  and watch `events` in the UI\n"
        "  2. .venv/bin/glp1 why for-you-to-drop                                  what she waits for, and whose it is\n"
        "  3. .venv/bin/glp1 reconcile                                            nothing lost, nothing doubled\n"
        "\nCtrl-C stops everything.",
        flush=True,
    )


def _stay(stack: Stack) -> None:
    try:
        stack.wait()
    except KeyboardInterrupt:
        print("\nStopping …", flush=True)
