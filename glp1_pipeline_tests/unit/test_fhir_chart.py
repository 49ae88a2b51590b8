"""What a chart says in FHIR: whose voice it is, what is left unsaid, and what is taken back."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.chart import Chart, Reported, Value, resolve
from glp1_pipeline.domain.flags import RaisedFlag, bmi, evaluate
from glp1_pipeline.domain.tasks import TaskNeed
from glp1_pipeline_tests.fhir_rules import problems
from glp1_pipeline_tests.sample_inputs import contract

CONTRACT = contract()
PATIENT = "canary-1"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
UNKNOWN, DECLINED = {"null": "unknown"}, {"null": "declined"}


def told(*submissions: dict[str, Any], status: str = "completed") -> Chart:
    """A chart of submissions a day apart; a plain answer is a known value."""
    reports = []
    for n, answers in enumerate(submissions):
        at = NOON + timedelta(days=n)
        values: dict[str, Value] = {
            name: answer if isinstance(answer, dict) and {"null", "held"} & answer.keys() else {"value": answer}
            for name, answer in answers.items()
        }
        reports.append(Reported(f"event-{n}", f"sub-{n}", "3.0.0", status, at, at, "America/Chicago", values))
    return resolve(CONTRACT, PATIENT, reports)


def written(chart: Chart, flags=None, tasks=(), **more: Any) -> dict[str, dict[str, Any]]:
    """Resources by role, all of them sound."""
    resources = fhir.chart_resources(CONTRACT, chart, flags or {}, tasks, **more)
    assert [fault for resource in resources.values() for fault in problems(resource)] == []
    return resources


def one(chart: Chart, kind: str, role: str = "", **more: Any) -> dict[str, Any] | None:
    name = f"{kind}/{role}" if role else kind
    return written(chart, **more).get(f"{kind}/{fhir.resource_id(PATIENT, name)}")


def sure(resource: dict[str, Any] | None) -> dict[str, Any]:
    assert resource is not None
    return resource


def codes(concept: dict[str, Any]) -> list[str]:
    return [coding["code"] for coding in concept["coding"]]


def test_the_same_patient_and_role_have_the_same_id_and_no_other_has_it():
    assert fhir.resource_id("canary-1", "Patient") == "652a17e1-4ee9-5110-9352-3723be485451"
    assert uuid.UUID(fhir.resource_id("canary-1", "Patient")).version == 5
    names = {fhir.resource_id(p, r) for p in ("canary-1", "canary-2") for r in ("Patient", "Condition/hx.men2")}
    assert len(names) == 4


def test_a_patient_has_an_official_and_a_usual_name():
    chart = told({"demo.legal_first": "Pip", "demo.legal_last": "Canary-Fox", "demo.preferred_name": "Pippin"})
    official = {"use": "official", "family": "Canary-Fox", "given": ["Pip"]}
    assert sure(one(chart, "Patient"))["name"] == [official, {"use": "usual", "given": ["Pippin"]}]


@pytest.mark.parametrize("field", ["demo.legal_first", "demo.legal_last"])
def test_a_single_name_is_a_family_name_alone(field):
    assert sure(one(told({field: "Canary"}), "Patient"))["name"] == [{"use": "official", "family": "Canary"}]


@pytest.mark.parametrize(("answer", "why"), [(UNKNOWN, "asked-unknown"), (DECLINED, "asked-declined")])
def test_a_birth_date_not_given_says_why(answer, why):
    patient = sure(one(told({"demo.dob": answer}), "Patient"))
    assert patient["_birthDate"]["extension"][0]["valueCode"] == why
    assert "birthDate" not in patient


def test_nothing_is_said_of_a_question_left_blank_or_never_asked():
    assert written(told({"demo.dob": {"null": "absent"}, "anthro.weight": {"null": "absent"}})).keys() == {
        f"Patient/{fhir.resource_id(PATIENT, 'Patient')}"
    }


def test_the_intake_account_is_an_identifier_of_the_patient():
    patient = sure(one(told({}), "Patient", accounts=[("urn:canary:account", "a-1")]))
    assert {"system": "urn:canary:account", "value": "a-1"} in patient["identifier"]


def test_a_stated_weight_is_preliminary_in_the_patients_voice_and_points_to_the_answers():
    weight = sure(
        one(told({"anthro.weight": 98.43, "anthro.weight_measured_at": "2026-03-01"}), "Observation", "anthro.weight")
    )
    assert weight["status"] == "preliminary"
    assert weight["performer"] == [{"reference": f"Patient/{fhir.resource_id(PATIENT, 'Patient')}"}]
    assert weight["derivedFrom"] == [
        {"reference": f"QuestionnaireResponse/{fhir.resource_id(PATIENT, 'QuestionnaireResponse/sub-0')}"}
    ]
    assert weight["effectiveDateTime"] == "2026-03-01"
    assert weight["valueQuantity"]["value"] == 98.43


def test_a_weight_of_a_check_in_does_not_borrow_the_day_or_the_scale_of_the_weight_before():
    how = {"anthro.weight_measured_at": "2026-03-01", "anthro.weight_method": "clinic"}
    first = told({"anthro.weight": 98.4, "anthro.height": 170.0, **how}).submissions[0]
    at = NOON + timedelta(days=35)

    def weighed(values: dict[str, Value], **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        later = replace(first, event_id="event-1", submission_id="sub-1", authored_at=at, received_at=at, values=values)
        chart = resolve(CONTRACT, PATIENT, [first, replace(later, **changes)])
        return sure(one(chart, "Observation", "anthro.weight")), sure(one(chart, "Observation", "bmi"))

    light: dict[str, Value] = {"anthro.weight": {"value": 93.1}}
    for observation in weighed(light, source="followup"):
        assert observation["effectiveDateTime"] == "2026-04-06T12:00:00Z"
        assert "method" not in observation
    dated, _ = weighed(light | {"anthro.weight_measured_at": {"value": "2026-04-05"}}, source="followup")
    assert (dated["effectiveDateTime"], dated.get("method")) == ("2026-04-05", None)
    corrected, _ = weighed(light, status="amended")  # a slip of the same weighing
    assert (corrected["effectiveDateTime"], codes(corrected["method"])) == ("2026-03-01", ["clinic"])


def test_nothing_points_to_the_answers_of_a_draft():
    assert "derivedFrom" not in sure(
        one(told({"anthro.weight": 98.4}, status="in-progress"), "Observation", "anthro.weight")
    )


def test_body_mass_index_comes_from_height_and_weight():
    bmi = sure(one(told({"anthro.height": 170.0, "anthro.weight": 98.4}), "Observation", "bmi"))
    assert bmi["valueQuantity"] == {
        "value": 34.05,
        "unit": "kg/m2",
        "system": "http://unitsofmeasure.org",
        "code": "kg/m2",
    }
    assert len(bmi["derivedFrom"]) == 2
    assert "performer" not in bmi


def test_body_mass_index_is_shown_as_the_rules_compare_it():
    chart = told({"anthro.height": 165.0, "anthro.weight": 81.57})
    assert sure(one(chart, "Observation", "bmi"))["valueQuantity"]["value"] == bmi(chart) == 29.96


def test_a_home_abroad_is_in_no_state():
    home = {"line1": "1 Canary Lane", "city": "Z\u00fcrich", "country": "Switzerland"}
    for country, state in (("Switzerland", None), ("USA", "CA")):
        told_of = told({"demo.address": home | {"country": country}, "demo.state_residence": "CA"})
        assert sure(one(told_of, "Patient"))["address"][0].get("state") == state


def test_body_mass_index_is_taken_back_when_a_measure_is():
    held = {"held": "implausible_weight", "raw": "980"}
    chart = told({"anthro.height": 170.0, "anthro.weight": 98.4}, {"anthro.weight": held})
    assert sure(one(chart, "Observation", "bmi"))["status"] == "entered-in-error"
    assert codes(sure(one(chart, "Observation", "anthro.weight"))["dataAbsentReason"]) == ["error"]


def test_a_range_of_blood_pressure_never_becomes_a_number():
    pressure = sure(one(told({"vitals.bp": {"category": "stage1"}}), "Observation", "vitals.bp"))
    assert "component" not in pressure
    assert codes(pressure["valueCodeableConcept"]) == ["stage1"]


def test_two_numbers_of_blood_pressure_are_components():
    pressure = sure(one(told({"vitals.bp": {"systolic": 128, "diastolic": 82}}), "Observation", "vitals.bp"))
    assert [part["valueQuantity"]["value"] for part in pressure["component"]] == [128, 82]


def test_a_single_number_of_blood_pressure_leaves_the_other_unknown():
    pressure = sure(one(told({"vitals.bp": {"systolic": 128}}), "Observation", "vitals.bp"))
    assert codes(pressure["component"][1]["dataAbsentReason"]) == ["unknown"]


def test_a_reported_condition_is_active_and_unconfirmed_in_our_words():
    condition = sure(one(told({"hx.mtc_personal": "yes"}), "Condition", "hx.mtc_personal"))
    assert codes(condition["clinicalStatus"]) == ["active"]
    assert codes(condition["verificationStatus"]) == ["unconfirmed"]
    assert codes(condition["code"]) == ["255032005", "yes"]
    assert condition["code"]["text"] == "Own history of medullary thyroid cancer"
    assert not any("display" in coding for coding in condition["code"]["coding"])


@pytest.mark.parametrize("answer", ["no", UNKNOWN, DECLINED])
def test_a_no_is_no_refuted_condition_and_not_knowing_is_none_either(answer):
    assert one(told({"hx.men2": answer}), "Condition", "hx.men2") is None


def test_a_code_still_to_be_verified_is_not_sent():
    asthma = sure(one(told({"hx.comorbidities": ["asthma"]}), "Condition", "hx.comorbidities/asthma"))
    pressure = sure(one(told({"hx.comorbidities": ["htn"]}), "Condition", "hx.comorbidities/htn"))
    assert codes(asthma["code"]) == ["asthma"]
    assert codes(pressure["code"]) == ["38341003", "htn"]


def test_what_is_over_is_not_active():
    condition = sure(one(told({"hx.pancreatitis": "past"}), "Condition", "hx.pancreatitis/past"))
    assert codes(condition["clinicalStatus"]) == ["inactive"]


def test_surgery_is_a_procedure_and_no_condition():
    chart = told({"hx.gallbladder": "removed"})
    assert sure(one(chart, "Procedure", "hx.gallbladder/removed"))["status"] == "completed"
    assert not any(key.startswith("Condition/") for key in written(chart))


def test_a_family_history_that_nobody_knows_says_so():
    family = sure(one(told({"hx.mtc_family": UNKNOWN}), "FamilyMemberHistory", "hx.mtc_family"))
    assert family["status"] == "health-unknown"
    assert codes(family["dataAbsentReason"]) == ["subject-unknown"]
    assert "condition" not in family


def test_a_consent_taken_back_is_inactive_and_denies():
    given = {"status": "given", "version": "7", "at": "2026-03-02T11:00:00-06:00"}
    chart = told({"consent.telehealth": given}, {"consent.telehealth": {**given, "status": "revoked"}})
    consent = sure(one(chart, "Consent", "consent.telehealth"))
    assert (consent["status"], consent["provision"]["type"]) == ("inactive", "deny")


def test_a_consent_is_of_its_instant_also_where_its_offset_has_seconds_which_no_ehr_takes():
    at = "2026-03-02T16:30:15+05:30:15"
    consent = sure(one(told({"consent.sms": {"status": "given", "at": at}}), "Consent", "consent.sms"))
    assert consent["dateTime"] == "2026-03-02T11:00:00Z"


@pytest.mark.parametrize(("status", "shown"), [("given", "active"), ("refused", "rejected"), ("revoked", "inactive")])
def test_each_decision_on_consent_has_its_status(status, shown):
    at = "2026-03-02T11:00:00-06:00"
    assert sure(one(told({"consent.sms": {"status": status, "at": at}}), "Consent", "consent.sms"))["status"] == shown


@pytest.mark.parametrize(
    ("kind", "role", "before", "after"),
    [
        ("Condition", "hx.men2", {"hx.men2": "yes"}, {"hx.men2": "no"}),
        ("Condition", "hx.comorbidities/osa", {"hx.comorbidities": ["htn", "osa"]}, {"hx.comorbidities": ["htn"]}),
        ("Condition", "hx.pancreatitis/past", {"hx.pancreatitis": "past"}, {"hx.pancreatitis": "current"}),
        ("Procedure", "hx.transplant", {"hx.transplant": "yes"}, {"hx.transplant": "no"}),
        ("FamilyMemberHistory", "hx.mtc_family", {"hx.mtc_family": "yes"}, {"hx.mtc_family": "no"}),
        ("Observation", "preg.lmp", {"preg.lmp": "2026-02-01"}, {"preg.lmp": {"null": "not_applicable"}}),
        ("AllergyIntolerance", "allergy.any", {"allergy.any": "no"}, {"allergy.list": [{"substance": "latex"}]}),
        ("AllergyIntolerance", "allergy.list/latex", {"allergy.list": [{"substance": "Latex"}]}, {"allergy.list": []}),
        ("MedicationStatement", "med.glp1_history", {"med.glp1_history": "current"}, {"med.glp1_history": "never"}),
        ("MedicationStatement", "med.current_list/zinc", {"med.current_list": [{"name": "zinc"}]}, {"med.current_list": []}),
    ],
)  # fmt: skip
def test_what_a_patient_no_longer_says_is_entered_in_error_whatever_came_first(kind, role, before, after):
    stood = sure(one(told(before), kind, role))
    taken_back = sure(one(told(before, after), kind, role))
    for status in ("status", "verificationStatus"):
        assert "entered-in-error" not in str(stood.get(status))
    assert "entered-in-error" in str(taken_back.get("verificationStatus", taken_back.get("status")))
    assert stood["id"] == taken_back["id"]


def test_what_is_said_again_stands_again():
    chart = told({"hx.men2": "yes"}, {"hx.men2": "no"}, {"hx.men2": "yes"})
    assert codes(sure(one(chart, "Condition", "hx.men2"))["verificationStatus"]) == ["unconfirmed"]


def test_a_stroke_is_not_written_as_hardened_arteries_of_the_heart():
    condition = sure(one(told({"hx.comorbidities": ["cvd"]}), "Condition", "hx.comorbidities/cvd"))
    assert codes(condition["code"]) == ["cvd"]
    assert condition["code"]["text"] == "disease of the heart or of blood vessels"
    assert CONTRACT.codes["comorbidities"]["stroke"].code == "cvd"


def test_no_allergies_is_a_code_and_an_unnamed_one_is_not_lost():
    assert codes(sure(one(told({"allergy.any": "no"}), "AllergyIntolerance", "allergy.any"))["code"]) == ["716186003"]
    assert "not named" in sure(one(told({"allergy.any": "yes"}), "AllergyIntolerance", "allergy.any"))["code"]["text"]


def test_a_medicine_nobody_mapped_stays_a_text():
    chart = told({"med.current_list": [{"name": "Met forming", "dose": "500 mg"}]})
    medicine = sure(one(chart, "MedicationStatement", "med.current_list/met forming"))
    assert medicine["medicationCodeableConcept"] == {"text": "Met forming"}
    assert medicine["dosage"] == [{"text": "500 mg"}]


def test_the_same_medicine_told_twice_is_two_statements():
    chart = told({"med.current_list": [{"name": "insulin", "dose": "10"}, {"name": "Insulin ", "dose": "20"}]})
    assert sum(key.startswith("MedicationStatement/") for key in written(chart)) == 2


def test_a_past_glp1_ends_with_its_last_dose():
    answers = {
        "med.glp1_history": "past>1mo",
        "med.glp1_last_dose": "2026-01-05",
        "med.glp1_product": {"product": "ozempic"},
    }
    medicine = sure(one(told(answers), "MedicationStatement", "med.glp1_history"))
    assert medicine["status"] == "completed"
    assert medicine["effectivePeriod"] == {"end": "2026-01-05"}
    assert medicine["medicationCodeableConcept"]["text"] == "Ozempic"


def test_a_flag_shows_its_code_and_how_bad_it_is():
    raised = {"MTC_FAMILY": RaisedFlag("MTC_FAMILY", "amber", ("hx.mtc_family",), "event-0")}
    flag = sure(one(told({"hx.mtc_family": UNKNOWN}), "Flag", "MTC_FAMILY", flags=raised))
    assert flag["extension"][0]["valueCode"] == "amber"
    assert codes(flag["code"])[0] == "MTC_FAMILY"
    assert flag["status"] == "active"


@pytest.mark.parametrize(
    ("flag_id", "answers"),
    [
        ("MTC_FAMILY", {"hx.mtc_family": "yes"}),  # a relative's
        ("MTC_FAMILY", {"hx.mtc_family": UNKNOWN}),
        ("PREGNANT", {"preg.status": "possible"}),
        ("SUICIDE_ATTEMPT_HX", {"hx.suicide": "past"}),  # thoughts, or an attempt
        ("THYROID_CA_NONMTC", {"hx.thyroid_other": "yes"}),  # a nodule, or a cancer
        ("ESRD_DIALYSIS", {"hx.kidney": "dialysis"}),
        ("SUD_UNTREATED", {"hx.substance": "untreated"}),  # whichever substance
        ("BP_STAGE2", {"vitals.bp": {"systolic": 165, "diastolic": 95}}),  # one reading
    ],
)
def test_a_flag_has_no_standard_code_of_a_finding_that_the_patient_did_not_tell(flag_id, answers):
    raised = {flag_id: RaisedFlag(flag_id, "amber", tuple(answers), "event-0")}
    chart = told(answers)
    assert evaluate(CONTRACT, chart).keys() >= {flag_id}
    assert codes(sure(one(chart, "Flag", flag_id, flags=raised))["code"]) == [flag_id]


def test_a_flag_has_the_standard_code_where_it_is_just_what_the_patient_told():
    raised = {"T1DM": RaisedFlag("T1DM", "red", ("hx.t1dm",), "event-0")}
    assert codes(sure(one(told({"hx.t1dm": "yes"}), "Flag", "T1DM", flags=raised))["code"]) == ["T1DM", "46635009"]


def test_a_flag_that_stands_no_more_is_written_as_inactive_under_its_old_id_whatever_it_was():
    shown = [
        sure(
            one(
                told({"hx.kidney": "none"}, {"hx.kidney": kidney}), "Flag", "RENAL_CKD4_5", ended_flags=["RENAL_CKD4_5"]
            )
        )
        for kidney in ("none", "stones")
    ]
    assert shown[0] == shown[1]
    assert shown[0]["status"] == "inactive"
    raised = {"RENAL_CKD4_5": RaisedFlag("RENAL_CKD4_5", "amber", ("hx.kidney",), "event-0")}
    stands = sure(one(told({"hx.kidney": "ckd"}), "Flag", "RENAL_CKD4_5", flags=raised))
    assert (stands["id"], stands["status"]) == (shown[0]["id"], "active")
    assert fhir.flag_key(PATIENT, "RENAL_CKD4_5") == f"Flag/{stands['id']}"


def need(code: str, cause: str) -> TaskNeed:
    kind = CONTRACT.tasks[code]
    return TaskNeed(code, cause, kind.queue, kind.owner, kind.due_minutes)


def test_a_task_is_due_counted_from_the_answer_that_made_it():
    chart = told({"hx.men2": "no"}, {"anthro.weight": {"held": "implausible_weight", "raw": "980"}})
    task = sure(one(chart, "Task", "verify-weight/anthro.weight:implausible_weight", tasks=[need("verify-weight", "anthro.weight:implausible_weight")]))  # fmt: skip
    assert task["status"] == "requested"
    assert task["authoredOn"] == "2026-03-03T12:00:00Z"
    assert task["restriction"]["period"]["end"] == "2026-03-05T12:00:00Z"


def test_a_later_submission_does_not_write_an_old_task_again():
    key = ("missing-high-risk-input", "hx.men2")
    first, second = {"hx.men2": UNKNOWN}, {"hx.men2": "no"}
    for kind, more in (("open", {"tasks": [need(*key)]}), ("closed", {"closed_tasks": [key]})):
        answers = (first,) if kind == "open" else (first, second)
        before = one(told(*answers), "Task", "/".join(key), **more)
        after = one(told(*answers, {"life.activity": 60}), "Task", "/".join(key), **more)
        assert before == after


def test_a_task_no_longer_needed_is_completed():
    task = sure(one(told({}), "Task", "verify-weight/anthro.weight", closed_tasks=[("verify-weight", "anthro.weight")]))
    assert task["status"] == "completed"
    assert task["lastModified"] >= task["authoredOn"]
