"""The whole circle: a submission makes a contact, an edit there reaches the chart by ownership, and nothing echoes."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from glp1_pipeline import cli
from glp1_pipeline.adapters.balance import balance
from glp1_pipeline.adapters.charts import attend_disputes
from glp1_pipeline.adapters.crm_compare import compare_contacts
from glp1_pipeline.adapters.outbox import conflicts
from glp1_pipeline.adapters.refused import decide_anew
from glp1_pipeline.adapters.settling import settle_field
from glp1_pipeline.cli import telling
from glp1_pipeline.domain.crm import KEY
from glp1_pipeline_tests.crm_process import CrmProcess
from glp1_pipeline_tests.crm_world import CrmWorld
from glp1_pipeline_tests.small_road import amendment, connect, small_road, submission


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[CrmWorld]:
    with small_road(url, tmp_path) as road:
        yield CrmWorld(road)


def chart_value(world: CrmWorld, field: str) -> Any:
    rows = world.road.rows("select value from phi.chart_values where field = %s", field)
    return rows[0][0].get("value") if rows else None


def test_a_submission_becomes_one_contact_with_what_it_may_know(world: CrmWorld, crm: CrmProcess) -> None:
    world.road.send(submission(1))
    world.drain(crm.door())
    properties = crm.only()["properties"]
    (patient,) = world.road.rows("select patient_id::text, stage from phi.charts")
    assert (properties[KEY], properties["glp1_pipeline_status"]) == patient
    assert properties["email"] == chart_value(world, "demo.email")
    assert properties["mobilephone"] == chart_value(world, "demo.mobile")
    world.road.replay()
    world.road.replay()
    assert world.statuses() == {"delivered": 1}
    assert world.road.balance().faults == []


def test_an_address_that_two_patients_share_is_a_conflict_and_leaves_the_ledger_in_balance(
    world: CrmWorld, crm: CrmProcess
) -> None:
    """As a couple has one: nothing of it is out of balance, and nobody is called for that."""
    shared = {"demo.email": "household@canary.example"}
    world.road.send(submission(1, **shared), submission(2, **shared))
    world.drain(crm.door())
    assert len(crm.contacts()) == 1
    in_conflict = "select conflicts -> 'contact' ->> 'reason' from ops.copies where conflicts <> '{}'"
    assert world.road.rows(in_conflict) == [("already_linked",)]
    assert world.road.balance().faults == balance(world.connection, is_by_clock=True).faults == []


def test_a_contact_that_the_crm_refused_for_what_it_says_is_decided_anew_and_made_once(
    world: CrmWorld, crm: CrmProcess
) -> None:
    world.road.send(submission(1))
    world.connection.execute("update ops.writes set status = 'dead', last_class = 'rejected' where target = 'crm'")
    world.connection.execute("update ops.lanes set has_work = false, blocked = 'rejected' where target = 'crm'")
    done = decide_anew(world.connection, world.road.contract, world.road.cipher, "crm")
    assert (done.given_up, done.new_writes, done.left) == (1, 1, 0)
    world.drain(crm.door())
    assert crm.only()["properties"]["email"] == chart_value(world, "demo.email")
    assert world.statuses() == {"cancelled": 1, "delivered": 1}
    assert world.road.balance().faults == []


def test_what_the_crm_holds_is_compared_contact_by_contact_with_what_it_was_told(
    world: CrmWorld, crm: CrmProcess, tmp_path: Path
) -> None:
    world.road.send(submission(1), submission(2), submission(3), submission(4))
    world.drain(crm.door())

    def compared() -> dict[str, Any]:
        found = compare_contacts(world.connection, crm.door(), world.road.contract, world.road.cipher).as_dict()
        return {name: count for name, count in found.items() if count}

    assert compared() == {"contacts": 4, "equal": 4, "holds": True}
    first, second, third, _ = crm.contacts()
    crm.edit(first["id"], mobilephone="(206) 555-0177")  # the CRM's own by now
    assert compared()["equal"] == 4
    crm.ask("PATCH", f"/{second['id']}", {"properties": {"glp1_pipeline_status": "lost"}})
    assert compared() == {"contacts": 4, "equal": 3, "edited_there": 1, "holds": True}
    with closing(sqlite3.connect(tmp_path / "contacts.sqlite3")) as its_own:  # it keeps another form than it was told
        its_own.execute(
            "update contacts set properties = json_set(properties, '$.lastname', upper(properties ->> 'lastname'))"
        )
        its_own.commit()
        assert compared() == {"contacts": 4, "equal": 3, "edited_there": 1, "holds": True}
        its_own.execute(
            "update contacts set properties = json_set(properties, '$.lastname', 'x') where id = ?", (third["id"],)
        )
        its_own.commit()
    assert compared() == {"contacts": 4, "equal": 2, "different": 1, "edited_there": 1}
    crm.ask("DELETE", f"/{third['id']}")
    assert compared() == {"contacts": 4, "equal": 2, "edited_there": 1, "missing": 1}
    # As after a restore of an older database, and as where what we noted is not what stands there.
    world.connection.execute("delete from ops.copies where patient_id = %s", (first["properties"][KEY],))
    world.connection.execute("delete from ops.writes where patient_id = %s", (first["properties"][KEY],))
    world.connection.execute(
        "update ops.copies set remote = jsonb_set(remote, '{contact,1}', to_jsonb(%s::text)) where patient_id = %s",
        (str(crm.door().get(second["id"], [KEY]).stamp), second["properties"][KEY]),  # type: ignore[union-attr]
    )
    assert compared() == {"contacts": 3, "equal": 1, "different": 1, "missing": 1, "unknown": 1}


def test_who_deletes_a_contact_in_the_crm_is_asked_about_as_soon_as_it_is_heard(
    world: CrmWorld, crm: CrmProcess
) -> None:
    """And not at our next change of the patient, which may never come: until then nobody could say that it is right."""
    road, door = world.road, crm.door()
    road.send(submission(1), submission(2))
    world.drain(door)
    world.notice(door)
    gone, left = crm.contacts()
    crm.ask("DELETE", f"/{gone['id']}")
    world.connection.execute("update ops.poll_cursors set polled_at = polled_at - interval '1 hour'")
    assert world.notice(door).deleted == 1
    road.chart()
    attend_disputes(road.connection, road.contract, road.cipher)
    key = gone["properties"][KEY]
    assert (world.conflict(key), world.conflict(left["properties"][KEY])) == ("deleted_in_crm", None)
    asked = "select patient_id::text, cause from ops.tasks where code = 'resolve-edit-conflict' and status = 'open'"
    assert [patient_id for patient_id, _ in road.rows(asked)] == [key]
    compared = compare_contacts(world.connection, door, road.contract, road.cipher)
    assert (compared.holds, compared.missing, compared.edited_there) == (True, 0, 1)
    world.decide(key, "theirs")
    attend_disputes(road.connection, road.contract, road.cipher)
    assert road.rows(asked) == []
    world.connection.execute("update ops.poll_cursors set polled_at = polled_at - interval '1 hour'")
    assert world.notice(door).deleted == 0
    assert [one.decision for one in conflicts(world.connection, "crm", key)] == ["theirs"]
    world.decide(key, "ours")
    road.replay()
    world.drain(door)
    assert len(crm.contacts()) == 2
    assert world.conflict(key) is None


def test_a_phone_changed_in_the_crm_reaches_the_chart_and_does_not_come_back(world: CrmWorld, crm: CrmProcess) -> None:
    door = crm.door()
    world.road.send(submission(1))
    world.drain(door)
    contact = crm.only()
    assert contact["properties"]["glp1_pipeline_status"] == "clinical_review"  # from here on the phone is the CRM's
    crm.edit(contact["id"], mobilephone="(206) 555-0177")
    assert world.notice(door).changes == 1
    world.road.chart()
    assert chart_value(world, "demo.mobile") == "+12065550177"
    world.drain(door)
    assert crm.only()["properties"]["mobilephone"] == "(206) 555-0177"
    assert world.statuses() == {"delivered": 1}  # nothing was written back
    assert world.notice(door).changes == 0
    before = world.road.fingerprint()
    world.road.replay()
    assert world.road.fingerprint() == before
    assert world.road.balance().faults == []


def test_a_name_changed_in_the_crm_is_not_taken_over_and_not_lost(world: CrmWorld, crm: CrmProcess) -> None:
    door = crm.door()
    first = submission(1)
    world.road.send(first)
    world.drain(door)
    name = chart_value(world, "demo.legal_last")
    crm.edit(crm.only()["id"], lastname="Canary-Someoneelse")
    world.notice(door)
    world.road.chart()
    assert chart_value(world, "demo.legal_last") == name
    assert world.road.rows("select field, source from ops.field_conflicts") == [("demo.legal_last", "crm")]


def test_a_name_that_a_steward_keeps_against_the_crm_is_told_to_it_once(world: CrmWorld, crm: CrmProcess) -> None:
    door, road = crm.door(), world.road
    road.send(submission(1))
    world.drain(door)
    name, patient_id = chart_value(world, "demo.legal_last"), str(road.one("select patient_id from phi.charts"))
    crm.edit(crm.only()["id"], lastname="Canary-Someoneelse", hs_language="vi")
    world.notice(door)
    road.chart()
    world.drain(door)
    assert crm.only()["properties"]["lastname"] == "Canary-Someoneelse", "nobody has decided yet"
    settle_field(
        road.connection, road.contract, road.cipher, patient_id, "demo.legal_last", "holding", "steward-7", "called"
    )
    road.chart()
    world.drain(door)
    properties = crm.only()["properties"]
    assert (properties["lastname"], properties["hs_language"]) == (name, "vi")
    assert world.notice(door).changes == 0
    writes, before = road.one("select count(*) from ops.writes"), road.fingerprint()
    road.replay()
    assert (road.one("select count(*) from ops.writes"), road.fingerprint()) == (writes, before)


def test_an_opt_out_in_the_crm_is_a_revocation_here_at_once(world: CrmWorld, crm: CrmProcess) -> None:
    door = crm.door()
    world.road.send(submission(1))
    world.drain(door)
    crm.edit(crm.only()["id"], glp1_sms_opt_out="true", glp1_do_not_contact="true")
    world.notice(door)
    world.road.chart()
    assert chart_value(world, "consent.sms")["status"] == "revoked"
    assert chart_value(world, "do_not_contact") is True


def test_both_sides_change_at_once_and_every_word_is_in_the_ledger(world: CrmWorld, crm: CrmProcess) -> None:
    """The patient corrects the phone on the form while somebody in sales writes another one."""
    door = crm.door()
    first = submission(1)
    world.road.send(first)
    world.drain(door)
    crm.edit(crm.only()["id"], mobilephone="+12065550188", firstname="Corry")
    world.road.send(amendment(first, 1, {"demo.mobile": "+12065550199"}))
    world.drain(door)
    world.notice(door)
    world.road.chart()
    world.drain(door)
    (event,) = world.events()
    assert event["data"]["properties"] == {"mobilephone": "+12065550188", "firstname": "Corry"}
    assert world.road.events() == {"charted": 3}
    assert world.road.balance().faults == []


def test_a_contact_without_a_form_is_a_lead_and_gets_no_write(world: CrmWorld, crm: CrmProcess) -> None:
    door = crm.door()
    crm.add(email="lena@canary.example", firstname="Lena", lastname="Canary")
    world.notice(door)
    world.road.chart()
    assert world.road.rows("select stage from phi.charts") == [("lead",)]
    assert world.statuses() == {}


def test_the_command_line_says_which_system_a_patient_waits_for_and_what_a_decision_wrote(
    world: CrmWorld, crm: CrmProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    road = world.road
    door = SimpleNamespace(
        connect=lambda name: connect(road.url, name),
        contract=road.contract,
        cipher=road.cipher,
        settings=SimpleNamespace(home=road.folder),
    )
    for module in (telling, cli.crm):
        monkeypatch.setattr(module, "open_road", lambda: door)

    def glp1(*arguments: str) -> str:
        done = CliRunner().invoke(cli.main, [*arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    first = submission(1)
    crm.add(email=first["data"]["answers"]["demo.email"])
    road.send(first)
    patient_id = str(road.one("select patient_id from phi.charts"))
    waits = glp1("why", patient_id)
    assert "write 1 to the EHR: ready" in waits
    assert "write 1 to the CRM: ready" in waits
    world.drain(crm.door())
    road.connection.execute("update ops.lanes set blocked = 'rejected' where target = 'crm'")
    told = glp1("why", patient_id)
    assert "conflict contact in the CRM: same_email" in told
    assert "glp1 crm conflicts --help" in told
    assert "nothing more is sent to the CRM: rejected" in told
    road.connection.execute("update ops.lanes set blocked = null where target = 'crm'")
    decided = json.loads(
        glp1("crm", "conflicts", "--take", patient_id, "--actor", "steward-7", "--reason", "she said so", "--json")
    )
    assert decided == {"decision": "ours", "new_writes": 1}
    world.drain(crm.door())
    assert crm.only()["properties"][KEY] == patient_id
    assert "CRM" not in glp1("why", patient_id)
    world.notice(crm.door())
    road.connection.execute(
        "insert into ops.poll_cursors (system, kind, polled_at, changes) values ('crm', 'hint', now(), 7)"
    )
    door.crm, door.append = crm.door(), lambda connection, documents: 0
    assert re.search(r"^changes +0$", glp1("crm", "look"), re.MULTILINE)
    monkeypatch.setattr(cli.crm, "PATIENCE", 0.0)
    with connect(road.url, "another look") as another:
        another.execute("select pg_advisory_lock(hashtextextended('crm changes', 0))")
        looked = CliRunner().invoke(cli.main, ["crm", "look"])
    assert (looked.exit_code, looked.stdout) == (1, "")
    assert "another look is under way" in looked.stderr
    asked = glp1("crm", "status")
    assert re.search(r"changed contacts +\d+ so far, asked \d+ s ago", asked)
    assert re.search(r"webhooks +7 so far, the last \d+ s ago", asked)


def test_the_command_line_says_that_a_system_is_out_of_reach_and_that_nothing_needs_to_be_done_for_the_patient(
    world: CrmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    road = world.road
    door = SimpleNamespace(connect=lambda name: connect(road.url, name), contract=road.contract, cipher=road.cipher)
    monkeypatch.setattr(telling, "open_road", lambda: door)
    monkeypatch.setattr(cli.look, "open_road", lambda: door)
    road.send(submission(1))
    patient_id = str(road.one("select patient_id from phi.charts"))

    def glp1(*arguments: str) -> str:
        done = CliRunner().invoke(cli.main, [*arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "out of reach" not in glp1("why", patient_id)
    assert "no_answer" not in glp1("status")
    road.connection.execute(
        "update ops.breakers set state = 'open', failures = 5, reason = 'no_answer' where target = 'ehr'"
    )
    road.connection.execute("update ops.writes set tries = 5, last_class = 'no_answer' where target = 'ehr'")
    told = glp1("why", patient_id)
    assert "5 tries, the last: no_answer" in told
    assert "the EHR is out of reach for everybody (no_answer): what waits goes out by itself" in told
    assert "the CRM is out of reach" not in told
    assert re.search("breaker reasons +ehr no_answer", glp1("status"))
    road.connection.execute("update ops.writes set status = 'delivered', settled_at = now() where target = 'ehr'")
    assert "out of reach" not in glp1("why", patient_id)
