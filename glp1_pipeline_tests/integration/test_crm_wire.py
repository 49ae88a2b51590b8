"""Nothing clinical reaches the CRM: every byte that a real CRM got for every chart of the samples is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from glp1_pipeline.adapters import clock
from glp1_pipeline.adapters.charts.reports import reports_of
from glp1_pipeline.domain import flags, gates
from glp1_pipeline.domain.chart import Chart, Reported
from glp1_pipeline.domain.charting import GATE
from glp1_pipeline.domain.contract import STAGES
from glp1_pipeline.domain.crm import CHANGE, KEY, contact
from glp1_pipeline.sandbox.samples import samples
from glp1_pipeline_tests.crm_process import CrmProcess
from glp1_pipeline_tests.crm_world import CrmWorld, new_key
from glp1_pipeline_tests.refills import checkin, intake, overridden, requested
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import small_road
from glp1_pipeline_tests.treatments import BEGAN, dispensed, ordered

pytestmark = pytest.mark.timeout(300)
CONTRACT = contract()
TOLD = {p.field for p in CONTRACT.crm.values() if p.flows != "in" and p.field}
LARGE = "bulk_thousand_lines"
"""Many of one kind: the first of them are as good as all."""


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[CrmWorld]:
    with small_road(url, tmp_path) as road:
        yield CrmWorld(road)


def texts(value: Any) -> Iterator[str]:
    """All texts and numbers in a document, as they would be written."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def said(received: bytes) -> list[dict[str, Any]]:
    """The JSON bodies among the bytes."""
    return [json.loads(line) for line in received.splitlines() if line.startswith(b"{")]


def test_no_answer_flag_or_medicine_of_any_sample_is_in_what_the_crm_got(world: CrmWorld, tmp_path: Path) -> None:
    road = world.road
    for story in samples():
        if story.name != LARGE:
            story.drop(road.landing)
    road.take()
    road.chart()
    records = [str(record) for (record,) in road.rows("select distinct record_id from phi.patient_values")]
    planned = dict(road.rows("select patient_id::text, n from ops.copies where target = 'crm'"))
    assert len(planned) > 40
    forbidden: set[str] = set(CONTRACT.flags) | set(CONTRACT.tasks)
    allowed: set[str] = {"true", "false"}
    with CrmProcess(tmp_path) as crm:
        for record in records:
            reports = list(reports_of(road.connection, [record]))
            history = flags.evaluate_history(CONTRACT, record, reports)
            (gate,) = gates.evaluate(CONTRACT, CONTRACT.gates[GATE], [history.chart], [history.flags])
            for stage in STAGES:
                told = contact(CONTRACT, history.chart, stage, gate)["contact"]
                allowed |= {*told["properties"].values(), *told["when_new"].values(), stage}
                if stage == "intake" and (n := planned.get(record)):  # where most of the properties are ours
                    world.plan(record, n + 1, told["when_new"], **told["properties"])
            for report in reports:
                for name, doc in report.values.items():
                    if name not in TOLD:
                        forbidden |= {text for text in texts(doc) if len(text) >= 5}
            forbidden |= {name for name, _ in gate.missing}
        world.drain(crm.door())
        received = crm.received.decode()
    assert len(records) > 60
    assert len(forbidden) > 300
    assert world.statuses().keys() <= {"delivered"}
    # A word that is also somebody's name or address is not the answer that it happens to spell.
    words = {word for text in allowed for word in re.findall(r"[\w.@+-]+", text.lower())}
    found = set(re.findall(r"[\w.@+-]+", received.lower()))
    leaked = {
        text for text in forbidden
        if text.lower() not in words and (text.lower() in found or (" " in text and text.lower() in received.lower()))
    }  # fmt: skip
    # Nor are words of HTTP and of searches what a patient said.
    assert leaked - {"search", "email", "other"} == set()
    for sent in said(received.encode()):
        assert sent.get("properties", {}).keys() <= {*CONTRACT.crm, KEY, CHANGE}


def test_a_chart_full_of_canaries_sends_none_of_them(world: CrmWorld, tmp_path: Path) -> None:
    """Every field of the contract, and every part of it, says a word that is nowhere else."""
    now, key = datetime(2026, 11, 22, tzinfo=UTC), new_key()
    report = Reported("e1", "s1", "3.0.0", "completed", now, now, "", {})
    values: dict[str, Any] = {}
    for name, field in CONTRACT.fields.items():
        word = f"canary {name}"
        whole: Any = {part: f"{word} {part}" for part in field.parts} if field.parts else word
        values[name] = {"value": [whole] if field.type in ("list", "codes") else whole, "raw": word}
    chart = Chart(key, values, counted=(report,))
    with CrmProcess(tmp_path) as crm:
        for n, stage in enumerate(STAGES, 1):
            told = contact(CONTRACT, chart, stage, None)["contact"]
            world.plan(key, n, told["when_new"], **told["properties"])
        world.drain(crm.door())
        got = {field for field in CONTRACT.fields if f"canary {field}" in crm.received.decode()}
    assert got == {"demo.legal_first", "demo.legal_last", "demo.email", "demo.mobile"}


def test_no_address_of_a_person_is_ever_in_a_url(world: CrmWorld, tmp_path: Path) -> None:
    address, key = "Jane.Canary@example.org", new_key()
    with CrmProcess(tmp_path) as crm:
        theirs = crm.add(firstname="Jane", email=address.lower())
        world.plan(key, 1, firstname="Jane", email=address)
        world.drain(crm.door())
        assert world.conflict(key) == "same_email"
        crm.edit(theirs, email="jane@example.org")
        crm.ask("PATCH", f"/{theirs}", {"properties": {"hs_additional_emails": f"old@example.org;{address.lower()}"}})
        found = crm.door().whose_email(address, ["firstname"])
        assert found is not None
        assert found.contact_id == theirs
        assert crm.door().whose_email("canary@example.org", ["firstname"]) is None
        received = crm.received.decode()
    urls = [line for line in received.splitlines() if line.startswith(("GET ", "POST ", "PATCH "))]
    assert any(url.startswith("POST /crm/v3/objects/contacts/search") for url in urls)
    assert [url for url in urls if "canary" in url.lower()] == []


def test_check_ins_refills_and_overrides_tell_the_crm_where_the_patient_stands_and_nothing_that_was_said(
    world: CrmWorld, tmp_path: Path
) -> None:
    road = world.road

    def ring(day: float) -> None:
        until = BEGAN + timedelta(days=day)
        while (at := road.one("select min(next_at) from ops.clocks where rung_at is null")) is not None and at <= until:
            clock.ring(road.connection, road.contract, road.cipher, now=at)
            road.chart()

    with CrmProcess(tmp_path) as crm:
        door, stood = crm.door(), []

        def look() -> None:
            world.drain(door)
            stood.append(crm.only()["properties"].get("glp1_followup_status"))

        road.send(intake(), ordered(0, 0.25))
        look()
        road.send(dispensed(3, 0.25))
        look()
        for day in (18, 21.5, 23.5):
            ring(day)
            look()
        words = {"side_effects": [{"symptom": "nausea", "severity": "severe", "persistent": "yes"}], "jaundice": "yes",
                 "new_conditions": [{"name": "canarycondition"}], "new_medicines": [{"name": "canarymedicine"}]}  # fmt: skip
        road.send(requested(23.8), checkin(24, **words))
        look()
        road.send(overridden(25, "request-23.8", ["red_symptom"], flags=["BILIARY_SYMPTOMS"], text="canary by video"))
        road.send(ordered(30, 0.25, "again"), dispensed(33, 0.25, "next"))
        look()
        received = crm.received.decode().lower()
    assert stood == [None, "planned", "open", "due", "missed", "completed", "planned"]
    assert road.one("select count(*) from ops.refills where is_overridden") == 1
    rules = {name for name in (*CONTRACT.refills.by_name, *CONTRACT.refills.outcomes) if "_" in name}
    tasks = {kind.code for kind in CONTRACT.tasks.values() if "-" in kind.code}
    forbidden = {"canarycondition", "canarymedicine", "canary by video", "nausea", "wegovy", "jaundice", "red_symptom"}
    forbidden |= {*CONTRACT.override_reasons, *CONTRACT.flags} | rules | tasks | {"mg", "reminder", "proposal"}
    found = set(re.findall(r"[\w.@+-]+", received))
    assert {word for word in forbidden if word.lower() in found or (" " in word and word in received)} - {
        "other"
    } == set()
    assert road.balance().faults == []
