"""What the CRM is told and what it says: pure decisions, and the allow-list that guards them."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glp1_pipeline import contracts
from glp1_pipeline.domain import crm
from glp1_pipeline.domain.changes import read_change
from glp1_pipeline.domain.changes.crm import is_kept
from glp1_pipeline.domain.chart import Chart, Reported, Value
from glp1_pipeline.domain.contract import STAGES, Stage
from glp1_pipeline.domain.crm import Contact, Entry, contact, contact_hash, is_known, is_our_write, said_there
from glp1_pipeline.domain.events import Change
from glp1_pipeline.domain.gates import GateResult
from glp1_pipeline_tests.sample_inputs import contract

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTRACT = contract()
US, SALES = "INTEGRATION:glp1-pipeline", "CRM_UI:7"


def chart_of(is_draft: bool = False, **values: Any) -> Chart:
    report = Reported("e1", "s1", "3.0.0", "in-progress" if is_draft else "completed", NOW, NOW, "", {})
    named: dict[str, Value] = {name.replace("__", "."): {"value": value} for name, value in values.items()}
    return Chart("patient-1", named, counted=(report,))


def body(chart: Chart, stage: Stage = "intake", gate: GateResult | None = None) -> dict[str, Any]:
    return contact(CONTRACT, chart, stage, gate)["contact"]


WHOLE = chart_of(
    demo__legal_first="Cora",
    demo__legal_last="Canary",
    demo__email="cora@canary.example",
    demo__mobile="+12065550100",
    consent__sms={"status": "refused", "version": "1", "at": "2026-11-22T12:00:00+00:00"},
    consent__marketing={"status": "given", "version": "1", "at": "2026-11-22T12:00:00+00:00"},
)


def test_in_intake_names_and_ways_to_reach_the_person_are_ours_to_say() -> None:
    assert body(WHOLE) == {
        "key": "patient-1",
        "properties": {
            "firstname": "Cora",
            "lastname": "Canary",
            "email": "cora@canary.example",
            "mobilephone": "+12065550100",
            "glp1_sms_opt_out": "true",
            "glp1_pipeline_status": "intake_submitted",
        },
        "when_new": {},
    }


@pytest.mark.parametrize("stage", STAGES)
def test_what_the_crm_owns_in_a_stage_is_only_for_a_contact_that_is_made_new(stage: Stage) -> None:
    told = body(WHOLE, stage)
    for name, declared in CONTRACT.crm.items():
        if (
            declared.flows == "both"
            and declared.means == "value"
            and CONTRACT.fields[declared.field].owner[stage] == "crm"
        ):
            assert name not in told["properties"]
            assert name in told["when_new"]
    assert told["properties"]["glp1_pipeline_status"]


def test_an_opt_out_is_told_in_every_stage_and_a_permission_in_none() -> None:
    for stage in STAGES:
        told = body(WHOLE, stage)
        assert told["properties"]["glp1_sms_opt_out"] == "true"
        assert "glp1_marketing_opt_out" not in {**told["properties"], **told["when_new"]}


def test_nothing_unknown_is_told_so_nothing_in_the_crm_is_ever_emptied() -> None:
    assert body(chart_of(demo__legal_first="Cora", demo__email="  "))["properties"] == {
        "firstname": "Cora",
        "glp1_pipeline_status": "intake_submitted",
    }


def test_a_change_of_what_the_crm_owns_is_no_change_to_tell() -> None:
    """Or each phone that we hear from there would be written back."""
    moved = chart_of(demo__legal_first="Cora", demo__mobile="+12065550199")
    same = chart_of(demo__legal_first="Cora", demo__mobile="+12065550100")
    hashes = {contact_hash(contact(CONTRACT, c, "clinical_review", None)) for c in (moved, same)}
    assert len(hashes) == 1
    assert contact_hash(contact(CONTRACT, moved, "intake", None)) != contact_hash(
        contact(CONTRACT, same, "intake", None)
    )


@pytest.mark.parametrize(
    ("is_draft", "stage", "outcome", "status"),
    [
        (True, "intake", "held", "intake_started"),
        (False, "intake", "held", "intake_incomplete"),
        (False, "intake", "passed", "intake_submitted"),
        (False, "clinical_review", "passed", "clinical_review"),
        (False, "active_treatment", "passed", "active_treatment"),
    ],
)
def test_the_pipeline_status_says_how_far_the_person_is_and_not_why(is_draft, stage, outcome, status) -> None:
    gate = GateResult.__new__(GateResult)
    object.__setattr__(gate, "outcome", outcome)
    assert crm.pipeline_status(chart_of(is_draft), stage, gate) == status


def test_the_follow_up_status_is_told_once_there_is_one() -> None:
    told = contact(CONTRACT, WHOLE, "active_treatment", None, followup_status="overdue")["contact"]
    assert told["properties"]["glp1_followup_status"] == "overdue"


# The allow-list


@pytest.mark.parametrize(
    "line",
    [
        "weight: {field: anthro.weight, flows: out}",
        "born: {field: demo.dob, flows: both}",
        "flagged: {field: hx.pancreatitis, flows: both}",
        "medicine: {field: med.current_list, flows: in}",
        "goal: {field: goal.primary, flows: out}",
        "photo: {field: id.selfie, flows: out}",
        "typo: {field: demo.emial, flows: out}",
        "agreed: {field: consent.sms, flows: out}",
        "both: {field: demo.email, computed: pipeline_status, flows: out}",
        "neither: {flows: out}",
        "told_us: {computed: pipeline_status, flows: in}",
        "street: {field: demo.address, part: line1, flows: out}",
    ],
)
def test_a_line_that_would_tell_the_crm_of_health_stops_the_contract(tmp_path: Path, line: str) -> None:
    copy = tmp_path / "contracts"
    shutil.copytree(Path(contracts.__file__).parent, copy, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    with (copy / "crm.yaml").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(contracts.ContractError, match=line.split(":")[0]):
        contracts.load(copy)


# Versions, and whose word it is


def there(
    version: str | None = "1", history: dict[str, list[tuple[str, str]]] | None = None, **properties: str
) -> Contact:
    told = None if history is None else {n: tuple(Entry(*e) for e in entries) for n, entries in history.items()}
    return Contact("12", version, NOW, properties, history=told)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_state_is_known_exactly_if_it_is_not_newer_than_what_we_last_saw(one: int, other: int) -> None:
    assert is_known(str(one), str(other)) is (one <= other)
    assert is_known(f"t{one}", f"t{other}") is (one <= other)
    assert not is_known(f"t{one}", str(other))


def test_our_write_is_known_by_its_number_and_only_if_nobody_came_after() -> None:
    assert is_our_write(there("1", glp1_change="1"), None, 1)
    assert is_our_write(there("6", glp1_change="3"), "5", 3)
    assert not is_our_write(there("7", glp1_change="3"), "5", 3)
    assert not is_our_write(there("6", glp1_change="2"), "5", 3)
    assert not is_our_write(there(None, glp1_change="3"), "5", 3)


def test_what_the_crm_says_is_what_it_said_last_and_not_what_we_wrote() -> None:
    history = {
        "glp1_change": [("4", US)],
        "firstname": [("Cora", US), ("Kora", SALES)],
        "mobilephone": [("+12065550123", SALES), ("+12065550100", US)],
        "email": [("", "INTEGRATION:marketing"), ("cora@canary.example", US)],
    }
    found = there("5", history, firstname="Cora", mobilephone="+12065550123")
    assert said_there(CONTRACT, found) == {"mobilephone": "+12065550123", "email": ""}


def test_the_event_of_a_state_is_the_same_however_often_it_is_made() -> None:
    history = {"mobilephone": [("+12065550123", SALES)]}
    one, other = there("5", history, mobilephone="+12065550123"), there("5", dict(history), mobilephone="+12065550123")
    assert crm.event_of(CONTRACT, one, "crm", None) == crm.event_of(CONTRACT, other, "crm", None)
    assert (
        crm.event_of(CONTRACT, there("5", {"mobilephone": [("1", US)], "glp1_change": [("1", US)]}), "crm", None)
        is None
    )


# What a contact says in our fields


def said(**properties: Any) -> dict[str, Any]:
    change = Change("crm", "contact", "12", "3", False, NOW, dict(properties))
    found = read_change(CONTRACT, change)
    assert found.voice == "reported"
    return dict(found.values)


def test_properties_become_values_as_answers_do() -> None:
    values = said(
        firstname=" Cora ", email="Cora@Canary.EXAMPLE", mobilephone="(206) 555-0123", hs_language="en-US",
        glp1_timezone="America/Chicago", glp1_lead_source="web search", address="7 Teapot Lane", city="Austin",
        state="Texas", zip="78701",
    )  # fmt: skip
    assert values["demo.legal_first"]["value"] == "Cora"
    assert values["demo.email"]["value"] == "Cora@canary.example"
    assert values["demo.mobile"]["value"] == "+12065550123"
    assert values["demo.language"]["value"] == "en"
    assert values["demo.timezone"]["value"] == "America/Chicago"
    assert values["lead.source"]["value"] == "organic"
    assert values["demo.address"]["value"] == {
        "line1": "7 Teapot Lane", "city": "Austin", "state": "TX", "postal_code": "78701",
    }  # fmt: skip


def test_to_opt_out_is_to_revoke_and_an_empty_box_is_no_consent() -> None:
    revoked = {"value": {"status": "revoked", "version": "", "at": NOW.isoformat()}}
    assert said(glp1_sms_opt_out="true") == {"consent.sms": revoked}
    assert said(glp1_sms_opt_out="false", glp1_marketing_opt_out="") == {}


@pytest.mark.parametrize(
    ("name", "told", "kept", "something_else"),
    [
        (
            "mobilephone",
            "+12065550123",
            ["(206) 555-0123", "206.555.0123", "1 206 555 0123"],
            ["+12065550124", "", "206"],
        ),
        ("email", "Cora@canary.example", ["cora@canary.example", " CORA@CANARY.EXAMPLE"], ["kora@canary.example", ""]),
        ("lastname", "van der Canary", ["VAN DER CANARY", "Van  Der Canary "], ["Canary", "van der Canary-Finch"]),
        ("glp1_sms_opt_out", "true", ["True", "yes"], ["false", "", "maybe"]),
        ("glp1_pipeline_status", "intake_submitted", ["Intake_Submitted"], ["intake_started", ""]),
        ("glp1_patient_id", "8a7f", [], ["8A7F", ""]),
    ],
)
def test_what_the_crm_keeps_in_other_letters_or_marks_says_the_same_and_nothing_else_does(
    name: str, told: str, kept: list[str], something_else: list[str]
) -> None:
    assert is_kept(CONTRACT, name, told, told)
    assert [text for text in kept if not is_kept(CONTRACT, name, told, text)] == []
    assert [text for text in something_else if is_kept(CONTRACT, name, told, text)] == []


def test_what_is_not_on_the_list_says_nothing_and_what_cannot_be_read_is_held() -> None:
    assert said(glp1_pipeline_status="active_treatment", notes="takes insulin", weight="212") == {}
    change = Change("crm", "contact", "12", "3", False, NOW, {"email": "not an address"})
    found = read_change(CONTRACT, change)
    assert found.values["demo.email"]["held"] == "unreadable_email"
    assert [problem.field for problem in found.problems] == ["demo.email"]


def test_a_deleted_contact_says_nothing() -> None:
    change = Change("crm", "contact", "12", "3", True, NOW + timedelta(seconds=1), {})
    assert dict(read_change(CONTRACT, change).values) == {}


def test_a_wish_not_to_be_contacted_is_heard_though_no_question_asks_it() -> None:
    assert said(glp1_do_not_contact="true") == {"do_not_contact": {"value": True}}
    assert said(glp1_do_not_contact="false") == {"do_not_contact": {"value": False}}


@pytest.mark.parametrize("name", ["glp1_do_not_contact", "glp1_sms_opt_out", "lastname", "mobilephone"])
def test_what_cannot_be_read_is_held_as_every_store_can_keep_it(name: str) -> None:
    for odd in ("maybe\0", {"a\0": "\0"}, ["\0"], "\0" * 300):
        assert b"\\u0000" not in orjson.dumps(said(**{name: odd}))
