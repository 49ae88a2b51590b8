"""What a steward, or the field's owner, settled against a word of the EHR is told to the EHR: once, and that alone."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from glp1_pipeline.adapters.ehr_compare import compare
from glp1_pipeline.adapters.outbox import conflicts
from glp1_pipeline.adapters.settling import settle_field
from glp1_pipeline_tests.circle import Circle
from glp1_pipeline_tests.sample_inputs import ABSENT
from glp1_pipeline_tests.small_road import amendment, submission

from .test_two_editors import SOME, deliver_dying

PEOPLE = count(1)
WRONG = [{"use": "official", "family": "Canary-Wrong", "given": ["Zed"]}]
MAIDEN = {"use": "maiden", "family": "Canary-Born"}
WEDDED = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]}
RACE = {
    "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
    "extension": [{"url": "text", "valueString": "x"}],
}


def begin(circle: Circle, **answers: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Somebody whom no provider reviews yet, so that the form owns who they are; and their Patient in the EHR."""
    first = submission(next(PEOPLE), **{"hx.men2": ABSENT, **answers})
    circle.road.send(first)
    circle.deliver()
    assert circle.poll().changes == 0
    return first, patient(circle)


def patient(circle: Circle) -> dict[str, Any]:
    return circle.provider.read(circle.place("Patient"))


def edit(circle: Circle, **content: Any) -> None:
    circle.provider.edit(circle.place("Patient"), **content)


def settle(circle: Circle, *fields: str, keep: Any = "holding") -> None:
    road = circle.road
    patient_id = str(road.one("select patient_id from phi.charts"))
    for field in fields:
        settle_field(
            road.connection, road.contract, road.cipher, patient_id, field, keep, "steward-7", "saw a passport"
        )
    road.chart()


def open_work(circle: Circle) -> list[str]:
    rows = circle.road.rows("select cause from ops.tasks where status = 'open' and cause <> 'hx.men2' order by 1")
    return [cause for (cause,) in rows]


def assert_at_rest(circle: Circle) -> None:
    assert conflicts(circle.road.connection, "ehr") == []
    assert (circle.round(), circle.round()) == (0, 0), "nothing echoes"
    read_back = compare(circle.road.connection, circle.client, circle.road.cipher)
    assert read_back.holds
    assert read_back.not_sent_yet == 0
    before, writes = circle.road.fingerprint(), circle.road.one("select count(*) from ops.writes")
    circle.road.replay()
    assert (circle.road.fingerprint(), circle.road.one("select count(*) from ops.writes")) == (before, writes)


def test_a_name_that_a_steward_keeps_is_told_to_the_ehr_and_all_else_there_stays(circle: Circle) -> None:
    _, before = begin(circle)
    edit(circle, name=[*WRONG, MAIDEN], maritalStatus=WEDDED)
    assert circle.round() == 1
    assert open_work(circle) == ["demo.legal_first", "demo.legal_last"]
    assert patient(circle)["name"] == [*WRONG, MAIDEN], "nobody has decided yet"
    settle(circle, "demo.legal_first", "demo.legal_last")
    circle.deliver()
    assert open_work(circle) == []
    assert patient(circle)["name"] == [*before["name"], MAIDEN]
    assert patient(circle)["maritalStatus"] == WEDDED
    assert_at_rest(circle)


def test_a_name_that_a_steward_takes_from_the_ehr_stays_there(circle: Circle) -> None:
    begin(circle)
    edit(circle, name=WRONG)
    circle.round()
    settle(circle, "demo.legal_first", "demo.legal_last", keep="offered")
    circle.deliver()
    assert circle.value("demo.legal_last") == "Canary-Wrong"
    assert patient(circle)["name"][0] == WRONG[0]
    assert_at_rest(circle)


@pytest.mark.parametrize("deaths", SOME)
def test_a_birth_date_and_a_sex_that_held_the_patient_back_are_told_when_both_are_settled(
    circle: Circle, monkeypatch: pytest.MonkeyPatch, deaths: set[int]
) -> None:
    """Also where the deliverer is killed at any call."""
    _, before = begin(circle)
    sex = [
        {**one, "valueCode": "F" if one["valueCode"] == "M" else "M"}
        for one in before["extension"]
        if "valueCode" in one
    ]
    edit(circle, birthDate="1950-05-05", extension=[*sex, RACE])
    circle.round()
    assert open_work(circle) == ["demo.dob", "demo.sex_at_birth"]
    settle(circle, "demo.dob")
    circle.deliver()
    assert patient(circle)["birthDate"] == "1950-05-05", "the other dispute still holds the Patient as it is"
    settle(circle, "demo.sex_at_birth")
    deliver_dying(circle, monkeypatch, deaths)
    assert patient(circle)["birthDate"] == before["birthDate"]
    assert {one["url"]: one.get("valueCode") for one in patient(circle)["extension"]} == {
        **{one["url"]: one.get("valueCode") for one in before["extension"]}, RACE["url"]: None,
    }  # fmt: skip
    assert_at_rest(circle)


def test_the_owner_who_says_it_again_settles_it_in_the_ehr_too(circle: Circle) -> None:
    first, before = begin(circle)
    edit(circle, name=WRONG)
    circle.round()
    given, family = before["name"][0]["given"][0], before["name"][0]["family"]
    again = amendment(first, 1, {"demo.legal_first": given, "demo.legal_last": family}, minutes=60 * 24 * 365)
    circle.road.send(again)
    circle.deliver()
    assert open_work(circle) == []
    assert patient(circle)["name"] == before["name"]
    assert_at_rest(circle)


def test_what_somebody_changed_there_since_it_was_settled_is_heard_and_left_to_a_person(circle: Circle) -> None:
    begin(circle)
    edit(circle, name=WRONG)
    circle.round()
    settle(circle, "demo.legal_first", "demo.legal_last")
    newer = [{**WRONG[0], "given": ["Zeb"]}]
    edit(circle, name=newer)
    circle.deliver()
    assert patient(circle)["name"] == newer
    assert [one.reason for one in conflicts(circle.road.connection, "ehr")] == ["edited_in_ehr"]
    assert circle.events() == 2
    circle.road.chart()
    assert "demo.legal_first" in open_work(circle)


def test_said_wrong_again_after_that_it_is_asked_about_again_and_told_again(circle: Circle) -> None:
    _, before = begin(circle)
    for _ in range(2):
        edit(circle, name=WRONG)
        assert circle.round() == 1
        assert open_work(circle) == ["demo.legal_first", "demo.legal_last"]
        settle(circle, "demo.legal_first", "demo.legal_last")
        circle.deliver()
        assert patient(circle)["name"] == before["name"]
    assert_at_rest(circle)


def test_settled_against_another_server_nothing_is_told_to_ours(circle: Circle) -> None:
    first, before = begin(circle)
    place = "Patient/elsewhere"
    circle.road.send({
        "specversion": "1.0", "type": "chart.updated", "source": "/ehr/clinic", "id": f"{place}/_history/1",
        "subject": place, "time": "2027-11-21T10:00:00Z",
        "data": {"resource_type": "Patient", "resource_id": "elsewhere", "version": "1", "actor": "Practitioner/9",
                 "identifiers": [{"system": "intake-account:/intake/web", "value": first["subject"]}],
                 "resource": {"resourceType": "Patient", "name": WRONG}},
    })  # fmt: skip
    circle.deliver()
    edit(circle, maritalStatus=WEDDED)
    circle.round()
    settle(circle, "demo.legal_first", "demo.legal_last")
    circle.deliver()
    assert patient(circle)["name"] == before["name"]
    assert patient(circle)["maritalStatus"] == WEDDED
    assert_at_rest(circle)
