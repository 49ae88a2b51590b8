"""One person, one chart, when things go wrong: code that fails halfway, events that come late, decisions that come early."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import orjson
import psycopg
import pytest
from click.testing import CliRunner

from glp1_pipeline import cli
from glp1_pipeline.adapters import crosswalk, ledger, matches, status
from glp1_pipeline.cli import mend
from glp1_pipeline.domain import flags
from glp1_pipeline.domain.fhir import patient_key, response_key
from glp1_pipeline_tests.sample_inputs import contract
from glp1_pipeline_tests.small_road import SmallRoad, amendment, connect, small_road, submission


def record(road: SmallRoad, subject: str) -> str:
    return str(road.one("select record_id from phi.identifiers where value = %s", subject))


def decide(road: SmallRoad, action: Any, first: str, second: str) -> None:
    matches.decide(
        road.connection, road.contract, road.cipher, action, (first, second), "steward-7", "seen on the phone"
    )
    road.chart()


def returning(n: int, account: str, **changes: Any) -> dict[str, Any]:
    """Person n once more, under another account of theirs."""
    return submission(n, subject=account, **changes)


def fail_on_several_reports(patch: pytest.MonkeyPatch) -> None:
    real = flags.evaluate_history

    def evaluate(contract, patient_id, reports, **told):
        if len(reports) > 1:
            raise KeyError("Canary")
        return real(contract, patient_id, reports, **told)

    patch.setattr(flags, "evaluate_history", evaluate)


def test_a_merge_on_which_our_code_fails_changes_nothing_and_is_made_by_a_replay(road: SmallRoad):
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    with pytest.MonkeyPatch.context() as patch:
        fail_on_several_reports(patch)
        decide(road, "merge", keeps, goes)
    assert road.one("select count(*) from phi.events where status = 'dead'") == 1
    assert road.one("select reason from phi.events where status = 'dead'").startswith("KeyError in ")
    assert road.one("select count(*) from phi.charts") == 2
    assert road.one("select count(*) from ops.provider_queue where left_at is null") == 2
    assert road.balance().faults == []
    road.replay()
    assert road.rows("select patient_id::text from phi.charts") == [(keeps,)]
    assert road.balance().faults == []


def test_an_event_that_fails_joins_nobody_and_holds_nobody_beside_it(road: SmallRoad):
    road.send(submission(1))
    with pytest.MonkeyPatch.context() as patch:
        fail_on_several_reports(patch)
        road.send(returning(1, "canary-second"), submission(5))
    assert road.events().pop("charted") == 2
    assert road.rows("select * from ops.patient_links") == []
    road.replay()
    assert road.events() == {"charted": 3}
    assert road.one("select count(*) from phi.charts") == 2
    assert road.balance().faults == []


def test_the_question_who_somebody_is_waits_with_the_other_once_an_older_event_turns_the_order(road: SmallRoad):
    one, twin = (
        submission(1),
        returning(1, "canary-twin", **{"demo.legal_first": "Zacharias", "demo.preferred_name": "Zach"}),
    )
    road.send(one)
    road.send(twin)
    asked = "select patient_id::text from ops.tasks where cause like 'match:%%' and status = 'open'"
    (pair,) = matches.reviews(road.connection)
    assert road.rows(asked) == [(pair["later"],)]
    later = one if record(road, "canary-0000001") == pair["later"] else twin
    road.send(amendment(later, 1, {"demo.email": "canary@example.org"}, minutes=-600))
    (turned,) = matches.reviews(road.connection)
    assert turned["later"] == pair["earlier"]
    assert road.rows(asked) == [(turned["later"],)]


def test_a_ledger_that_is_charted_from_nothing_knows_the_records_that_its_own_events_tell_of(road: SmallRoad, url: str):
    road.send(submission(1), submission(2))
    decide(road, "merge", record(road, "canary-0000001"), record(road, "canary-0000002"))
    told = [
        road.cipher.open(kid, bytes(body), f"events|{event_id}")
        for event_id, kid, body in road.rows("select event_id, kid, body from phi.events order by seq")
    ]
    before = road.fingerprint()
    with small_road(url, road.folder) as again:
        ledger.append(again.connection, again.contract, again.cipher, told)
        again.chart()
        assert again.events() == {"charted": 3}
        assert again.fingerprint()["charts"] == before["charts"]


def told(road: SmallRoad, patient_id: str, target: str) -> list[dict[str, Any]]:
    """The bodies of all writes of a patient to a target, oldest first."""
    rows = road.rows(
        "select kid, body, write_id from ops.writes join phi.write_bodies using (write_id) where patient_id = %s"
        " and target = %s order by n",
        uuid.UUID(patient_id),
        target,
    )
    return [orjson.loads(road.cipher.open(kid, bytes(body), f"writes|{write_id}")) for kid, body, write_id in rows]


def in_ehr(road: SmallRoad, patient_id: str) -> dict[str, dict[str, Any]]:
    """What the EHR was told last of each resource of a patient."""
    return {e["request"]["url"]: e["resource"] for bundle in told(road, patient_id, "ehr") for e in bundle["entry"]}


def test_who_never_pressed_submit_is_shown_no_more_once_a_record_that_did_is_taken_out_of_them(road: SmallRoad):
    road.send(submission(1, status="in-progress"), submission(2))
    draft, whole = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", draft, whole)
    assert any(key.startswith("Observation/") for key in in_ehr(road, draft))
    decide(road, "unmerge", draft, whole)
    left = {key: r for key, r in in_ehr(road, draft).items() if not key.startswith("Provenance/")}
    (person,) = [left.pop(key) for key in list(left) if key.startswith("Patient/")]
    assert person["active"] is False
    assert "Canary" not in orjson.dumps(person).decode()
    assert "canary-0000002" not in orjson.dumps(person).decode()
    assert [key for key, r in left.items() if "entered-in-error" not in orjson.dumps(r).decode()] == []
    before = road.fingerprint()
    road.replay()
    assert road.fingerprint() == before
    road.send(amendment(submission(1), 1, {"anthro.weight": {"value": 91, "unit": "kg"}}))
    assert next(r for key, r in in_ehr(road, draft).items() if key.startswith("Patient/"))["active"] is True


def test_a_patient_whose_birth_date_is_in_dispute_keeps_nothing_of_a_record_that_was_taken_out(road: SmallRoad):
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    mine = next(r for key, r in in_ehr(road, keeps).items() if key.startswith("Patient/"))
    decide(road, "merge", keeps, goes)
    road.send(amendment(submission(1), 1, {"demo.dob": "1950-01-01"}))
    assert road.one("select count(*) from ops.field_conflicts where closed_at is null and field = 'demo.dob'") == 1
    decide(road, "unmerge", keeps, goes)
    assert road.one("select count(*) from ops.field_conflicts where closed_at is null and field = 'demo.dob'") == 1
    now = next(r for key, r in in_ehr(road, keeps).items() if key.startswith("Patient/"))
    assert "link" not in now
    assert (now["name"], now["telecom"], now["identifier"]) == (mine["name"], mine["telecom"], mine["identifier"])


def contact(record_id: str, version: int, accounts: tuple[str, ...] = (), **properties: str) -> dict[str, Any]:
    """A change of a contact of ours in the CRM, which may know the person by accounts of the form, too."""
    known = [{"system": "intake-account:/intake/web", "value": account} for account in accounts]
    return {
        "specversion": "1.0", "type": "contact.updated", "source": "/crm/portal", "subject": record_id[:8],
        "id": f"contact/{record_id[:8]}/_history/{version}", "time": f"2026-11-21T10:00:{version:02}Z",
        "data": {"contact_id": record_id[:8], "version": str(version), "record_id": record_id, "properties": properties,
                 "identifiers": known},
    }  # fmt: skip


@pytest.mark.parametrize("is_retired", [True, False])
def test_who_opts_out_at_one_contact_is_not_reached_by_the_other_of_a_merged_record(road: SmallRoad, is_retired: bool):
    road = road.under(contract())
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", keeps, goes)
    known = told(road, goes, "crm")[-1]["contact"]["properties"]
    assert known.pop("glp1_pipeline_status") == "merged"
    assert known.keys() <= {"glp1_marketing_opt_out"}
    road.send(contact(goes if is_retired else keeps, 1, glp1_sms_opt_out="true"))
    said = {r: told(road, r, "crm")[-1]["contact"] for r in (keeps, goes)}
    assert {r: body["key"] for r, body in said.items()} == {keeps: keeps, goes: goes}
    assert {body["properties"]["glp1_sms_opt_out"] for body in said.values()} == {"true"}
    assert said[goes]["properties"].keys() == {"glp1_sms_opt_out", "glp1_pipeline_status", *known}
    writes = road.one("select count(*) from ops.writes")
    road.replay()
    assert road.one("select count(*) from ops.writes") == writes
    decide(road, "unmerge", keeps, goes)
    assert told(road, goes, "crm")[-1]["contact"]["properties"]["glp1_pipeline_status"] == "clinical_review"


def test_identifiers_never_join_by_themselves_who_cannot_be_one_person(road: SmallRoad):
    road.send(submission(1), submission(2))
    one = record(road, "canary-0000001")
    road.send(contact(one, 1, accounts=("canary-0000002",), glp1_sms_opt_out="true"))
    assert road.one("select count(*) from phi.charts") == 2
    (pair,) = matches.reviews(road.connection)
    assert {pair["earlier"], pair["later"]} == {one, record(road, "canary-0000002")}
    assert road.one("select count(*) from ops.tasks where cause like 'match:%%' and status = 'open'") == 1
    decide(road, "merge", pair["earlier"], pair["later"])  # a person may know better
    assert road.one("select count(*) from phi.charts") == 1


def test_an_account_that_another_system_gives_to_a_record_stays_a_record_that_can_be_taken_apart(road: SmallRoad):
    road.send(submission(1))
    one = record(road, "canary-0000001")
    road.send(contact(one, 1, accounts=("canary-0000002",), glp1_sms_opt_out="true"))
    road.send(submission(2))
    other = record(road, "canary-0000002")
    assert other != one
    assert {str(r) for (r,) in road.rows("select patient_id from phi.charts")} == {one, other}
    assert road.balance().faults == []


def test_accounts_that_we_told_the_ehr_ourselves_prove_nothing_when_they_come_back(road: SmallRoad):
    road.send(submission(1))
    road.send(returning(1, "canary-0000000"))
    survivor = str(road.one("select patient_id from phi.charts"))
    (ours,) = [r for key, r in in_ehr(road, survivor).items() if key.startswith("Patient/")]
    assert len([i for i in ours["identifier"] if i["system"].startswith("intake-account")]) == 2
    theirs = ours | {"id": "7", "telecom": [{"system": "phone", "value": "+13125550142"}]}
    change = {
        "specversion": "1.0", "type": "chart.updated", "source": "/ehr/ehr", "id": "Patient/7/_history/2",
        "subject": "Patient/7", "time": "2026-11-21T10:00:00Z",
        "data": {"resource_type": "Patient", "resource_id": "7", "version": "2", "record_id": survivor,
                 "resource": theirs},
    }  # fmt: skip
    ledger.append(road.connection, road.contract, road.cipher, [orjson.dumps(change)])  # as who asks the EHR does
    road.chart()
    assert road.events() == {"charted": 3}
    assert road.rows("select basis from ops.patient_matches") == [("model",)]


def test_the_balance_names_what_a_merge_would_leave_behind(road: SmallRoad):
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", keeps, goes)
    assert road.balance().faults == []
    road.connection.execute("update ops.provider_queue set left_at = null where patient_id = %s", (goes,))
    road.connection.execute("update phi.charts set events = events || events")
    found = road.balance().faults
    assert "1 records are part of another's patient and have a chart, work or a place in the queue" in found
    assert "1 charts have more events than there are values" in found


def test_an_id_that_systems_gave_to_two_people_is_answered_with_both(road: SmallRoad):
    road.send(submission(1), submission(2, subject="canary-0000001", source="/intake/ios"))
    one, two = (str(r) for (r,) in road.rows("select patient_id from phi.charts order by received_at"))
    with pytest.raises(crosswalk.SeveralPatients) as several:
        crosswalk.find_patient(road.connection, "canary-0000001")
    assert several.value.patients == sorted([one, two])
    assert crosswalk.find_patient(road.connection, one) == one
    decide(road, "merge", one, two)
    assert crosswalk.find_patient(road.connection, "canary-0000001") == one
    assert crosswalk.find_patient(road.connection, two.upper()) == one
    assert len(status.events_of(road.connection, one)) == 3
    told = status.why(road.connection, one)
    assert len(told["last_events"]) == 3
    assert [write["write"] for write in told["writes"]] == [1, 1, 2, 2]  # of both Patients


def test_ours_is_sent_again_for_a_merged_patient_too(road: SmallRoad, monkeypatch: pytest.MonkeyPatch):
    road.send(submission(1), submission(2))
    keeps, goes = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", keeps, goes)
    answered = response_key(keeps, road.one("select submission_id from phi.patient_values where record_id = %s", goes))
    person = patient_key(goes)
    for patient_id, key in ((keeps, answered), (goes, person)):
        road.connection.execute(
            "update ops.copies set conflicts = jsonb_build_object(%s::text, jsonb_build_object('reason', 'edited_in_ehr',"
            " 'since', now())) where patient_id = %s",
            (key, patient_id),
        )
    monkeypatch.setattr(mend, "open_road", lambda: Opened(road))
    who = ("--actor", "steward-7", "--reason", "compared with the chart")
    sent = CliRunner().invoke(cli.main, ["conflicts", "--send-ours", keeps, answered, *who, "--json"])
    assert orjson.loads(sent.stdout) == {"decision": "ours", "new_writes": 1}
    assert answered in {entry["request"]["url"] for entry in told(road, keeps, "ehr")[-1]["entry"]}
    refused = CliRunner().invoke(cli.main, ["conflicts", "--send-ours", goes, person, *who])
    assert (refused.exit_code, "--keep-theirs" in refused.output) == (1, True)
    kept = CliRunner().invoke(cli.main, ["conflicts", "--keep-theirs", goes, person, *who, "--json"])
    assert orjson.loads(kept.stdout) == {"decision": "theirs", "new_writes": 0}


class Opened:
    """The road as a command opens it."""

    def __init__(self, road: SmallRoad) -> None:
        self.contract, self.cipher, self.url = road.contract, road.cipher, road.url
        self.settings = SimpleNamespace(home=road.folder)

    def connect(self, name: str) -> psycopg.Connection:
        return connect(self.url, name)


@pytest.mark.parametrize(
    ("other", "actor", "reason", "hint"),
    [
        ("itself", "steward-7", "because", "must be two records"),
        ("no id", "steward-7", "because", "must be the id of a record of ours"),
        ("", "steward seven", "because", "data.actor"),
        ("", "steward-7", " ", "must say why"),
    ],
)
def test_a_decision_that_is_not_whole_says_what_it_lacks_and_leaves_nothing_behind(
    road: SmallRoad, other: str, actor: str, reason: str, hint: str
):
    road.send(submission(1), submission(2))
    one, two = record(road, "canary-0000001"), record(road, "canary-0000002")
    pair = (one, {"itself": one.upper(), "": two}.get(other, other))
    with pytest.raises(ValueError, match=hint):
        matches.decide(road.connection, road.contract, road.cipher, "merge", pair, actor, reason)
    assert road.events() == {"charted": 2}


def test_records_are_known_in_whatever_spelling_a_person_copies_them(road: SmallRoad):
    road.send(submission(1), submission(2))
    one, two = record(road, "canary-0000001"), record(road, "canary-0000002")
    decide(road, "merge", one.upper(), two.replace("-", ""))
    assert road.rows("select patient_id::text from phi.charts") == [(one,)]


@pytest.mark.parametrize("is_together", [True, False])
def test_who_was_heard_of_first_is_who_said_first_who_they_are(road: SmallRoad, is_together: bool):
    twin = returning(1, "canary-twin", **{"demo.legal_first": "Zacharias", "demo.preferred_name": "Zach"})
    road.send(submission(1), twin)
    (pair,) = matches.reviews(road.connection)
    later = submission(1) if record(road, "canary-0000001") == pair["later"] else twin
    told = [
        amendment(later, 1, {"hx.kidney": "none"}, minutes=-600),  # says nothing of who they are
        amendment(later, 2, {"demo.email": "canary@example.org"}),
    ]
    for events in (told,) if is_together else ([event] for event in told):
        road.send(*events)
    assert matches.reviews(road.connection)[0]["later"] == pair["later"]
