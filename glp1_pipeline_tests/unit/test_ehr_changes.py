"""What a resource of the EHR says in our own fields: the inverse of what we write, and what only a provider says."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.changes import Said, read_change
from glp1_pipeline.domain.chart import Reported, resolve
from glp1_pipeline.domain.events import Change
from glp1_pipeline.domain.fhir.elements import CODE_SYSTEM, HL7, LOINC, RESOURCE_SYSTEM, SNOMED, UCUM
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import full_answers, submission

CONTRACT = contract()
PATIENT = "9d3f3c9e-0000-4000-8000-00000000ca9a"
SEEN_AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DOCTOR = {"reference": "Practitioner/7"}


def say(resource: dict[str, Any], *, deleted: bool = False, actor: str = "") -> Said:
    change = Change(
        "ehr", resource["resourceType"], str(resource.get("id", "1")), "2", deleted, SEEN_AT, resource, PATIENT, actor
    )
    return read_change(CONTRACT, change)


def values(said: Said) -> dict[str, Any]:
    return {name: doc.get("value", doc) for name, doc in said.values.items()}


def withdrawn(said: Said) -> dict[str, Any]:
    """What is taken back; nothing else is said beside it."""
    assert all(doc["null"] == "absent" for doc in said.values.values())
    return {name: doc["withdrawn"] for name, doc in said.values.items()}


def concept(system: str, code: str, text: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}], **({"text": text} if text else {})}


def status(name: str, code: str) -> dict[str, Any]:
    return concept(HL7 + name, code)


def chart_of(answers: dict[str, Any]) -> Any:
    """Through the real mapping, so that values are such as a form can give."""
    sent = submission(answers)
    mapped = map_submission(CONTRACT, sent)
    told = Reported(
        "event-1", sent.submission_id, "3.0.0", "completed", sent.authored_at, SEEN_AT, sent.time_zone,
        dict(mapped.values),
    )  # fmt: skip
    return resolve(CONTRACT, PATIENT, [told])


def written(chart: Any) -> list[dict[str, Any]]:
    """Every resource of a chart, as it travels."""
    return orjson.loads(orjson.dumps(list(fhir.chart_resources(CONTRACT, chart, {}, []).values())))


def plain(field: str, value: Any) -> Any:
    """The part of a value that must come back. Not: dose and frequency of a medicine (they become one text), the
    instant of a consent that had none (it is written with the form's)."""
    if field in ("med.current_list", "allergy.list", "hx.comorbidities", "med.prior_weight_loss"):
        return {row["name"] if field == "med.current_list" else str(row) for row in value}
    if field.startswith("consent."):
        return value["status"], value.get("version", "")
    return value


def assert_inverse(chart: Any) -> set[str]:
    """Returns the fields that were carried."""
    said: dict[str, list[Any]] = {}
    for resource in written(chart):
        told = say(resource)
        assert told.voice == "reported" or resource["resourceType"] == "Patient"
        for name, doc in told.values.items():
            assert "held" not in doc, (resource["resourceType"], name)
            assert "withdrawn" not in doc, (resource["resourceType"], name)
            said.setdefault(name, []).append(doc)
    for name, docs in said.items():
        known = chart.values[name]
        if "null" in known:
            assert docs == [{"null": known["null"]}], name
            continue
        expected = plain(name, known["value"])
        if isinstance(expected, set):
            rows = [plain(name, doc["value"]) for doc in docs]
            assert set().union(*rows) == expected, name
        else:
            assert [plain(name, doc["value"]) for doc in docs] == [expected], name
    return set(said)


def test_what_we_wrote_of_a_full_chart_reads_back_as_what_it_was():
    carried = assert_inverse(chart_of(full_answers()))
    assert {
        "demo.legal_first", "demo.legal_last", "demo.preferred_name", "demo.dob", "demo.sex_at_birth", "demo.gender",
        "demo.email", "demo.mobile", "demo.address", "demo.state_residence", "demo.language", "demo.gender_identity",
        "anthro.height", "anthro.weight", "anthro.weight_measured_at", "anthro.weight_method", "vitals.bp", "vitals.hr",
        "anthro.highest_weight", "anthro.pre_glp1_weight", "life.activity", "preg.status", "preg.breastfeeding",
        "preg.lmp", "hx.t2dm", "hx.comorbidities", "hx.liver", "med.current_list", "med.glp1_product",
        "med.prior_weight_loss", "allergy.any", "consent.treatment", "consent.sms",
    } <= carried  # fmt: skip


def codes(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted({entry.code for entry in CONTRACT.codes[name].values()} - {"unknown", "declined"}))


NULLS = st.sampled_from([{"null": "unknown"}, {"null": "declined"}])
NAMES = st.from_regex(r"[A-Z][a-z]{1,8}( [A-Z][a-z]{2,5})?", fullmatch=True)
DAYS = st.dates(date(1940, 1, 1), date(2006, 1, 1)).map(date.isoformat)
TRI = st.sampled_from(["yes", "no"])
ANSWERS = {
    "demo.legal_last": NAMES,
    "demo.preferred_name": NAMES,
    "demo.dob": DAYS,
    "demo.sex_at_birth": st.sampled_from(["female", "male"]) | NULLS,
    "demo.gender": st.sampled_from(["female", "male", "other", "unknown"]),
    "demo.gender_identity": codes("gender_identities"),
    "demo.email": st.from_regex(r"[a-z]{2,8}\+canary@example\.org", fullmatch=True),
    "demo.mobile": st.from_regex(r"\+1202555[0-9]{4}", fullmatch=True),
    "demo.language": codes("languages"),
    "anthro.height": st.integers(120, 220).map(lambda n: {"value": n, "unit": "cm"}) | NULLS,
    "anthro.weight": st.integers(70, 150).map(lambda n: {"value": n, "unit": "kg"}) | NULLS,
    "anthro.weight_measured_at": st.dates(date(2026, 1, 1), date(2026, 11, 1)).map(date.isoformat),
    "anthro.weight_method": codes("weight_methods"),
    "vitals.hr": st.integers(40, 200) | NULLS,
    "vitals.bp": st.builds(lambda s, d: {"systolic": s, "diastolic": d}, st.integers(100, 200), st.integers(50, 95))
    | codes("bp_categories"),
    "life.activity": st.integers(0, 900),
    "preg.status": codes("pregnancy") | NULLS,
    "preg.breastfeeding": TRI | NULLS,
    "hx.mtc_personal": TRI,
    "hx.mtc_family": TRI | NULLS,
    "hx.men2": TRI,
    "hx.t1dm": TRI,
    "hx.t2dm": TRI,
    "hx.retinopathy": TRI,
    "hx.transplant": TRI,
    "hx.thyroid_other": TRI,
    "hx.gastroparesis": TRI,
    "hx.pancreatitis": codes("pancreatitis"),
    "hx.gallbladder": codes("gallbladder"),
    "hx.kidney": codes("kidney"),
    "hx.liver": codes("liver"),
    "hx.suicide": codes("suicidality"),
    "hx.eating_disorder": codes("eating_disorder"),
    "hx.cancer": codes("cancer"),
    "hx.bariatric": codes("bariatric"),
    "hx.comorbidities": st.lists(codes("comorbidities").filter(lambda c: c != "none"), unique=True, min_size=1),
    "med.glp1_source": codes("glp1_sources"),
    "med.prior_weight_loss": st.lists(
        codes("prior_weight_loss").filter(lambda c: c != "none"), unique=True, min_size=1
    ),
    "allergy.list": st.lists(
        st.builds(
            lambda s, r, v: {"substance": s, "reaction": r, "severity": v},
            st.sampled_from(["penicillin", "latex", "bee stings"]),
            st.sampled_from(["rash", "hives"]),
            st.sampled_from(["mild", "moderate", "severe"]),
        ),
        max_size=2,
        unique_by=lambda row: row["substance"],
    ),
    "consent.sms": st.sampled_from(["given", "refused", "revoked"]),
    "consent.treatment": st.builds(
        lambda s, v: {"status": s, "version": v, "at": "2026-11-22T09:58:00-06:00"},
        st.sampled_from(["given", "refused", "revoked"]),
        st.sampled_from(["2026-03", "2025-11"]),
    ),
}


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.fixed_dictionaries({"demo.legal_first": NAMES}, optional=ANSWERS))
def test_whatever_we_wrote_reads_back_as_what_it_was(answers: dict[str, Any]):
    assert_inverse(chart_of(answers | ({"demo.legal_last": "Canary"} if "demo.legal_last" not in answers else {})))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([SNOMED, LOINC, "29463-7", "85354-9", "716186003", CODE_SYSTEM + ":consent", "entered-in-error"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["code", "coding", "system", "value", "valueQuantity", "text", "status", "use", "reference",
                         "type", "extension", "url", "valueCode", "component", "other", "line", "given", "family"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
ELEMENTS = (
    "code", "status", "name", "telecom", "address", "birthDate", "_birthDate", "gender", "extension", "communication",
    "link", "valueQuantity", "component", "valueCodeableConcept", "dataAbsentReason", "method", "effectiveDateTime",
    "verificationStatus", "clinicalStatus", "reaction", "identifier", "medicationCodeableConcept", "dosage", "contained",
    "medicationReference", "effectivePeriod", "category", "policyRule", "provision", "dateTime", "condition", "performer",
    "asserter", "intent", "dosageInstruction",
)  # fmt: skip
ONE_OF_ALL: dict[str, Any] = {
    "hx.transplant": "yes", "hx.pancreatitis": "current", "hx.cancer": "current", "hx.kidney": "ckd", "hx.mtc_family": "yes",
    "hx.comorbidities": ["htn", "osa"], "consent.sms": "refused", "med.prior_weight_loss": ["phentermine"],
    "allergy.any": "yes", "allergy.list": [{"substance": "latex", "reaction": "hives", "severity": "mild"}],
    "preg.status": "unknown",
}  # fmt: skip
OURS = written(chart_of(full_answers() | ONE_OF_ALL))


def places(part: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to each part of a document, but its type and id, which its event says, too."""
    named = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, inner in named:
        if place or key not in ("resourceType", "id"):
            yield (*place, key)
            yield from places(inner, (*place, key))


KINDS = (
    "Patient", "Observation", "AllergyIntolerance", "Condition", "Procedure", "FamilyMemberHistory", "Consent",
    "MedicationStatement", "MedicationRequest", "Flag", "Task",
)  # fmt: skip


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(ELEMENTS), anything, max_size=6), st.booleans())
def test_a_resource_of_any_shape_is_read_without_fault(kind: str, content: dict[str, Any], deleted: bool):
    said = say({"resourceType": kind, **content}, deleted=deleted)
    assert set(said.values) <= set(CONTRACT.fields)
    assert not deleted or all("withdrawn" in doc for doc in said.values.values())


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), anything)
def test_a_resource_of_ours_with_anything_in_one_of_its_places_is_read_without_fault(data: st.DataObject, odd: Any):
    resource = copy.deepcopy(data.draw(st.sampled_from(OURS)))
    place = data.draw(st.sampled_from([*places(resource)]))
    inner: Any = resource
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    assert set(say(resource).values) <= set(CONTRACT.fields)


@pytest.mark.parametrize("code", ["never heard of", "curent", "no\0"])
def test_a_code_that_is_none_of_a_question_of_ours_is_held_and_is_no_answer(code: str):
    """Else a slip would stand in the chart as a known answer that raises no flag."""
    for kind in ("Condition", "Procedure"):
        said = say({"resourceType": kind, "code": concept(f"{CODE_SYSTEM}:pancreatitis", code), "status": "completed"})
        assert said.values["hx.pancreatitis"]["held"] == "unmapped_code"
        assert "\0" not in said.values["hx.pancreatitis"]["raw"]
        assert [problem.field for problem in said.problems] == ["hx.pancreatitis"]


def observation(code: str, **more: Any) -> dict[str, Any]:
    base = {"resourceType": "Observation", "status": "final", "code": concept(LOINC, code), "performer": [DOCTOR]}
    return base | more


def quantity(value: Any, unit: str, **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit, **more}


def test_a_weight_that_a_nurse_measured_is_verified_in_our_unit_with_its_day():
    said = say(
        observation("29463-7", valueQuantity=quantity(180.5, "[lb_av]"), effectiveDateTime="2026-11-20T14:00:00Z")
    )
    assert said.voice == "verified"
    assert values(said) == {"anthro.weight": 81.87, "anthro.weight_measured_at": "2026-11-20"}


@pytest.mark.parametrize(
    ("more", "voice"),
    [
        ({}, "verified"),
        ({"performer": []}, "verified"),
        ({"status": "preliminary"}, "reported"),
        ({"performer": [{"reference": "Patient/1"}]}, "reported"),
        ({"performer": [{"type": "Patient", "identifier": {"value": "1"}}]}, "reported"),
    ],
)
def test_whose_voice_a_measurement_is(more: dict[str, Any], voice: str):
    assert say(observation("8867-4", valueQuantity=quantity(72, "/min"), **more)).voice == voice


def test_who_made_the_change_counts_before_who_is_named_in_it():
    patients_own = observation("8867-4", valueQuantity=quantity(72, "/min"), performer=[{"reference": "Patient/1"}])
    assert say(patients_own, actor="Practitioner/7").voice == "verified"
    assert say(observation("8867-4", valueQuantity=quantity(72, "/min")), actor="Patient/1").voice == "reported"
    assert say({"resourceType": "Patient", "birthDate": "1984-06-30"}).voice == "verified"
    assert say({"resourceType": "Patient", "birthDate": "1984-06-30"}, actor="Patient/1").voice == "reported"


def test_a_unit_that_nobody_knows_and_a_limit_are_held():
    for amount in (quantity(12, "stadium"), quantity(80, "kg", comparator="<")):
        (doc,) = say(observation("29463-7", valueQuantity=amount)).values.values()
        assert doc["held"] in ("unknown_unit", "comparator")


@pytest.mark.parametrize("told", ["2026-11-04", "2026-11-04T23:30:00-06:00", "2026-11-04T12:00:00Z"])
def test_a_day_that_comes_with_a_time_is_the_day_that_is_written(told: str):
    said = say(observation(str(CONTRACT.fields["preg.lmp"].loinc), valueDateTime=told))
    assert values(said) == {"preg.lmp": "2026-11-04"}


def test_blood_pressure_has_both_sides_or_none():
    upper = {"code": concept(LOINC, "8480-6"), "valueQuantity": quantity(128, "mm[Hg]")}
    lower = {"code": concept(LOINC, "8462-4"), "valueQuantity": quantity(82, "mm[Hg]")}
    assert values(say(observation("85354-9", component=[upper, lower]))) == {
        "vitals.bp": {"systolic": 128, "diastolic": 82}
    }
    assert say(observation("85354-9", component=[upper])).values["vitals.bp"]["held"] == "half_blood_pressure"
    kilopascal = {**lower, "valueQuantity": quantity(11, "kPa")}
    assert say(observation("85354-9", component=[upper, kilopascal])).values["vitals.bp"]["held"] == "unknown_unit"


def test_the_body_mass_index_is_never_read():
    assert say(observation("39156-5", valueQuantity=quantity(31, "kg/m2"))) == Said(voice="verified")


def test_what_was_entered_in_error_or_deleted_is_withdrawn_and_not_said():
    wrong = observation("29463-7", status="entered-in-error", valueQuantity=quantity(80, "kg"))
    for said in (say(wrong), say({**wrong, "status": "final"}, deleted=True)):
        assert withdrawn(said)["anthro.weight"] == 80


def allergy(text: str, verification: str = "confirmed", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "AllergyIntolerance", "code": {"text": text}, "recorder": DOCTOR,
        "clinicalStatus": status("allergyintolerance-clinical", "active"),
        "verificationStatus": status("allergyintolerance-verification", verification), **more,
    }  # fmt: skip


def test_an_allergy_that_a_provider_adds_is_a_row_and_a_yes():
    said = say(allergy("Penicillin", reaction=[{"manifestation": [{"text": "hives"}], "severity": "severe"}]))
    row = {"substance": "Penicillin", "reaction": "hives", "severity": "severe", "code": "penicillin"}
    assert (said.voice, values(said)) == ("verified", {"allergy.list": [row], "allergy.any": "yes"})


@pytest.mark.parametrize("verification", ["refuted", "entered-in-error"])
def test_an_allergy_that_a_provider_refutes_is_that_row_withdrawn(verification: str):
    said = say(allergy("Penicillin", verification))
    assert withdrawn(said)["allergy.list"][0]["code"] == "penicillin"


@pytest.mark.parametrize(
    "code",
    [
        concept(SNOMED, "716186003"),
        concept(SNOMED, "409137002"),
        concept(SNOMED, "409137002", "No known drug allergy"),
        {"text": "No known drug allergies"},
        {"text": "No known drug allergy"},
        {"text": "Denies any medication allergies."},
    ],
)
def test_no_allergies_is_a_no_and_never_a_substance(code: dict[str, Any]):
    assert values(say(allergy("", code=code))) == {"allergy.any": "no"}


@pytest.mark.parametrize(
    "code",
    [
        concept(SNOMED, "429625007", "No known food allergy"),
        concept(SNOMED, "428607008"),
        {"text": "No known food allergies"},
        {"text": "No known latex allergy"},
        {"text": "No allergy to penicillin"},
    ],
)
def test_no_allergy_to_something_else_is_neither_a_no_nor_a_yes_nor_a_substance(code: dict[str, Any]):
    assert values(say(allergy("", code=code))) == {}


def test_a_medicine_whose_name_begins_like_a_denial_is_a_substance():
    assert values(say(allergy("No Doz tablets")))["allergy.any"] == "yes"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"coding": [{"system": SNOMED, "code": "60001007", "display": "Not pregnant"}]}, "no"),
        ({"coding": [{"system": LOINC, "code": "LA26683-5"}], "text": "Not pregnant"}, "no"),
        ({"text": "Pregnant"}, "yes"),
    ],
)
def test_a_code_that_nobody_signed_is_heard_by_its_words_where_they_are_a_known_spelling(found, told: str):
    assert values(say(observation("82810-3", valueCodeableConcept=found))) == {"preg.status": told}


def test_words_that_say_two_things_or_something_unknown_are_held():
    two = {"text": "Not pregnant", "coding": [{"system": SNOMED, "code": "1", "display": "Pregnant"}]}
    for found in (two, {"text": "Negative"}):
        said = say(observation("82810-3", valueCodeableConcept=found))
        assert [(problem.field, problem.cause) for problem in said.problems] == [("preg.status", "unmapped_code")]


def condition(code: dict[str, Any], clinical: str = "active", verification: str = "confirmed") -> dict[str, Any]:
    return {
        "resourceType": "Condition", "code": code, "asserter": DOCTOR,
        "clinicalStatus": status("condition-clinical", clinical),
        "verificationStatus": status("condition-ver-status", verification),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "clinical", "told"),
    [
        (concept(SNOMED, "38341003"), "active", {"hx.comorbidities": ["htn"]}),
        (concept(SNOMED, "44054006"), "active", {"hx.comorbidities": ["t2dm"], "hx.t2dm": "yes"}),
        (concept(SNOMED, "53741008"), "active", {"hx.comorbidities": ["cvd"]}),
        (concept(SNOMED, "255032005"), "inactive", {"hx.mtc_personal": "yes"}),
        (concept(SNOMED, "197456007"), "active", {"hx.pancreatitis": "current"}),
        (concept(SNOMED, "197456007"), "resolved", {"hx.pancreatitis": "past"}),
        (
            concept(SNOMED, "235494005"),
            "active",
            {"hx.pancreatitis": "past"},
        ),  # chronic: the amber flag's, not the acute one's
        (concept("http://hl7.org/fhir/sid/icd-10-cm", "Z87.19"), "active", {"hx.pancreatitis": "past"}),  # a history
        (concept("http://hl7.org/fhir/sid/icd-10-cm", "E10.9"), "active", {"hx.t1dm": "yes"}),
        (concept(CODE_SYSTEM + ":pancreatitis", "current"), "resolved", {"hx.pancreatitis": "past"}),
    ],
)
def test_a_condition_answers_the_question_that_its_code_belongs_to(code, clinical: str, told: dict[str, Any]):
    said = say(condition(code, clinical))
    assert (said.voice, values(said)) == ("verified", told)


def test_a_comorbidity_that_is_over_is_taken_from_the_list():
    said = say(condition(concept(SNOMED, "38341003"), "resolved"))
    assert withdrawn(said) == {"hx.comorbidities": ["htn"]}


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (concept(SNOMED, "24079001"), "unmapped_condition"),  # eczema: none of our business
        (concept(SNOMED, "195967001"), "unmapped_condition"),  # asthma: the code is still to be verified
        (concept("http://hl7.org/fhir/sid/icd-10-cm", "Z85.850"), "ambiguous_condition"),  # of two flags
    ],
)
def test_a_condition_that_we_have_no_signed_code_for_is_a_problem_and_no_value(code: dict[str, Any], cause: str):
    said = say(condition(code))
    assert not said.values
    assert [problem.cause for problem in said.problems] == [cause]


def test_a_medicine_is_a_row_and_one_that_was_stopped_is_a_row_withdrawn():
    medicine = concept("http://www.nlm.nih.gov/research/umls/rxnorm", "6809", "Metformin 500 mg")
    statement = {
        "resourceType": "MedicationStatement", "status": "active", "medicationCodeableConcept": medicine,
        "informationSource": DOCTOR, "dosage": [{"text": "twice a day"}],
    }  # fmt: skip
    row = {"name": "Metformin 500 mg", "rxnorm": "6809", "dose": "twice a day", "class": "metformin"}
    assert values(say(statement)) == {"med.current_list": [row]}
    assert say(statement).voice == "verified"
    assert withdrawn(say({**statement, "status": "stopped"})) == {"med.current_list": [row]}


def test_an_order_of_a_glp1_is_the_programmes_own_and_no_medicine_beside_it():
    order = {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "requester": DOCTOR}
    assert values(say({**order, "medicationCodeableConcept": {"text": "Lisinopril 10 mg"}}))["med.current_list"]
    assert not say({**order, "medicationCodeableConcept": {"text": "Wegovy 0.25 mg"}}).values
    assert not say({**order, "intent": "plan", "medicationCodeableConcept": {"text": "Lisinopril 10 mg"}}).values


def test_a_consent_taken_back_in_the_ehr_is_revoked():
    consent = {
        "resourceType": "Consent", "status": "inactive", "dateTime": "2026-11-20T10:00:00Z",
        "policyRule": {"coding": [{"system": CODE_SYSTEM + ":consent", "code": "consent.sms", "version": "2"}]},
    }  # fmt: skip
    told = values(say(consent))["consent.sms"]
    assert (told["status"], told["version"]) == ("revoked", "2")
    denied = {**consent, "status": "active", "provision": {"type": "deny"}}
    assert values(say(denied))["consent.sms"]["status"] == "refused"


def test_a_patient_says_what_it_holds_and_leaving_something_out_retracts_nothing():
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": RESOURCE_SYSTEM, "value": "1"}],
        "name": [{"use": "old", "family": "Before"}, {"use": "official", "family": "Canary", "given": ["Ann", "Lee"]}],
        "telecom": [
            {"system": "phone", "use": "work", "value": "202-555-0100"},
            {"system": "phone", "use": "mobile", "rank": 2, "value": "202-555-0102"},
            {"system": "phone", "use": "mobile", "rank": 1, "value": "(202) 555-0101"},
        ],
        "_birthDate": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                                      "valueCode": "asked-declined"}]},
        "communication": [{"language": concept("urn:ietf:bcp:47", "es-MX"), "preferred": True}],
        "address": [{"use": "work", "city": "Reno", "state": "NV"}, {"use": "home", "city": "Austin", "state": "TX"}],
    }  # fmt: skip
    assert values(say(patient)) == {
        "demo.legal_first": "Ann Lee", "demo.legal_last": "Canary", "demo.mobile": "+12025550101",
        "demo.dob": {"null": "declined"}, "demo.language": "es", "demo.address": {"city": "Austin", "state": "TX"},
        "demo.state_residence": "TX",
    }  # fmt: skip


def test_a_patient_that_another_replaced_says_nothing_any_more():
    retired = {"resourceType": "Patient", "birthDate": "1984-06-30",
               "link": [{"type": "replaced-by", "other": {"reference": "Patient/2"}}]}  # fmt: skip
    assert say(retired) == Said(voice="verified")


def test_flags_and_tasks_are_work_and_no_values():
    for kind in ("Flag", "Task"):
        assert not say({"resourceType": kind, "status": "completed"}).values
