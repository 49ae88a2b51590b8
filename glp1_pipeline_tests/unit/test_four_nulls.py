"""Not asked, left blank, not known, not said: four things, from the raw answer of every field to FHIR, of the intake and
of a check-in."""

from __future__ import annotations

from typing import Any

import pytest

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.chart import Reported, Value, resolve
from glp1_pipeline.domain.events import Submission
from glp1_pipeline.domain.followup import read_checkin
from glp1_pipeline.domain.mapping import map_submission
from glp1_pipeline_tests.fhir_rules import as_sent, problems
from glp1_pipeline_tests.sample_inputs import contract

from .submissions import submission

CONTRACT = contract()
PATIENT = "canary-1"
FIELDS = sorted(CONTRACT.asked["3.0.0"])
ASKED_IN_CHECKIN = sorted(CONTRACT.asked_in_checkin)
CHECKIN = {"version": CONTRACT.checkin.versions[-1], "form_id": CONTRACT.checkin.form_id}
REASON = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
RAW: dict[str, Any] = {"absent": "", "unknown": {"null": "unknown"}, "declined": {"null": "declined"}}
CODE = {"not_asked": "not-asked", "absent": "unknown", "unknown": "asked-unknown", "declined": "asked-declined"}

OBSERVATIONS = {"anthro.height", "anthro.weight", "anthro.highest_weight", "anthro.pre_glp1_weight", "vitals.bp",
                "vitals.hr", "life.activity", "preg.status", "preg.breastfeeding", "preg.lmp"}  # fmt: skip
"""Whoever was asked and gave no value has a resource that says why."""
ELEMENTS = {"demo.dob": "_birthDate", "demo.gender": "_gender", "demo.legal_last": "_family"}
"""Elements that every Patient has: where there is no value, they say why in each of the four states."""
TOLD = {"demo.mobile": ("telecom", "_value"), "demo.email": ("telecom", "_value"), "demo.address": ("address", ""),
        "demo.state_residence": ("address", "_state"), "demo.language": ("communication", "language")}  # fmt: skip
"""Elements that a Patient has only if there is something to say: a value, or that somebody did not know or say it."""
FLAVOURS = {"unknown": "UNK", "declined": "ASKU"}
EXTENSIONS = {"demo.sex_at_birth": "us-core-birthsex", "demo.gender_identity": "us-core-genderIdentity"}
"""Extensions whose own value set has codes for not knowing and not saying, and none for the others."""
FAMILY = {"unknown": "subject-unknown", "declined": "withheld"}
"""All other fields have no element that could say it: their answers do, in the QuestionnaireResponse."""


def written(field: str, state: str, **context: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The chart's resources by type, and the item of the answer."""
    told = submission({} if state == "not_asked" else {field: RAW[state]})
    values: dict[str, Value] = {name: {"value": value} for name, value in context.items()}
    if state != "not_asked":
        values[field] = map_submission(CONTRACT, told).values[field]
    at = told.authored_at
    report = Reported("event", "sub", "3.0.0", "completed", at, at, "America/Chicago", values)
    chart = resolve(CONTRACT, PATIENT, [report])
    if state == "not_asked":
        chart.asked -= {field}  # as if its form version were older than the question
    assert chart.state(field) == state
    resources = fhir.chart_resources(CONTRACT, chart, {}, ())
    response = as_sent(fhir.questionnaire_response(CONTRACT, told, PATIENT))
    assert [fault for resource in (*resources.values(), response) for fault in problems(resource)] == []
    items = [item for item in response.get("item", ()) if item["linkId"] == field]
    return {resource["resourceType"]: resource for resource in resources.values()}, items[0] if items else None


@pytest.mark.parametrize("field", FIELDS)
def test_the_answers_tell_the_four_apart(field):
    assert written(field, "not_asked")[1] is None
    label = CONTRACT.fields[field].label
    assert written(field, "absent")[1] == {"linkId": field, "text": label}
    for state in ("unknown", "declined"):
        answer = {"valueCoding": {"system": REASON, "code": CODE[state]}}
        assert written(field, state)[1] == {"linkId": field, "text": label, "answer": [answer]}


@pytest.mark.parametrize("field", sorted(OBSERVATIONS))
def test_a_measure_says_why_it_has_no_value_if_somebody_was_asked_and_said_so(field):
    for state in ("unknown", "declined"):
        observation = written(field, state)[0]["Observation"]
        assert observation["dataAbsentReason"] == {"coding": [{"system": REASON, "code": CODE[state]}]}
    for state in ("absent", "not_asked"):
        assert written(field, state)[0].keys() == {"Patient"}


@pytest.mark.parametrize("field", sorted(ELEMENTS))
def test_an_element_that_every_patient_has_says_why_it_has_no_value(field):
    for state, code in CODE.items():
        patient = written(field, state)[0]["Patient"]
        holder = patient["name"][0] if field == "demo.legal_last" else patient
        (extension,) = holder[ELEMENTS[field]]["extension"]
        assert extension == {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": code,
        }  # fmt: skip


@pytest.mark.parametrize("field", sorted(TOLD))
def test_an_element_of_the_patient_says_that_somebody_did_not_know_or_say_it(field):
    name, part = TOLD[field]
    for state, code in CODE.items():
        patient = written(field, state)[0]["Patient"]
        if state in ("absent", "not_asked"):
            assert name not in patient
            continue
        (told,) = patient[name]
        reason = (told[part] if part else told).get("extension") or told[part]["coding"]
        assert code in (reason[0].get("valueCode"), reason[0].get("code"))


@pytest.mark.parametrize("field", sorted(EXTENSIONS))
def test_an_extension_with_codes_of_its_own_uses_them(field):
    for state in CODE:
        found = [
            e for e in written(field, state)[0]["Patient"].get("extension", ()) if e["url"].endswith(EXTENSIONS[field])
        ]
        told = [e.get("valueCode") or e["valueCodeableConcept"]["coding"][0]["code"] for e in found]
        assert told == ([FLAVOURS[state]] if state in FLAVOURS else [])


@pytest.mark.parametrize(("state", "code"), [("unknown", "asked-unknown"), ("declined", "asked-declined")])
def test_what_is_part_of_another_resource_says_why_it_has_no_value_there(state, code):
    extension = {
        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": code}]
    }
    concept = {"coding": [{"system": REASON, "code": code}]}
    weight: dict[str, Any] = {"anthro.weight": 90.0}
    weighed = written("anthro.weight_measured_at", state, **weight)[0]["Observation"]
    assert (weighed["_effectiveDateTime"], "effectiveDateTime" in weighed) == (extension, False)
    assert written("anthro.weight_method", state, **weight)[0]["Observation"]["method"] == concept
    taken: dict[str, Any] = {"med.glp1_history": "past>1mo"}
    assert written("med.glp1_source", state, **taken)[0]["MedicationStatement"]["category"] == concept
    assert written("med.glp1_last_dose", state, **taken)[0]["MedicationStatement"]["effectivePeriod"] == {
        "_end": extension
    }
    for field, context in (("anthro.weight_measured_at", weight), ("anthro.weight_method", weight),
                           ("med.glp1_source", taken), ("med.glp1_last_dose", taken)):  # fmt: skip
        assert written(field, "absent", **context)[0] == written(field, "not_asked", **context)[0]


def test_a_family_history_that_is_not_known_or_not_told_says_which():
    for state in CODE:
        history = written("hx.mtc_family", state)[0].get("FamilyMemberHistory")
        assert (history and history["dataAbsentReason"]["coding"][0]["code"]) == FAMILY.get(state)


@pytest.mark.parametrize(
    "field", sorted({*FIELDS} - OBSERVATIONS - ELEMENTS.keys() - EXTENSIONS.keys() - TOLD.keys() - {"hx.mtc_family"})
)
def test_where_no_element_could_say_it_nothing_is_made_up(field):
    nobody = written("lead.source", "not_asked")[0]
    for state in CODE:
        assert written(field, state)[0] == nobody, state


SPELLINGS = {
    *CONTRACT.codes["null_answers"], *CONTRACT.codes["unticked_boxes"], *CONTRACT.codes["yes_no"], "no sure",
    "  Prefer NOT  to say ", "N/A", "Not Sure",
}  # fmt: skip


def is_read_as_it_is_shown(field: str, spelling: str, told: Submission, null: str | None) -> None:
    """The reasons in a QuestionnaireResponse and the states of the mapping are two readings of one code set."""
    codes = {"unknown": "asked-unknown", "declined": "asked-declined", "not_applicable": "not-applicable"}
    (item,) = as_sent(fhir.questionnaire_response(CONTRACT, told, PATIENT))["item"]
    if CONTRACT.fields[field].type == "date" and spelling in ("none", "never", "no"):
        null = None  # no such day: the words are the answer
    answers = item.get("answer", [])
    reasons = [answer["valueCoding"]["code"] for answer in answers if "valueCoding" in answer]
    assert reasons == ([codes[null]] if null in codes else []), spelling
    assert (not answers) == (null == "absent"), spelling
    if reasons:
        assert answers[0]["valueCoding"]["display"] == spelling


@pytest.mark.parametrize("field", FIELDS)
def test_each_spelling_of_a_null_means_the_same_in_the_answers_and_in_the_chart(field):
    for spelling in SPELLINGS:
        told = submission({field: spelling})
        is_read_as_it_is_shown(field, spelling, told, map_submission(CONTRACT, told).values[field].get("null"))


@pytest.mark.parametrize("field", ASKED_IN_CHECKIN)
def test_each_spelling_of_a_null_means_the_same_in_the_answers_and_in_the_reading_of_a_check_in(field):
    for spelling in SPELLINGS:
        told = submission({field: spelling}, **CHECKIN)
        is_read_as_it_is_shown(field, spelling, told, read_checkin(CONTRACT, told).values[field].get("null"))


@pytest.mark.parametrize("field", ASKED_IN_CHECKIN)
def test_the_answers_of_a_check_in_tell_the_four_apart(field):
    def items(answers: dict[str, Any]) -> list[dict[str, Any]]:
        response = as_sent(fhir.questionnaire_response(CONTRACT, submission(answers, **CHECKIN), PATIENT))
        assert problems(response) == []
        return response.get("item", [])

    label = CONTRACT.fields[field].label
    assert items({}) == []
    assert items({field: ""}) == [{"linkId": field, "text": label}]
    for state in ("unknown", "declined"):
        answer = {"valueCoding": {"system": REASON, "code": CODE[state]}}
        assert items({field: RAW[state]}) == [{"linkId": field, "text": label, "answer": [answer]}]


@pytest.mark.parametrize("box", [False, 0, "false", "Unchecked"])
def test_an_untouched_box_is_never_shown_as_a_no(box):
    for name, field in ((name, CONTRACT.fields[name]) for name in FIELDS):
        if field.type in ("tri", "code", "codes", "list"):
            assert (
                "answer"
                not in as_sent(fhir.questionnaire_response(CONTRACT, submission({name: box}), PATIENT))["item"][0]
            ), name
    (item,) = as_sent(fhir.questionnaire_response(CONTRACT, submission({"ins.has_coverage": False}), PATIENT))["item"]
    assert item["answer"] == [{"valueBoolean": False}]
