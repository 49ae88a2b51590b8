"""Whether the program came to what its stories say, asked of the store.

Here: comparing, and what must hold of every refill that went on. Not here: what the stories say (`life`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import psycopg

from ...adapters.cipher import Cipher
from ...adapters.crosswalk import find_patient
from ...adapters.status import why
from ..samples import follow_ups_of, refills_of, treatment_differs
from .messages import REQUIRED
from .year import Program

SHORT_DAYS, CYCLE = 14, timedelta(days=28)
"""So many days' supply and more has a check-in of its own; shorter ones share one in so long."""


def differences(connection: psycopg.Connection, program: Program) -> dict[str, list[str]]:
    """Account -> what is not as its story says; nobody where all is."""
    found = {}
    for account, told in program.expected.items():
        patient_id = find_patient(connection, account)
        lines = ["there is no such patient"] if patient_id is None else _differ(connection, patient_id, told)
        if lines:
            found[account] = [f"{program.story_of[account]}: {line}" for line in lines]
    return found


def _differ(connection: psycopg.Connection, patient_id: str, told: dict[str, Any]) -> list[str]:
    rows = lambda sql: connection.execute(sql, (patient_id,)).fetchall()  # noqa: E731
    treatment = {"follow_ups": follow_ups_of(connection, patient_id), "refills": refills_of(connection, patient_id)}
    there = {
        "stage": rows("select stage from phi.charts where patient_id = %s")[0][0],
        "medication": {
            family: {"state": state, "findings": sorted(one["finding"] for one in findings)}
            for family, state, findings in rows(
                "select family, state, findings from phi.medication_courses where patient_id = %s"
            )
        },
        "flags": sorted(
            flag for (flag,) in rows("select flag_id from phi.risk_flags where patient_id = %s and status <> 'cleared'")
        ),
        "tasks": sorted(
            f"{code}/{cause}"
            for code, cause in rows("select code, cause from ops.tasks where patient_id = %s and status = 'open'")
        ),
    }
    wanted = {**told, "refills": [{k: v for k, v in one.items() if k != "trail"} for one in told["refills"]]}
    found = [f"{name}: {part}, not {told[name]}" for name, part in there.items() if part != told[name]]
    return found + [f"{name}: {part}, not {told[name]}" for name, part in treatment_differs(treatment, wanted).items()]


def trails_differ(connection: psycopg.Connection, program: Program) -> list[str]:
    """Requests that were decided by other rules on their way. To be asked where all that was said came in order of
    time, and each portion was charted as one: a decision that was made before all of it was known stays on record."""
    found = []
    for account, told in program.expected.items():
        patient_id = find_patient(connection, account)
        trails = [
            trail
            for (trail,) in connection.execute(
                "select array(select decided_by from phi.refill_decisions d where d.refill_id = r.refill_id"
                " order by as_of) from ops.refills r where patient_id = %s order by requested_at, refill_id",
                (patient_id,),
            )
        ]
        wanted = [one["trail"] for one in told["refills"]]
        found += [f"{account} ({program.story_of[account]}): {trails}, not {wanted}"] if trails != wanted else []
    return found


def advanced_without_context(connection: psycopg.Connection, cipher: Cipher, program: Program) -> tuple[int, list[str]]:
    """How many refills ever went on to a provider; and of those that may not have, what their record lacks: an answer
    that a refill asks for, or one that is not newer than the supply before."""
    rows = connection.execute(
        "select r.patient_id::text, r.refill_id::text, d.decision_id::text, d.kid, d.body from ops.refills r"
        " join phi.refill_decisions d using (refill_id) where r.queued_at is not null and d.outcome = 'provider_queue'"
    ).fetchall()
    men = {find_patient(connection, account) for account in program.men}
    found, seen = [], set()
    for patient_id, refill_id, decision_id, kid, body in rows:
        seen.add(refill_id)
        record = json.loads(cipher.open(kid, bytes(body), f"refill_decisions|{decision_id}"))
        found += [f"{decision_id}: {lack}" for lack in _lacks(record["inputs"], patient_id in men)]
    late = connection.execute("select count(*) from ops.refills where queued_at is not null").fetchone()
    assert late is not None
    if late[0] != len(seen):
        found.append(f"{late[0] - len(seen)} went on and have no record that lets them")
    return len(seen), found


def _lacks(inputs: dict[str, Any], is_male: bool) -> Iterable[str]:
    handed_over = inputs.get("handed_over_at", {}).get("value")  # where only an order is known, that is the supply
    handed_at = datetime.fromisoformat(handed_over or inputs["dose_mg"]["at"])
    if (inputs.get("supply_days", {}).get("value") or SHORT_DAYS) < SHORT_DAYS:
        handed_at -= CYCLE  # of vials of a week there is one check-in a month, whichever of them is the newest
    answered_at = inputs.get("followup_answered_at", {}).get("value")
    if answered_at is None or datetime.fromisoformat(answered_at) <= handed_at:
        yield "no check-in after the last supply"
    for name in (*REQUIRED, *(() if is_male else ("preg.status",))):
        if inputs.get(name, {}).get("value") is None:
            yield name


def without_an_answer(connection: psycopg.Connection) -> tuple[int, list[str]]:
    """How many patients wait for somebody, with a check-in or a refill; and those of whom `glp1 why` does not say so. A
    request whose window has not opened waits for a day, and for nobody."""
    waiting = connection.execute(
        "select patient_id::text, array_agg(cause), array_agg(reasons) from (select patient_id, 'refill.' || decided_by"
        " || ':' || family as cause, array_to_string(reasons, ' ') as reasons from ops.refills where status = 'open'"
        " and outcome <> 'wait_until' union all select patient_id, 'followup.missed:' || family, '' from ops.follow_ups"
        " where status = 'missed' and ended_at is null) w group by 1"
    ).fetchall()
    silent = []
    for patient_id, causes, reasons in waiting:
        told = {task["cause"] for task in why(connection, patient_id)["tasks"]}
        overdue = {cause for cause in told if cause.startswith("followup.missed:")}
        # Somebody who calls about a missed check-in or a flag is not told of the same refill again.
        for cause, because in zip(causes, reasons, strict=True):
            is_of_flags = bool(because) and told >= {*because.split()}
            if cause not in told and not is_of_flags and not (overdue and ".followup_" in cause):
                silent.append(patient_id)
                break
    return len(waiting), silent
