"""What was said of a patient and done about it, for an auditor.

Here: printing; of one field, values of a patient, for who may see them. Not here: one event's way (`trace`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from .telling import AS_JSON, open_road, patient_of, show_or_json, told

MOST_NAMES = 6


@click.command(short_help="who said what of a patient; of a field from what to what")
@click.argument("patient")
@click.argument("field", required=False)
@AS_JSON
def history(patient: str, field: str | None, as_json: bool) -> None:
    """Who said what of PATIENT, when, and on whose word, oldest first: every event of theirs, decisions of people,
    merges, replays and rollbacks. Without FIELD it prints names and times, no value.

    With FIELD, of the contract (`glp1 dictionary`), it prints its VALUES: what each said, what the chart held before
    and after, and by which rule where systems disagreed. These are values of a patient: use it at your own terminal,
    for whom you may see. Nothing of it is logged.

    The proofs of each event are its sealed bytes, which it opens, and its way to the other systems: `glp1 trace EVENT`;
    of a plan `glp1 replay show PLAN` and `glp1 rollback show PLAN`. What the chart held is as it was known at each
    moment, by what is charted now: the contract of the last replay, and all records that are one patient now. What
    differed before a replay is in its plan, in counts.

    PATIENT is our id, or an id that another system gave.
    """
    from ..adapters.history import history as ask

    def work() -> dict[str, Any]:
        road = open_road()
        if field is not None and field not in road.contract.fields:
            raise click.UsageError("the contract has no such field: `glp1 dictionary` lists them")
        with road.connect("glp1 history") as connection:
            patient_id = patient_of(connection, patient)
            return ask(connection, road.contract, road.cipher, road.settings.home, patient_id, field)

    found = told(work)
    show_or_json(as_json, found, lambda: _show(found))


def _show(found: dict[str, Any]) -> None:
    about = f", {found['field']}" if found["field"] else ""
    click.echo(f"patient {found['patient_id']}{about}: {len(found['records'])} record(s), oldest first, times in UTC")
    for entry in found["history"]:
        click.echo(f"{entry['at']:%Y-%m-%d %H:%M:%S}  {_headline(entry)}")
        if "event_id" in entry:
            lines = [*_of_event(entry, len(found["records"]) > 1), *_of_field(entry)]
        else:
            lines = [*_of_plan(entry, found["field"])]
        for line in lines:
            click.echo(f"{'':21}{line}")


def _headline(entry: dict[str, Any]) -> str:
    source = f" of {entry['source']}" if entry.get("source") else ""
    by = f" by {entry['actor']}" if entry.get("actor") else ""
    role = f" ({entry['role']})" if entry.get("role") else ""
    why = " ".join(str(entry[name]) for name in ("reason_code", "reason") if entry.get(name))
    what: str = {
        "replayed": "replayed {events} event(s) by contract {contract_version}, plan {plan_id}",
        "taken back": "taken back from the EHR, plan {plan_id}",
        "released": "may be sent again, plan {plan_id}",
        "conflict.settled": "decided what stands in the {target}: {decision}",
    }.get(entry["what"]) or str(entry["what"])
    return f"{what.format(**entry)}{source}{by}{role}{': ' + why if why else ''}"


def _of_event(entry: dict[str, Any], is_merged: bool) -> list[str]:
    said = "" if entry["said_at"] == entry["at"] else f", said {entry['said_at']:%Y-%m-%d %H:%M:%S}"
    since = f"in the ledger since {entry['in_ledger_since']:%Y-%m-%d %H:%M:%S}"
    lines = [f"event {entry['event_id']}, {entry['status']}, {since}{said}"]
    if entry["about"]:
        lines.append(f"about records {' and '.join(entry['about'])}")
    elif is_merged:
        lines.append(f"of record {entry['record']}")
    if "said" not in entry and (fields := entry["fields"]):
        more = f" and {len(fields) - MOST_NAMES} more" if len(fields) > MOST_NAMES else ""
        lines.append(f"{entry['voice']}: {', '.join(fields[:MOST_NAMES])}{more}")
    if entry["tells"]:
        lines.append(f"tells: {entry['tells']}")
    for dispute in entry["disputes"]:
        ended = f", over since {dispute['closed_at']:%Y-%m-%d %H:%M:%S}" if dispute["closed_at"] else ""
        how = f"{dispute['outcome']} by rule {dispute['rule']}{ended}"
        lines.append(f"against {dispute['against']} about {dispute['field']}: {how}")
    return lines


def _of_plan(entry: dict[str, Any], field: str | None) -> Iterator[str]:
    if counts := entry.get("changed", entry.get("resources")):
        told = ", ".join(f"{name} {n}" for name, n in counts.items())
        yield f"{field}, of all its patients: {told}" if "changed" in entry else f"resources: {told}"
    elif "changed" in entry:
        yield f"{field} stayed as it was, of all its patients"


def _of_field(entry: dict[str, Any]) -> list[str]:
    if "said" not in entry:
        return []
    lines = (
        [f"says ({entry['voice']}, by contract {entry['contract_version']}) {_value(entry['said'])}"]
        if entry["said"]
        else []
    )
    for voice, name in (("value", "the chart"), ("finding", "what a provider found, beside it")):
        before, after = entry["before"].get(voice), entry["after"].get(voice)
        if before != after:
            lines.append(f"{name}: from {_value(before)} to {_value(after)}")
    if entry["before"] == entry["after"]:
        lines.append("the chart stays as it was")
    return lines


def _value(value: dict[str, Any] | None) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
