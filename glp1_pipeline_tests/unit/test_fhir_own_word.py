"""What we write as told by the patient is what the patient told, whatever the EHR and others said besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glp1_pipeline.domain import fhir
from glp1_pipeline.domain.changes import read_change
from glp1_pipeline.domain.chart import Chart, Reported, Value, resolve
from glp1_pipeline.domain.events import Change
from glp1_pipeline.domain.fhir.elements import clean
from glp1_pipeline.domain.ownership import withdrawal

from .test_fhir_any_chart import CONTRACT, PATIENT, relaxed, submissions

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PENICILLIN, LATEX = {"substance": "penicillin"}, {"substance": "latex"}


def said(source: str, day: int, voice: str = "reported", taken_back: bool = False, **values: Any) -> Reported:
    at = NOON + timedelta(days=day)
    docs: dict[str, Value] = {
        name.replace("__", "."): v if isinstance(v, dict) and "null" in v else {"value": v}
        for name, v in values.items()
    }
    if taken_back:
        docs = {name: withdrawal(doc) for name, doc in docs.items()}
    form = "3.0.0" if source == "intake" else ""
    return Reported(
        f"event-{source}-{day}", f"{source}-{day}", form, "completed", at, at, "", docs, source=source, voice=voice
    )


def written(*reports: Reported, under_review: bool = False) -> dict[str, Any]:
    chart = resolve(CONTRACT, PATIENT, reports, (lambda _: True) if under_review else None)
    return {f"{r['resourceType']}/{r['id']}": r for r in fhir.chart_resources(CONTRACT, chart, {}, []).values()}


def one(resources: dict[str, Any], role: str) -> dict[str, Any] | None:
    return resources.get(f"{role.partition('/')[0]}/{fhir.resource_id(PATIENT, role)}")


def clinical(resources: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in resources.values() if r["resourceType"] != "Patient"]


def sure(resource: dict[str, Any] | None) -> dict[str, Any]:
    assert resource is not None
    return resource


def test_a_finding_of_the_clinic_leaves_the_patients_own_observation_and_its_index_as_told():
    told = said("intake", 0, anthro__height=180.0, anthro__weight=110.0)
    found = said("ehr", 1, "verified", anthro__weight=104.0)
    alone, both = written(told, under_review=True), written(told, found, under_review=True)
    assert alone == both
    assert sure(one(both, "Observation/bmi"))["valueQuantity"]["value"] == 33.95
    chart = resolve(CONTRACT, PATIENT, [told, found], lambda _: True)
    assert chart.get("anthro.weight") == 104.0


ONLY_THERE = {
    "hx__men2": "yes", "hx__mtc_family": "yes", "hx__comorbidities": ["osa"], "hx__bariatric": "<12mo",
    "anthro__weight": 99.0, "preg__status": "yes", "vitals__bp": {"systolic": 120, "diastolic": 80},
    "allergy__list": [PENICILLIN], "allergy__any": "yes", "med__current_list": [{"name": "insulin"}],
    "med__glp1_history": "current", "med__prior_weight_loss": ["phentermine"],
    "consent__marketing": {"status": "refused", "version": "1", "at": "2026-01-01T00:00:00Z"},
}  # fmt: skip


@pytest.mark.parametrize("field", ONLY_THERE)
@pytest.mark.parametrize("voice", ["reported", "verified"])
@pytest.mark.parametrize("day", [-1, 1])
def test_what_only_the_ehr_said_is_not_written_back_to_it(field, voice, day):
    theirs = said("ehr", day, voice, **{field: ONLY_THERE[field]})
    assert clinical(written(said("intake", 0, lead__source="paid"), theirs)) == []


def test_a_row_of_the_ehrs_list_is_not_ours_and_a_row_of_the_patients_stays_as_the_patient_told_it():
    told = said("intake", 0, allergy__list=[PENICILLIN])
    theirs = said("ehr", 1, allergy__list=[LATEX, PENICILLIN | {"severity": "severe"}])
    assert written(told) == written(told, theirs)


def test_what_the_clinic_adds_to_a_resource_of_ours_is_not_written_as_told():
    told = said("intake", 0, allergy__list=[PENICILLIN])
    ours = f"AllergyIntolerance/{fhir.resource_id(PATIENT, 'AllergyIntolerance/allergy.list/penicillin')}"
    edited = replace(said("ehr", 1, allergy__list=[PENICILLIN | {"severity": "severe"}]), submission_id=ours)
    assert written(told, edited) == written(told)


def test_a_row_that_the_patient_took_back_is_in_error_though_the_ehr_says_it_too():
    first, second = said("intake", 0, allergy__list=[PENICILLIN, LATEX]), said("intake", 1, allergy__list=[LATEX])
    theirs = said("ehr", 2, allergy__list=[PENICILLIN])
    resources = written(first, second, theirs)
    ours = sure(one(resources, "AllergyIntolerance/allergy.list/penicillin"))
    assert ours["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert resources == written(first, second)


def test_a_row_that_stays_listed_under_review_though_the_patient_left_it_out_stays_ours():
    first, second = said("intake", 0, allergy__list=[PENICILLIN]), said("intake", 1, allergy__list=[])
    theirs = said("ehr", 2, allergy__list=[LATEX])
    resources = written(first, second, theirs, under_review=True)
    ours = sure(one(resources, "AllergyIntolerance/allergy.list/penicillin"))
    assert ours["verificationStatus"]["coding"][0]["code"] == "unconfirmed"
    assert one(resources, "AllergyIntolerance/allergy.list/latex") is None


def test_that_there_are_no_allergies_does_not_stand_beside_one_that_a_provider_found():
    told = said("intake", 0, allergy__any="no")
    found = said("ehr", 1, "verified", allergy__list=[PENICILLIN], allergy__any="yes")
    alone, both = (sure(one(written(*all_of), "AllergyIntolerance/allergy.any")) for all_of in ([told], [told, found]))
    assert alone["verificationStatus"]["coding"][0]["code"] == "unconfirmed"
    assert both["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
    assert "clinicalStatus" not in both


def test_what_the_ehr_takes_back_of_its_own_was_never_ours():
    told = said("intake", 0, allergy__list=[LATEX])
    theirs = [said("ehr", n, allergy__list=[PENICILLIN], taken_back=n == 2) for n in (1, 2)]
    assert written(told, *theirs) == written(told)


def test_a_yes_of_the_patients_that_the_ehr_takes_back_stays_the_patients_word():
    told = said("intake", 0, hx__men2="yes")
    assert clinical(written(told, said("ehr", 1, hx__men2="yes", taken_back=True))) == clinical(written(told))


def test_a_former_word_of_the_ehr_is_nothing_of_ours_to_take_back():
    assert clinical(written(said("ehr", -1, hx__kidney="ckd"), said("intake", 0, hx__kidney="none"))) == []


def test_the_patients_no_takes_our_resource_back_though_the_ehr_says_yes():
    ours = written(said("intake", 0, hx__men2="yes"), said("intake", 1, hx__men2="no"), said("ehr", 2, hx__men2="yes"))
    assert sure(one(ours, "Condition/hx.men2"))["verificationStatus"]["coding"][0]["code"] == "entered-in-error"


def test_what_the_crm_heard_the_patient_say_is_written():
    revoked = {"status": "revoked", "version": "", "at": "2026-03-03T12:00:00+00:00"}
    given = {"status": "given", "version": "1", "at": "2026-03-02T12:00:00+00:00"}
    ours = written(said("intake", 0, consent__sms=given), said("crm", 1, consent__sms=revoked))
    assert sure(one(ours, "Consent/consent.sms"))["status"] == "inactive"


@pytest.mark.parametrize("source", ["ehr", "crm"])
def test_the_patient_resource_carries_what_holds_whoever_said_it(source):
    ours = written(said("intake", 0, demo__legal_last="Canary"), said(source, 1, demo__language="es"))
    assert sure(one(ours, "Patient"))["communication"][0]["language"]["coding"][0]["code"] == "es"


def test_under_review_a_consent_given_again_is_not_made_active_by_what_the_ehr_says():
    told = [said("intake", n, consent__marketing=v) for n, v in enumerate([{"null": "unknown"}, {"status": "given"}])]
    told = [replace(report, authored_at=told[0].authored_at) for report in told]
    chart = resolve(CONTRACT, PATIENT, told, lambda _: True)
    echo = read_back(fhir.chart_resources(CONTRACT, chart, {}, []), 400, "")
    ours = fhir.chart_resources(CONTRACT, resolve(CONTRACT, PATIENT, [*told, *echo], lambda _: True), {}, [])
    (consent,) = (resource for key, resource in ours.items() if key.startswith("Consent/"))
    assert consent["status"] == "inactive"
    assert dumped(resolve(CONTRACT, PATIENT, [*told, *echo], lambda _: True)) == dumped(chart)


def read_back(resources: dict[str, Any], day: int, actor: str) -> list[Reported]:
    """What the EHR says of each resource, as we wrote it."""
    reports = []
    for key, resource in orjson.loads(orjson.dumps(resources)).items():
        kind, _, rid = key.partition("/")
        at = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(days=day)
        change = Change("ehr", kind, rid, str(day), False, at, resource, None, actor)
        heard = read_change(CONTRACT, change)
        values = dict(heard.values)
        event = f"{key}/_history/{day}"
        reports.append(Reported(event, key, "", "completed", at, at, "", values, source="ehr", voice=heard.voice))
    return reports


def texts(told: Any) -> list[str]:
    if isinstance(told, Mapping | list):
        return [text for inner in (told.values() if isinstance(told, Mapping) else told) for text in texts(inner)]
    return [told] if isinstance(told, str) and told else []


def dumped(chart: Chart) -> dict[str, bytes]:
    resources = fhir.chart_resources(CONTRACT, chart, {}, [])
    return {key: fhir.dump(resource) for key, resource in resources.items() if not key.startswith("Patient/")}


@settings(relaxed, max_examples=60)
@given(submissions(few=12), st.sampled_from(["", "Practitioner/1", "Patient/1"]), st.booleans())
def test_what_we_wrote_and_the_ehr_says_again_changes_nothing_that_we_write(told, actor, under_review):
    passes = (lambda _: True) if under_review else None
    reports = [report for report, _ in told]
    # A character that FHIR cannot carry comes back as another one.
    assume(all(clean(text) == text for report in reports for text in texts(report.values.get("allergy.list"))))
    chart = resolve(CONTRACT, PATIENT, reports, passes)
    first = dumped(chart)
    echo = read_back(fhir.chart_resources(CONTRACT, chart, {}, []), 0, actor)
    assert dumped(resolve(CONTRACT, PATIENT, [*reports, *echo], passes)) == first
