"""Treatments: the course of one patient, and where sources disagree in all of them.

Here: names, times and counts. Not here: any dose or product name beyond the family that the contract declares, and
what people are to do about a finding (docs/decisions/0028-medication.md).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from . import medication_word
from .telling import AS_JSON, age, open_road, patient_of, question, show_or_json, told, when


@click.group(short_help="treatments: where they stand, where sources disagree")
def medication() -> None:
    """Treatments with GLP-1 medicines: where each stands, which moves were refused, where sources disagree.

    All of it is computed from what EHR, pharmacy and patients said, the same in any order; nothing here orders, refills
    or stops anything. States, rules and findings are declared in contracts/medication.yaml.
    """


medication.add_command(medication_word.override)


@medication.command(short_help="the treatments of a patient: every move, every finding")
@click.argument("patient")
@AS_JSON
def show(patient: str, as_json: bool) -> None:
    """The treatments of PATIENT: state, every move made or refused with the rule's name, and what a person should see.

    PATIENT is our id, or an id that another system gave (an intake account, or the pharmacy's, say). It prints names
    and times, no dose. The event ids are what `glp1 trace` takes.
    """
    from ..adapters.charts.medication import show as ask

    def work(connection) -> dict[str, Any]:
        patient_id = patient_of(connection, patient)
        return {"patient_id": patient_id, "courses": ask(connection, patient_id)}

    found = told(lambda: question(work))
    declared = told(lambda: open_road().contract).medication.findings
    for finding in (one for course in found["courses"] for one in course["findings"]):
        kind = declared[finding["finding"]]
        finding |= {"severity": kind.severity, "description": kind.description, "task": kind.task}
    show_or_json(as_json, found, lambda: _show(found))


def _show(found: dict[str, Any]) -> None:
    click.echo(f"patient {found['patient_id']}")
    for course in found["courses"]:
        since = f" for {age(course['since'])}" if course["since"] else ""
        supply = course["supply_runs_out_at"]
        told_supply = f", supply runs out {when(supply)}" if supply else ""
        click.echo(f"{course['family']}: {course['state']}{since}{told_supply}")
        for move in course["transitions"]:
            way = f"{move['from']} -> {move['to']}" if move["outcome"] == "made" else f"{move['outcome']}"
            click.echo(f"  {age(move['at']):>7} ago  {way}: {move['reason']} (event {move['event_id']})")
        for finding in course["findings"]:
            proposal = f", proposed to the provider: {finding['proposal']}" if "proposal" in finding else ""
            told_at = [(one["said"], datetime.fromisoformat(one["at"])) for one in finding["sources"]]
            sources = ", ".join(f"{said} {age(at)} ago" for said, at in told_at)
            click.echo(f"  {finding['severity']} {finding['finding']}: {finding['description']} ({sources}){proposal}")
    if not found["courses"]:
        click.echo("nobody spoke of a treatment yet")


@medication.command(short_help="what sources disagree on and rules refused, in counts")
@AS_JSON
def drift(as_json: bool) -> None:
    """Where sources of treatments disagree, which moves were refused, and which orders were let through although: by
    name and product family, in counts.

    Sources are the plan, the medication list, the order, the hand-over and what the patient takes. Each finding is a
    task of somebody's; `glp1 medication show PATIENT` says what it rests on.
    """
    from ..adapters.charts.medication import count_findings, count_transitions
    from ..adapters.orders import LATELY_DAYS, count_overrides

    def work(connection) -> dict[str, Any]:
        return {
            "findings": count_findings(connection),
            "transitions": count_transitions(connection),
            "overrides": count_overrides(connection),
        }

    found = told(lambda: question(work))

    def shown() -> None:
        if not found["findings"]:
            click.echo("no source disagrees with another, and no move stands refused")
        else:
            click.echo(f"{'finding':32}{'family':16}{'open':>7}{'oldest':>10}")
        for row in found["findings"]:
            click.echo(f"{row['finding']:32}{row['family']:16}{row['open']:>7}{row['oldest_days']:>8} d")
        for row in found["transitions"]:
            click.echo(f"{row['outcome']:11}{row['reason']:50}{row['times']:>7}  ({row['in_7_days']} in 7 days)")
        for row in found["overrides"]:
            click.echo(
                f"let through by {row['role']} against {row['rule']}, reason {row['reason']}: {row['orders']}"
                f" ({row['lately']} in {LATELY_DAYS} days)"
            )

    show_or_json(as_json, found, shown)
