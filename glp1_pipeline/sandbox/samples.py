"""The samples of data_samples/: what each drops, and whether it reached the state that it says it should.

Here: reading the folders and asking the database. Not here: starting anything (`stack`) and showing it (`demo`).
"""

from __future__ import annotations

import io
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from ..adapters.landing import DROPS, Folder, digest
from ..adapters.settings import PROJECT

FOLDER = PROJECT / "data_samples"
MOMENTS = ("opens_at", "due_at", "missed_at", "window_at", "runs_out_at")
REFILL = ("status", "outcome", "rule", "reasons", "decisions", "is_overridden", "is_against_hold")


@dataclass(frozen=True)
class Sample:
    """One story: a folder with `input/*` and `expected/outcome.json`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def expected(self) -> dict[str, Any]:
        """story, patients {account: {gate, missing, flags, tasks, queued, values, medication, follow_ups, refills}},
        rejected {reason: n}. Of a patient under treatment it is what stands once the patient's own clock has rung for
        all that will ever be due; of a check-in and a refill it says the parts that the story is about."""
        return json.loads((self.folder / "expected" / "outcome.json").read_text("utf-8"))

    @property
    def files(self) -> list[Path]:
        """Input files in the order in which they are dropped: by name."""
        return sorted(p for p in (self.folder / "input").iterdir() if p.is_file())

    @property
    def drop_ids(self) -> list[uuid.UUID]:
        found = []
        for file in self.files:
            with file.open("rb") as stream:
                found.append(uuid.uuid5(DROPS, digest(stream)[0].hex()))
        return found

    def drop(self, landing: Folder) -> None:
        for file in self.files:
            landing.put(f"{uuid.uuid4()}{file.suffix}", io.BytesIO(file.read_bytes()))


def samples(folder: Path = FOLDER) -> list[Sample]:
    return [Sample(path) for path in sorted(folder.iterdir()) if (path / "expected" / "outcome.json").is_file()]


def differences(connection: psycopg.Connection, sample: Sample) -> list[str]:
    """What is not as the sample says, in names; empty when all of it is."""
    expected, found = sample.expected, []
    drops = connection.execute(
        "select count(*), coalesce(sum(events), 0)::int, coalesce(sum(duplicates - lines / greatest(times_delivered, 1)"
        " * greatest(times_delivered - 1, 0)), 0)::int from ops.drops where drop_id = any(%s)",
        (list(set(sample.drop_ids)),),
    ).fetchone()
    if drops is None or drops[0] != len(set(sample.drop_ids)):
        return ["not every file reached the ledger"]
    for name, count in (("events", drops[1]), ("duplicates", drops[2])):
        if name in expected and expected[name] != count:
            found.append(f"{name}: {count}, not {expected[name]}")
    rejected = dict(
        connection.execute(
            "select reason, count(*) from phi.events where drop_id = any(%s) and status = 'rejected' group by 1",
            (sample.drop_ids,),
        ).fetchall()
    )
    if rejected != expected.get("rejected", {}):
        found.append(f"rejected: {rejected}, not {expected.get('rejected', {})}")
    for account, wanted in expected.get("patients", {}).items():
        found += [f"{account}: {line}" for line in _patient(connection, account, wanted)]
    return found


def follow_ups_of(connection: psycopg.Connection, patient_id: str) -> dict[str, list[dict[str, Any]]]:
    """Family -> its check-ins, oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for family, *row in connection.execute(
        "select family, status, was_missed, missing, opens_at, due_at, missed_at, window_at, runs_out_at"
        " from ops.follow_ups where patient_id = %s order by family, began_at, followup_id",
        (patient_id,),
    ):
        names = ("status", "was_missed", "missing", *MOMENTS)
        one = dict(zip(names, row, strict=True))
        found.setdefault(family, []).append(one | {name: instant(one[name]) for name in MOMENTS})
    return found


def refills_of(connection: psycopg.Connection, patient_id: str) -> list[dict[str, Any]]:
    """Requests, oldest first."""
    rows = connection.execute(
        "select status, outcome, decided_by, reasons, decisions, is_overridden, is_against_hold from ops.refills"
        " where patient_id = %s order by requested_at, refill_id",
        (patient_id,),
    ).fetchall()
    return [dict(zip(REFILL, row, strict=True)) for row in rows]


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def are_as_told(found: Any, told: Any) -> bool:
    """Whether everything that is told is so; of a document what is not told may be as it will, of a list nothing."""
    if isinstance(told, dict):
        return isinstance(found, dict) and all(are_as_told(found.get(key), part) for key, part in told.items())
    if isinstance(told, list):
        return len(found) == len(told) and all(map(are_as_told, found, told))
    return found == told


def treatment_differs(found: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """What is found of check-ins and refills where it is not as told."""
    parts = {name: found[name] for name in ("follow_ups", "refills") if name in told}
    wrong = {name: part for name, part in parts.items() if not are_as_told(part, told[name])}
    if "follow_ups" in parts and parts["follow_ups"].keys() != told["follow_ups"].keys():
        wrong["follow_ups"] = parts["follow_ups"]
    return wrong


def _patient(connection: psycopg.Connection, account: str, wanted: dict[str, Any]) -> list[str]:
    row = connection.execute(
        "select coalesce(l.patient_id, i.record_id) from phi.identifiers i left join ops.patient_links l"
        " using (record_id) where i.value = %s and i.system like 'intake-account:%%'",
        (account,),
    ).fetchone()
    if row is None:
        return [] if wanted.get("absent") else ["no patient"]
    if wanted.get("absent"):
        return ["there is a patient, and there should be none"]
    one = lambda sql: connection.execute(sql, row).fetchall()  # noqa: E731
    gate = one("select outcome, missing from ops.gate_results where patient_id = %s")
    chart = dict(one("select field, value from phi.chart_values where patient_id = %s and not is_finding"))
    actual = {
        "gate": gate[0][0] if gate else None,
        "missing": sorted(gate[0][1]) if gate else [],
        "flags": sorted(
            flag for (flag,) in one("select flag_id from phi.risk_flags where patient_id = %s and status <> 'cleared'")
        ),
        "tasks": sorted(
            f"{code}/{cause}"
            for code, cause in one("select code, cause from ops.tasks where patient_id = %s and status = 'open'")
            # Who else looks like them is no part of a story, unless it says so.
            if not cause.startswith("match:") or any("match:" in task for task in wanted.get("tasks", ()))
        ),
        "queued": bool(one("select 1 from ops.provider_queue where patient_id = %s and left_at is null")),
        "medication": {
            family: {"state": state, "findings": sorted(one["finding"] for one in findings)}
            for family, state, findings in one(
                "select family, state, findings from phi.medication_courses where patient_id = %s"
            )
        },
        "changes": len(one("select 1 from ops.writes where patient_id = %s and target = 'ehr'")),
    }
    found = []
    for name, value in actual.items():
        if name in wanted and (sorted(wanted[name]) if isinstance(value, list) else wanted[name]) != value:
            found.append(f"{name}: {value}, not {wanted[name]}")
    for field, value in wanted.get("values", {}).items():
        if {part: chart.get(field, {}).get(part) for part in value} != value:
            found.append(f"value of {field} differs (it has {sorted(chart.get(field, {}))})")
    treatment = {"follow_ups": follow_ups_of(connection, row[0]), "refills": refills_of(connection, row[0])}
    found += [f"{name}: {part}" for name, part in treatment_differs(treatment, wanted).items()]
    unsettled = one("select status from ops.writes where patient_id = %s and status <> 'delivered'")
    if unsettled:
        found.append(f"writes not delivered: {sorted(s for (s,) in unsettled)}")
    return found
