"""The whole circle: a submission becomes a chart in the EHR, a provider's work there reaches ours, and nothing echoes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import dagster as dg
import psycopg
import pytest

from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.matches import decide
from glp1_pipeline.adapters.status import why
from glp1_pipeline.defs import ehr_changes
from glp1_pipeline.domain.contract import EHR
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.small_road import amendment, submission

PEOPLE = count(1)
"""The EHR is shared by the tests, so each has a person of its own."""


def test_a_whole_chart_of_ours_comes_back_as_an_echo_however_often_it_is_delivered(circle: Circle) -> None:
    first = submission(next(PEOPLE))
    circle.road.send(first)
    circle.deliver()
    echoes = circle.poll()
    assert (echoes.changes, echoes.later, echoes.trouble) == (0, 0, "")
    assert echoes.echoes > 10
    circle.road.send(amendment(first, 1, {"anthro.weight": {"value": 99.5, "unit": "kg"}, "allergy.any": "no"}))
    circle.deliver()
    assert circle.poll().changes == 0
    assert circle.events() == 0


def test_a_language_corrected_in_the_ehr_reaches_the_chart_and_does_not_come_back(circle: Circle) -> None:
    circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    assert circle.poll().changes == 0
    spoken = {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "vi"}]}, "preferred": True}
    circle.provider.edit(circle.place("Patient"), communication=[spoken])
    assert circle.round() == 1
    assert circle.value("demo.language") == "vi"
    assert (circle.round(), circle.round()) == (0, 0)
    assert circle.provider.read(circle.place("Patient"))["communication"] == [spoken]
    before = circle.road.fingerprint()
    circle.road.replay()
    assert circle.road.fingerprint() == before
    assert circle.road.balance().faults == []


def test_what_was_heard_of_an_edit_is_no_difference_when_the_ehr_is_read_back(circle: Circle) -> None:
    circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    assert circle.poll().changes == 0

    def read_back() -> dict[str, Any]:
        found = compare(circle.road.connection, circle.client, circle.road.cipher).as_dict()
        return {name: found[name] for name in ("different", "edited_there", "holds")}

    weight = circle.place("Observation", "29463-7")
    circle.provider.edit(weight, note=[{"text": "on our own scale"}])
    assert read_back() == {"different": 1, "edited_there": 0, "holds": False}
    assert circle.round() == 1
    assert read_back() == {"different": 0, "edited_there": 1, "holds": True}
    circle.provider.edit(weight, note=[{"text": "and once more"}])  # another word than the one that was heard
    assert read_back() == {"different": 1, "edited_there": 0, "holds": False}


def test_what_a_provider_measured_and_added_is_known_and_not_made_twice(circle: Circle) -> None:
    circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    assert circle.poll().changes == 0
    me = {"reference": circle.place("Patient")}
    doctor = {"reference": f"Practitioner/{circle.provider.create('Practitioner')['id']}"}
    circle.provider.create(
        "Observation", status="final", subject=me, performer=[doctor], effectiveDateTime="2026-11-20T14:00:00Z",
        code={"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        valueQuantity={"value": 240.0, "unit": "lb", "system": "http://unitsofmeasure.org", "code": "[lb_av]"},
    )  # fmt: skip
    circle.provider.create(
        "AllergyIntolerance", patient=me, recorder=doctor, code={"text": "Penicillin"},
        clinicalStatus={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
                                    "code": "active"}]},
        verificationStatus={"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "code": "confirmed",
        }]},
    )  # fmt: skip
    assert circle.round() == 2
    assert [row["substance"] for row in circle.value("allergy.list")] == ["Penicillin"]
    assert (circle.round(), circle.round()) == (0, 0)
    assert circle.road.balance().faults == []


def test_a_merge_done_in_the_ehr_joins_the_charts_and_its_echo_joins_nothing_again(circle: Circle) -> None:
    for _ in range(2):
        circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    assert circle.poll().changes == 0
    patients = {
        patient_id: f"Patient/{known[0]}"
        for patient_id, remote in circle.road.rows("select patient_id::text, remote from ops.copies where target = %s", EHR)
        for key, known in remote.items()
        if key.startswith("Patient/")
    }  # fmt: skip
    (kept, survivor), (gone, retired) = patients.items()
    circle.provider.edit(retired, active=False, link=[{"type": "replaced-by", "other": {"reference": survivor}}])
    assert circle.round() == 2  # the Patient that changed, and that the two are one
    links = circle.road.rows("select record_id::text, patient_id::text from ops.patient_links")
    assert links == [(gone, kept)]
    assert [circle.round() for _ in range(3)] == [0, 0, 0]
    assert circle.road.rows("select record_id::text, patient_id::text from ops.patient_links") == links
    assert circle.road.balance().faults == []


def test_what_a_saved_patient_only_carries_along_goes_home_when_a_merge_is_undone(circle: Circle) -> None:
    """Who saves the survivor's Patient for a new phone says nothing of the name that a merge brought there (G4)."""
    road = circle.road
    n = next(PEOPLE)
    twin = {"demo.legal_first": "Zacharias", "demo.preferred_name": "Zach", "demo.email": "zach@example.org"}
    road.send(submission(n), submission(n, subject=f"canary-twin-{n}", **twin))
    circle.deliver()
    assert circle.poll().changes == 0
    first, later = (
        str(road.one("select record_id from phi.identifiers where value = %s", account))
        for account in (f"canary-{n:07d}", f"canary-twin-{n}")
    )
    own = "select field, value from phi.chart_values where patient_id = %s and field like 'demo.%%' order by 1"
    before = {record: dict(road.rows(own, record)) for record in (first, later)}
    decide(road.connection, road.contract, road.cipher, "merge", (later, first), "steward-7", "one person")
    road.chart()
    circle.deliver()
    remote = road.one("select remote from ops.copies where target = %s and patient_id = %s", EHR, later)
    (place,) = [f"Patient/{known[0]}" for key, known in remote.items() if key.startswith("Patient/")]
    phone = [{"system": "phone", "value": "+13125550199", "use": "mobile"}]
    circle.provider.edit(place, telecom=phone)
    assert circle.round() == 1
    decide(road.connection, road.contract, road.cipher, "unmerge", (later, first), "steward-7", "two after all")
    road.chart()
    circle.deliver()
    after = {record: dict(road.rows(own, record)) for record in (first, later)}
    assert after[later].pop("demo.mobile")["value"] == "+13125550199"
    before[later].pop("demo.mobile")
    assert after == before
    assert road.balance().faults == []


def test_a_poller_killed_anywhere_tells_every_edit_once(circle: Circle) -> None:
    circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    place, said = circle.place("Patient"), []
    for n in range(6):
        said.append(circle.provider.edit(place, multipleBirthInteger=n + 1)["meta"]["versionId"])
        command = [sys.executable, "-m", "glp1_pipeline_tests.ehr_changes", circle.road.url, circle.client.settings.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.02 * n)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    while circle.poll().is_elsewhere:
        time.sleep(0.1)  # the dead one's lock goes with its connection
    versions = [
        version
        for (version,) in circle.road.rows("select version from phi.events where type = 'chart.updated' order by seq")
    ]
    assert len(versions) == len(set(versions))
    assert set(versions) <= set(said)
    assert said[-1] in versions
    assert circle.poll().changes == 0
    assert circle.road.balance().faults == []


def given_road(circle: Circle) -> Any:
    """The test's own road, in the place of the one that settings give."""

    class Given(dg.ConfigurableResource):
        @property
        def ehr(self) -> Any:
            return circle.client

        @property
        def contract(self) -> Any:
            return circle.road.contract

        @property
        def cipher(self) -> Any:
            return circle.road.cipher

        def in_words(self) -> Any:
            return nullcontext()

        def connect(self, name: str = "") -> psycopg.Connection:
            return psycopg.connect(circle.road.url, autocommit=True)

    return Given()


def test_the_asset_reads_and_says_how_much(circle: Circle) -> None:
    circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    circle.provider.edit(circle.place("Patient"), multipleBirthInteger=2)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [ehr_changes.notice_ehr_changes], resources={"road": given_road(circle)}, instance=instance
        )
    (made,) = result.asset_materializations_for_node("notice_ehr_changes")
    assert made.metadata["changes"].value == 1
    assert float(str(made.metadata["lag (seconds)"].value)) < 60
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("changes_are_read", True)


def test_the_sensor_asks_for_a_run_when_there_is_news_and_now_and_then(
    circle: Circle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ehr_changes, "WAIT_SECONDS", 0.3)
    circle.road.send(submission(next(PEOPLE)))
    circle.deliver()
    circle.road.connection.execute("delete from ops.poll_cursors")
    job = dg.define_asset_job("ehr_changes_job", selection=dg.AssetSelection.assets("ehr_changes"))
    sensor = ehr_changes.ehr_changes_sensor(job)

    with dg.DagsterInstance.ephemeral() as instance:

        def evaluate(cursor: str | None) -> tuple[int, str | None]:
            context = dg.build_sensor_context(instance, cursor=cursor, resources={"road": given_road(circle)})
            answer = sensor.evaluate_tick(context)
            return len(answer.run_requests or ()), answer.cursor

        asked, cursor = evaluate(None)
        assert asked == 1
        circle.poll()
        assert evaluate(cursor)[0] == 0
        circle.provider.edit(circle.place("Patient"), multipleBirthInteger=2)
        assert evaluate(cursor)[0] == 1
        circle.poll()
        assert evaluate(cursor)[0] == 0
        assert evaluate((datetime.now(UTC) - timedelta(minutes=6)).isoformat())[0] == 1


def test_who_died_as_the_ehr_says_leaves_the_queue_and_our_next_write_leaves_that_word_there(circle: Circle) -> None:
    first = submission(next(PEOPLE))
    road, place = circle.road, lambda: circle.place("Patient")
    road.send(first)
    circle.deliver()
    assert circle.poll().changes == 0
    waiting = "select count(*) from ops.provider_queue where left_at is null"
    work = "select count(*) from ops.tasks where status = 'open'"
    assert (road.one(waiting), road.one(work)) == (1, 1)
    (patient_id,) = road.rows("select patient_id::text from phi.charts")[0]

    circle.provider.edit(place(), deceasedDateTime="2026-11-21")
    assert circle.round() == 1
    assert (road.one(waiting), road.one(work)) == (0, 0)
    assert why(road.connection, patient_id)["deceased_since"] is not None
    assert circle.provider.read(place())["deceasedDateTime"] == "2026-11-21"
    road.send(amendment(first, 1, {"demo.preferred_name": "Canary-Called"}))
    circle.deliver()
    assert circle.provider.read(place())["deceasedDateTime"] == "2026-11-21"
    assert (circle.round(), circle.round()) == (0, 0)
    assert road.one(waiting) == 0
    before = road.fingerprint()
    road.replay()
    assert road.fingerprint() == before
    assert road.balance().faults == []

    circle.provider.edit(place(), deceasedDateTime=None)
    assert circle.round() == 1
    assert (road.one(waiting), road.one(work)) == (1, 1)
    assert why(road.connection, patient_id)["deceased_since"] is None
