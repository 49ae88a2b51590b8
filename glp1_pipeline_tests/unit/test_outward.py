"""What check-ins and refills make the EHR hear: each resource as a sentence."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glp1_pipeline.domain.refill_model import RefillRules
from glp1_pipeline_tests.one_patient import CONTRACT, PATIENT, reached
from glp1_pipeline_tests.refills import by_provider, checkin, intake, overridden, requested
from glp1_pipeline_tests.sample_inputs import ABSENT
from glp1_pipeline_tests.shown import Shown
from glp1_pipeline_tests.treatments import BEGAN, at, dispensed, let_through, message, ordered, said

START = [intake(), ordered(0, 0.25), dispensed(3, 0.25)]
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
FOREVER = datetime(2027, 6, 1, tzinfo=UTC)


def heard(*events: dict[str, Any]) -> Shown:
    patient = Shown()
    patient.hear(*START, *events)
    return patient


def day(number: float) -> str:
    return at(number).replace("+00:00", "Z")


def codes(concept: dict[str, Any]) -> dict[str, str]:
    return {coding["system"].rpartition("/")[2].rpartition(":")[2]: coding["code"] for coding in concept["coding"]}


# ---- the check-in


def test_a_check_in_is_a_questionnaire_response_with_the_words_of_its_questions():
    patient = heard(checkin(18))
    _, response = patient.all("QuestionnaireResponse")
    assert response["questionnaire"] == "urn:glp1-pipeline:questionnaire:glp1-checkin|1.0.0"
    labels = {item["linkId"]: item.get("text") for item in response["item"]}
    assert labels["checkin.wants"] == "What the patient wants next"
    assert None not in labels.values()
    weights = [one for one in patient.all("Observation") if "29463-7" in str(one["code"])]
    assert f"QuestionnaireResponse/{response['id']}" in str([one["derivedFrom"] for one in weights])


# ---- the proposal


def test_a_request_in_the_providers_queue_is_a_proposal_and_no_order():
    patient = heard(checkin(24), requested(25))
    proposal = patient.only("MedicationRequest")
    assert (proposal["intent"], proposal["status"]) == ("proposal", "active")
    assert codes(proposal["medicationCodeableConcept"]) == {"rxnorm": "2553506", "product": "wegovy_inj"}
    assert proposal["medicationCodeableConcept"]["text"] == "Wegovy 0.25 mg"
    (dosage,) = proposal["dosageInstruction"]
    assert dosage["text"] == "0.25 mg, once a week"
    assert dosage["doseAndRate"][0]["doseQuantity"]["value"] == 0.25
    assert proposal["dispenseRequest"]["expectedSupplyDuration"]["value"] == 28
    (refill_id,) = patient.refills
    assert {"system": "urn:glp1-pipeline:refill", "value": refill_id} in proposal["identifier"]
    assert proposal["authoredOn"] == day(25)
    assert proposal["note"][0]["text"] == (
        "All that is asked for is known and nothing stands against it. A proposal of the pipeline to a provider, never an order."
    )
    (answers,) = proposal["supportingInformation"]
    assert patient.there[answers["reference"]]["questionnaire"].endswith("glp1-checkin|1.0.0")


def test_what_a_rule_proposes_is_said_in_our_own_words():
    patient = heard(checkin(24, wants="step_up"), requested(25))
    text = patient.only("MedicationRequest")["note"][0]["text"]
    assert "Proposed: Keep the dose: the days at it that the label asks for are not over." in text
    assert "Also: A step up is asked for before the days at the dose that the label wants." in text


def test_a_proposal_of_a_compounded_product_tells_mass_volume_and_concentration():
    compound = {"product": "comp_sema", "dose": {"mg": 0.25, "mg_per_ml": 2.5, "ml": 0.1}}
    patient = Shown()
    supply = dispensed(3, 0.25, **compound, quantity={"value": 1, "unit": "vial"})
    request = requested(25)
    request["data"]["product_key"] = "comp_sema"
    patient.hear(intake(), ordered(0, 0.25, **compound), supply, checkin(24), request)
    proposal = patient.only("MedicationRequest")
    assert codes(proposal["medicationCodeableConcept"]) == {"product": "comp_sema"}
    assert proposal["dosageInstruction"][0]["text"] == "0.25 mg = 0.1 mL of 2.5 mg/mL, once a week"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (ordered(26, 0.5), "completed"),
        (dispensed(26, 0.25, "next"), "completed"),
        (by_provider("refill.approved", 26, refill_id="request-25"), "completed"),
        (by_provider("refill.denied", 26, refill_id="request-25", reason_code="not_now"), "cancelled"),
        (said("stopped", 26), "cancelled"),
        (requested(26, "another"), "cancelled"),
    ],
    ids=lambda word: word if isinstance(word, str) else word["type"],
)
def test_a_proposal_ends_with_its_request(word: dict[str, Any], status: str):
    patient = heard(checkin(24), requested(25))
    patient.hear(word)
    first = patient.all("MedicationRequest")[0]
    assert first["status"] == status
    assert first["authoredOn"] == day(25)


def test_a_request_that_is_decided_otherwise_takes_its_proposal_back_and_a_new_one_is_made_when_it_returns():
    patient = heard(checkin(24), requested(25))
    patient.hear(checkin(26, side_effects=[{"symptom": "nausea", "severity": "severe", "persistent": "yes"}]))
    assert [one["status"] for one in patient.all("MedicationRequest")] == ["cancelled"]
    patient.hear(overridden(27, "request-25", ["side_effect"]))
    first, second = patient.all("MedicationRequest")
    assert (first["status"], second["status"]) == ("cancelled", "active")
    assert first["identifier"][1] == second["identifier"][1]
    assert second["authoredOn"] == day(27)
    assert "Let through by an override: A side effect is severe" in second["note"][0]["text"]
    patient.hear(ordered(28, 0.25, "again"))
    assert [one["status"] for one in patient.all("MedicationRequest")] == ["cancelled", "completed"]


def test_a_request_that_is_held_has_no_proposal():
    assert heard(requested(25)).all("MedicationRequest") == []


# ---- the issue


def test_the_rule_that_holds_a_request_is_an_issue_with_its_code_severity_and_words():
    patient = heard(requested(24))
    issue = patient.only("DetectedIssue")
    assert codes(issue["code"]) == {"v3-ActCode": "COMPLY", "refill-rule": "followup_missing"}
    assert issue["code"]["text"].startswith("No check-in was done since treatment began")
    assert (issue["status"], issue["severity"]) == ("preliminary", "moderate")
    assert issue["identifiedDateTime"] == day(24)
    assert codes(issue["evidence"][0]["code"][0]) == {"refill-reason": "followup:absent"}
    patient.hear(checkin(26))
    assert patient.only("DetectedIssue")["status"] == "final"
    assert patient.only("MedicationRequest")["status"] == "active"


def test_an_issue_is_final_when_its_request_ends():
    patient = heard(requested(24))
    patient.hear(by_provider("refill.denied", 25, refill_id="request-24", reason_code="not_now"))
    assert patient.only("DetectedIssue")["status"] == "final"


def test_an_issue_of_a_flag_leads_to_the_flag_and_to_the_check_in():
    patient = heard(requested(24), checkin(25, jaundice="yes"))
    (issue,) = [one for one in patient.all("DetectedIssue") if one["status"] == "preliminary"]
    assert (codes(issue["code"]), issue["severity"]) == ({"refill-rule": "red_symptom"}, "high")
    flagged, answers = issue["evidence"]
    assert codes(flagged["code"][0]) == {"flag": "BILIARY_SYMPTOMS"}
    flag = patient.there[flagged["detail"][0]["reference"]]
    assert (flag["resourceType"], flag["status"]) == ("Flag", "active")
    assert patient.there[answers["detail"][0]["reference"]]["resourceType"] == "QuestionnaireResponse"


def test_a_request_that_waits_for_its_window_is_too_soon():
    patient = heard(checkin(18), requested(19))
    issue = patient.only("DetectedIssue")
    assert (codes(issue["code"])["v3-ActCode"], issue["severity"]) == ("TOOSOON", "low")
    (refill,) = patient.refills.values()
    patient.ring(refill.decision.until or FOREVER)
    assert patient.only("DetectedIssue")["status"] == "final"


# ---- the override


def test_an_override_is_a_mitigation_by_who_made_it_with_the_code_of_its_reason_and_its_end():
    patient = heard(requested(24), checkin(25, jaundice="yes"))
    patient.hear(overridden(26, "request-24", ["red_symptom"], flags=["BILIARY_SYMPTOMS"]))
    (issue,) = [one for one in patient.all("DetectedIssue") if one["status"] == "preliminary"]
    (mitigation,) = issue["mitigation"]
    assert codes(mitigation["action"]) == {"v3-ActCode": "2", "override-reason": "ASSESSED_PATIENT"}
    assert mitigation["action"]["text"] == f"a provider saw or spoke to the patient; until {day(56)}"
    assert mitigation["date"] == day(26)
    assert mitigation["author"]["identifier"]["value"] == "provider-7"
    assert patient.there[issue["implicated"][0]["reference"]]["intent"] == "proposal"
    assert "seen by video" not in str(patient.there)


def test_each_override_is_an_audit_event_without_a_word_of_free_text():
    patient = heard(requested(24), checkin(25, jaundice="yes"))
    patient.hear(overridden(26, "request-24", ["red_symptom"], flags=["BILIARY_SYMPTOMS"]))
    audit = patient.only("AuditEvent")
    assert (audit["recorded"], audit["outcome"], audit["action"]) == (day(26), "0", "E")
    (agent,) = audit["agent"]
    assert agent["who"]["identifier"]["value"] == "provider-7"
    assert codes(agent["role"][0]) == {"role": "provider"}
    person, request = audit["entity"]
    assert person["what"]["reference"].startswith("Patient/")
    assert request["what"]["identifier"]["value"] in patient.refills
    told = [(detail["type"], detail["valueString"]) for detail in request["detail"]]
    assert told[:4] == [
        ("rule", "red_symptom"), ("flag", "BILIARY_SYMPTOMS"), ("reason", "ASSESSED_PATIENT"), ("until", day(56)),
    ]  # fmt: skip
    before = dict(audit)
    patient.hear(ordered(28, 0.25, "again"), checkin(29))
    patient.hear(*START, checkin(30))
    assert patient.only("AuditEvent") == before
    assert all(not write or "AuditEvent" not in str(write.keys()) for write in patient.writes[2:])


def test_an_override_of_a_request_that_nobody_made_is_audited_as_a_failure():
    patient = heard(overridden(26, "nobodys", ["red_symptom"], flags=["BILIARY_SYMPTOMS"]))
    audit = patient.only("AuditEvent")
    assert (audit["outcome"], audit["outcomeDesc"]) == ("4", "No such request is known.")
    assert patient.all("DetectedIssue") == []


def test_an_override_of_a_refused_order_is_audited_with_its_rules_once_and_without_a_word_of_free_text():
    word = let_through(12, "o", "step_up_before_min_days")
    patient = heard(ordered(10, 0.5, "o"), word)
    audit = patient.only("AuditEvent")
    assert (audit["type"]["code"], audit["outcome"]) == ("medication.order_overridden", "0")
    assert (audit["recorded"], audit["agent"][0]["who"]["identifier"]["value"]) == (day(12), "provider-7")
    assert "former clinic" not in str(patient.there)
    order = audit["entity"][1]
    assert order["what"]["identifier"] == {"system": "urn:glp1-pipeline:order", "value": "o"}
    told = [(detail["type"], detail["valueString"]) for detail in order["detail"]]
    assert told[:2] == [("rule", "step_up_before_min_days"), ("reason", "PRIOR_THERAPY_DOCUMENTED")]
    before = dict(audit)
    patient.hear(ordered(60, 1.0, "next"), word)
    assert patient.only("AuditEvent") == before
    assert all(not write or "AuditEvent" not in str(write.keys()) for write in patient.writes[1:])


def test_an_override_that_lets_no_order_through_is_audited_as_a_failure():
    audit = heard(let_through(12, "nobodys", "skip_a_step_up")).only("AuditEvent")
    assert (audit["outcome"], audit["outcomeDesc"]) == ("4", "It let no order through when it was heard.")


def test_an_override_that_ended_leaves_its_mitigation_and_the_rule_holds_again():
    patient = heard(requested(24), checkin(25, jaundice="yes"))
    patient.hear(overridden(26, "request-24", ["red_symptom"], days=5, flags=["BILIARY_SYMPTOMS"]))
    patient.ring(BEGAN.replace(month=6, day=6))
    (issue,) = [one for one in patient.all("DetectedIssue") if one["status"] == "preliminary"]
    assert codes(issue["code"]) == {"refill-rule": "red_symptom"}
    assert len(issue["mitigation"]) == 1
    assert patient.only("MedicationRequest")["status"] == "cancelled"


# ---- reminders: the supply of day 3 has its check-in open on day 17, due on day 21, missed on day 23


def by_crm(on: float, **properties: str) -> dict[str, Any]:
    data = {"contact_id": "c1", "version": f"{on:g}", "deleted": False, "properties": properties, "record_id": PATIENT}
    told = {"specversion": "1.0", "source": "/crm/portal", "id": f"contact/c1/{on:g}", "subject": "c1", "time": at(on)}
    return {**told, "type": "contact.updated", "data": data}


def reminded(patient: Shown, until: float) -> list[tuple[str, str]]:
    """Name and status of each reminder, when the clock has come to a day."""
    patient.ring(BEGAN + timedelta(days=until))
    return statuses(patient)


def statuses(patient: Shown) -> list[tuple[str, str]]:
    return [(codes(one["reasonCode"][0])["reminder"], one["status"]) for one in patient.all("CommunicationRequest")]


def test_a_check_in_that_opens_asks_for_one_reminder_until_the_exception():
    patient = heard()
    assert reminded(patient, 18) == [("opened", "active")]
    reminder = patient.only("CommunicationRequest")
    assert codes(reminder["medium"][0]) == {"v3-ParticipationMode": "SMSWRIT"}
    assert patient.outcome is not None
    (checkin_now,) = patient.outcome.follow_ups
    assert datetime.fromisoformat(reminder["occurrencePeriod"]["start"]) == checkin_now.moments.opens_at
    assert datetime.fromisoformat(reminder["occurrencePeriod"]["end"]) == checkin_now.moments.missed_at
    assert reminder["recipient"] == [reminder["subject"]]
    assert {"system": "urn:glp1-pipeline:reminder", "value": f"{checkin_now.followup_id}/opened"} in reminder[
        "identifier"
    ]


def test_the_words_of_a_reminder_name_no_medicine_no_day_and_nobody():
    words = {name.lower() for row in CONTRACT.products.values() for name in (row["brand"], row["ingredient"])}
    for one in CONTRACT.followups.reminders:
        assert not re.search(r"[\d{}%]|glp|refill|dose|weight|medic|treat", one.text, re.IGNORECASE)
        assert not [word for word in words if word in one.text.lower()]


def test_each_reminder_of_the_contract_is_asked_for_once_and_all_are_over_with_the_exception():
    patient = heard()
    assert reminded(patient, 21.5) == [("opened", "active"), ("due", "active")]
    assert reminded(patient, 22.5) == [("opened", "active"), ("due", "active"), ("overdue", "active")]
    assert reminded(patient, 400) == [("opened", "completed"), ("due", "completed"), ("overdue", "completed")]


def test_who_answered_is_reminded_no_more():
    patient = heard()
    reminded(patient, 18)
    patient.hear(checkin(19))
    assert statuses(patient) == [("opened", "completed")]
    assert reminded(patient, 400) == [("opened", "completed")]


def test_who_answered_a_part_of_it_is_still_reminded():
    patient = heard()
    reminded(patient, 18)
    patient.hear(checkin(19, wants=None))
    assert statuses(patient) == [("opened", "active")]
    assert reminded(patient, 21.5) == [("opened", "active"), ("due", "active")]


def test_a_supply_that_is_followed_by_the_next_reminds_nobody_of_its_check_in():
    patient = heard()
    reminded(patient, 18)
    patient.hear(dispensed(20, 0.25, "next"))
    assert statuses(patient) == [("opened", "completed")]


@pytest.mark.parametrize(
    ("answers", "medium"),
    [
        ({}, "SMSWRIT"),
        ({"consent.sms": "refused"}, "EMAILWRIT"),
        ({"consent.sms": ABSENT}, "EMAILWRIT"),
        ({"demo.mobile": ABSENT}, "EMAILWRIT"),
        ({"demo.mobile": ABSENT, "demo.email": ABSENT}, None),
        ({"consent.sms": "refused", "demo.email": ABSENT}, None),
    ],
)
def test_a_reminder_goes_by_text_message_with_consent_else_by_e_mail_else_not_at_all(answers, medium):
    patient = Shown()
    patient.hear(intake(**answers), *START[1:])
    patient.ring(BEGAN + timedelta(days=18))
    found = [codes(one["medium"][0])["v3-ParticipationMode"] for one in patient.all("CommunicationRequest")]
    assert found == ([medium] if medium else [])


def test_who_is_not_to_be_contacted_is_reminded_by_no_way():
    patient = heard(by_crm(5, glp1_do_not_contact="true"))
    assert reminded(patient, 400) == []


@pytest.mark.parametrize("word", ["glp1_sms_opt_out", "glp1_do_not_contact"])
def test_a_consent_that_is_revoked_later_revokes_the_open_reminder_and_a_new_consent_does_not_send_it_after_all(word):
    patient = heard()
    reminded(patient, 18)
    patient.hear(by_crm(18.5, **{word: "true"}))
    assert statuses(patient) == [("opened", "revoked")]
    patient.hear(by_crm(19, **{word: "false"}), intake(time=at(19), authored_at=at(19), received_at=at(19), id="anew"))
    assert statuses(patient)[0] == ("opened", "revoked")


def test_an_opt_out_that_we_hear_of_late_takes_back_what_was_asked_for_after_it():
    patient = heard()
    reminded(patient, 18)
    patient.hear(by_crm(10, glp1_do_not_contact="true"))
    assert statuses(patient) == [("opened", "entered-in-error")]


def test_a_moment_that_was_noticed_too_late_reminds_nobody():
    patient = heard()
    assert patient.outcome is not None
    assert patient.outcome.tick is not None
    patient.hear(reached(patient.outcome.tick, is_late=True))
    assert statuses(patient) == []
    assert reminded(patient, 21.5) == [("due", "active")]


def test_a_supply_that_was_never_handed_over_takes_its_reminder_back():
    patient = heard()
    reminded(patient, 18)
    patient.hear(message("shipment_exception", 18, "lost", dispense_ref="dispense-3-0.25", reason="lost"))
    assert statuses(patient) == [("opened", "entered-in-error")]


def test_a_state_or_a_zone_that_changes_reminds_nobody_twice():
    patient = heard()
    reminded(patient, 18)
    patient.hear(by_crm(18.2, glp1_timezone="Pacific/Honolulu"))
    assert reminded(patient, 20) == [("opened", "active")]
    assert len({one["id"] for one in patient.all("CommunicationRequest")}) == 1


# ---- again, and long after


YEAR = [
    *START, requested(10, "early"), checkin(18), requested(25), overridden(26, "request-25", ["too_early"], days=3,
    reason_code="VACATION_SUPPLY", role="ops_lead"), ordered(28, 0.5), dispensed(31, 0.5),
    requested(50), checkin(52, jaundice="yes"), overridden(53, "request-50", ["red_symptom"], flags=["BILIARY_SYMPTOMS"]),
    ordered(57, 1.0), dispensed(59, 1.0),
]  # fmt: skip


def lived() -> Shown:
    patient = Shown()
    for event in YEAR:
        patient.ring(datetime.fromisoformat(event["time"]))
        patient.hear(event)
    return patient


def test_a_replay_of_everything_writes_nothing_however_often():
    patient = lived()
    events = [*YEAR, *(reached(tick) for tick in patient.rung)]
    count = len(patient.writes)
    for _ in range(3):
        outcome = patient.hear(*events)
        assert outcome.write is None
    assert len(patient.writes) == count


def test_what_ended_long_ago_is_neither_written_again_nor_taken_back_whatever_changes():
    patient = lived()
    before = dict(patient.there)
    kinds = ("MedicationRequest/", "DetectedIssue/", "AuditEvent/", "CommunicationRequest/")
    old = {key for key in before if key.startswith(kinds)}
    assert len(old) > 8
    for number in range(5):  # on and on, in another zone
        on = 90 + 28 * number
        patient.hear(dispensed(on, 1.0, f"later-{number}"), by_crm(on, glp1_timezone="Pacific/Honolulu"))
        patient.ring(BEGAN + timedelta(days=on + 27))
    assert {key: patient.there[key] for key in old} == {key: before[key] for key in old}
    anew = [rule.model_copy(update={"description": f"{rule.description} Anew."}) for rule in CONTRACT.refills.rules]
    rules = RefillRules(**{**CONTRACT.refills.model_dump(), "rules": tuple(anew)})
    patient.contract = CONTRACT.model_copy(update={"refills": rules, "version": "000000000000"})
    patient.hear(*YEAR, *(reached(tick) for tick in patient.rung))
    assert {key: patient.there[key] for key in old} == {key: before[key] for key in old}


def test_history_that_is_loaded_at_once_makes_no_reminder_and_nothing_of_what_ended_long_before():
    patient = Shown()
    late = [dispensed(300, 1.0, "newest"), requested(320, "newest")]
    patient.hear(*YEAR, *late)
    while (
        patient.outcome is not None
        and (tick := patient.outcome.tick) is not None
        and tick.at < BEGAN + timedelta(days=320)
    ):
        patient.hear(reached(tick, is_late=True))
    assert patient.all("CommunicationRequest") == []
    assert patient.all("MedicationRequest") == []
    assert [one["identifiedDateTime"] for one in patient.all("DetectedIssue")] == [day(320)]
    assert len(patient.all("AuditEvent")) == 2  # what a person let through is told of whenever it was
