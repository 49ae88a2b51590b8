"""What people, sensors and schedules ask stays cheap as the tables grow: held by how Postgres would find it.

Nothing is timed: `python -m bench reads` is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from glp1_pipeline.adapters import balance, hops, status
from glp1_pipeline.adapters.balance import FAULTS, MEANING, fingerprint
from glp1_pipeline.adapters.retention.chunks import Work
from glp1_pipeline.adapters.retention.rows import prune_attempts
from glp1_pipeline_tests.small_road import SmallRoad, submission

MANY = 20_000
UNFINISHED = "1 patients have delivered writes and an unfinished copy"


class Explained:
    """A connection that notes how everything that it is asked for was found."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection, self.plans = connection, []

    def execute(self, statement: Any, values: Any = None) -> psycopg.Cursor:
        text = statement if isinstance(statement, str) else statement.decode()
        if text.startswith(("select", "with")):
            found = self.connection.execute(f"explain (analyze, timing off) {text}".encode(), values)
            self.plans.append("\n".join(line for (line,) in found))
        return self.connection.execute(text.encode(), values)

    def transaction(self, **_: Any):
        return self.connection.transaction()


def plan_of(road: SmallRoad, ask: Callable[[Any], Any], about: str) -> str:
    """How what is asked of a table would be found."""
    asked = Explained(road.connection)
    ask(asked)
    return "\n".join(plan for plan in asked.plans if about in plan)


@pytest.fixture
def old(road: SmallRoad) -> SmallRoad:
    """A road with a patient of today, and many who came and were told of long ago."""
    road.send(submission(1), submission(2))
    road.connection.execute(
        "insert into phi.events (event_id, drop_id, line, received_at, received_on, sha256, status) select"
        " gen_random_uuid(), drop_id, 1, received_at - d, received_on - n %% 300 - 1, '', 'charted'"
        " from (select * from phi.events limit 1) e, generate_series(1, %s) n, make_interval(days => n %% 300 + 1) d",
        (MANY,),
    )
    road.connection.execute(
        "insert into ops.writes (target, patient_id, n, kind, resources, status, events, created_at,"
        " settled_at) select 'ehr', gen_random_uuid(), 1, 'ehr_chart', 1, 'delivered', '{}', at, at"
        " from generate_series(1, %s) n, lateral (select now() - make_interval(days => 100 + n %% 200) as at) t",
        (MANY,),
    )
    road.connection.execute(
        "insert into phi.write_bodies select write_id, 'k', '' from ops.writes w where not exists (select from"
        " phi.write_bodies b where b.write_id = w.write_id)"
    )
    road.connection.execute(
        "insert into ops.deliveries (write_id, attempt, at, ms, outcome, delivered_on) select write_id, 1,"
        " settled_at, 1, 'delivered', (settled_at at time zone 'utc')::date from ops.writes where settled_at is"
        " not null"
    )
    for table in ("phi.events", "ops.writes", "ops.deliveries", "phi.write_bodies"):
        road.connection.execute(f"analyze {table}".encode())
    return road


def deliver(road: SmallRoad, ago: str = "0 s") -> None:
    """As the outbox settles every write that is ready, so long ago."""
    road.connection.execute(
        "with settled as (update ops.writes set status = 'delivered', created_at = now() - %s::interval - interval '3 s',"
        " settled_at = now() - %s::interval where status = 'ready' returning write_id, settled_at as at)"
        " insert into ops.deliveries (write_id, attempt, at, ms, outcome, delivered_on) select write_id, 1, at, 1,"
        " 'delivered', (at at time zone 'utc')::date from settled",
        (ago, ago),
    )
    road.connection.execute("update ops.lanes set has_work = false")
    road.connection.execute("update ops.copies set remote = planned")


def test_the_newest_events_of_a_status_are_read_and_not_all_of_it(old: SmallRoad):
    plan = plan_of(old, lambda c: status.events(c, "charted", 20), "events")
    assert "Seq Scan" not in plan, plan
    assert "events_received_on" in plan, plan
    newest = [one["received_at"] for one in status.events(old.connection, "charted", 20)]
    assert newest == sorted(newest, reverse=True)
    assert newest[:2] == [at for (at,) in old.rows("select received_at from phi.events where record_id is not null")]


def test_how_long_changes_took_of_late_is_read_from_the_attempts_of_late(old: SmallRoad):
    deliver(old)
    old.connection.execute("set enable_seqscan = off")  # so few as there are here would be read at once
    for ask in (status.status, lambda c: hops.measure(c, ("ehr", "crm"))):
        plan = plan_of(old, ask, "deliveries")
        assert "deliveries_on" in plan, plan
        assert "Seq Scan on writes" not in plan, plan
    found = {
        (hop.target, hop.count, hop.p50)
        for hop in hops.measure(old.connection, ("ehr", "crm")).hops
        if hop.hop == hops.CHANGE_TO_DELIVERED and hop.window == "1h"
    }
    assert found == {("ehr", 2, 3.0), ("crm", 0, None)}
    old.connection.execute(
        "with told as (insert into ops.writes (target, patient_id, n, kind, resources, status, events, created_at,"
        " settled_at) select 'crm', gen_random_uuid(), 1, 'crm_contact', 1, 'delivered', '{}', now() - interval '90 s',"
        " now() from generate_series(1, 5) returning write_id) insert into ops.deliveries (write_id, attempt, at, ms,"
        " outcome, delivered_on) select write_id, 1, now(), 1, 'delivered', (now() at time zone 'utc')::date from told"
    )
    told = status.status(old.connection)
    assert told["seconds_change_to_ehr"] == {"median": 3.0, "p95": 3.0}
    assert told["seconds_change_to_crm"] == {"median": 90.0, "p95": 90.0}


def test_pruning_asks_of_each_attempt_and_never_reads_the_whole_table_for_a_chunk(old: SmallRoad):
    old.connection.execute(
        "insert into ops.deliveries (write_id, attempt, at, ms, outcome, delivered_on) select write_id, 2, at, 1,"
        " 'delivered', delivered_on from ops.deliveries order by delivery_id limit 10"
    )
    plan = plan_of(old, lambda c: prune_attempts(c, 90, Work(is_dry_run=True)), "deliveries")
    assert "Seq Scan" not in plan, plan
    assert "deliveries_write" in plan, plan
    assert prune_attempts(old.connection, 90, Work()) == 10
    assert old.one("select count(*) from ops.deliveries where attempt = 1") == MANY - 10


def test_a_write_that_has_its_body_is_not_asked_for_later_ones(old: SmallRoad):
    statement = FAULTS["writes have no body to send"]
    plan = plan_of(old, lambda c: c.execute(statement), "writes")
    assert "never executed" in plan, plan
    old.connection.execute("delete from phi.write_bodies where write_id = (select min(write_id) from ops.writes)")
    assert len(old.rows(statement)) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(("ago", "is_seen_by_clock"), [("1 hour", True), ("9 days", False)])
def test_a_copy_that_lacks_what_was_delivered_is_told_by_the_clock_while_it_is_news_and_always_by_reconcile(
    road: SmallRoad, ago: str, is_seen_by_clock: bool
):
    road.send(submission(1), submission(2))
    deliver(road, ago)
    assert balance.balance(road.connection).faults == balance.balance(road.connection, is_by_clock=True).faults == []
    road.connection.execute(
        "update ops.copies set remote = remote - (select min(k) from jsonb_object_keys(planned) k)"
        " where (target, patient_id) = (select target, patient_id from ops.copies limit 1)"
    )
    assert balance.balance(road.connection).faults == [UNFINISHED]
    by_clock = balance.balance(road.connection, is_by_clock=True).faults
    assert by_clock == ([UNFINISHED] if is_seen_by_clock else [])


def test_the_words_of_a_row_are_made_once_and_its_fingerprint_is_what_receipts_of_earlier_replays_say(road: SmallRoad):
    road.send(submission(1), submission(2))
    plan = plan_of(road, fingerprint, "Aggregate")
    assert plan.count("Function Scan on unnest words") == len(MEANING)
    road.connection.execute("set time zone 'UTC'")
    for name, meaning in MEANING.items():
        first, second = (
            f"coalesce(sum(hashtextextended(r::text, {seed})::numeric), 0) % 18446744073709551616" for seed in (1, 2)
        )
        asked = road.connection.execute(f"select count(*), {first}, {second} from ({meaning}) as r".encode())
        ((rows, *hashes),) = asked.fetchall()
        told = "".join(f"{int(one) & (2**64 - 1):016x}" for one in hashes)
        assert fingerprint(road.connection)[name] == f"{rows}-{told}"
