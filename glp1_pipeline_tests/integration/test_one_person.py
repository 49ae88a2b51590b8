"""One person, one chart: who is joined, who is not, and that taking apart returns everything to whom it belongs (P1.1, G4)."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glp1_pipeline.adapters import matches
from glp1_pipeline.adapters.charts import claim, likely
from glp1_pipeline.adapters.settling import settle_field
from glp1_pipeline.domain import identity
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, amendment, empty_tables, submission

ZACH = {"demo.legal_first": "Zacharias", "demo.preferred_name": "Zach"}
"""A twin's first names."""


def record(road: SmallRoad, subject: str) -> str:
    return str(road.one("select record_id from phi.identifiers where value = %s", subject))


def patient(road: SmallRoad, subject: str) -> str:
    return str(
        road.one(
            "select coalesce(l.patient_id, i.record_id) from phi.identifiers i left join ops.patient_links l"
            " using (record_id) where value = %s",
            subject,
        )
    )


def decide(road: SmallRoad, action: Any, first: str, second: str) -> None:
    matches.decide(
        road.connection, road.contract, road.cipher, action, (first, second), "steward-7", "seen on the phone"
    )
    road.chart()


def chart(road: SmallRoad, patient_id: str) -> dict[str, Any]:
    return dict(road.rows("select field, value from phi.chart_values where patient_id = %s", patient_id))


def in_ehr(road: SmallRoad, patient_id: str) -> dict[str, dict[str, Any]]:
    """What the EHR was told last of each resource of a patient."""
    told: dict[str, dict[str, Any]] = {}
    for kid, body, write_id in road.rows(
        "select kid, body, write_id from ops.writes join phi.write_bodies using (write_id) where patient_id = %s"
        " and target = 'ehr' order by n",
        uuid.UUID(patient_id),
    ):
        bundle = orjson.loads(road.cipher.open(kid, bytes(body), f"writes|{write_id}"))
        told |= {e["request"]["url"]: e["resource"] for e in bundle["entry"]}
    return told


def returning(n: int, account: str, **changes: Any) -> dict[str, Any]:
    """Person n once more, under another account of theirs."""
    return submission(n, subject=account, **changes)


def test_the_same_person_under_a_second_account_has_one_chart(road: SmallRoad):
    road.send(submission(1))
    road.send(returning(1, "canary-second", **{"anthro.weight": {"value": 101, "unit": "kg"}}))
    mine = record(road, "canary-0000001")
    assert patient(road, "canary-second") == mine
    assert road.one("select count(*) from phi.charts") == 1
    assert chart(road, mine)["anthro.weight"]["value"] == 101
    assert road.one("select count(*) from ops.provider_queue where left_at is null") == 1
    assert road.one("select cardinality(events) from phi.charts") == 2
    assert road.balance().faults == []


def test_hundreds_who_come_twice_in_one_drop_are_one_patient_each_and_nobody_else_is_joined(road: SmallRoad):
    many = 130
    road.send(*(submission(n) for n in range(many)), *(returning(n, f"canary-again-{n}") for n in range(many)))
    assert road.one("select count(*) from phi.charts") == many
    assert [n for n in range(many) if patient(road, f"canary-again-{n}") != patient(road, f"canary-{n:07d}")] == []
    assert road.balance().faults == []


def at_the_desk(n: int, account: str = "", **changes: Any) -> dict[str, Any]:
    """Somebody who was registered with the phone, the e-mail and the address of an office, nobody at the same moment."""
    place = {"line1": "12 Wren St", "city": "Austin", "state": "TX", "postal_code": "78701"}
    desk = {"demo.mobile": "+15125550199", "demo.email": "desk@example.org", "demo.address": place}
    changes = {"authored_at": f"2026-11-20T14:{n:02d}:{30 if account else 0:02d}+00:00", **changes}
    return submission(n, subject=account or f"canary-{n:07d}", **{**desk, "demo.state_residence": "TX", **changes})


def misheard(n: int) -> dict[str, Any]:
    """Person n there once more, with slips in family name and birth date: only the office is the same to the letter."""
    told = submission(n)["data"]["answers"]
    last, dob = told["demo.legal_last"], told["demo.dob"]
    slips = {"demo.legal_last": last[:2] + last[3] + last[2] + last[4:], "demo.dob": dob[:-1] + "12"[dob[-1] == "1"]}
    return at_the_desk(n, f"canary-again-{n}", **slips)


def test_a_replay_of_people_who_share_a_phone_with_many_takes_nobody_apart_in_whatever_batches(road, monkeypatch):
    monkeypatch.setattr(likely, "MOST_CANDIDATES", 4)
    road.send(*(event for n in range(6) for event in (at_the_desk(n), misheard(n))))
    road.send(*(at_the_desk(n) for n in range(10, 22)))
    joined = road.rows("select record_id, patient_id from ops.patient_links order by 1")
    before = road.fingerprint()
    assert joined
    for size in (1, 5, 1000):
        monkeypatch.setattr(claim, "BATCH", size)
        assert (road.replay().all_writes, road.fingerprint()) == (0, before)


def test_people_who_share_a_phone_with_many_are_found_whether_they_come_in_one_drop_or_in_many(road, monkeypatch):
    monkeypatch.setattr(likely, "MOST_CANDIDATES", 4)
    events = [event for n in range(8) for event in (at_the_desk(n), misheard(n))]
    road.send(*events)
    before = road.fingerprint()["patient_matches"]
    empty_tables(road.connection)
    for event in sorted(events, key=lambda event: event["data"]["authored_at"]):
        road.send(event)
    assert road.fingerprint()["patient_matches"] == before


def told_of(road: SmallRoad, record_id: str) -> identity.Features:
    return identity.Features.from_doc(road.one("select features from phi.people where record_id = %s", record_id))


def test_whoever_tells_another_phone_is_found_by_that_and_no_more_by_the_old_one(road: SmallRoad, monkeypatch):
    def keys() -> set[int]:
        return {key for (key,) in road.rows("select key from phi.people_keys")}

    def correct(n: int, **changed: str) -> None:
        asked = {contract().fields[f"demo.{name}"].question("3.0.0"): answer for name, answer in changed.items()}
        road.send(amendment(submission(1), n, asked, 60 * n))

    road.send(submission(1))
    first = keys()
    correct(1, mobile="+15125550177")
    second = keys()
    assert (len(second - first), len(first - second)) == (1, 1)
    # Another version of the program finds by other keys, of which one is as before; and then this one again.
    with monkeypatch.context() as patch:
        patch.setattr(likely.identity, "blocking_keys", lambda person: (min(second), len(person.last)))
        correct(2, legal_last="Othercanary")
        assert keys() >= {min(second), len("othercanary")}
    correct(3, mobile="+15125550178")
    assert keys() >= set(identity.blocking_keys(told_of(road, record(road, "canary-0000001"))))
    assert road.balance().faults == []


def test_a_twin_who_comes_twice_is_one_question(road: SmallRoad):
    road.send(submission(1))
    later = dict.fromkeys(("time", "authored_at", "received_at"), "2026-11-21T09:00:00+00:00")
    road.send(*(returning(1, account, **ZACH, **later) for account in ("canary-twin", "canary-twin-again")))
    assert len(matches.reviews(road.connection)) == 2  # of records, and the task is the patient's
    assert patient(road, "canary-twin") == patient(road, "canary-twin-again")
    ((cause,),) = road.rows("select cause from ops.tasks where code = 'resolve-identity' and status = 'open'")
    assert cause == f"match:{record(road, 'canary-0000001')}"
    assert road.balance().faults == []


def test_different_people_stay_apart(road: SmallRoad):
    road.send(*(submission(n) for n in range(40)))
    assert road.one("select count(*) from phi.charts") == 40
    assert road.rows("select * from ops.patient_links") == []


def test_a_twin_is_never_joined_by_itself(road: SmallRoad):
    road.send(submission(1), returning(1, "canary-twin", **ZACH))
    assert road.one("select count(*) from phi.charts") == 2


def test_a_merge_leaves_one_chart_and_the_ehr_knows_which_patient_is_out_of_use(road: SmallRoad):
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", keeps, goes)
    assert patient(road, "canary-0000002") == keeps
    assert road.rows("select patient_id::text from phi.charts") == [(keeps,)]
    assert road.one("select count(*) from ops.provider_queue where left_at is null") == 1
    old, new = in_ehr(road, goes), in_ehr(road, keeps)
    (gone,) = [r for key, r in old.items() if key.startswith("Patient/")]
    (kept,) = [r for key, r in new.items() if key.startswith("Patient/")]
    assert gone["active"] is False
    assert gone["link"][0]["type"] == "replaced-by"
    assert gone["link"][0]["other"]["reference"] == f"Patient/{kept['id']}"
    assert kept["active"] is True
    assert kept["link"][0] == {**kept["link"][0], "type": "replaces"}
    assert {r["status"] for key, r in old.items() if key.startswith(("Observation/", "QuestionnaireResponse/"))} == {
        "entered-in-error"
    }
    answered = [r for key, r in new.items() if key.startswith("QuestionnaireResponse/")]
    assert len(answered) == 2
    assert {r["subject"]["reference"] for r in answered} == {f"Patient/{kept['id']}"}
    assert any(key.startswith("Provenance/") for key in old)
    assert road.balance().faults == []


def test_nothing_that_one_of_two_told_stays_with_the_other_whatever_kind_of_resource_it_is(road: SmallRoad):
    history = {"hx.gallbladder": "removed", "hx.bariatric": ">=12mo", "hx.transplant": "yes", "hx.mtc_family": "yes"}
    history |= {"hx.pancreatitis": "past", "allergy.any": "yes", "allergy.list": [{"substance": "penicillin"}]}
    road.send(submission(1), submission(2, **history))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    told = {key.partition("/")[0] for key in in_ehr(road, goes)}
    before = living(in_ehr(road, keeps)).keys()
    decide(road, "merge", keeps, goes)
    assert told >= {"Procedure", "Condition", "FamilyMemberHistory", "AllergyIntolerance"}
    assert {key.partition("/")[0] for key in living(in_ehr(road, goes))} == {"Patient", "Provenance"}
    assert [r for key, r in living(in_ehr(road, keeps)).items() if key.startswith("Procedure/")]
    decide(road, "unmerge", keeps, goes)
    now = living(in_ehr(road, keeps)).keys()
    assert {key for key in now - before if not key.startswith("Provenance/")} == set()


def test_later_events_under_the_old_id_reach_the_survivor(road: SmallRoad):
    second = submission(2)
    road.send(submission(1), second)
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", keeps, goes)
    road.send(amendment(second, 1, {"anthro.weight": {"value": 93, "unit": "kg"}}))
    assert chart(road, keeps)["anthro.weight"]["value"] == 93
    assert road.one("select count(*) from phi.charts") == 1


def test_un_merge_returns_everything_also_after_the_survivor_was_edited(road: SmallRoad):
    first, second = submission(1), submission(2)
    road.send(first, second)
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    before = {r: (chart(road, r), state_of(road, r)) for r in (keeps, goes)}
    ehr_before = {r: living(in_ehr(road, r)) for r in (keeps, goes)}
    decide(road, "merge", keeps, goes)
    edit = amendment(first, 1, {"anthro.weight": {"value": 99, "unit": "kg"}})
    theirs = amendment(second, 1, {"anthro.weight": {"value": 88, "unit": "kg"}}, minutes=90)
    road.send(edit, theirs)
    decide(road, "unmerge", keeps, goes)
    after = {r: (chart(road, r), state_of(road, r)) for r in (keeps, goes)}
    assert after[keeps][0].pop("anthro.weight")["value"] == 99
    assert after[goes][0].pop("anthro.weight")["value"] == 88
    for r in (keeps, goes):
        for chart_of in (before[r][0], after[r][0]):
            chart_of.pop("anthro.weight", None)
            chart_of.pop("sys.submitted_at")  # of the last submission
        assert {k: (v, before[r][0].get(k)) for k, v in after[r][0].items() if v != before[r][0].get(k)} == {}
        assert after[r][1] == before[r][1]
        now = living(in_ehr(road, r))
        assert ehr_before[r].keys() <= now.keys()
        assert {key for key in now if not key.startswith(("Provenance/", "QuestionnaireResponse/"))} == {
            key for key in ehr_before[r] if not key.startswith(("Provenance/", "QuestionnaireResponse/"))
        }
        (person,) = [resource for key, resource in now.items() if key.startswith("Patient/")]
        assert person["active"] is True
        assert "link" not in person
    assert road.balance().faults == []


def state_of(road: SmallRoad, patient_id: str) -> list[tuple]:
    return [
        *road.rows("select outcome, missing from ops.gate_results where patient_id = %s", patient_id),
        *road.rows(
            "select code, cause from ops.tasks where patient_id = %s and status = 'open' order by 1, 2", patient_id
        ),
        *road.rows("select reds, ambers from ops.provider_queue where patient_id = %s and left_at is null", patient_id),
        *road.rows("select flag_id from phi.risk_flags where patient_id = %s and status <> 'cleared'", patient_id),
    ]


def living(resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What stands: not taken back, no flag that is over, no task that is done."""
    over = {("Flag", "inactive"), ("Task", "completed")}
    return {
        key: r
        for key, r in resources.items()
        if "entered-in-error" not in orjson.dumps(r).decode() and (r["resourceType"], r.get("status")) not in over
    }


def test_a_decision_that_comes_again_and_a_replay_change_nothing(road: SmallRoad):
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", keeps, goes)
    once = road.fingerprint()
    writes = road.one("select count(*) from ops.writes")
    decide(road, "merge", keeps, goes)
    for _ in range(3):
        road.replay()
    assert road.one("select count(*) from ops.writes") == writes
    now = road.fingerprint()
    assert {name: now[name] for name in now if name not in ("state", "events", "match_decisions")} == {
        name: once[name] for name in once if name not in ("state", "events", "match_decisions")
    }


def test_a_pair_that_a_person_told_apart_is_not_joined_and_not_asked_again(road: SmallRoad):
    road.send(submission(1))
    road.send(returning(1, "canary-second"))
    mine, other = record(road, "canary-0000001"), record(road, "canary-second")
    assert patient(road, "canary-second") == mine
    decide(road, "unmerge", mine, other)
    assert patient(road, "canary-second") == other
    road.replay()
    assert patient(road, "canary-second") == other
    assert matches.reviews(road.connection) == []


def test_a_decision_about_a_record_that_nobody_knows_is_refused_and_says_how_to_mend_it(road: SmallRoad):
    road.send(submission(1))
    decide(road, "merge", record(road, "canary-0000001"), str(uuid.uuid4()))
    assert road.events()["rejected:unknown_record"] == 1


def test_a_likely_match_is_a_task_of_whoever_came_later_and_is_gone_once_decided(road: SmallRoad):
    road.send(submission(1))
    road.send(returning(1, "canary-twin", **ZACH))
    waiting = matches.reviews(road.connection)
    if waiting:
        (pair,) = waiting
        tasks = "select count(*) from ops.tasks where cause like 'match:%%' and status = 'open'"
        assert road.one(tasks) == 1
        decide(road, "not_a_match", pair["earlier"], pair["later"])
        assert road.one(tasks) == 0
        assert matches.reviews(road.connection) == []


def test_nobody_merges_people_by_dropping_a_file(road: SmallRoad):
    road.send(submission(1), submission(2))
    a, b = record(road, "canary-0000001"), record(road, "canary-0000002")
    event = {
        "specversion": "1.0", "type": "patient.merged", "source": "/x", "id": "1", "subject": a,
        "time": "2026-11-20T10:00:00Z",
        "data": {"survivor_id": a, "retired_id": b, "actor": "mallory", "reason": "because"},
    }  # fmt: skip
    road.send(event)
    road.replay()
    assert road.events()["rejected:not_by_this_door"] == 1
    assert road.one("select count(*) from phi.charts") == 2


def changed_patient(account: str | None, remote_id: str = "77", **patient: Any) -> dict[str, Any]:
    """What the EHR's own Patient says now, as an event."""
    known = [{"system": "intake-account:/intake/web", "value": account}] if account else []
    resource = {"resourceType": "Patient", "id": remote_id, "identifier": known, **patient}
    return {
        "specversion": "1.0", "type": "chart.updated", "source": "/ehr/clinic",
        "id": f"Patient/{remote_id}/_history/{patient.get('birthDate', 1)}", "subject": f"Patient/{remote_id}",
        "time": "2026-11-21T10:00:00Z",
        "data": {"resource_type": "Patient", "resource_id": remote_id, "version": "2", "deleted": False,
                 "resource": resource, "actor": "Practitioner/9"},
    }  # fmt: skip


@pytest.mark.parametrize("is_first", [True, False])
def test_a_system_that_names_our_account_speaks_of_the_same_record_whichever_comes_first(road: SmallRoad, is_first):
    told = [submission(1), changed_patient("canary-0000001", telecom=[{"system": "phone", "value": "+13125550142"}])]
    for event in told if is_first else reversed(told):
        road.send(event)
    assert record(road, "canary-0000001") == record(road, "Patient/77")
    assert road.one("select count(*) from phi.charts") == 1
    assert {source for (source,) in road.rows("select source from phi.patient_values")} == {"intake", "ehr"}


def test_two_identifiers_of_one_person_join_two_records(road: SmallRoad):
    road.send(changed_patient(None, birthDate="1980-01-01"))
    road.send(submission(1))
    assert road.one("select count(*) from phi.charts") == 2
    road.send(changed_patient("canary-0000001", birthDate="1980-01-02"))
    assert road.one("select count(*) from phi.charts") == 1
    assert patient(road, "Patient/77") == patient(road, "canary-0000001")
    assert road.balance().faults == []


@pytest.mark.parametrize(("keep", "born"), [("holding", "1962-02-02"), ("offered", "1962-02-20")])
def test_a_steward_says_which_birth_date_is_right_and_the_dispute_is_over(road: SmallRoad, keep: Any, born: str):
    first = submission(1, **{"demo.dob": "1962-02-02"})
    road.send(first)
    road.send(amendment(first, 1, {"demo.dob": "1962-02-20"}))
    mine = record(road, "canary-0000001")
    assert chart(road, mine)["demo.dob"]["value"] == "1962-02-02"
    is_open = "select count(*) from ops.field_conflicts where closed_at is null"
    assert road.one(is_open) == 1
    settle_field(road.connection, road.contract, road.cipher, mine, "demo.dob", keep, "steward-7", "saw the passport")
    road.chart()
    assert chart(road, mine)["demo.dob"]["value"] == born
    assert road.one(is_open) == 0
    assert road.one("select count(*) from ops.tasks where status = 'open' and cause = 'demo.dob'") == 0
    state = road.fingerprint()
    road.replay()
    assert road.fingerprint() == state


def changed_contact(account: str, **properties: str) -> dict[str, Any]:
    """What the CRM's own contact says now, as an event."""
    return {
        "specversion": "1.0", "type": "contact.updated", "source": "/crm/sales", "id": f"contact/9/{account}",
        "subject": f"9-{account}", "time": "2026-11-21T11:00:00Z",
        "data": {"contact_id": "9", "version": "2", "deleted": False, "properties": properties, "actor": "user-1",
                 "identifiers": [{"system": "intake-account:/intake/web", "value": account}]},
    }  # fmt: skip


EVENTS = [
    submission(1),
    amendment(submission(1), 1, {"anthro.weight": {"value": 91, "unit": "kg"}}),
    returning(1, "canary-second", **{"anthro.weight": {"value": 95, "unit": "kg"}}),
    submission(2),
    amendment(submission(2), 1, {"hx.kidney": "ckd"}),
    returning(2, "canary-third", **ZACH),
    changed_patient("canary-0000001", birthDate="1980-01-01", telecom=[{"system": "phone", "value": "+13125550142"}]),
    changed_patient(None, "78", birthDate="1980-02-02"),
    changed_contact("canary-0000002", mobilephone="+1 312 555 0143", glp1_sms_opt_out="true"),
]


MERGE, UNMERGE = ("merge", "canary-0000001", "canary-0000002"), ("unmerge", "canary-0000001", "canary-0000002")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.permutations(range(len(EVENTS))),
    again=st.lists(st.sampled_from(range(len(EVENTS))), max_size=4),
    data=st.data(),
)
def test_the_same_events_in_any_order_with_any_duplicates_end_in_one_state(road: SmallRoad, steps, again, data):
    """Of the form, the EHR and the CRM, with merges and un-merges among them, decided at any moment from which both
    records are known."""
    decisions = data.draw(st.sampled_from([[], [MERGE], [MERGE, UNMERGE], [MERGE, UNMERGE, MERGE]]))
    road = road.under(contract())  # with a CRM
    found = []
    for order in (list(range(len(EVENTS))), [*steps, *again]):
        empty_tables(road.connection)
        left = list(decisions)
        for place, n in enumerate(order):
            road.send(EVENTS[n])
            known = {v: str(r) for v, r in road.rows("select value, record_id from phi.identifiers")}
            while left and {*left[0][1:]} <= known.keys():
                if place + 1 < len(order) and data.draw(st.booleans()):
                    break
                action, first, second = left.pop(0)
                decide(road, action, known[first], known[second])
        assert not left
        found.append(road.fingerprint())
    told = [{k: v for k, v in f.items() if k not in ("state", "copies", "events", "match_decisions")} for f in found]
    assert told[0] == told[1]
